"""A plugin for pytest that reads differences.toml: what the suites of other projects expect and is otherwise here.

A test with a difference must fail (or is not run, when it cannot say anything here); one that passes by now is an error,
and so is a difference that no test has.
"""

import os
import pathlib
import re
import tomllib

import pytest

FILE = pathlib.Path(__file__).with_name("differences.toml")
SUITE = os.environ.get("DIFFERENCES", "langchain")


def pytest_collection_modifyitems(config, items):
    differences = [it for it in tomllib.loads(FILE.read_text())["difference"] if it["suite"] == SUITE]
    used = set()
    for item in items:
        for number, difference in enumerate(differences):
            if re.search(difference["tests"], item.nodeid):
                used.add(number)
                mark = pytest.mark.skip if difference.get("run") is False else pytest.mark.xfail
                item.add_marker(mark(reason=difference["reason"]))
    whole_suite = not config.option.keyword and not any("::" in it for it in config.args)
    if whole_suite and items and (unused := [it["tests"] for number, it in enumerate(differences) if number not in used]):
        raise pytest.UsageError(f"no test has the difference {unused} of {FILE.name}")

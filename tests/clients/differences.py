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
    chosen = config.option.keyword or any("::" in it for it in config.args)
    for difference in differences:
        file = [it for it in items if it.path.name == difference["file"]]
        named = [it for it in file if re.fullmatch(difference["tests"], it.originalname)]
        mark = pytest.mark.skip if difference.get("run") is False else pytest.mark.xfail
        for item in named:
            item.add_marker(mark(reason=difference["reason"]))
        if file and not named and not chosen:
            raise pytest.UsageError(f"no test has the difference `{difference['tests']}` of {FILE.name}")

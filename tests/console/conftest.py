"""What the stories share: a browser whose pages may not complain, and servers."""

import contextlib
import os

import pytest
from playwright.sync_api import expect, sync_playwright

import bed
import console

bed.end_in_order()


@pytest.fixture(scope="session")
def playwright():
    with sync_playwright() as it:
        yield it


@pytest.fixture(scope="session")
def chromium(playwright):
    with contextlib.closing(playwright.chromium.launch(executable_path=os.environ["BROWSER"], args=["--no-sandbox"])) as it:
        yield it


@pytest.fixture(scope="session")
def programs():
    """Settings with the bed's own tools."""
    return bed.real_programs()


def watch(context, complaints):
    """Collects what the pages complain about. That a server refuses something, or does not answer, is none of it."""
    context.add_init_script("document.addEventListener('securitypolicyviolation', (it) => console.error(`CSP ${it.violatedDirective} ${it.blockedURI}`))")

    def hear(message):
        if message.type == "error" and not message.text.startswith(("Failed to load resource", "htmx: htmx:sse:error")):
            complaints.append(f"{message.page and message.page.url}: {message.text}")

    context.on("console", hear)
    context.on("weberror", lambda it: complaints.append(f"{it.page and it.page.url}: {it.error}"))


@pytest.fixture
def visit(chromium):
    """Opens a page of a browser of its own, with settings of Playwright's. Nothing moves on it: what pulses is drawn all the time."""
    complaints, contexts = [], []

    def open_page(**settings):
        defaults = {"viewport": {"width": 1280, "height": 900}, "locale": "en-GB", "reduced_motion": "reduce"}
        context = chromium.new_context(**{**defaults, **settings})
        context.set_default_timeout(30_000)
        expect.set_options(timeout=30_000)
        watch(context, complaints)
        contexts.append(context)
        return context.new_page()

    yield open_page
    for it in contexts:
        it.close()
    assert complaints == []


def pytest_terminal_summary(terminalreporter):
    for it in console.FIGURES:
        terminalreporter.write_line(it)

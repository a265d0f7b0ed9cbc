"""The pages on a server whose kind only pretends: it makes a cluster until it is told to fail."""

import contextlib
import os
import pathlib
import re
import tempfile
import time

import pytest
from playwright.sync_api import expect

import bed
from console import FIGURES, MOST_BYTES, PATIENCE, Server, agree, await_state, carry_out, delays, faults, heaviest, path_of, places, plan_deploy, tell_delays, too_wide

# How an operation ends on these tools: with something to take back, or without.
ENDED = ("undone", "failed", "cancelled")


class Tools:
    """The bed's git and Docker, and a kind that makes a cluster until it is told to fail."""

    def __init__(self, folder):
        folder, real = pathlib.Path(folder), bed.real_programs()
        self.word = folder / "fail"
        made = bed.programs(folder, f"while [ ! -e {self.word} ]; do sleep 0.1; done; echo it does not want to; exit 1")
        self.settings = {**real, "KIND_PROGRAM": made["KIND_PROGRAM"], "SHUTDOWN_GRACE_S": "1", "RETRY_ATTEMPTS": "0"}
        self.repository = f"{real['GIT_BASE']}/static-site.git"

    def fail(self):
        self.word.touch()

    def work(self):
        self.word.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def tools():
    with tempfile.TemporaryDirectory(prefix="console-tools-") as folder:
        yield Tools(folder)


@pytest.fixture(scope="module")
def server(tools):
    """Without keys."""
    with Server(**tools.settings) as it:
        yield it


@pytest.fixture(scope="module")
def failed(server, tools, chromium):
    """The server, once a deployment has failed on it."""
    with contextlib.closing(chromium.new_context()) as context:
        page = context.new_page()
        tools.fail()
        plan_deploy(page, server.origin, tools.repository)
        carry_out(page, *ENDED)
    return server


@pytest.fixture
def running(server, tools, chromium):
    """The server, with an operation at work: its page."""
    tools.work()
    with contextlib.closing(chromium.new_context()) as context:
        page = context.new_page()
        plan_deploy(page, server.origin, tools.repository, {"Name of the application": "other"})
        agree(page)
        yield path_of(page)
        tools.fail()
        await_state(page, *ENDED)


def test_a_deployment_is_planned_begun_and_followed_until_it_fails(server, tools, visit):
    tools.work()
    page = visit()
    page.goto(server.origin)
    expect(page.get_by_text("Nothing is deployed yet")).to_be_visible()

    plan_deploy(page, server.origin, tools.repository)
    expect(page.get_by_text("Nothing was done so far")).to_be_visible()
    agree(page)
    expect(page.locator(".steps [data-state=running]").first).to_be_visible()
    expect(page).to_have_title(re.compile("^● "))
    expect(page.locator("link[rel=icon]")).to_have_attribute("href", re.compile("icon-running"))
    expect(page.locator(".steps [data-state=succeeded]").first).to_be_visible()
    tools.fail()
    await_state(page, *ENDED)

    expect(page.locator(".failure")).to_contain_text("it does not want to")
    expect(page).to_have_title(re.compile("^[^●]"))
    expect(page.locator("link[rel=icon]")).to_have_attribute("href", re.compile("icon-failed"))
    assert page.evaluate("window.isTheSamePage")
    tell_delays("an operation that fails", delays(server, page, path_of(page).split("/")[-1]))


def test_what_is_wrong_in_a_form_stands_at_its_field(server, tools, visit):
    page = visit()
    page.goto(f"{server.origin}/new")
    page.get_by_label("Repository", exact=True).fill(tools.repository)
    page.get_by_label("Replicas", exact=True).fill("many")

    page.get_by_role("button", name="Show the plan").click()

    expect(page.locator("#field-scale_replicas-error")).to_be_visible()
    expect(page.get_by_label("Replicas", exact=True)).to_have_value("many")
    expect(page.get_by_label("Repository", exact=True)).to_have_value(tools.repository)
    assert not (found := faults(page)), "\n".join(found)


def test_an_operation_is_cancelled(running, server, visit):
    page = visit()
    page.goto(server.origin + running)

    page.locator("#cancel > summary").click()
    page.locator("#cancel button").click()

    await_state(page, *ENDED)


def test_the_chat_answers(server, visit):
    page = visit()
    page.goto(f"{server.origin}/chat")
    page.get_by_label("Message", exact=True).fill("what is running?")
    page.get_by_role("button", name="Send").click()

    answer = page.locator("article .card")
    expect(answer).to_be_visible()
    expect(answer.get_by_text("Being answered")).to_have_count(0)
    assert not (found := faults(page)), "\n".join(found)


def test_axe_finds_nothing_on_any_page(failed, tools, visit):
    page = visit()
    found = []
    for path in places(failed):
        page.goto(failed.origin + path)
        found += faults(page)

    plan_deploy(page, failed.origin, tools.repository)
    found += faults(page)

    assert not found, "\n".join(found)


def test_axe_finds_nothing_while_something_runs(running, server, visit):
    page = visit()
    found = []
    for path in ("/", running):
        page.goto(server.origin + path)
        found += faults(page)

    assert not found, "\n".join(found)


def test_no_page_is_wider_than_a_phone(failed, tools, visit):
    page = visit(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    wide = {}
    for path in places(failed):
        page.goto(failed.origin + path)
        wide[path] = too_wide(page)

    plan_deploy(page, failed.origin, tools.repository)
    wide["plan"] = too_wide(page)

    assert {path: it for path, it in wide.items() if it} == {}


def test_every_page_is_light(failed):
    assert heaviest(failed) < MOST_BYTES


def test_pages_can_be_read_and_used_without_a_script(failed, tools, visit):
    page = visit(java_script_enabled=False)
    for path in places(failed):
        page.goto(failed.origin + path)
        expect(page.locator("h1")).to_have_count(1)
        assert len(page.locator("main").inner_text()) > 20, path

    tools.work()
    plan_deploy(page, failed.origin, tools.repository, {"Name of the application": "plain"})
    page.get_by_role("button", name="Do it").click()
    expect(page.locator(".title-row .badge[data-state=running]")).to_be_visible()
    page.locator("#cancel > summary").click()
    page.locator("#cancel button").click()
    ended = page.locator(".title-row .badge:is([data-state=undone], [data-state=cancelled])")
    until = time.monotonic() + PATIENCE / 1000
    while ended.count() == 0 and time.monotonic() < until:
        page.wait_for_timeout(200)
        page.reload()
    expect(ended).to_be_visible()


def test_the_keyboard_is_enough(failed, visit):
    page = visit()
    page.goto(failed.origin)

    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_label("Search")).to_be_focused()
    page.keyboard.type("gone?")
    expect(page.get_by_label("Search")).to_have_value("gone?")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?q=gone*")
    for keys, path in (("go", "/operations"), ("gd", "/"), ("n", "/new")):
        for key in keys:
            page.keyboard.press(key)
        page.wait_for_url(failed.origin + path)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    assert not (found := faults(page)), "\n".join(found)
    page.get_by_label("These keys are on").uncheck()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_hidden()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_hidden()


def test_times_are_those_of_the_reader(failed, visit):
    page = visit(timezone_id="Asia/Tokyo")

    page.goto(f"{failed.origin}/operations")

    expect(page.locator("time").first).to_have_attribute("title", re.compile("GMT\\+9|JST"))


def test_what_somebody_copies_is_in_the_clipboard(failed, visit):
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    page.goto(failed.origin + places(failed)[5])

    page.get_by_role("button", name="Copy the id of the operation").click()

    expect(page.get_by_text("Copied").first).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == page.url.split("/")[-1]


def test_seven_tabs_load_and_follow(running, server, playwright):
    with tempfile.TemporaryDirectory(prefix="console-profile-") as profile, tabs(playwright, profile) as context:
        pages = []
        for _ in range(7):
            pages.append(context.new_page())
            pages[-1].goto(server.origin + running, timeout=10_000)
            expect(pages[-1].locator(".steps [data-state=running]").first).to_be_visible()

        took = []
        for page in pages:
            page.bring_to_front()
            begun = time.monotonic()
            page.goto(f"{server.origin}/operations", timeout=10_000)
            took.append(time.monotonic() - begun)
            page.go_back(wait_until="commit")
            expect(page.locator(".steps [data-state=running]").first).to_be_visible()

    FIGURES.append(f"seven tabs that follow an operation: each of them loads another page within {max(took) * 1000:.0f} ms")


@contextlib.contextmanager
def tabs(playwright, profile):
    """A browser as it is, with tabs of which one is seen: Playwright would have each tab believe that it is."""
    port = bed.free_port()
    argv = [os.environ["CHROMIUM"], "--headless", "--no-sandbox", "--no-first-run", f"--remote-debugging-port={port}", f"--user-data-dir={profile}"]
    environment = dict(os.environ)
    process = bed.Process(argv, port, "/json/version", environment, pathlib.Path(tempfile.mkdtemp(prefix="console-chromium-")))
    with process:
        browser = playwright.chromium.connect_over_cdp(process.origin, no_defaults=True)
        yield browser.contexts[0]
        browser.close()


def test_keys_close_the_server_and_roles_decide(tools, visit):
    tools.fail()
    with Server(**tools.settings) as server:
        page = visit()
        root = make_key(page, server, "root", "admin")
        page.goto(f"{server.origin}/operations")
        page.wait_for_url("**/sign-in?next=*")
        assert not (found := faults(page)), "\n".join(found)
        sign_in(page, "odi_wrong")
        expect(page.get_by_role("alert")).to_be_visible()
        assert not (found := faults(page)), "\n".join(found)
        sign_in(page, root)
        page.wait_for_url(f"{server.origin}/operations")
        ann = make_key(page, server, "ann", "viewer")
        plan_deploy(page, server.origin, tools.repository)
        carry_out(page, *ENDED)

        viewer = visit()
        viewer.goto(server.origin)
        sign_in(viewer, ann)
        shown = places(server, root)
        for path in shown[:10]:
            viewer.goto(server.origin + path)
            assert viewer.get_by_role("link", name="New deployment").count() == 0, path
            posts = viewer.locator("form[method=post]").evaluate_all("all => all.map(it => it.getAttribute('action'))")
            assert set(posts) <= {"/sign-out"}, (path, posts)
            assert viewer.get_by_role("link", name=re.compile("^(Keys|Audit|Doctor)$")).count() == 0
        for path in ("/keys", "/audit", "/doctor"):
            viewer.goto(server.origin + path)
            expect(viewer.get_by_role("heading", name="This is not yours to do")).to_be_visible()
        assert not (found := faults(viewer)), "\n".join(found)

        # A page that is open ends with its key, by itself.
        viewer.goto(server.origin)
        expect(viewer.get_by_role("heading", level=1)).to_be_visible()
        page.goto(f"{server.origin}/keys")
        row = page.get_by_role("row", name=re.compile("^ann"))
        row.get_by_text("Revoke", exact=True).click()
        assert not (found := faults(page)), "\n".join(found)
        row.get_by_role("button", name="Revoke ann").click()
        viewer.wait_for_url("**/sign-in*")
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/sign-in")
        page.goto(f"{server.origin}/operations")
        page.wait_for_url("**/sign-in?next=*")


def make_key(page, server, name, role):
    page.goto(f"{server.origin}/keys")
    form = page.locator("form[action='/keys']")
    form.get_by_label("Name").fill(name)
    form.get_by_label("Role").select_option(role)
    form.get_by_role("button", name="Make the key").click()
    secret = page.locator("#secret").inner_text()
    assert not (found := faults(page)), "\n".join(found)
    return secret


def sign_in(page, key):
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()

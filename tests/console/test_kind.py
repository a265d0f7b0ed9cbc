"""The life of an application on a real kind cluster, by pages alone. Each story goes on where the one before has ended."""

import contextlib
import json
import os
import re
import subprocess
import time
import urllib.request

import pytest
from playwright.sync_api import expect

import bed
from console import (
    FIGURES, MOST_BYTES, PATIENCE, SOON, Server, agree, await_state, carry_out, delays, faults, heaviest, path_of, picture, places, plan_deploy,
    tell_delays, too_wide,
)

CLUSTER = "on-demand-infra-console"
NAME = "notes"


class Life:
    """The server, the tools that it uses, and the page of the deployment."""

    def __init__(self, server, programs):
        self.server, self.programs = server, programs
        self.origin = server.origin
        self.repository = f"{programs['GIT_BASE']}/flask-notes.git"
        self.deployment = None

    def run(self, *argv):
        """Runs a program of the bed's."""
        return subprocess.run(argv, env={**os.environ, "PATH": self.programs["PATH"]}, check=True, capture_output=True, text=True).stdout

    def open(self, page):
        page.goto(self.origin + self.deployment)
        return page

    def plan(self, page, button):
        """Presses a button of the deployment's page, which leads to a plan."""
        page.get_by_role("button", name=button, exact=True).click()
        expect(page.get_by_role("heading", name="Plan", exact=True)).to_be_visible()


@pytest.fixture(scope="module")
def life(programs):
    programs = {**programs, "KIND_CLUSTER_NAME": CLUSTER, "NODE_PORT_RANGE": bed.free_node_ports()}
    try:
        with Server(**programs) as server:
            yield Life(server, programs)
    finally:
        delete = ["kind", "delete", "cluster", "--quiet", "--name", CLUSTER, "--kubeconfig", "/dev/null"]
        subprocess.run(delete, env={**os.environ, "PATH": programs["PATH"]}, check=True)


def read(address):
    """What an application answers; it may not be there for a moment."""
    until = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5) as response:
                return response.read().decode()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def test_an_application_is_deployed_by_a_form_and_opens(life, visit):
    page = visit()
    plan_deploy(page, life.origin, life.repository, {"Name of the application": NAME, "Environment variables": "GREETING=Hello from the console"})
    picture(page, "plan")
    agree(page)
    expect(page.locator(".steps [data-state=running]").first).to_be_visible()
    expect(page.locator(".steps [data-state=succeeded]").first).to_be_visible(timeout=PATIENCE)
    picture(page, "operation-running")

    await_state(page, "succeeded", "failed", "undone", "stuck")

    assert page.evaluate("window.isTheSamePage")
    expect(page.locator(".title-row .badge")).to_have_attribute("data-state", "succeeded")
    tell_delays("a deploy", delays(life.server, page, path_of(page).split("/")[-1]))
    picture(page, "operation")
    assert not (found := faults(page)), "\n".join(found)
    with page.expect_popup() as popup:
        page.get_by_role("link", name=f"Open {NAME}").click()
    expect(popup.value.get_by_role("heading")).to_have_text("Hello from the console")
    page.locator(".crumbs").get_by_role("link", name=NAME).click()
    life.deployment = path_of(page)


def test_its_page_tells_what_it_owns_and_how_it_is(life, visit):
    page = life.open(visit())

    expect(page.locator("#health .badge").first).to_be_visible(timeout=SOON)
    expect(page.locator("#health .tree")).to_contain_text("Pod", timeout=SOON)
    picture(page, "deployment")
    assert not (found := faults(page)), "\n".join(found)
    assert "GREETING" in page.locator("main").inner_text()
    assert "Hello from the console" not in page.content()
    page.get_by_role("link", name="Look again").click()
    expect(page.locator("#health .tree")).to_be_visible(timeout=SOON)


def test_it_is_scaled_and_the_overview_follows(life, visit):
    page, overview = life.open(visit()), visit()
    overview.goto(life.origin)
    picture(overview, "overview")
    overview.evaluate("window.isTheSamePage = true")

    page.get_by_label("Replicas").fill("2")
    life.plan(page, "Plan a change of scale")
    carry_out(page)

    row = overview.get_by_role("row", name=NAME)
    expect(row.locator("td.number").first).to_have_text("2")
    expect(row).to_contain_text("scale")
    assert overview.evaluate("window.isTheSamePage")


def test_it_is_restarted(life, visit):
    page = life.open(visit())

    life.plan(page, "Plan a restart")
    carry_out(page)


def test_it_is_redeployed_and_rolled_back(life, visit):
    page = life.open(visit())
    page.get_by_label("Branch, tag or commit").fill("next")
    life.plan(page, "Plan a redeploy")
    carry_out(page)
    address = page.get_by_role("link", name=f"Open {NAME}").get_attribute("href")
    assert "version 2" in read(address)

    life.open(page)
    assert page.locator("[id^=version-]").count() == 2
    page.get_by_role("button", name="Roll back to version 1").click()
    expect(page.get_by_role("heading", name="Plan", exact=True)).to_be_visible()
    carry_out(page)

    assert "version 1" in read(address)


def test_the_last_change_is_undone(life, visit):
    page = life.open(visit())

    life.plan(page, "Plan to take the last change back")
    carry_out(page)


def test_its_lines_are_followed_searched_and_taken_home(life, visit):
    page = life.open(visit())
    address = page.locator("section[aria-label='At a glance'] a[target=_blank]").get_attribute("href")
    page.get_by_role("link", name="Logs", exact=True).click()
    log = page.locator(".log")
    expect(log).to_contain_text("Listening at", timeout=SOON)

    read(f"{address}/?a-line-to-follow")
    expect(log).to_contain_text("a-line-to-follow")
    picture(page, "logs")
    assert not (found := faults(page)), "\n".join(found)
    page.keyboard.press("/")
    page.keyboard.type("a-line-TO")
    expect(page.locator(".log .lines > div:visible").filter(has_not_text="a-line-to-follow")).to_have_count(0)
    expect(page.locator(".log .lines > div:visible").first).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert "a-line-to-follow" in download.value.path().read_text()

    plain = visit(java_script_enabled=False)
    plain.goto(page.url)
    plain.get_by_label("Search").fill("a-line-to")
    plain.get_by_role("button", name="Read").click()
    expect(plain.locator(".log")).to_contain_text("a-line-to-follow")
    expect(plain.locator(".log")).not_to_contain_text("Listening at")


def pods(life):
    """A command for the pods of the application, and the name of one of them."""
    kubeconfig = life.run("kind", "get", "kubeconfig", "--name", CLUSTER)
    file = life.server.folder / "kubeconfig-of-the-test"
    file.write_text(kubeconfig)
    kubectl = ["kubectl", "--kubeconfig", str(file), "--namespace", "default"]
    found = json.loads(life.run(*kubectl, "get", "pods", "--output", "json"))["items"]
    return kubectl, next(it["metadata"]["name"] for it in found if "deletionTimestamp" not in it["metadata"])


def test_what_the_container_before_has_printed_is_there(life, visit):
    kubectl, pod = pods(life)
    # The first process of a container hears no signal that it does not handle; it ends with its only child.
    end = "import os; [os.kill(int(it), 9) for it in os.listdir('/proc') if it.isdigit() and int(it) not in (1, os.getpid())]"
    with contextlib.suppress(subprocess.CalledProcessError):  # the container may end before this has its answer
        life.run(*kubectl, "exec", pod, "--", "python", "-c", end)
    life.run(*kubectl, "wait", "--for", "jsonpath={.status.containerStatuses[0].restartCount}=1", f"pod/{pod}", "--timeout", "60s")
    life.run(*kubectl, "wait", "--for", "condition=Ready", f"pod/{pod}", "--timeout", "60s")
    page = visit()

    page.goto(f"{life.origin}{life.deployment}/logs")
    page.locator("select#pod").select_option(pod)
    page.get_by_role("button", name="Read").click()
    page.get_by_label("The container before").check()
    page.get_by_role("button", name="Read").click()

    expect(page.get_by_text("These are of the container before")).to_be_visible()
    expect(page.locator(".log")).to_contain_text("Listening at")
    life.open(page)
    expect(page.locator("#health")).to_contain_text("started again once", timeout=SOON)


# How long nothing else on a page had its turn, in ms.
HEARTBEAT = """
window.longest = 0;
let last = performance.now();
setInterval(() => {
  window.longest = Math.max(window.longest, performance.now() - last);
  last = performance.now();
}, 20);
"""
# What the page of the log keeps at the most, and for how long somebody on a slow machine would not notice that nothing moves, in ms.
LINES, STALLED = 100_000, 5000


def test_a_hundred_thousand_lines_stall_nothing(life, visit):
    kubectl, pod = pods(life)
    page = visit()
    page.goto(f"{life.origin}{life.deployment}/logs?pod={pod}")
    expect(page.locator(".log")).to_contain_text("Listening at", timeout=SOON)
    page.evaluate(HEARTBEAT)

    # From here on by scripts alone: what Playwright itself expects of a page, it looks for in all of its lines, again and again.
    begun = time.monotonic()
    life.run(*kubectl, "exec", pod, "--", "sh", "-c", f"seq --format='line %.0f of many' {LINES} >/proc/1/fd/1")
    printed = time.monotonic() - begun
    until(page, "document.querySelector('.log').lastElementChild.lastElementChild.textContent", f"line {LINES} of many")
    shown = time.monotonic() - begun
    lines = page.evaluate("document.querySelectorAll('.log .lines > div').length")
    assert LINES - 500 <= lines <= LINES
    count = "document.querySelector('.toolbar [role=status]').textContent"
    page.get_by_label("Search").fill("line 77777 of")
    until(page, count, f"1 of {lines:,} lines")
    seen = "[...document.querySelectorAll('.log .lines:not([hidden]) > div:not([hidden])')].map((it) => it.textContent)"
    assert page.evaluate(seen) == ["line 77777 of many"]
    page.get_by_label("Search").fill("")
    until(page, count, "")
    longest = page.evaluate("window.longest")
    FIGURES.append(f"{LINES:,} lines: printed in {printed:.1f} s, shown after {shown:.1f} s; nothing else on the page had its turn for {longest:.0f} ms at the most")
    assert longest < STALLED


def until(page, what, wanted):
    """Waits until a script gives this."""
    over = time.monotonic() + SOON / 1000
    while (found := page.evaluate(what)) != wanted:
        assert time.monotonic() < over, found
        page.wait_for_timeout(200)


def test_a_deploy_that_fails_says_why(life, visit):
    page = visit()
    plan_deploy(page, life.origin, f"{life.programs['GIT_BASE']}/broken.git", {"Branch, tag or commit": "failing-build", "Name of the application": "broken"})

    carry_out(page, "undone", "failed")

    expect(page.locator(".failure")).to_contain_text("Dockerfile")
    expect(page.locator(".failure")).to_contain_text("Next:")
    expect(page.locator(".steps > [data-state=failed]")).to_contain_text("failed, taken back")
    picture(page, "operation-failed")
    assert not (found := faults(page)), "\n".join(found)


def test_an_operation_is_followed_through_the_death_of_the_server(life, visit):
    page = visit()
    plan_deploy(page, life.origin, f"{life.programs['GIT_BASE']}/go-hello.git", {"Name of the application": "hello"})
    agree(page)
    expect(page.locator(".steps [data-state=running]").first).to_be_visible()

    life.server.kill()
    expect(page.locator("#connection")).not_to_be_empty(timeout=SOON)
    picture(page, "server-gone")
    life.server.start()
    await_state(page, "succeeded", "failed", "undone", "stuck")

    expect(page.locator(".title-row .badge")).to_have_attribute("data-state", "succeeded")
    expect(page.locator("#connection")).to_be_empty()
    assert page.evaluate("window.isTheSamePage")
    with page.expect_popup() as popup:
        page.get_by_role("link", name="Open hello").click()
    assert popup.value.locator("body").inner_text()


def test_every_page_is_as_it_should_be(life, visit):
    page, phone, plain = visit(), visit(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True), visit(java_script_enabled=False)
    found, wide = [], {}
    paths = {*places(life.server), *(life.deployment + it for it in ("", "/health", "/logs", "/logs?shown=true"))}

    for path in sorted(paths):
        for it in (page, phone, plain):
            it.goto(life.origin + path)
        found += faults(page)
        wide[path] = too_wide(phone)
        expect(plain.locator("h1")).to_have_count(1)
        picture(page, "page-" + (re.sub(r"[^a-z]+", "-", re.sub(r"(op|dep)_\w+", "", path)).strip("-") or "overview"))
        picture(phone, "phone-" + (re.sub(r"[^a-z]+", "-", re.sub(r"(op|dep)_\w+", "", path)).strip("-") or "overview"))

    assert not found, "\n".join(found)
    assert {path: it for path, it in wide.items() if it} == {}
    assert heaviest(life.server) < MOST_BYTES


def test_it_is_decommissioned(life, visit):
    page = life.open(visit())
    address = page.locator("section[aria-label='At a glance'] a[target=_blank]").get_attribute("href")

    life.plan(page, "Plan a decommission")
    expect(page.get_by_role("heading", name=f"Decommission {NAME}?")).to_be_visible()
    assert not (found := faults(page)), "\n".join(found)
    carry_out(page)

    life.open(page)
    expect(page.get_by_text("It was removed")).to_be_visible()
    assert page.locator("form[action='/plan']").count() == 0
    with pytest.raises(OSError):
        urllib.request.urlopen(address, timeout=5)
    page.goto(life.origin)
    expect(page.get_by_role("link", name=NAME, exact=True)).to_have_count(0)

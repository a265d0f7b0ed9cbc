"""The pages on servers whose kind only pretends: it makes a cluster until it is told to fail."""

import contextlib
import os
import pathlib
import re
import tempfile
import time

import pytest
from playwright.sync_api import expect

import bed
from console import (
    FIGURES, MOST_BYTES, PATIENCE, PretendingServer, agree, await_state, delays, faults, heaviest, path_of, places, plan_deploy, tell_delays, too_wide,
)
from issuer import Issuer

# How an operation ends on these tools: with something to take back, or without.
ENDED = ("undone", "failed", "cancelled")
# The narrowest that a page is read on.
PHONE = {"viewport": {"width": 320, "height": 640}, "has_touch": True, "is_mobile": True}


@pytest.fixture(scope="module")
def server(programs):
    """Without keys."""
    with PretendingServer(programs) as it:
        yield it


@pytest.fixture(scope="module")
def failed(server):
    """The server, once a deployment has failed on it."""
    server.fail()
    assert server.ended(server.deploy()) in ENDED
    return server


@pytest.fixture(scope="module")
def running(server):
    """The page of an operation at work."""
    server.work()
    operation = server.deploy(instance_name="other")
    yield f"/operations/{operation}"
    server.fail()
    assert server.ended(operation) in ENDED


@pytest.fixture(scope="module")
def closed(programs):
    """A server with keys, and the secret of an administrator."""
    with PretendingServer(programs) as it:
        it.fail()
        yield it, it.post("/v1/keys", {"name": "root", "role": "admin"})["secret"]


def test_a_deployment_is_planned_begun_and_followed_until_it_fails(server, visit):
    server.work()
    page = visit()
    page.goto(server.origin)
    expect(page.get_by_text("Nothing is deployed yet")).to_be_visible()

    plan_deploy(page, server.origin, server.repository)
    expect(page.get_by_text("Nothing was done so far")).to_be_visible()
    agree(page)
    expect(page.locator(".steps [data-state=running]").first).to_be_visible()
    expect(page).to_have_title(re.compile("^● "))
    expect(page.locator("link[rel=icon]")).to_have_attribute("href", re.compile("icon-running"))
    expect(page.locator(".steps [data-state=succeeded]").first).to_be_visible()
    server.fail()
    await_state(page, *ENDED)

    expect(page.locator(".failure")).to_contain_text("it does not want to")
    expect(page).to_have_title(re.compile("^[^●]"))
    expect(page.locator("link[rel=icon]")).to_have_attribute("href", re.compile("icon-failed"))
    assert page.evaluate("window.isTheSamePage")
    tell_delays("an operation that fails", delays(server, page, path_of(page).split("/")[-1]))


def test_what_is_wrong_in_a_form_stands_at_its_field(server, visit):
    page = visit()
    page.goto(f"{server.origin}/new")
    page.get_by_label("Repository", exact=True).fill(server.repository)
    page.get_by_label("Replicas", exact=True).fill("many")

    page.get_by_role("button", name="Show the plan").click()

    expect(page.locator("#field-scale_replicas-error")).to_be_visible()
    expect(page.get_by_role("alert")).to_be_focused()
    page.get_by_role("alert").get_by_role("link").click()
    expect(page.get_by_label("Replicas", exact=True)).to_be_focused()
    expect(page.get_by_label("Replicas", exact=True)).to_have_value("many")
    expect(page.get_by_label("Repository", exact=True)).to_have_value(server.repository)
    assert not (found := faults(page)), "\n".join(found)


def test_a_plan_can_be_loaded_anew_and_leads_back_to_its_form(server, visit):
    page = visit()
    plan_deploy(page, server.origin, server.repository, {"Environment variables": "TOKEN=not-to-be-seen"})

    page.reload()
    expect(page.get_by_text("Nothing was done so far")).to_be_visible()
    page.get_by_role("link", name="Change what was typed").click()

    expect(page.get_by_label("Repository", exact=True)).to_have_value(server.repository)
    expect(page.locator("#secrets")).to_contain_text("Environment variables")
    assert "not-to-be-seen" not in page.content()
    assert not (found := faults(page)), "\n".join(found)


def test_the_chat_answers(server, visit):
    page = visit()
    page.goto(f"{server.origin}/chat")
    page.get_by_label("Message", exact=True).fill("what is running?")
    page.get_by_role("button", name="Send").click()

    answer = page.locator("article .card")
    expect(answer).to_be_visible()
    expect(answer.get_by_text("Being answered")).to_have_count(0)
    assert not (found := faults(page)), "\n".join(found)


def test_axe_finds_nothing_on_any_page(failed, visit):
    page = visit()
    found = []
    for path in places(failed):
        page.goto(failed.origin + path)
        found += faults(page)

    plan_deploy(page, failed.origin, failed.repository)
    found += faults(page)

    assert not found, "\n".join(found)


def test_no_page_is_wider_than_a_phone(failed, visit):
    page = visit(**PHONE)
    wide = {}
    for path in places(failed):
        page.goto(failed.origin + path)
        wide[path] = too_wide(page)

    plan_deploy(page, failed.origin, failed.repository)
    wide["plan"] = too_wide(page)

    assert {path: it for path, it in wide.items() if it} == {}


def test_a_long_word_makes_no_page_wider_and_a_plan_is_drawn_as_wide_as_there_is_room(failed, visit):
    operation = failed.deploy(git_ref="w" * 70, instance_name="long-word")
    assert failed.ended(operation) in ENDED
    page = visit(**PHONE)
    page.goto(f"{failed.origin}/operations/{operation}")
    expect(page.locator(".steps")).to_contain_text("w" * 70)
    assert too_wide(page) == []

    page = visit()
    for width, is_whole in ((1600, True), (1200, True), (1024, True), (800, False)):
        page.set_viewport_size({"width": width, "height": 800})
        page.goto(f"{failed.origin}/operations/{operation}")
        assert too_wide(page) == [], width
        assert page.locator(".graph").evaluate("it => it.scrollWidth <= it.clientWidth") is is_whole, width


def test_every_page_is_light(failed):
    assert heaviest(failed) < MOST_BYTES


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
    for keys, path in (("go", "/operations"), ("gc", "/chat"), ("gt", "/targets"), ("gk", "/keys"), ("gd", "/"), ("n", "/new")):
        for key in keys:
            page.keyboard.press(key)
        page.wait_for_url(failed.origin + path)
    page.keyboard.press("/")
    page.wait_for_url(f"{failed.origin}/#q")
    expect(page.get_by_label("Search")).to_be_focused()
    page.goto(f"{failed.origin}/no-such-page")
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


def test_pages_can_be_read_and_used_without_a_script(failed, visit):
    page = visit(java_script_enabled=False)
    for path in places(failed):
        page.goto(failed.origin + path)
        expect(page.locator("h1")).to_have_count(1)
        assert len(page.locator("main").inner_text()) > 20, path

    failed.work()
    plan_deploy(page, failed.origin, failed.repository, {"Name of the application": "plain"})
    page.get_by_role("button", name="Do it").click()
    reload_until(page, ".title-row .badge[data-state=running]")
    page.locator("#cancel > summary").click()
    page.locator("#cancel button").click()
    reload_until(page, ".title-row .badge:is([data-state=undone], [data-state=cancelled])")


def reload_until(page, selector):
    """Loads a page again and again until it has something, as somebody does without scripts."""
    until = time.monotonic() + PATIENCE / 1000
    while page.locator(selector).count() == 0:
        assert time.monotonic() < until, page.locator("main").inner_text()
        page.wait_for_timeout(200)
        page.reload()


def test_axe_finds_nothing_while_something_runs(running, server, visit):
    page = visit()
    found = []
    for path in ("/", running):
        page.goto(server.origin + path)
        found += faults(page)

    assert not found, "\n".join(found)


def test_what_can_be_changed_is_not_wider_than_a_phone(running, server, visit):
    page = visit(**PHONE)
    page.goto(server.origin + running)
    page.locator(".crumbs a[href^='/deployments/']").click()
    expect(page.get_by_role("heading", name="Change it")).to_be_visible()

    assert too_wide(page) == []


def test_seven_tabs_load_and_follow(running, server, playwright):
    with tempfile.TemporaryDirectory(prefix="console-profile-", ignore_cleanup_errors=True) as profile, tabs(playwright, profile) as context:
        pages = []
        for _ in range(7):
            pages.append(context.new_page())
            pages[-1].goto(server.origin + running, timeout=30_000)
            expect(pages[-1].locator(".steps [data-state=running]").first).to_be_visible()

        took = []
        for page in pages:
            page.bring_to_front()
            begun = time.monotonic()
            page.goto(f"{server.origin}/operations", timeout=30_000)
            took.append(time.monotonic() - begun)
            page.go_back(wait_until="commit")
            expect(page.locator(".steps [data-state=running]").first).to_be_visible()

    FIGURES.append(f"seven tabs that follow an operation: each of them loads another page within {max(took) * 1000:.0f} ms")


@contextlib.contextmanager
def tabs(playwright, profile):
    """A browser as it is, with tabs of which one is seen: Playwright would have each tab believe that it is."""
    port = bed.free_port()
    # What a browser does beside showing pages; the pages within its address bar are as much work as those below it.
    calm = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--disable-sync"]
    calm.append("--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup")
    argv = [os.environ["CHROMIUM"], "--headless", "--no-sandbox", *calm, f"--remote-debugging-port={port}", f"--user-data-dir={profile}", "about:blank"]
    environment = dict(os.environ)
    process = bed.Process(argv, port, "/json/version", environment, pathlib.Path(tempfile.mkdtemp(prefix="console-chromium-")))
    with process:
        browser = playwright.chromium.connect_over_cdp(process.origin, no_defaults=True)
        yield browser.contexts[0]
        browser.close()


def test_a_page_follows_although_a_script_comes_late(running, server, visit):
    page = visit()

    def hold(route):
        time.sleep(0.5)
        route.continue_()

    page.route("**/assets/hx-sse.min.js*", hold)
    with page.expect_request(f"**{running}/stream"):
        page.goto(server.origin + running)


def test_an_operation_is_cancelled(running, server, visit):
    page = visit()
    page.goto(server.origin + running)

    page.locator("#cancel > summary").click()
    page.locator("#cancel button").click()

    await_state(page, *ENDED)


def test_the_plan_for_a_cloud_tells_its_price_and_shows_no_secret(server, visit):
    page = visit()
    page.goto(f"{server.origin}/new")
    secret = "a-secret-that-is-typed-into-a-form"
    aws, instance, host = (page.get_by_role("group", name=re.compile(f"^{it}")) for it in ("AWS", "EC2 instance", "Host name"))
    expect(page.get_by_role("radio", name=re.compile("^local"))).to_be_checked()
    for group in (aws, instance, host):
        expect(group).to_be_hidden()

    for mode, shown, hidden in (("cloud-local", instance, host), ("cloud-hosted", host, instance)):
        page.goto(f"{server.origin}/new")
        page.get_by_role("radio", name=re.compile(f"^{mode}")).check()
        expect(aws).to_be_visible()
        expect(shown).to_be_visible()
        expect(hidden).to_be_hidden()
        page.get_by_label("Repository", exact=True).fill(server.repository)
        page.get_by_label("AWS access key id", exact=True).fill("AKIAIOSFODNN7EXAMPLE")
        page.get_by_label("AWS secret access key", exact=True).fill(secret)
        page.get_by_label("AWS region", exact=True).fill("eu-central-1")
        if mode == "cloud-local":
            page.get_by_label("EC2 key pair", exact=True).fill("team")
        page.get_by_role("button", name="Show the plan").click()

        expect(page.get_by_role("heading", name="Plan", exact=True)).to_be_visible()
        expect(page.get_by_label("Plan", exact=True)).to_contain_text(re.compile(r"\d USD per hour"))
        assert secret not in page.content()
    assert not (found := faults(page)), "\n".join(found)


def test_what_is_stuck_is_taken_back_by_a_button(programs, visit):
    with PretendingServer(programs) as server:
        page = visit()
        plan_deploy(page, server.origin, server.repository, {"Environment variables": "TOKEN=a-secret-of-the-stuck"})
        agree(page)
        expect(page.locator("#step-create_cluster[data-state=running]")).to_be_visible()

        # What was begun cannot be looked at any more, and so not be taken back.
        server.cut_docker_off()
        server.fail()
        await_state(page, "stuck")
        assert page.evaluate("window.isTheSamePage")
        expect(page.locator(".failure")).to_contain_text("resume")
        page.get_by_text("Erase its secrets", exact=True).first.click()
        page.locator("#resume > summary").click()
        assert not (found := faults(page)), "\n".join(found)
        page.locator("#cancel").get_by_role("button", name="Erase its secrets").click()
        expect(page.locator("#cancel")).to_have_count(0)

        server.connect_docker()
        page.locator("#resume > summary").click()
        page.locator("#resume").get_by_role("button", name="Try again to take it back").click()
        await_state(page, "undone")
        expect(page.locator("#resume")).to_have_count(0)
        assert "a-secret-of-the-stuck" not in page.content()


def test_keys_close_the_server_and_roles_decide(programs, visit):
    with PretendingServer(programs) as server:
        server.fail()
        page = visit()
        page.goto(f"{server.origin}/keys")
        root = make_key(page, "root", "admin")
        page.goto(f"{server.origin}/operations")
        page.wait_for_url("**/sign-in?next=*")
        sign_in(page, "odi_wrong")
        expect(page.get_by_role("alert")).to_be_visible()
        assert not (found := faults(page)), "\n".join(found)
        sign_in(page, root)
        page.wait_for_url(f"{server.origin}/operations")
        page.goto(f"{server.origin}/keys")
        ann = make_key(page, "ann", "viewer")
        assert not (found := faults(page)), "\n".join(found)
        assert server.ended(server.deploy(root), root) in ENDED

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
        refuses_administration(viewer, server)
        assert not (found := faults(viewer)), "\n".join(found)

        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/sign-in")
        page.goto(f"{server.origin}/operations")
        page.wait_for_url("**/sign-in?next=*")


def test_a_deployer_sees_and_changes_its_namespace_and_no_other(closed, visit):
    server, root = closed
    theirs = server.deploy(root, target_namespace="others", instance_name="theirs")
    assert server.ended(theirs, root) in ENDED
    place = server.get(f"/v1/operations/{theirs}", root)["deployment"]["id"]
    page = signed_in(visit, server, add_key(server, root, "dan", "deployer", [{"mode": "local", "namespace": "team"}]))

    for path in ("/", "/?state=removed", "/operations", "/targets", "/costs"):
        page.goto(server.origin + path)
        expect(page.get_by_role("banner").get_by_role("link", name="New deployment")).to_be_visible()
        assert "theirs" not in page.content(), path
        assert page.get_by_role("link", name=re.compile("^(Keys|Audit|Doctor)$")).count() == 0
    for path in (f"/operations/{theirs}", f"/deployments/{place}", f"/deployments/{place}/logs"):
        assert page.goto(server.origin + path).status == 404
        assert "theirs" not in page.locator("main").inner_text()
    refuses_administration(page, server)

    page.goto(f"{server.origin}/new")
    page.get_by_label("Repository", exact=True).fill(server.repository)
    page.get_by_label("Namespace", exact=True).fill("others")
    page.get_by_role("button", name="Show the plan").click()
    expect(page.get_by_role("alert")).to_contain_text("local:others")
    page.get_by_label("Namespace", exact=True).fill("team")
    page.get_by_role("button", name="Show the plan").click()
    expect(page.get_by_text("Nothing was done so far")).to_be_visible()
    agree(page)
    await_state(page, *ENDED)
    # Nothing is left of it, so that it is among those that were removed.
    page.goto(f"{server.origin}/?state=removed")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.goto(f"{server.origin}/operations")
    expect(page.locator("tbody tr")).to_have_count(1)


def test_pages_that_are_open_end_with_their_key(closed, visit):
    server, root = closed
    admin = signed_in(visit, server, root)
    eve = add_key(server, root, "eve", "viewer")
    overview, operations = signed_in(visit, server, eve), signed_in(visit, server, eve)
    operations.goto(f"{server.origin}/operations?state=failed")

    admin.goto(f"{server.origin}/keys")
    row = admin.get_by_role("row", name=re.compile("^eve"))
    row.get_by_text("Rotate", exact=True).click()
    row.get_by_label("The secret before counts").select_option("no more")
    row.get_by_role("button", name="Make a new secret").click()
    eve = admin.locator("#secret").inner_text()
    # A page that is alive says so by itself, any other when something is asked of it; both are gone back to.
    overview.wait_for_url("**/sign-in*")
    sign_in(overview, eve)
    overview.wait_for_url(f"{server.origin}/")
    operations.reload()
    operations.wait_for_url("**/sign-in?next=*")
    sign_in(operations, eve)
    operations.wait_for_url(f"{server.origin}/operations?state=failed")

    admin.goto(f"{server.origin}/keys")
    row = admin.get_by_role("row", name=re.compile("^eve"))
    row.get_by_text("Rotate", exact=True).click()
    row.get_by_text("Revoke", exact=True).click()
    assert not (found := faults(admin)), "\n".join(found)
    row.get_by_role("button", name="Revoke eve").click()
    overview.wait_for_url("**/sign-in*")
    sign_in(overview, eve)
    expect(overview.get_by_role("alert")).to_be_visible()
    row = admin.get_by_role("row", name=re.compile("^eve"))
    expect(row.get_by_text("Rotate", exact=True)).to_have_count(0)


def test_a_person_signs_in_at_the_issuer_until_the_token_ends(programs, visit):
    port = bed.free_port()
    origin = f"http://127.0.0.1:{port}"
    with Issuer(f"{origin}/sign-in/callback") as issuer, PretendingServer(programs, PORT=str(port), PUBLIC_URL=origin, **issuer.settings) as server:
        # With the minute of skew, this one's token ends in a moment.
        issuer.lasts_s = -53
        short = visit()
        short.goto(server.origin)
        at_the_issuer(short, "I am eve")
        short.wait_for_url(f"{server.origin}/")
        expect(short.locator(".who")).to_have_text("Eve (viewer)")

        issuer.lasts_s = 900
        page = visit()
        page.goto(f"{server.origin}/operations?state=failed")
        at_the_issuer(page, "I am nobody")
        expect(page.get_by_role("alert")).to_contain_text("`access_denied` (not today)")
        assert not (found := faults(page)), "\n".join(found)
        at_the_issuer(page, "I am bob")
        expect(page.get_by_role("alert")).to_contain_text("role")
        page.goto(f"{server.origin}/operations?state=failed")
        at_the_issuer(page, "I am ann")
        page.wait_for_url(f"{server.origin}/operations?state=failed")
        expect(page.locator(".who")).to_have_text("Ann (deployer)")
        expect(page.get_by_role("banner").get_by_role("link", name="New deployment")).to_be_visible()
        refuses_administration(page, server)
        page.goto(server.origin)
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/sign-in")
        page.goto(server.origin)
        page.wait_for_url("**/sign-in")

        short.wait_for_url("**/sign-in*")
        assert issuer.complaints == []


def at_the_issuer(page, who):
    """Signs in at the issuer, from the page on which somebody signs in."""
    page.get_by_role("link", name=re.compile("^Sign in with")).click()
    page.get_by_role("link", name=who).click()


def refuses_administration(page, server):
    for path in ("/keys", "/audit", "/doctor"):
        page.goto(server.origin + path)
        expect(page.get_by_role("heading", name="This is not yours to do")).to_be_visible()


def add_key(server, root, name, role, rights=()):
    """Makes a key without a page: gives its secret."""
    return server.post("/v1/keys", {"name": name, "role": role, **({"rights": rights} if rights else {})}, root)["secret"]


def make_key(page, name, role):
    """Makes a key by its page: gives its secret."""
    form = page.locator("form[action='/keys']")
    form.get_by_label("Name").fill(name)
    form.get_by_label("Role").select_option(role)
    form.get_by_role("button", name="Make the key").click()
    return page.locator("#secret").inner_text()


def signed_in(visit, server, key):
    """A page of a browser that has signed in."""
    page = visit()
    page.goto(server.origin)
    sign_in(page, key)
    page.wait_for_url(f"{server.origin}/")
    return page


def sign_in(page, key):
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name=re.compile("^Sign in")).click()

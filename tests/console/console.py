"""What the stories do with pages: open them, follow them, look for what is wrong with them, weigh them, keep pictures of them.

SCREENSHOTS=DIR keeps the pictures.
"""

import datetime
import gzip
import html
import json
import os
import pathlib
import re
import shutil
import tempfile
import time
import urllib.error
import urllib.request

from playwright.sync_api import expect

import bed

AXE = pathlib.Path(os.environ["AXE"]).read_text()
# What an operation may take on a slow machine, and what a cluster may take to answer, in ms.
PATIENCE = 300_000
SOON = 60_000
# What a page may weigh with its style and scripts, compressed.
MOST_BYTES = 60_000
# Told at the end of a run.
FIGURES = []

# When each state of each step was first seen; 0 for what was there when the page came.
WATCH = """
window.seen = {};
window.isTheSamePage = true;
const look = (now) => {
  for (const step of document.querySelectorAll("[id^=step-]")) window.seen[`${step.id.slice(5)} ${step.dataset.state}`] ??= now;
};
look(0);
new MutationObserver(() => look(Date.now())).observe(document.querySelector("#live"), {subtree: true, childList: true, attributes: true, characterData: true});
"""


class Server:
    """The server, which can be killed and started again: its workspace and its port stay."""

    def __init__(self, **settings):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="console-server-"))
        self.settings = {"PORT": str(bed.free_port()), "PERSISTENT_WORKSPACE_BASE_DIR": str(self.folder), "KIND_CLUSTER_NAME": "console", **settings}
        self.process = bed.Server(**self.settings)
        self.origin = self.process.origin

    def kill(self):
        self.process.child.kill()
        self.process.close()

    def start(self):
        self.process = bed.Server(**self.settings)

    def open(self, path, key=None, body=None):
        """What the API answers."""
        headers = {"content-type": "application/json", **({"authorization": f"Bearer {key}"} if key else {})}
        data = None if body is None else json.dumps(body).encode()
        return urllib.request.urlopen(urllib.request.Request(self.origin + path, data, headers), timeout=60)

    def get(self, path, key=None):
        """What the API says."""
        with self.open(path, key) as response:
            return json.load(response)

    def post(self, path, body, key=None):
        """What the API says to a body."""
        with self.open(path, key, body) as response:
            return json.load(response)

    def begin(self, key=None, **fields):
        """Begins an operation without a page: gives its id."""
        body = {"model": "app-server-default", "messages": [{"role": "user", "content": "Please."}], "stream": True, **fields}
        with self.open("/v1/chat/completions", key, body) as response:
            # The first that is told is told of its work.
            next(it for line in response if line.startswith(b"data: {") and (it := json.loads(line[6:])["choices"][0]["delta"].get("content")))
        return self.get("/v1/operations?limit=1", key)["data"][0]["id"]

    def ended(self, operation, key=None):
        """Waits for the end of an operation, and tells how it has ended."""
        until = time.monotonic() + PATIENCE / 1000
        while (state := self.get(f"/v1/operations/{operation}", key)["state"]) in ("queued", "running", "waiting"):
            assert time.monotonic() < until, f"{operation} does not end"
            time.sleep(0.05)
        return state

    def events(self, operation):
        """The history of an operation that has ended."""
        with urllib.request.urlopen(f"{self.origin}/v1/operations/{operation}/events", timeout=30) as response:
            lines = [it.removeprefix(b"data:").strip() for it in response if it.startswith(b"data:")]
        return [json.loads(it) for it in lines if it.startswith(b"{")]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class PretendingServer(Server):
    """A server with the bed's git and Docker, and a kind that makes a cluster until it is told to fail."""

    def __init__(self, programs, **settings):
        self.tools = pathlib.Path(tempfile.mkdtemp(prefix="console-tools-"))
        self.word, self.docker = self.tools / "fail", self.tools / "docker.sock"
        made = bed.programs(self.tools, f"while [ ! -e {self.word} ]; do sleep 0.1; done; echo it does not want to; exit 1")
        self.repository = f"{programs['GIT_BASE']}/static-site.git"
        self.connect_docker()
        # There is no AWS: of a plan it is asked nothing.
        nowhere = bed.aws(f"http://127.0.0.1:{bed.free_port()}")
        ours = {"KIND_PROGRAM": made["KIND_PROGRAM"], "DOCKER_HOST": f"unix://{self.docker}", "SHUTDOWN_GRACE_S": "1", "RETRY_ATTEMPTS": "0"}
        super().__init__(**programs, **nowhere, **ours, **settings)

    def fail(self):
        self.word.touch()

    def work(self):
        self.word.unlink(missing_ok=True)

    def connect_docker(self):
        self.docker.symlink_to("/var/run/docker.sock")

    def cut_docker_off(self):
        self.docker.unlink()

    def deploy(self, key=None, **fields):
        """Begins to deploy without a page: gives the operation."""
        wanted = {"action": "deploy", "deployment_mode": "local", "github_repo_url": self.repository, **fields}
        return self.begin(key, **wanted)

    def __exit__(self, *_):
        super().__exit__()
        shutil.rmtree(self.tools, ignore_errors=True)


def path_of(page):
    return "/" + page.url.split("/", 3)[3]


def plan_deploy(page, origin, repository, fields=()):
    """Fills in the form as a person does, as far as the plan."""
    page.goto(origin)
    page.get_by_role("link", name="New deployment").click()
    page.get_by_label("Repository", exact=True).fill(repository)
    for label, text in dict(fields).items():
        page.get_by_label(label, exact=True).fill(text)
    page.get_by_role("button", name="Show the plan").click()
    expect(page.get_by_role("heading", name="Plan", exact=True)).to_be_visible()


def agree(page):
    """Says yes to the plan, and watches the page that follows."""
    page.get_by_role("button", name="Do it").click()
    page.wait_for_url("**/operations/op_*")
    page.evaluate(WATCH)


def await_state(page, *states):
    """Waits until the page of an operation shows one of these states, by itself."""
    badges = ", ".join(f".title-row .badge[data-state={it}]" for it in states)
    expect(page.locator(badges)).to_be_visible(timeout=PATIENCE)


def carry_out(page, *states):
    """Says yes to the plan, and follows it to its end on the same page, without loading it anew."""
    agree(page)
    await_state(page, "succeeded", "failed", "undone", "stuck", "cancelled")
    assert page.evaluate("window.isTheSamePage"), "the page was loaded anew"
    shown = page.locator(".title-row .badge").get_attribute("data-state")
    assert shown in (states or ("succeeded",)), page.locator("main").inner_text()
    return path_of(page).split("/")[-1]


def delays(server, page, operation):
    """How long after they were stored the page showed the states of steps, in ms."""
    seen = page.evaluate("window.seen")
    states = {"step_started": "running", "step_succeeded": "succeeded", "step_failed": "failed"}
    found = []
    for event in server.events(operation):
        at = datetime.datetime.fromisoformat(event["at"].replace("Z", "+00:00")).timestamp() * 1000
        if shown := seen.get(f"{event.get('step')} {states.get(event['type'])}"):
            found.append(shown - at)
    return sorted(found)


def tell_delays(what, found):
    if not found:
        FIGURES.append(f"{what}: every state of a step was there when the page came")
        return
    FIGURES.append(f"{what}: {len(found)} states of steps shown {found[len(found) // 2]:.0f} ms after they were stored (median), {found[-1]:.0f} ms at the most")


def themes(page):
    """The page in light, then in dark. Nothing on it moves: a colour that is on its way to another is none of a theme."""
    yield "light"
    page.emulate_media(color_scheme="dark")
    page.evaluate("new Promise(requestAnimationFrame)")
    yield "dark"
    page.emulate_media(color_scheme="light")


# All that axe looks for; of that what depends on a theme, which changes colours and nothing else.
RULES = {
    "light": "rules: {'target-size': {enabled: true}}",
    "dark": "runOnly: ['color-contrast', 'link-in-text-block']",
}


def faults(page):
    """What axe finds, in both themes."""
    page.evaluate(AXE)
    found = []
    for theme in themes(page):
        result = page.evaluate(f"axe.run(document, {{resultTypes: ['violations'], {RULES[theme]}}})")
        for violation in result["violations"]:
            for node in violation["nodes"]:
                found.append(f"{path_of(page)} {theme} {violation['id']}: {node['html'][:200]} {node['failureSummary'][:300]}")
    return found


def too_wide(page):
    """What sticks out of a page that has to be scrolled sideways."""
    return page.evaluate(
        """() => {
          const room = document.documentElement.clientWidth;
          if (document.documentElement.scrollWidth <= room && document.body.scrollWidth <= room) return [];
          const wide = [...document.querySelectorAll("body *")].filter((it) => it.getBoundingClientRect().right > room + 1);
          return [document.documentElement.scrollWidth, ...wide.slice(0, 5).map((it) => it.outerHTML.slice(0, 120))];
        }"""
    )


def picture(page, name):
    """Keeps the page as it looks in both themes."""
    if not (folder := os.environ.get("SCREENSHOTS")):
        return
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    for theme in themes(page):
        page.screenshot(path=f"{folder}/{name}-{theme}.png", full_page=True)


def fetch(address):
    """A page as it comes over the line, compressed, and as it reads."""
    request = urllib.request.Request(address, headers={"accept": "text/html", "accept-encoding": "gzip"})
    try:
        response = urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        sent = response.read()
        return sent, gzip.decompress(sent) if response.headers["content-encoding"] == "gzip" else sent


def weigh(origin, path):
    """Bytes that come for a page: of the page, and with its style, scripts and icon."""
    sent, text = fetch(origin + path)
    parts = set(re.findall(r'(?:src|href)="(/assets/[^"]+)"', html.unescape(text.decode())))
    return len(sent), len(sent) + sum(len(fetch(origin + it)[0]) for it in parts)


def places(server, key=None):
    """Every page that can be opened by its address, of the newest operation and deployment."""
    operation = server.get("/v1/operations?limit=1", key)["data"][0]
    deployment = f"/deployments/{operation['deployment']['id']}"
    return [
        "/",
        "/?q=nowhere",
        "/?state=removed",
        "/operations",
        "/operations?state=failed",
        f"/operations/{operation['id']}",
        deployment,
        f"{deployment}/health",
        f"{deployment}/logs",
        f"{deployment}/logs?shown=true",
        "/new",
        "/chat",
        "/targets",
        "/costs",
        "/keys",
        "/audit",
        "/doctor",
        "/sign-in",
        "/no-such-page",
    ]


def heaviest(server):
    """Bytes of the heaviest page with its style and scripts."""
    weights = {path: weigh(server.origin, path) for path in places(server)}
    path = max(weights, key=lambda it: weights[it][1])
    alone, whole = weights[path]
    FIGURES.append(f"heaviest page: {path}, {alone} bytes compressed, {whole} with its style, scripts and icons")
    return whole

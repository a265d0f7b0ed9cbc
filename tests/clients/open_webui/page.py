"""A person with a browser: a real Open WebUI in its stock settings before the server, on the test bed's kind.

Open WebUI sends 36 tools of its own with every message. Once there is a chat model behind the server (model.js, which
calls tools as real ones do), once there is none.

SCREENSHOT=FILE.png keeps a picture of the page, RECORD=FILE.json the page's chat requests: requests.json, which
test_open_webui.py sends again, is made so.
"""

import contextlib
import http.client
import http.server
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading

import httpx
import pytest
from playwright.sync_api import expect, sync_playwright

import bed

bed.end_in_order()

CLUSTER = "on-demand-infra-page"
# What a deploy may take on a slow machine, in ms.
PATIENCE = 300_000


class OpenWebUi(bed.Process):
    """Open WebUI with its stock settings, on an empty data folder. Whatever is not on this machine is out of its reach."""

    def __init__(self, url, key="none"):
        folder, port = pathlib.Path(tempfile.mkdtemp(prefix="clients-page-")), bed.free_port()
        nowhere = "http://127.0.0.1:9"
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "DATA_DIR": str(folder / "data"),
            "WEBUI_AUTH": "False",
            "WEBUI_SECRET_KEY": "of-the-client-tests",
            "ENABLE_OLLAMA_API": "false",
            "OPENAI_API_BASE_URL": url,
            "OPENAI_API_KEY": key,
            # These load or ask for something at the start that is not on this machine.
            "RAG_EMBEDDING_ENGINE": "openai",
            "OFFLINE_MODE": "true",
            "HF_HUB_OFFLINE": "1",
            "ENABLE_VERSION_UPDATE_CHECK": "false",
            **{name: nowhere for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")},
            **{name: "127.0.0.1,localhost" for name in ("NO_PROXY", "no_proxy")},
        }
        super().__init__(["open-webui", "serve", "--host", "127.0.0.1", "--port", str(port)], port, "/health", environment, folder, patience_s=180)


@contextlib.contextmanager
def recorder(server, file):
    """Passes on what the page sends, and keeps the bodies of its chat requests; the tools, which are always the same, once."""
    bodies = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            length = int(self.headers.get("content-length") or 0)
            body = self.rfile.read(length) if length else None
            if self.path.endswith("/chat/completions"):
                bodies.append(json.loads(body))
            upstream = http.client.HTTPConnection("127.0.0.1", server.port)
            upstream.request(self.command, self.path, body, {"content-type": "application/json"})
            response = upstream.getresponse()
            self.send_response(response.status)
            self.send_header("content-type", response.headers["content-type"])
            self.end_headers()
            while piece := response.read1():
                self.wfile.write(piece)

        do_POST = do_GET

        def log_message(self, *_):
            pass

    passing = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=passing.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{passing.server_port}/v1"
    passing.shutdown()
    tools = next(it["tools"] for it in bodies if it.get("tools"))
    kept = [{**it, "tools": "the same"} if it.get("tools") == tools else it for it in bodies]
    pathlib.Path(file).write_text(json.dumps({"tools": tools, "requests": kept}, indent=1) + "\n")


class Chat:
    """One chat on the page, as a person has it."""

    def __init__(self, page):
        self.page = page

    def open(self, origin, chosen="models=app-server-default"):
        self.page.goto(f"{origin}/?{chosen}")
        # The first visit greets with what is new.
        greeting = self.page.get_by_role("button", name=re.compile("okay, let's go", re.I))
        with contextlib.suppress(Exception):
            greeting.click(timeout=10_000)

    def say(self, text, meanwhile=lambda: None):
        """Sends a message and gives the answer, once it is whole. Meanwhile the person may be asked something."""
        page = self.page
        # A long conversation is not whole in the page: what is new is told by its id.
        answers = page.locator("[id^=message-]:has(.chat-assistant)")
        before = answers.evaluate_all("all => all.map(it => it.id)")
        page.locator("#chat-input").click()
        page.keyboard.insert_text(text)
        page.keyboard.press("Enter")
        is_new = "before => [...document.querySelectorAll('[id^=message-]:has(.chat-assistant)')].some(it => !before.includes(it.id))"
        page.wait_for_function(is_new, arg=before, timeout=30_000)
        answer = answers.last
        meanwhile()
        # The buttons below an answer come when it has ended.
        expect(answer.get_by_role("button", name="Good Response")).to_be_attached(timeout=PATIENCE)
        return answer.locator(".chat-assistant").inner_text()

    def picture(self, file):
        self.page.screenshot(path=file)


@pytest.fixture(scope="module")
def programs():
    it = {**bed.real_programs(), "KIND_CLUSTER_NAME": CLUSTER, "NODE_PORT_RANGE": bed.free_node_ports()}
    yield it
    delete = ["kind", "delete", "cluster", "--quiet", "--name", CLUSTER, "--kubeconfig", "/dev/null"]
    subprocess.run(delete, env={**os.environ, "PATH": it["PATH"]}, check=True)


@pytest.fixture(params=["with a model", "without a model"])
def chat(request, programs):
    with contextlib.ExitStack() as stack:
        model = stack.enter_context(bed.Model()) if request.param == "with a model" else None
        server = stack.enter_context(bed.Server(**programs, **(model.settings if model else {})))
        record = os.environ.get("RECORD") if model else None
        url = stack.enter_context(recorder(server, record)) if record else server.url
        page = stack.enter_context(OpenWebUi(url))
        browser = stack.enter_context(sync_playwright()).chromium.launch(executable_path=os.environ["CHROMIUM"], args=["--no-sandbox"])
        stack.callback(browser.close)
        it = Chat(browser.new_page(viewport={"width": 1280, "height": 900}))
        stack.callback(it.picture, bed.ROOT / "target/tmp/open-webui.png")
        it.model, it.server = model, server
        it.repository = f"{programs['GIT_BASE']}/static-site.git"
        it.open(page.origin)
        yield it


def test_a_person_deploys_asks_scales_and_takes_down(chat):
    deployed = chat.say(f"deploy '{chat.repository}' to local as shop")
    address = re.search(r"http://(localhost|127\.0\.0\.1):\d+", deployed)
    assert address, deployed
    served = httpx.get(address[0])

    if picture := os.environ.get("SCREENSHOT"):
        chat.picture(picture)
    asked = chat.say("status of shop: how is it?")
    scaled = chat.say("scale shop to 2")
    question = chat.say("decommission shop")
    gone = chat.say("yes")

    assert served.status_code == 200
    assert "running" in asked, asked
    assert re.search(r"\b2 (of 2 )?replicas", scaled), scaled
    assert "Shall I" in question, question
    assert "is gone" in gone, gone
    listed = httpx.get(f"{chat.server.url}/deployments").json()["data"]
    assert listed == []
    if chat.model:
        sent = httpx.get(f"{chat.model.origin}/requests").json()
        offered = max((it["body"].get("tools") or [] for it in sent), key=len)
        names = [it["function"]["name"] for it in offered]
        assert {"deploy", "decommission"} < set(names) and len(names) > 20, names


def test_a_tool_of_the_page_works_beside(chat):
    if not chat.model:
        pytest.skip("without a model nobody calls the page's tools")

    said = chat.say("get_current_timestamp please")

    assert "The tool says" in said, said

"""A person with a browser: a real Open WebUI that has this server as a tool server, of the type MCP (Streamable HTTP).

It is registered as an administrator does it, by Open WebUI's API. Open WebUI 0.12 speaks 2026-07-28, puts a tool's question to
its person, and offers the tools to the model under the connection's id. The model is model.js, behind the server's `chat`.
"""

import contextlib
import json
import os

import httpx
import pytest
from playwright.sync_api import sync_playwright

import bed
from page import Chat, OpenWebUi

bed.end_in_order()

NOTES = {"deployment_mode": "local", "github_repo_url": "https://github.com/example/notes", "target_namespace": "demo", "instance_name": "notes"}
PLACE = {name: NOTES[name] for name in ("deployment_mode", "target_namespace", "instance_name")}


class Administration:
    """Open WebUI's admin panel, by its API."""

    def __init__(self, page):
        self.http = httpx.Client(base_url=page.origin, timeout=60)
        token = self.post("auths/signin", {"email": "", "password": ""}).json()["token"]
        self.http.headers["authorization"] = f"Bearer {token}"

    def post(self, path, body):
        return self.http.post(f"/api/v1/{path}", json=body)


def connection(server, key=bed.KEY):
    info = {"id": "infra", "name": "On-demand infra", "description": "Deploys applications."}
    return {"url": f"{server.origin}/mcp", "path": "", "type": "mcp", "auth_type": "bearer", "key": key, "config": {"enable": True}, "info": info}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    programs = bed.programs(tmp_path_factory.mktemp("programs"), "exec sleep 300")
    with bed.Model() as model, bed.Server(**programs, **model.settings, **bed.aws(model.origin), API_KEYS=bed.KEY) as it:
        yield it


@pytest.fixture(scope="module")
def page(server):
    with OpenWebUi(server.url, bed.KEY) as it:
        it.administration = Administration(it)
        registered = it.administration.post("configs/tool_servers", {"TOOL_SERVER_CONNECTIONS": [connection(server)]})
        assert registered.status_code == 200, registered.text
        yield it


@pytest.fixture
def chat(page):
    with contextlib.ExitStack() as stack:
        browser = stack.enter_context(sync_playwright()).chromium.launch(executable_path=os.environ["CHROMIUM"], args=["--no-sandbox"])
        stack.callback(browser.close)
        it = Chat(browser.new_page(viewport={"width": 1280, "height": 900}))
        stack.callback(it.picture, bed.ROOT / "target/tmp/open-webui-tools.png")
        it.open(page.origin, "models=chat&tool-ids=server:mcp:infra")
        yield it


def use(chat, tool, arguments, meanwhile=lambda: None):
    """What the model says of what this tool of ours gave."""
    return chat.say(f"infra_{tool} please [arguments {json.dumps(arguments)}]", meanwhile)


class Question:
    """The person's answer to the form that a tool asks for."""

    def __init__(self, chat, answer):
        self.page, self.answer = chat.page, answer

    def __call__(self):
        form = self.page.locator("form:has([id^=elicitation-])")
        self.text = form.inner_text(timeout=30_000)
        form.get_by_role("combobox").select_option(label=self.answer)
        form.get_by_role("button", name="Submit").click()


def test_the_connection_is_verified_and_a_wrong_key_is_noticed(server, page):
    verified = page.administration.post("configs/tool_servers/verify", connection(server))
    refused = page.administration.post("configs/tool_servers/verify", connection(server, "not-the-key"))

    assert verified.status_code == 200, verified.text
    assert {"plan", "deploy", "operation_wait"} <= {it["name"] for it in verified.json()["specs"]}
    assert refused.status_code == 400


def test_a_person_deploys_asks_and_cancels(server, chat):
    headers = {"authorization": f"Bearer {bed.KEY}"}

    empty = use(chat, "list", {})
    begun = use(chat, "deploy", NOTES)
    (operation,) = httpx.get(f"{server.url}/operations", headers=headers).json()["data"]
    asked = use(chat, "status", PLACE)
    busy = use(chat, "scale", {**PLACE, "scale_replicas": 2})
    use(chat, "operation_cancel", {"id": operation["id"]})

    assert "The tool says" in empty
    assert operation["id"] in begun and operation["deployment"]["instance_name"] == "notes"
    assert "notes" in asked
    # A refusal is what the tool says too.
    assert operation["id"] in busy


def test_a_person_is_asked_before_it_costs(server, chat):
    headers = {"authorization": f"Bearer {bed.KEY}"}
    instance = {**NOTES, "deployment_mode": "cloud-local", "ec2_key_name": "mine", "instance_name": "paid"}
    no, yes = Question(chat, "No"), Question(chat, "Yes")

    declined = use(chat, "deploy", instance, no)
    begun = use(chat, "deploy", instance, yes)

    named = [it for it in httpx.get(f"{server.url}/operations", headers=headers).json()["data"] if it["deployment"]["instance_name"] == "paid"]
    assert "paid" in no.text and "USD" in no.text
    assert "declined" in declined
    assert [it["id"] for it in named if it["id"] in begun] == [named[0]["id"]] and len(named) == 1

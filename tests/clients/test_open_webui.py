"""A conversation as Open WebUI has it: its headers, its bodies, and what it asks by itself at the same moment.

The connection forwards the user (ENABLE_FORWARD_USER_INFO_HEADERS), and the model of the page has the custom parameters
`action: deploy` and the rest of a deployment, which the page adds to every request, also to its own.
"""

import asyncio
import json

import httpx
import pytest

import bed
from conftest import NAME, PLAN

STICKY = {key: value for key, value in PLAN.items() if key != "dry_run"}
CHAT = "8f2f1c53-0e6f-4c0c-9a0e-6f5a2f0b7f10"
HISTORY = "### Chat History:\n<chat_history>\nUSER: please deploy my notes\nASSISTANT: on it\n</chat_history>"
TASKS = {
    "title_generation": ("### Task:\nGive this chat a short title.\n### Output:\nJSON format: { \"title\": \"the title\" }", {"max_completion_tokens": 1000}),
    "tags_generation": ("### Task:\nName 1-3 tags for this chat.\n### Output:\nJSON format: { \"tags\": [\"one\", \"two\"] }", {}),
    "follow_up_generation": ("### Task:\nSuggest what the user could ask next.\n### Output:\nJSON format: { \"follow_ups\": [\"One?\", \"Two?\"] }", {}),
    "query_generation": ("### Task:\nWhich searches would help?\n### Output:\n{ \"queries\": [\"one\"] }", {}),
    "autocomplete_generation": ("### Task:\nYou are an autocompletion system.\n### Output:\n{ \"text\": \"<completion>\" }", {}),
}
KEYS = {"title_generation": "title", "tags_generation": "tags", "follow_up_generation": "follow_ups", "query_generation": "queries", "autocomplete_generation": "text"}


class Page:
    """What the page's back end does with a message of its user."""

    def __init__(self, url, forwards_task):
        self.http = httpx.AsyncClient(base_url=url, timeout=60)
        self.forwards_task = forwards_task
        self.messages = []

    def headers(self, message, task=None):
        user = {"Name": "Ada%20L", "Id": "3b1c7f6e", "Email": "ada@example.com", "Role": "user"}
        headers = {f"X-OpenWebUI-User-{name}": value for name, value in user.items()}
        headers |= {"X-OpenWebUI-Chat-Id": CHAT, "X-OpenWebUI-Message-Id": f"answer-{message}", "Authorization": f"Bearer {bed.KEY}"}
        if self.forwards_task:
            headers |= {"X-OWUI-Task": task or "", "X-OWUI-User-Message-Id": message}
        return headers

    async def say(self, message, text):
        """Sends the whole conversation, streamed, and gives the answer and the page's own events."""
        self.messages.append({"role": "user", "content": text})
        body = {"stream": True, "model": NAME, "messages": self.messages, "stream_options": {"include_usage": True}, **STICKY}
        answer, events, last = "", [], None
        async with self.http.stream("POST", "/chat/completions", json=body, headers=self.headers(message)) as response:
            assert response.status_code == 200, await response.aread()
            async for line in response.aiter_lines():
                if not line.startswith("data: ") or line == "data: [DONE]":
                    continue
                chunk = json.loads(line.removeprefix("data: "))
                events += [chunk["event"]] if "event" in chunk else []
                answer += "".join(it["delta"].get("content") or "" for it in chunk["choices"])
                last = chunk if chunk["choices"] and chunk["choices"][0]["finish_reason"] else last
        self.messages.append({"role": "assistant", "content": answer})
        return last["operation"], answer, events

    async def task(self, name):
        instructions, extra = TASKS[name]
        body = {"model": NAME, "messages": [{"role": "user", "content": f"{instructions}\n{HISTORY}"}], "stream": False, **extra, **STICKY}
        response = await self.http.post("/chat/completions", json=body, headers=self.headers("m1", name))
        assert response.status_code == 200, response.text
        answer = response.json()
        assert "operation" not in answer
        return json.loads(answer["choices"][0]["message"]["content"])

    async def operations(self):
        response = await self.http.get("/operations", headers={"Authorization": f"Bearer {bed.KEY}"})
        return response.json()["data"]


@pytest.mark.parametrize("forwards_task", [False, True], ids=["as it comes", "with its task forwarded"])
@pytest.mark.parametrize("end", ["exit 1", "sleep 2; exit 1"], ids=["quick", "slow"])
@pytest.mark.parametrize("has_model", [False, True], ids=["without a model", "with a model"])
async def test_a_conversation_with_sticky_parameters_is_one_deployment(tmp_path, behind, forwards_task, end, has_model):
    settings = bed.programs(tmp_path, end) | (behind.settings if has_model else {})
    with bed.Server(**settings, RETRY_ATTEMPTS="0", API_KEYS=bed.KEY) as server:
        page = Page(server.url, forwards_task)

        (first, answer, events), *tasks = await asyncio.gather(page.say("m1", "please deploy my notes"), *map(page.task, TASKS))
        again, _, _ = await page.say("m2", "thank you!")
        operations = await page.operations()
        await page.http.aclose()

    assert [set(it) for it in tasks] == [{KEYS[name]} for name in TASKS]
    assert "notes" in answer.lower()
    assert events and events[-1]["data"]["done"] is True
    assert all(it["type"] == "status" for it in events)
    assert first["id"] == again["id"]
    assert [it["id"] for it in operations] == [first["id"]]


async def test_a_message_that_is_sent_again_is_the_same_operation(tmp_path):
    with bed.Server(**bed.programs(tmp_path, "exit 1"), RETRY_ATTEMPTS="0", API_KEYS=bed.KEY) as server:
        page = Page(server.url, forwards_task=True)

        first, _, _ = await page.say("m1", "please deploy my notes")
        page.messages.clear()
        second, _, _ = await page.say("m1", "please deploy my notes")
        await page.http.aclose()

    assert first["id"] == second["id"]


async def test_the_page_learns_the_models_and_what_is_wrong_in_its_own_way(tmp_path):
    with bed.Server(API_KEYS=bed.KEY) as server:
        page = Page(server.url, forwards_task=False)

        models = await page.http.get("/models", headers=page.headers("m0"))
        refused = await page.http.post("/chat/completions", json={"model": NAME, "messages": [], "stream": True}, headers=page.headers("m1"))
        await page.http.aclose()

    assert NAME in [it["id"] for it in models.json()["data"]]
    # The page shows `error.message` when the answer is JSON; a stream with an error status would hang it.
    assert refused.status_code == 400 and refused.headers["content-type"] == "application/json"
    assert refused.json()["error"]["message"]


RECORDED = json.loads((bed.HERE / "open_webui/requests.json").read_text())


@pytest.mark.parametrize("has_model", [False, True], ids=["without a model", "with a model"])
async def test_what_a_real_page_sends_is_understood(tmp_path, behind, has_model):
    """What a real Open WebUI in its stock settings has sent (open_webui/page.py): with 36 tools, and tasks of its own."""
    settings = bed.programs(tmp_path, "exit 1") | (behind.settings if has_model else {})
    answers = []
    with bed.Server(**settings, RETRY_ATTEMPTS="0", GIT_ALLOWED_HOSTS="127.0.0.1:18443") as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
            for recorded in RECORDED["requests"]:
                body = {**recorded, "stream": False} | ({"tools": RECORDED["tools"]} if "tools" in recorded else {})
                response = await http.post("/chat/completions", json=body)
                assert response.status_code == 200, response.text
                answers.append((recorded, response.json()))

    tasks = [answer for recorded, answer in answers if "tools" not in recorded]
    said = [answer for recorded, answer in answers if "tools" in recorded]
    assert len(RECORDED["tools"]) > 20 and len(tasks) >= 3 and len(said) >= 5
    assert all(json.loads(it["choices"][0]["message"]["content"]) and "operation" not in it for it in tasks)
    assert said[0]["operation"]["state"] in ("failed", "undone"), said[0]
    assert all(it["choices"][0]["finish_reason"] == "stop" for it in said)

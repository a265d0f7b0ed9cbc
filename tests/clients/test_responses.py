"""openai-python's Responses API. Everything that comes is held against its types: see strict.py."""

import asyncio
import contextlib
import json
import time

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

import bed
import strict
from conftest import HELLO, NAME, PLAN

SAYS = "hello"
DEPLOY = {key: value for key, value in PLAN.items() if key != "dry_run"}
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city", "days"], "additionalProperties": False},
    "strict": True,
}
SQL = {"type": "custom", "name": "run_sql", "description": "Runs SQL.", "format": {"type": "text"}}
# What agents send with every request and this server does not serve.
ELSEWHERE = [
    {"type": "web_search", "external_web_access": True},
    {"type": "namespace", "name": "multi_agent_v1", "description": "Agents.", "tools": [{"type": "function", "name": "close_agent", "parameters": {"type": "object", "properties": {}}}]},
    {"type": "code_interpreter", "container": {"type": "auto"}},
]


@contextlib.contextmanager
def talking_to(server, key="none", **options):
    with strict.Http() as http, OpenAI(base_url=server.url, api_key=key, http_client=http, max_retries=0, **options) as it:
        yield it


@pytest.fixture
def client(server):
    with talking_to(server) as it:
        yield it


@pytest.fixture
def smart_client(smart):
    with talking_to(smart) as it:
        yield it


@pytest.fixture(scope="module")
def failing(tmp_path_factory):
    """A server whose deployments fail at once."""
    with bed.Server(**bed.programs(tmp_path_factory.mktemp("programs"), "exit 1"), RETRY_ATTEMPTS="0") as it:
        yield it


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """A server whose deployments take for ever."""
    with bed.Server(**bed.programs(tmp_path_factory.mktemp("programs"), "exec sleep 300"), ANSWER_WITHIN_S="1") as it:
        yield it


def ask(client, said=SAYS, **fields):
    return client.responses.create(model=NAME, input=said, **fields)


def text_of(events):
    return "".join(it.delta for it in events if it.type == "response.output_text.delta")


def deploy(name):
    return {**DEPLOY, "instance_name": name}


def await_end(look):
    """What it looks at, once that has ended."""
    until = time.monotonic() + 30
    while (it := look()).get("state", it.get("status")) in ("queued", "in_progress", "running"):
        assert time.monotonic() < until, it
        time.sleep(0.1)
    return it


def arrived(behind):
    """The messages of the last request that reached the model, as role and text."""
    messages = httpx.get(f"{behind.origin}/requests").json()[-1]["body"]["messages"]
    return [(it["role"], it.get("content")) for it in messages]


# What is answered.


def test_a_whole_answer_is_a_response(client):
    answer = ask(client)

    assert (answer.object, answer.model, answer.status, answer.error) == ("response", NAME, "completed", None)
    assert answer.id.startswith("resp_") and answer.created_at > 1_700_000_000
    assert [it.type for it in answer.output] == ["message"]
    assert answer.output_text
    usage = answer.usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert min(usage.input_tokens, usage.output_tokens) > 0


@pytest.mark.parametrize("fields", [{}, PLAN, {"action": "list"}], ids=["words", "a plan", "a list"])
def test_it_says_what_a_chat_completion_says(client, fields):
    said = client.chat.completions.create(model=NAME, messages=HELLO, extra_body=fields)

    answer = ask(client, extra_body=fields)

    assert answer.output_text == said.choices[0].message.content


def test_a_stream_says_the_same_in_events(client):
    whole = ask(client, extra_body=PLAN)
    events = list(ask(client, extra_body=PLAN, stream=True))

    assert "notes" in whole.output_text
    assert text_of(events) == whole.output_text == events[-1].response.output_text
    assert events[-1].type == "response.completed"
    assert events[-1].response.usage == whole.usage


def test_the_stream_helper_puts_the_answer_together(client):
    with client.responses.stream(model=NAME, input=SAYS) as stream:
        kinds = {event.type for event in stream}
        whole = stream.get_final_response()

    assert {"response.created", "response.output_text.delta", "response.output_text.done", "response.completed"} <= kinds
    assert whole.output_text == ask(client).output_text


async def test_the_asynchronous_client_does_the_same(server):
    async with strict.AsyncHttp() as http, AsyncOpenAI(base_url=server.url, api_key="none", http_client=http) as client:
        whole, stream = await asyncio.gather(
            client.responses.create(model=NAME, input=SAYS),
            client.responses.create(model=NAME, input=SAYS, stream=True),
        )
        events = [it async for it in stream]

    assert text_of(events) == whole.output_text


async def test_many_at_once_are_each_answered(server):
    async with strict.AsyncHttp() as http, AsyncOpenAI(base_url=server.url, api_key="none", http_client=http) as client:
        answers = await asyncio.gather(*(client.responses.create(model=NAME, input=f"hello {it}") for it in range(50)))

    assert len({it.id for it in answers}) == 50


def test_every_kind_of_item_is_accepted(client):
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "now", "arguments": "{}", "status": "completed"}
    items = [
        {"role": "system", "content": "be kind"},
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "be brief"}]},
        {"role": "user", "content": [{"type": "input_text", "text": "what"}, {"type": "input_text", "text": "time is it?"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "x"},
        call,
        {"type": "function_call_output", "id": "fco_1", "call_id": "call_1", "output": "noon"},
        {"type": "custom_tool_call", "call_id": "call_2", "name": "run_sql", "input": "select 1"},
        {"type": "custom_tool_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "1"}]},
        {"type": "function_call", "call_id": "call_3", "namespace": "multi_agent_v1", "name": "close_agent", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_3", "output": "unsupported call"},
        {"type": "additional_tools", "id": "at_1", "role": "developer", "tools": ELSEWHERE},
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "noon", "annotations": []}, {"type": "refusal", "refusal": "no"}]},
        {"role": "assistant", "content": "it is noon"},
        {"role": "user", "content": "thanks"},
    ]

    assert ask(client, items).output_text


def test_every_field_of_the_api_is_accepted(client):
    answer = ask(
        client,
        include=["reasoning.encrypted_content", "message.output_text.logprobs"],
        instructions="be brief",
        max_output_tokens=100,
        max_tool_calls=2,
        metadata={"a": "b"},
        parallel_tool_calls=False,
        prompt_cache_key="key",
        reasoning={"effort": "low", "summary": "auto"},
        safety_identifier="someone",
        service_tier="auto",
        store=True,
        stream_options={"include_obfuscation": False},
        temperature=0.1,
        text={"format": {"type": "text"}, "verbosity": "low"},
        tool_choice="auto",
        tools=[WEATHER, SQL, *ELSEWHERE],
        top_logprobs=2,
        top_p=0.9,
        truncation="auto",
        user="someone",
        extra_body={"client_metadata": {"turn": "1"}},
    )

    assert answer.status == "completed"
    assert (answer.temperature, answer.top_p, answer.max_output_tokens, answer.instructions) == (0.1, 0.9, 100, "be brief")
    assert answer.metadata["a"] == "b" and answer.truncation == "auto" and answer.parallel_tool_calls is False


def test_tools_that_are_not_served_are_left_out_with_a_word(client):
    answer = ask(client, tools=[WEATHER, SQL, *ELSEWHERE])

    assert [it.name for it in answer.tools] == ["get_weather", "run_sql"]
    told = json.dumps(answer.metadata)
    assert "web_search" in told and "multi_agent_v1" in told and "code_interpreter" in told


def test_the_raw_response_is_there_beside_the_parsed_one(client):
    raw = client.responses.with_raw_response.create(model=NAME, input=SAYS, extra_headers={"x-request-id": "mine-1"})

    assert raw.status_code == 200 and raw.headers["content-type"] == "application/json"
    assert raw.headers["x-request-id"] == raw.request_id == raw.parse()._request_id == "mine-1"


# What is deployed.


def test_a_deployment_that_fails_is_a_completed_response(failing):
    with talking_to(failing) as client:
        answer = ask(client, "deploy it", extra_body=deploy("whole"))
        *_, last = list(ask(client, "deploy it", extra_body=deploy("streamed"), stream=True))

    for it in (answer, last.response):
        assert (it.status, it.error) == ("completed", None)
        assert it.operation["state"] in ("failed", "undone") and it.deployment["github_repo_url"] == PLAN["github_repo_url"]
        assert it.output_text


def test_an_answer_in_time_says_how_to_follow_what_goes_on(slow):
    with talking_to(slow) as client:
        answer = ask(client, "deploy it", extra_body=deploy("patient"))

    assert (answer.status, answer.operation["state"]) == ("completed", "running")
    assert answer.operation["id"] in answer.output_text


def test_an_equal_request_attaches_and_a_key_says_so_too(slow):
    with talking_to(slow) as client:
        first = ask(client, "deploy it", extra_body=deploy("once"))
        second = ask(client, "deploy it", extra_body=deploy("once"))
        keyed = {"Idempotency-Key": "one-response"}
        third = ask(client, "deploy it", extra_body=deploy("keyed"), extra_headers=keyed)
        fourth = ask(client, "deploy it", extra_body=deploy("keyed"), extra_headers=keyed)
        with pytest.raises(openai.UnprocessableEntityError) as caught:
            ask(client, "deploy it", extra_body=deploy("other"), extra_headers=keyed)

    assert first.operation["id"] == second.operation["id"] and first.id == second.id
    assert third.operation["id"] == fourth.operation["id"] and third.id == fourth.id
    assert caught.value.code == "idempotency_key_reused"


def test_a_deployment_is_the_same_on_both_surfaces(slow):
    with talking_to(slow) as client:
        begun = client.chat.completions.create(model=NAME, messages=HELLO, extra_body=deploy("both"))
        with pytest.raises(openai.ConflictError, match=begun.operation["id"]) as caught:
            ask(client, "scale it", extra_body={**deploy("both"), "scale_replicas": 2})

    assert caught.value.code == "deployment_busy"


def test_a_stream_begins_at_once_and_goes_on_without_its_client(slow):
    with talking_to(slow) as client:
        stream = ask(client, "deploy it", extra_body=deploy("left"), stream=True)
        first = next(stream)
        stream.close()
        operations = httpx.get(f"{slow.url}/operations").json()["data"]

    assert first.type == "response.created"
    assert [it["state"] for it in operations if it["deployment"]["instance_name"] == "left"] == ["running"]


# What is kept.


def test_what_is_stored_is_shown_again_until_it_is_deleted(client):
    answer = ask(client, extra_body=PLAN)
    again = client.responses.retrieve(answer.id, include=["reasoning.encrypted_content"])
    events = list(client.responses.retrieve(answer.id, stream=True))
    rest = list(client.responses.retrieve(answer.id, stream=True, starting_after=3))
    client.responses.delete(answer.id)

    assert again == answer
    assert events[-1].response == answer and text_of(events) == answer.output_text
    assert rest == events[4:]
    for gone in (client.responses.retrieve, client.responses.delete, client.responses.cancel, client.responses.input_items.list):
        with pytest.raises(openai.NotFoundError):
            gone(answer.id)


def test_a_stream_is_stored_too(client):
    events = list(ask(client, stream=True))

    assert list(client.responses.retrieve(events[0].response.id, stream=True)) == events


def test_what_was_said_is_listed(client):
    said = [{"role": "user", "content": f"number {it}"} for it in range(5)]
    answer = ask(client, said)

    newest = client.responses.input_items.list(answer.id)
    page = client.responses.input_items.list(answer.id, order="asc", limit=2)
    every = list(page)

    texts = [it.content[0].text for it in every]
    assert texts == [it["content"] for it in said]
    assert [it.id for it in newest.data] == [it.id for it in reversed(every)]
    assert len({it.id for it in every}) == 5 and len(page.data) == 2


def test_what_is_not_to_be_stored_is_not(client):
    answer = ask(client, store=False)

    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(answer.id)
    with pytest.raises(openai.NotFoundError) as caught:
        ask(client, previous_response_id=answer.id)
    assert caught.value.param == "previous_response_id"


def test_a_conversation_goes_on_from_a_response(smart_client, behind):
    first = ask(smart_client, "one haiku", instructions="be brief")
    second = ask(smart_client, "another haiku", previous_response_id=first.id, instructions="be loud")
    ask(smart_client, "a third haiku", previous_response_id=second.id)

    said = arrived(behind)
    assert [it for it in said if it[0] != "system"] == [
        ("user", "one haiku"),
        ("assistant", first.output_text),
        ("user", "another haiku"),
        ("assistant", second.output_text),
        ("user", "a third haiku"),
    ]
    assert second.previous_response_id == first.id
    # The instructions of a response are its own.
    assert not any(text and ("be brief" in text or "be loud" in text) for _, text in said)


def test_an_item_of_an_answer_is_referred_to(smart_client, behind):
    first = ask(smart_client, "one haiku")

    ask(smart_client, [{"role": "user", "content": "one haiku"}, {"type": "item_reference", "id": first.output[0].id}, {"role": "user", "content": "another haiku"}])

    assert ("assistant", first.output_text) in arrived(behind)
    with pytest.raises(openai.NotFoundError):
        ask(smart_client, [{"type": "item_reference", "id": "msg_of_somebody"}, {"role": "user", "content": "hello"}])


def test_a_yes_is_to_what_was_asked_before(failing):
    with talking_to(failing) as client:
        ask(client, "deploy it", extra_body=deploy("asked"))
        question = ask(client, "decommission asked in namespace demo")
        answer = ask(client, "yes", previous_response_id=question.id)

    assert getattr(question, "operation", None) is None, question.output_text
    assert answer.output_text != question.output_text


def test_the_responses_of_another_key_are_not_there():
    with bed.Server(API_KEYS="a-key-of-ada-herself,a-key-of-bob-himself") as server:
        with talking_to(server, "a-key-of-ada-herself") as ada, talking_to(server, "a-key-of-bob-himself") as bob:
            answer = ask(ada)
            for wrong in (bob.responses.retrieve, bob.responses.delete, bob.responses.cancel, bob.responses.input_items.list):
                with pytest.raises(openai.NotFoundError):
                    wrong(answer.id)
            for said in ({"previous_response_id": answer.id}, {"said": [{"type": "item_reference", "id": answer.output[0].id}]}):
                with pytest.raises(openai.NotFoundError):
                    ask(bob, **said)
            assert ada.responses.retrieve(answer.id) == answer


def test_secrets_are_not_stored(client):
    secret = "ghp_0123456789abcdefghijABCDEFGHIJ012345"
    answer = ask(client, f"my key is {secret}", extra_body={**PLAN, "environment": {"PASSWORD": "hunter2-and-more"}, "git_token": secret})

    kept = json.dumps([client.responses.retrieve(answer.id).to_dict(), [it.to_dict() for it in client.responses.input_items.list(answer.id)]])
    assert "notes" in kept
    assert secret not in kept and "hunter2-and-more" not in kept


# In the background.


def test_a_response_in_the_background_is_followed_and_cancelled(slow):
    with talking_to(slow) as client:
        begun = ask(client, "deploy it", extra_body=deploy("behind"), background=True)
        running = client.responses.retrieve(begun.id)
        for event in client.responses.retrieve(begun.id, stream=True):
            if event.type == "response.output_text.delta":
                break
        cancelled = client.responses.cancel(begun.id)
        operation = await_end(lambda: httpx.get(f"{slow.url}/operations/{running.operation['id']}").json())
        ended = client.responses.retrieve(begun.id)

    assert begun.background is True and begun.status in ("queued", "in_progress")
    assert running.operation["state"] in ("queued", "running") and running.status in ("queued", "in_progress")
    assert cancelled.status == ended.status == "cancelled"
    assert operation["state"] in ("cancelled", "undone")


def test_a_response_in_the_background_ends_with_its_operation(failing):
    with talking_to(failing) as client:
        begun = ask(client, "deploy it", extra_body=deploy("later"), background=True)
        await_end(lambda: client.responses.retrieve(begun.id).to_dict())
        ended = client.responses.retrieve(begun.id)

    assert begun.id == ended.id
    assert (ended.status, ended.error) == ("completed", None) and ended.operation["state"] in ("failed", "undone")
    assert ended.output_text and ended.deployment


def test_a_stream_in_the_background_is_taken_up_again(failing):
    with talking_to(failing) as client:
        stream = ask(client, "deploy it", extra_body=deploy("resumed"), background=True, stream=True)
        seen = [next(stream), next(stream)]
        stream.close()
        rest = list(client.responses.retrieve(seen[0].response.id, stream=True, starting_after=seen[-1].sequence_number))
        whole = client.responses.retrieve(seen[0].response.id)

    assert rest[0].sequence_number == 2 and rest[-1].type == "response.completed"
    assert rest[-1].response == whole and text_of(rest) == whole.output_text


def test_a_response_in_the_background_lives_through_a_kill(tmp_path):
    settings = {**bed.programs(tmp_path, "sleep 2; exit 1"), "RETRY_ATTEMPTS": "0", "PERSISTENT_WORKSPACE_BASE_DIR": str(tmp_path / "workspace")}
    with bed.Server(**settings) as server, OpenAI(base_url=server.url, api_key="none") as client:
        begun = ask(client, "deploy it", extra_body=deploy("killed"), background=True)
        while not (running := client.responses.retrieve(begun.id).to_dict().get("operation")):
            time.sleep(0.05)
        server.child.kill()
        server.child.wait()
    with bed.Server(**settings) as server, talking_to(server) as client:
        events = list(client.responses.retrieve(begun.id, stream=True))
        ended = client.responses.retrieve(begun.id)
        operations = httpx.get(f"{server.url}/operations").json()["data"]

    assert events[-1].type == "response.completed" and events[-1].response == ended
    assert ended.operation["id"] == running["id"] and ended.operation["state"] in ("failed", "undone")
    assert ended.output_text and [it["id"] for it in operations] == [running["id"]]


def test_what_has_ended_is_not_cancelled(client):
    answer = ask(client)

    assert client.responses.cancel(answer.id) == answer


def test_the_background_needs_the_store(client):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, background=True, store=False)

    assert caught.value.param in ("background", "store")


# With a model.


def test_the_callers_own_tools_are_called(smart_client):
    said = "get_weather in 'Paris' for 3 days"
    whole = ask(smart_client, said, tools=[WEATHER])
    with smart_client.responses.stream(model=NAME, input=said, tools=[WEATHER]) as stream:
        kinds = [event.type for event in stream]
        streamed = stream.get_final_response()

    for answer in (whole, streamed):
        assert [it.type for it in answer.output] == ["function_call"]
        assert (answer.output[0].name, json.loads(answer.output[0].arguments)) == ("get_weather", {"city": "Paris", "days": 3})
    assert {"response.function_call_arguments.delta", "response.function_call_arguments.done"} <= set(kinds)


@pytest.mark.parametrize("chained", [False, True], ids=["sent again", "with the response before"])
def test_what_a_tool_said_goes_back_to_the_model(smart_client, chained):
    said = {"role": "user", "content": "get_weather in 'Paris' for 3 days"}
    asked = ask(smart_client, [said], tools=[WEATHER])
    output = {"type": "function_call_output", "call_id": asked.output[0].call_id, "output": "sunny"}

    if chained:
        answer = ask(smart_client, [output], tools=[WEATHER], previous_response_id=asked.id)
    else:
        answer = ask(smart_client, [said, *(it.to_dict() for it in asked.output), output], tools=[WEATHER])

    assert answer.output_text == "The tool says: sunny"


def test_a_custom_tool_gets_text(smart_client):
    said = "run_sql with 'select 1'"
    whole = ask(smart_client, said, tools=[SQL])
    *events, last = list(ask(smart_client, said, tools=[SQL], stream=True))
    call = whole.output[0]
    after = ask(smart_client, [{"type": "custom_tool_call_output", "call_id": call.call_id, "output": "1 row"}], tools=[SQL], previous_response_id=whole.id)

    assert (call.type, call.name, call.input) == ("custom_tool_call", "run_sql", "select 1")
    assert last.response.output[0].input == "select 1"
    assert "response.custom_tool_call_input.done" in {it.type for it in events}
    assert after.output_text == "The tool says: 1 row"


def test_a_tool_can_be_forced_and_forbidden(smart_client):
    forced = ask(smart_client, "hello", tools=[WEATHER], tool_choice={"type": "function", "name": "get_weather"})
    forbidden = ask(smart_client, "get_weather in 'Paris' for 3 days", tools=[WEATHER], tool_choice="none")

    assert forced.output[0].name == "get_weather"
    assert [it.type for it in forbidden.output] == ["message"]


def test_our_tools_are_called_beside_the_callers(smart_client, behind):
    answer = ask(smart_client, "please list what is deployed", tools=[WEATHER])

    assert [it.type for it in answer.output] == ["message"]
    sent = httpx.get(f"{behind.origin}/requests").json()
    offered = {it["function"]["name"] for it in sent[-1]["body"].get("tools", [])}
    assert {"get_weather", "deploy", "decommission"} <= offered


def test_a_structured_answer_is_parsed(smart_client):
    class City(BaseModel):
        name: str
        inhabitants: int

    answer = smart_client.responses.parse(model=NAME, input="'Paris' has 2000000", text_format=City)

    assert answer.output_parsed == City(name="Paris", inhabitants=2_000_000)


def test_the_manner_of_speaking_reaches_the_model(smart_client, behind):
    answer = ask(smart_client, "get_weather in 'Paris' for 3 days", instructions="be brief", tools=[WEATHER], temperature=0.2, max_output_tokens=77, reasoning={"effort": "low"}, tool_choice="required")

    body = httpx.get(f"{behind.origin}/requests").json()[-1]["body"]
    assert (body["temperature"], body["max_completion_tokens"], body["reasoning_effort"], body["tool_choice"]) == (0.2, 77, "low", "required")
    assert "be brief" in json.dumps(body["messages"])
    assert body["tools"] == [{"type": "function", "function": {key: value for key, value in WEATHER.items() if key != "type"}}]
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens > 0


def test_the_limit_of_tokens_makes_it_incomplete(smart_client):
    asked = dict(model="chat", input="get me a long answer with many words", max_output_tokens=3)
    whole = smart_client.responses.create(**asked)
    *_, last = list(smart_client.responses.create(**asked, stream=True))

    for it in (whole, last.response):
        assert (it.status, it.incomplete_details.reason) == ("incomplete", "max_output_tokens")
        assert it.output_text
    assert last.type == "response.incomplete"


def test_a_model_that_dies_in_mid_stream_is_a_failed_response(smart_client):
    *_, last = list(smart_client.responses.create(model="chat", input="tell me a long story about someone who left early [cut]", stream=True))

    assert last.type == "response.failed"
    assert last.response.error.code == "server_error" and last.response.error.message


def test_secrets_do_not_reach_the_model(smart_client, behind):
    secret = "AKIAIOSFODNN7EXAMPLE"
    first = ask(smart_client, f"my key is {secret}; what is a haiku?")
    ask(smart_client, "and another?", previous_response_id=first.id)

    sent = json.dumps(httpx.get(f"{behind.origin}/requests").json()[-2:])
    assert "haiku" in sent and secret not in sent


# What is refused.


def item(**fields):
    return dict(model=NAME, input=[fields])


REFUSED = {
    "a model that does not exist": (dict(model="gpt-2", input=SAYS), openai.NotFoundError, "model_not_found", "model"),
    "nothing said": (dict(model=NAME), openai.BadRequestError, "missing_required_parameter", "input"),
    "an empty list": (dict(model=NAME, input=[]), openai.BadRequestError, "missing_required_parameter", "input"),
    "input of another kind": (dict(model=NAME, input=7), openai.UnprocessableEntityError, "invalid_type", "input"),
    "an unknown role": (item(role="king", content="hi"), openai.BadRequestError, "invalid_value", "input[0].role"),
    "an unknown item": (item(type="riddle"), openai.BadRequestError, "invalid_value", "input[0].type"),
    "a picture": (item(role="user", content=[{"type": "input_text", "text": "what is it?"}, {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "auto"}]), openai.BadRequestError, "invalid_value", "input[0].content[1]"),
    "a sound": (item(role="user", content=[{"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}]), openai.BadRequestError, "invalid_value", "input[0].content[0]"),
    "a response that is not there": (dict(model=NAME, input=SAYS, previous_response_id="resp_nothing"), openai.NotFoundError, "response_not_found", "previous_response_id"),
    "a search that must be": (dict(model=NAME, input=SAYS, tools=ELSEWHERE, tool_choice={"type": "web_search"}), openai.BadRequestError, "invalid_value", "tool_choice"),
    "any tool, where none is served": (dict(model=NAME, input=SAYS, tools=ELSEWHERE, tool_choice="required"), openai.BadRequestError, "invalid_value", "tool_choice"),
    "an unknown mode": (dict(model=NAME, input=SAYS, extra_body={"action": "deploy", "deployment_mode": "moon"}), openai.BadRequestError, "invalid_value", "deployment_mode"),
    "a misspelt field": (dict(model=NAME, input=SAYS, extra_body={**PLAN, "instnace_name": "x"}), openai.BadRequestError, "unknown_parameter", "instnace_name"),
    "a deployment that is not there": (dict(model=NAME, input=SAYS, extra_body={"action": "status", "deployment_mode": "local", "instance_id": "nothing-here"}), openai.NotFoundError, "deployment_not_found", None),
    "a structure without a model": (dict(model=NAME, input=SAYS, text={"format": {"type": "json_object"}}), openai.BadRequestError, "no_chat_model", "text.format"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_the_right_exception(client, case, stream):
    fields, exception, code, param = REFUSED[case]

    with pytest.raises(exception) as caught:
        client.responses.create(**fields, stream=stream)

    error = caught.value
    assert (error.code, error.param, error.type) == (code, param, "invalid_request_error")
    assert error.request_id and error.response.headers["x-should-retry"] == "false"


def test_every_missing_field_is_named_at_once(client):
    with pytest.raises(openai.BadRequestError, match="deployment_mode.*github_repo_url"):
        ask(client, extra_body={"action": "deploy"})


def test_a_wrong_key_is_an_authentication_error(keyed):
    with talking_to(keyed, "not-the-key") as client:
        for wrong in (ask, lambda it: it.responses.retrieve("resp_x"), lambda it: it.responses.cancel("resp_x")):
            with pytest.raises(openai.AuthenticationError):
                wrong(client)
    with talking_to(keyed, bed.KEY) as client:
        assert ask(client).output_text


def test_what_is_not_served_is_not_found_with_a_word(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.responses.compact(model=NAME, input=SAYS)

    assert caught.value.code == "route_not_found"

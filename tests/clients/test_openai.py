"""openai-python, as people use it."""

import asyncio
import json

import httpx
import openai
import pytest
from openai import OpenAI

import bed
from conftest import HELLO, NAME, PLAN


def text_of(chunks):
    return "".join(it.choices[0].delta.content or "" for it in chunks if it.choices)


def ask(client, **fields):
    return client.chat.completions.create(model=NAME, messages=HELLO, **fields)


# What is answered.


def test_a_whole_answer_is_a_chat_completion(client):
    answer = ask(client)

    choice = answer.choices[0]
    assert (answer.object, answer.model, len(answer.choices)) == ("chat.completion", NAME, 1)
    assert answer.id.startswith("chatcmpl-")
    assert answer.created > 1_700_000_000
    assert (choice.index, choice.finish_reason, choice.message.role, choice.message.refusal) == (0, "stop", "assistant", None)
    assert choice.message.content and choice.message.tool_calls is None
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert min(usage.prompt_tokens, usage.completion_tokens) > 0


def test_a_plan_is_an_answer_in_words(client):
    answer = ask(client, extra_body=PLAN)

    assert "notes" in answer.choices[0].message.content


def test_a_list_is_empty_before_anything_is_deployed(client):
    answer = ask(client, extra_body={"action": "list"})

    assert answer.choices[0].message.content


def test_a_stream_says_the_same_in_chunks(client):
    whole = ask(client, extra_body=PLAN)
    chunks = list(ask(client, extra_body=PLAN, stream=True))

    assert text_of(chunks) == whole.choices[0].message.content
    assert len({(it.id, it.created, it.model, it.object) for it in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [it.choices[0].finish_reason for it in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert all(it.usage is None for it in chunks)


def test_the_usage_comes_last_when_it_is_asked_for(client):
    *chunks, last = list(ask(client, stream=True, stream_options={"include_usage": True}))

    assert last.choices == [] and last.usage.total_tokens > 0
    assert all(it.usage is None for it in chunks)
    assert all("usage" in it.model_fields_set for it in chunks)


def test_the_stream_helper_puts_the_answer_together(client):
    with client.chat.completions.stream(model=NAME, messages=HELLO) as stream:
        kinds = {event.type for event in stream}
        whole = stream.get_final_completion()

    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert whole.choices[0].message.content == ask(client).choices[0].message.content


async def test_the_asynchronous_client_does_the_same(client, async_client):
    whole, stream = await asyncio.gather(
        async_client.chat.completions.create(model=NAME, messages=HELLO),
        async_client.chat.completions.create(model=NAME, messages=HELLO, stream=True),
    )

    assert text_of([it async for it in stream]) == whole.choices[0].message.content


async def test_many_at_once_are_each_answered(async_client):
    asks = (async_client.chat.completions.create(model=NAME, messages=HELLO, user=str(it)) for it in range(50))

    answers = await asyncio.gather(*asks)

    assert len({it.id for it in answers}) == 50


def test_every_field_of_the_api_is_accepted(client):
    answer = ask(
        client,
        frequency_penalty=0.5,
        logit_bias={"50256": -100},
        logprobs=True,
        max_completion_tokens=100,
        max_tokens=100,
        metadata={"a": "b"},
        modalities=["text"],
        n=1,
        parallel_tool_calls=True,
        prediction={"type": "content", "content": "x"},
        presence_penalty=-0.5,
        prompt_cache_key="key",
        reasoning_effort="low",
        response_format={"type": "text"},
        safety_identifier="someone",
        seed=7,
        service_tier="auto",
        stop=["\n\n"],
        store=False,
        temperature=0.1,
        tool_choice="auto",
        tools=[{"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}],
        top_logprobs=2,
        top_p=0.9,
        user="someone",
        verbosity="low",
    )

    assert answer.choices[0].finish_reason == "stop"


def test_every_kind_of_message_is_accepted(client):
    call = {"id": "call_1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    messages = [
        {"role": "developer", "content": "be brief"},
        {"role": "system", "content": [{"type": "text", "text": "be kind"}]},
        {"role": "user", "content": [{"type": "text", "text": "what time is it?"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "noon"},
        {"role": "assistant", "content": "noon", "refusal": None},
        {"role": "user", "name": "someone", "content": "thanks"},
    ]

    assert client.chat.completions.create(model=NAME, messages=messages).choices[0].message.content


def test_models_are_listed_and_retrieved(client):
    models = list(client.models.list())

    assert NAME in [it.id for it in models]
    assert client.models.retrieve(NAME) == next(it for it in models if it.id == NAME)
    assert {it.object for it in models} == {"model"}


def test_the_raw_response_is_there_beside_the_parsed_one(client):
    raw = client.chat.completions.with_raw_response.create(model=NAME, messages=HELLO, extra_headers={"x-request-id": "mine-1"})

    assert raw.status_code == 200
    assert raw.headers["content-type"] == "application/json"
    assert raw.headers["x-request-id"] == raw.request_id == "mine-1"
    assert raw.parse().choices[0].message.content
    assert raw.parse()._request_id == "mine-1"


def test_a_raw_stream_is_lines_of_data_and_nothing_else(client):
    create = client.chat.completions.with_streaming_response.create
    with create(model=NAME, messages=HELLO, stream=True) as response:
        lines = [it for it in response.iter_lines() if it]

    assert response.headers["content-type"].startswith("text/event-stream")
    assert lines[-1] == "data: [DONE]"
    assert all(it.startswith(("data: ", ":")) for it in lines)
    assert all(json.loads(it.removeprefix("data: "))["object"] == "chat.completion.chunk" for it in lines[:-1])


# What is refused.


REFUSED = {
    "a model that does not exist": (dict(model="gpt-2", messages=HELLO), openai.NotFoundError, "model_not_found", "model"),
    "no messages": (dict(model=NAME, messages=[]), openai.BadRequestError, "missing_required_parameter", "messages"),
    "an unknown role": (dict(model=NAME, messages=[{"role": "king", "content": "hi"}]), openai.BadRequestError, "invalid_value", "messages[0].role"),
    "several answers": (dict(model=NAME, messages=HELLO, n=2), openai.BadRequestError, "invalid_value", "n"),
    "messages of another kind": (dict(model=NAME, messages="hi"), openai.UnprocessableEntityError, "invalid_type", "messages"),
    "an unknown mode": (dict(model=NAME, messages=HELLO, extra_body={"action": "deploy", "deployment_mode": "moon"}), openai.BadRequestError, "invalid_value", "deployment_mode"),
    "a misspelt field": (dict(model=NAME, messages=HELLO, extra_body={**PLAN, "instnace_name": "x"}), openai.BadRequestError, "unknown_parameter", "instnace_name"),
    "a deployment that is not there": (dict(model=NAME, messages=HELLO, extra_body={"action": "status", "deployment_mode": "local", "instance_id": "nothing-here"}), openai.NotFoundError, "deployment_not_found", None),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_the_right_exception(client, case, stream):
    fields, exception, code, param = REFUSED[case]

    with pytest.raises(exception) as caught:
        client.chat.completions.create(**fields, stream=stream)

    error = caught.value
    assert (error.code, error.param, error.type) == (code, param, "invalid_request_error")
    assert set(error.body) == {"message", "type", "param", "code"}
    assert error.request_id and error.response.headers["x-should-retry"] == "false"


def test_every_missing_field_is_named_at_once(client):
    with pytest.raises(openai.BadRequestError, match="deployment_mode.*github_repo_url"):
        ask(client, extra_body={"action": "deploy"})


def test_a_wrong_key_and_none_are_authentication_errors(keyed):
    for headers in ({}, {"Authorization": openai.Omit()}):
        with OpenAI(base_url=keyed.url, api_key="not-the-key") as client, pytest.raises(openai.AuthenticationError) as caught:
            ask(client, extra_headers=headers)
        assert caught.value.code == "invalid_api_key"

    with OpenAI(base_url=keyed.url, api_key=bed.KEY) as client:
        assert ask(client).choices


def test_a_model_that_does_not_exist_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("gpt-2")

    assert caught.value.code == "model_not_found"


def test_too_many_requests_say_when_to_come_back():
    with bed.Server(RATE_LIMIT_PER_MINUTE="2") as server, OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
        ask(client), ask(client)
        with pytest.raises(openai.RateLimitError) as caught:
            ask(client)

    assert caught.value.code == "rate_limit_exceeded"
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60


def test_the_client_waits_and_comes_back_by_itself():
    with bed.Server(RATE_LIMIT_PER_MINUTE="60") as server, OpenAI(base_url=server.url, api_key="none", max_retries=4) as client:
        answers = [client.models.list() for _ in range(61)]

    assert len(answers) == 61


def test_a_body_that_is_too_large_is_refused_readably(client):
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model=NAME, messages=[{"role": "user", "content": "x" * 2_000_000}])

    assert (caught.value.status_code, caught.value.code) == (413, "body_too_large")


def test_other_endpoints_of_the_api_are_not_found(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.moderations.create(input="x")

    assert caught.value.code == "route_not_found"


def test_without_an_embedding_model_the_setting_is_named(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.embeddings.create(model=NAME, input="x")

    assert caught.value.code == "no_embedding_model"
    assert "AZURE_EMBEDDING_DEPLOYMENT" in caught.value.message


# Time-outs and retries.


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """A server whose deployments take for ever."""
    programs = bed.programs(tmp_path_factory.mktemp("programs"), "exec sleep 300")
    with bed.Server(**programs, ANSWER_WITHIN_S="2") as server:
        yield server


def deploy(name):
    return {**{key: value for key, value in PLAN.items() if key != "dry_run"}, "instance_name": name}


def operations(server):
    return httpx.get(f"{server.url}/operations").json()["data"]


def named(server, name):
    return [it for it in operations(server) if it["deployment"]["instance_name"] == name]


def test_an_answer_in_time_says_how_to_follow_what_goes_on(slow):
    with OpenAI(base_url=slow.url, api_key="none") as client:
        answer = ask(client, extra_body=deploy("patient"))

    assert answer.operation["state"] == "running"
    assert answer.operation["id"] in answer.choices[0].message.content
    assert named(slow, "patient")[0]["id"] == answer.operation["id"]


def test_a_client_that_gives_up_and_sends_again_attaches(slow):
    seen = []
    hooks = {"request": [lambda request: seen.append(request.headers.get("x-stainless-retry-count"))]}
    with httpx.Client(event_hooks=hooks) as http, OpenAI(base_url=slow.url, api_key="none", timeout=0.5, max_retries=1, http_client=http) as client:
        with pytest.raises(openai.APITimeoutError):
            ask(client, extra_body=deploy("hasty"))

    assert seen == ["0", "1"]
    assert len(named(slow, "hasty")) == 1


def test_the_same_idempotency_key_is_the_same_operation(slow):
    headers = {"Idempotency-Key": "one-and-only"}
    with OpenAI(base_url=slow.url, api_key="none") as client:
        first = ask(client, extra_body=deploy("once"), extra_headers=headers)
        second = ask(client, extra_body=deploy("once"), extra_headers=headers)
        with pytest.raises(openai.UnprocessableEntityError) as caught:
            ask(client, extra_body=deploy("other"), extra_headers=headers)

    assert first.operation["id"] == second.operation["id"] and first.id == second.id
    assert caught.value.code == "idempotency_key_reused"


def test_a_second_change_of_the_same_deployment_is_a_conflict_that_is_not_retried(slow):
    with OpenAI(base_url=slow.url, api_key="none", max_retries=5) as client:
        running = ask(client, extra_body=deploy("busy")).operation["id"]
        with pytest.raises(openai.ConflictError, match=running) as caught:
            ask(client, extra_body={**deploy("busy"), "scale_replicas": 2})

    assert caught.value.code == "deployment_busy"


def test_a_stream_begins_at_once_and_goes_on_without_its_client(slow):
    with OpenAI(base_url=slow.url, api_key="none") as client:
        stream = ask(client, extra_body=deploy("left"), stream=True)
        first = next(stream)
        stream.close()

    assert first.choices[0].delta.role == "assistant"
    assert named(slow, "left")[0]["state"] == "running"


def test_a_server_that_stops_ends_its_streams_with_words(tmp_path):
    with bed.Server(**bed.programs(tmp_path, "exec sleep 300")) as server, OpenAI(base_url=server.url, api_key="none") as client:
        stream = ask(client, extra_body=deploy("ended"), stream=True)
        next(stream)
        server.child.terminate()
        chunks = list(stream)

    assert chunks[-1].choices[0].finish_reason == "stop"


# What is kept.


def test_a_stored_completion_is_shown_listed_changed_and_deleted(client):
    topic = {"topic": "of-the-client-tests"}
    kept = [ask(client, store=True, metadata=topic, extra_body=PLAN) for _ in range(3)]
    completions = client.chat.completions

    shown = completions.retrieve(kept[0].id)
    listed = completions.list(metadata=topic, order="asc", limit=2)
    messages = completions.messages.list(kept[0].id)
    changed = completions.update(kept[0].id, metadata={"topic": "another"})
    rest = [it.id for it in completions.list(metadata=topic)]
    deleted = completions.delete(kept[0].id)

    assert shown.choices == kept[0].choices and shown.id == kept[0].id
    assert [it.id for it in listed] == [it.id for it in kept] and len(listed.data) == 2
    assert [it.content for it in messages] == [HELLO[0]["content"]]
    assert changed.metadata == {"topic": "another"}
    assert rest == [kept[1].id, kept[2].id]
    assert (deleted.id, deleted.deleted, deleted.object) == (kept[0].id, True, "chat.completion.deleted")
    for gone in (completions.retrieve, completions.delete, completions.messages.list, lambda it: completions.update(it, metadata={})):
        with pytest.raises(openai.NotFoundError):
            gone(kept[0].id)


def test_a_completion_is_not_stored_unless_that_is_asked_for(client):
    for answer in (ask(client), ask(client, store=False)):
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.retrieve(answer.id)

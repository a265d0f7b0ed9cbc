"""The model behind the server: alone, as `chat`, and beside what the server does; with Azure OpenAI and with any other
endpoint."""

import json

import httpx
import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

import bed
from conftest import NAME

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city", "days"]},
    },
}


@pytest.fixture(params=["smart", "azure"])
def client(request):
    server = request.getfixturevalue(request.param)
    with OpenAI(base_url=server.url, api_key="none", max_retries=0) as it:
        yield it


def ask(client, text, model=NAME, **fields):
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], **fields)


def ask_alone(client, text, **fields):
    return ask(client, text, model="chat", **fields)


def arrived(behind):
    """The last request that reached the model."""
    return httpx.get(f"{behind.origin}/requests").json()[-1]


def test_what_is_not_about_infrastructure_is_the_models_answer(client):
    whole = ask(client, "what is a haiku?")
    chunks = list(ask(client, "what is a haiku?", stream=True))

    assert whole.choices[0].message.content == "You said: what is a haiku?"
    assert "".join(it.choices[0].delta.content or "" for it in chunks if it.choices) == whole.choices[0].message.content
    assert {it.model for it in chunks} == {whole.model} == {NAME}
    assert len({it.id for it in chunks}) == 1


def test_the_usage_is_the_models_own(client):
    *chunks, last = list(ask(client, "what is a haiku?", stream=True, stream_options={"include_usage": True}))

    assert last.choices == [] and last.usage.total_tokens == last.usage.prompt_tokens + last.usage.completion_tokens > 0
    assert all(it.usage is None for it in chunks)


@pytest.mark.parametrize("model", ["chat", NAME])
def test_the_callers_own_tools_are_called(client, model):
    whole = ask(client, "get_weather in 'Paris' for 3 days", model, tools=[WEATHER]).choices[0]

    call = whole.message.tool_calls[0]
    assert (whole.finish_reason, whole.message.content, call.type) == ("tool_calls", None, "function")
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Paris", "days": 3})


@pytest.mark.parametrize("model, has_pieces", [("chat", True), (NAME, False)])
def test_a_streamed_tool_call_makes_the_whole(client, model, has_pieces):
    asked = {"model": model, "messages": [{"role": "user", "content": "get_weather in 'Paris' for 3 days"}], "tools": [WEATHER]}
    with client.chat.completions.stream(**asked) as stream:
        pieces = [it for it in stream if it.type == "tool_calls.function.arguments.delta"]
        whole = stream.get_final_completion().choices[0]

    assert (len(pieces) > 1) == has_pieces
    assert (whole.finish_reason, whole.message.tool_calls[0].function.arguments) == ("tool_calls", '{"city":"Paris","days":3}')


def test_what_a_tool_said_goes_back_to_the_model(client):
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Paris","days":3}'}}
    messages = [
        {"role": "user", "content": "get_weather in 'Paris' for 3 days"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ]

    answer = client.chat.completions.create(model=NAME, messages=messages, tools=[WEATHER])

    assert answer.choices[0].message.content == "The tool says: sunny"


def test_a_structured_answer_is_parsed(client):
    class City(BaseModel):
        name: str
        inhabitants: int

    answer = client.chat.completions.parse(model=NAME, messages=[{"role": "user", "content": "'Paris' has 2000000"}], response_format=City)

    assert answer.choices[0].message.parsed == City(name="Paris", inhabitants=2_000_000)


def test_the_manner_of_speaking_reaches_the_model(client, behind):
    ask(client, "get_weather in 'Paris' for 3 days", tools=[WEATHER], temperature=0.2, seed="7", user="ada", tool_choice="required", extra_body={"unknown_field": 1})

    body = arrived(behind)["body"]
    assert (body["temperature"], body["seed"], body["user"], body["tool_choice"]) == (0.2, 7, "ada", "required")
    assert body["tools"] == [WEATHER] and "unknown_field" not in body
    assert body.get("model", bed.MODEL_NAME) == bed.MODEL_NAME


def test_pictures_sounds_and_files_reach_the_model(client, behind):
    parts = [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}},
    ]

    client.chat.completions.create(model=NAME, messages=[{"role": "user", "content": parts}], tools=[WEATHER])

    assert arrived(behind)["body"]["messages"][-1]["content"] == parts


def test_texts_become_vectors_that_the_client_decodes(client, behind):
    answer = client.embeddings.create(model=bed.EMBEDDING_NAME, input=["one text", "another"])

    assert [it.embedding for it in answer.data] == [[0.25, -0.5], [0.25, -0.5]]
    assert answer.usage.total_tokens > 0
    body = arrived(behind)["body"]
    assert (body["input"], body["encoding_format"]) == (["one text", "another"], "base64")
    assert bed.EMBEDDING_NAME in [it.id for it in client.models.list()]


def test_the_limit_of_tokens_ends_an_answer(client):
    answer = ask_alone(client, "get me a long answer with many words", max_completion_tokens=3)

    assert answer.choices[0].finish_reason == "length"


@pytest.mark.parametrize("model", ["chat", NAME])
def test_secrets_do_not_reach_the_model(client, behind, model):
    secret = "AKIAIOSFODNN7EXAMPLE", "ghp_0123456789abcdefghijABCDEFGHIJ012345"
    ask(client, f"my keys are {secret[0]} and {secret[1]}; what is a haiku?", model)

    body = json.dumps(arrived(behind)["body"])
    assert "haiku" in body
    assert not any(it in body for it in secret)


def test_a_model_that_fails_for_a_moment_is_asked_again(client):
    answer = ask_alone(client, f"get nothing [fails 2 503] {client.base_url}")

    assert answer.choices[0].message.content.startswith("You said")


def test_what_the_model_refuses_is_the_callers_exception(client):
    with pytest.raises(openai.BadRequestError) as caught:
        ask_alone(client, "something bad [filter]")

    assert caught.value.code == "content_filter"
    assert set(caught.value.body) == {"message", "type", "param", "code"}


def test_a_model_that_dies_in_mid_stream_is_an_error_and_not_an_end(client):
    stream = ask_alone(client, "tell me a long story about someone who left early [cut]", stream=True)

    with pytest.raises(openai.APIError):
        list(stream)


def test_a_wrong_key_of_the_model_is_not_the_callers(behind):
    with bed.Server(**{**behind.settings, "LLM_API_KEY": "wrong"}) as server, OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
        with pytest.raises(openai.InternalServerError):
            ask_alone(client, "get_weather")

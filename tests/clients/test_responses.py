"""The Responses API by openai-python, each answer and event read strictly by its types; and by LangChain."""

import json
import time

import openai
import pytest
from langchain_openai import ChatOpenAI
from openai import OpenAI
from openai.types.responses import Response, ResponseItem, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from conftest import NAME, PLAN

# Fields beside those of the types, all ours.
OURS = {"operation", "deployment"}
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "strict": True,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False},
}


@pytest.fixture
def model_client(smart):
    with OpenAI(base_url=smart.url, api_key="none") as it:
        yield it


def strictly(kind, text):
    read = TypeAdapter(kind).validate_json(text)
    assert unknown(read) <= OURS, unknown(read)
    return read


def unknown(value):
    if isinstance(value, BaseModel):
        return set(value.model_extra or {}).union(*(unknown(it) for it in value.__dict__.values()))
    if isinstance(value, list):
        return set().union(*(unknown(it) for it in value))
    return set()


def ask(client, said="hello", **fields):
    return strictly(Response, client.responses.with_raw_response.create(model=NAME, input=said, **fields).text)


def events(client, said="hello", **fields):
    with client.responses.with_streaming_response.create(model=NAME, input=said, stream=True, **fields) as answer:
        data = [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: ")]
    assert data.pop() == "[DONE]"
    return [strictly(ResponseStreamEvent, it) for it in data]


def test_a_whole_response_and_its_stream_say_the_same(client):
    whole = ask(client, extra_body=PLAN)
    told = events(client, extra_body=PLAN)

    assert "notes" in whole.output_text and whole.status == "completed"
    assert "".join(it.delta for it in told if it.type == "response.output_text.delta") == whole.output_text
    assert told[-1].response.output_text == whole.output_text
    assert [it.sequence_number for it in told] == list(range(len(told)))


def test_the_stream_helper_puts_the_response_together(client):
    with client.responses.stream(model=NAME, input="hello") as stream:
        kinds = [event.type for event in stream]
        whole = stream.get_final_response()

    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    assert whole.output_text == ask(client).output_text


def test_a_response_is_stored_until_it_is_deleted(client):
    said = ask(client, metadata={"for": "a story"})
    again = client.responses.retrieve(said.id)
    items = list(client.responses.input_items.list(said.id))
    strictly(ResponseItem, json.dumps(items[0].model_dump(exclude_none=True)))
    later = ask(client, "and now?", previous_response_id=said.id)
    client.responses.delete(said.id)

    assert (again.output_text, again.metadata) == (said.output_text, {"for": "a story"})
    assert (items[0].content[0].text, later.previous_response_id) == ("hello", said.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(said.id)


def test_a_response_in_the_background_is_looked_up(client):
    response = client.responses.create(model=NAME, input="hello", background=True)
    while response.status in ("queued", "in_progress"):
        time.sleep(0.05)
        response = client.responses.retrieve(response.id)

    assert response.status == "completed" and response.output_text
    assert client.responses.cancel(response.id).status == "completed"
    assert list(client.responses.retrieve(response.id, stream=True))[-1].type == "response.completed"


def test_a_tool_is_called_and_its_output_goes_on_from_the_response(model_client):
    asked = ask(model_client, "use get_weather for 'Paris'", tools=[WEATHER, {"type": "web_search"}])
    told = events(model_client, "use get_weather for 'Paris'", tools=[WEATHER])
    call = asked.output[-1]
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny in Paris"}
    done = ask(model_client, [output], tools=[WEATHER], previous_response_id=asked.id)

    assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "get_weather", {"city": "Paris"})
    assert told[-1].response.output[-1].arguments == call.arguments
    assert "sunny in Paris" in done.output_text


def test_a_structured_answer_has_its_shape(model_client):
    class City(BaseModel):
        city: str
        inhabitants: int

    parsed = model_client.responses.parse(model=NAME, input="'Paris' has 2000000 people", text_format=City)

    assert parsed.output_parsed.inhabitants == 2000000


def test_langchain_speaks_it_too(server):
    chat = ChatOpenAI(base_url=server.url, api_key="none", model=NAME, use_responses_api=True)

    whole = chat.bind(extra_body=PLAN).invoke("what would happen?")
    stream = list(chat.stream("hello"))

    assert "notes" in whole.text
    assert "".join(it.text for it in stream) == chat.invoke("hello").text

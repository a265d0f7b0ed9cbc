"""LangChain: short stories, and its own suite for chat models against the server with a model behind it.

What the suite expects and this server or the fake model does otherwise is in differences.toml.
"""

import contextlib

import httpx
import openai
import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests
from pydantic import BaseModel

import strict
from conftest import NAME, PLAN


@pytest.fixture
def chat(server):
    return ChatOpenAI(base_url=server.url, api_key="none", model=NAME, stream_usage=True)


def test_invoke_and_stream_say_the_same(chat):
    whole = chat.invoke("hello")
    stream = list(chat.stream("hello"))

    assert "".join(it.text for it in stream) == whole.text
    assert whole.response_metadata["finish_reason"] == "stop"
    assert whole.response_metadata["model_name"] == NAME
    assert whole.usage_metadata["total_tokens"] > 0
    assert sum(it.usage_metadata["total_tokens"] for it in stream if it.usage_metadata) == whole.usage_metadata["total_tokens"]


async def test_ainvoke_astream_and_abatch_work(chat):
    whole = await chat.ainvoke("hello")
    stream = [it async for it in chat.astream("hello")]
    batch = await chat.abatch(["hello", "hello"])

    assert {whole.text, "".join(it.text for it in stream)} == {it.text for it in batch}


def test_our_fields_go_into_extra_body(chat):
    answer = chat.bind(extra_body=PLAN).invoke([HumanMessage("what would happen?")])

    assert "notes" in answer.text


def test_an_error_is_the_one_of_openai(chat):
    with pytest.raises(openai.BadRequestError, match="deployment_mode"):
        chat.bind(extra_body={"action": "deploy"}).invoke("deploy")


# With the Responses API.


def get_weather(city: str) -> str:
    """Tells the weather."""
    return f"sunny in {city}"


@contextlib.contextmanager
def responses(server, **fields):
    """A chat model whose answers are held against openai-python's types."""
    with strict.Http() as http:
        yield ChatOpenAI(base_url=server.url, api_key="none", model=NAME, use_responses_api=True, http_client=http, **fields)


def test_responses_are_invoked_and_streamed(server):
    with responses(server) as chat:
        whole = chat.invoke([("system", "be kind"), ("human", "hello")])
        stream = list(chat.stream([("system", "be kind"), ("human", "hello")]))
        plan = chat.bind(extra_body=PLAN).invoke("what would happen?")

    assert "".join(it.text for it in stream) == whole.text
    assert whole.response_metadata["id"].startswith("resp_") and whole.response_metadata["status"] == "completed"
    assert whole.usage_metadata["total_tokens"] > 0
    assert sum(it.usage_metadata["total_tokens"] for it in stream if it.usage_metadata) == whole.usage_metadata["total_tokens"]
    assert "notes" in plan.text


@pytest.mark.parametrize("chained", [False, True], ids=["sent again", "with the response before"])
def test_tools_are_called_in_responses(smart, behind, chained):
    said = HumanMessage("use get_weather for 'Paris'")
    with responses(smart, use_previous_response_id=chained) as chat:
        tools = chat.bind_tools([get_weather])
        asked = tools.invoke([said])
        (call,) = asked.tool_calls
        answer = tools.invoke([said, asked, ToolMessage(get_weather(**call["args"]), tool_call_id=call["id"])])

    assert call["name"] == "get_weather" and answer.text == "The tool says: sunny in Paris"
    messages = httpx.get(f"{behind.origin}/requests").json()[-1]["body"]["messages"]
    assert [it["role"] for it in messages if it["role"] != "system"] == ["user", "assistant", "tool"]


def test_a_structured_response_has_its_shape(smart):
    class City(BaseModel):
        """A city."""

        name: str
        inhabitants: int

    with responses(smart) as chat:
        assert chat.with_structured_output(City).invoke("'Paris' has 2000000") == City(name="Paris", inhabitants=2_000_000)


def test_an_error_of_responses_is_the_one_of_openai(server):
    with responses(server) as chat, pytest.raises(openai.BadRequestError, match="deployment_mode"):
        chat.bind(extra_body={"action": "deploy"}).invoke("deploy")


class OwnSuite:
    """What both runs of LangChain's standard tests for an integration have in common."""

    @pytest.fixture(autouse=True)
    def _server(self, smart):
        type(self).server = smart

    @pytest.fixture
    def model(self, request, smart):
        return self.chat_model_class(**self.chat_model_params, **getattr(request, "param", {}))

    @property
    def chat_model_class(self):
        return ChatOpenAI

    @property
    def supports_json_mode(self):
        return True

    @property
    def model_override_value(self):
        return "deploy-local"


class TestItsOwnSuite(OwnSuite, ChatModelIntegrationTests):
    """The standard tests of LangChain for an integration."""

    @property
    def chat_model_params(self):
        return {"base_url": self.server.url, "api_key": "none", "model": NAME, "stream_usage": True}

    @property
    def supports_image_inputs(self):
        return True

    @property
    def supports_image_urls(self):
        return True

    @property
    def supports_image_tool_message(self):
        return True

    @property
    def supports_pdf_inputs(self):
        return True

    @property
    def supports_pdf_tool_message(self):
        return True

    @property
    def supports_audio_inputs(self):
        return True

    @property
    def supports_anthropic_inputs(self):
        return True


class TestItsOwnSuiteInResponses(OwnSuite, ChatModelIntegrationTests):
    """The same tests with the Responses API, which takes text alone here."""

    @property
    def chat_model_params(self):
        return {"base_url": self.server.url, "api_key": "none", "model": NAME, "use_responses_api": True}

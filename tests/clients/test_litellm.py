"""LiteLLM, as a library: the names of its models begin with the protocol that they speak."""

import litellm
import pytest

import bed
from conftest import HELLO, NAME, PLAN

MODEL = f"openai/{NAME}"


@pytest.fixture
def options(server):
    return {"model": MODEL, "api_base": server.url, "api_key": "none", "messages": HELLO}


def test_a_whole_answer_and_a_stream_say_the_same(options):
    whole = litellm.completion(**options)
    chunks = list(litellm.completion(**options, stream=True, stream_options={"include_usage": True}))

    assert "".join(it.choices[0].delta.content or "" for it in chunks if it.choices) == whole.choices[0].message.content
    assert whole.choices[0].finish_reason == "stop"
    assert [it.usage.total_tokens for it in chunks if getattr(it, "usage", None)] == [whole.usage.total_tokens]


async def test_the_asynchronous_calls_work(options):
    whole = await litellm.acompletion(**options)
    chunks = [it async for it in await litellm.acompletion(**options, stream=True)]

    assert "".join(it.choices[0].delta.content or "" for it in chunks) == whole.choices[0].message.content


def test_our_fields_go_into_extra_body(options):
    answer = litellm.completion(**options, extra_body=PLAN)

    assert "notes" in answer.choices[0].message.content


def test_responses_are_answered_too(server):
    options = {"model": MODEL, "api_base": server.url, "api_key": "none", "input": "hello"}
    whole = litellm.responses(**options)
    events = list(litellm.responses(**options, stream=True))
    plan = litellm.responses(**options, extra_body=PLAN)

    assert whole.output[0].content[0].text == "".join(it.delta for it in events if it.type == "response.output_text.delta")
    assert "notes" in plan.output[0].content[0].text


def test_errors_are_mapped_rightly(options, keyed):
    with pytest.raises(litellm.BadRequestError, match="deployment_mode"):
        litellm.completion(**options, extra_body={"action": "deploy"})
    with pytest.raises(litellm.NotFoundError):
        litellm.completion(**{**options, "model": "openai/gpt-2"})
    with pytest.raises(litellm.AuthenticationError):
        litellm.completion(**{**options, "api_base": keyed.url})


def test_the_rate_limit_is_a_rate_limit_error(options):
    with bed.Server(RATE_LIMIT_PER_MINUTE="1") as server:
        here = {**options, "api_base": server.url}
        litellm.completion(**here)
        with pytest.raises(litellm.RateLimitError):
            litellm.completion(**here, max_retries=0)

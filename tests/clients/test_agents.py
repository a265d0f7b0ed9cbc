"""openai-agents with its default model, which speaks the Responses API: tools of its own, and this server's."""

import pytest
from agents import Agent, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI

from conftest import NAME

set_tracing_disabled(True)


@function_tool
def get_weather(city: str) -> str:
    """The weather."""
    return f"sunny in {city}"


@pytest.fixture
async def agent(smart):
    async with AsyncOpenAI(base_url=smart.url, api_key="none") as client:
        model = OpenAIResponsesModel(NAME, client)
        yield Agent(name="weather", instructions="Be short.", model=model, tools=[get_weather])


async def test_an_agent_calls_its_tool_and_goes_on_with_what_it_says(agent):
    result = await Runner.run(agent, "use get_weather for 'Paris'")
    streamed = Runner.run_streamed(agent, "use get_weather for 'Paris'")
    async for _ in streamed.stream_events():
        pass

    assert "sunny in Paris" in result.final_output
    assert streamed.final_output == result.final_output


async def test_this_servers_tools_are_called_here_and_a_conversation_goes_on(agent):
    listed = await Runner.run(agent, "list")
    later = await Runner.run(agent, "and the list again", previous_response_id=listed.last_response_id)

    assert "othing is deployed" in listed.final_output
    assert "othing is deployed" in later.final_output

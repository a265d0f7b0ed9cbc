"""openai-agents with the model class that it has by default, which calls the Responses API."""

import httpx
import openai
import pytest
from agents import Agent, ModelSettings, OpenAIProvider, OpenAIResponsesModel, RunConfig, Runner, SQLiteSession, WebSearchTool, function_tool
from agents.exceptions import ModelBehaviorError
from openai import AsyncOpenAI
from pydantic import BaseModel

import bed
import strict
from conftest import NAME, PLAN

SUNNY = "use get_weather for 'Paris'"
DEPLOY = {key: value for key, value in PLAN.items() if key != "dry_run"}


@function_tool
def get_weather(city: str) -> str:
    """Tells the weather."""
    return f"sunny in {city}"


class City(BaseModel):
    name: str
    inhabitants: int


class Runs:
    """Runs agents against one server. What it answers is held against openai-python's types."""

    def __init__(self, server, http):
        self.provider = OpenAIProvider(openai_client=AsyncOpenAI(base_url=server.url, api_key="none", http_client=http, max_retries=0))
        assert isinstance(self.provider.get_model(NAME), OpenAIResponsesModel)
        self.config = RunConfig(model_provider=self.provider, tracing_disabled=True)

    async def run(self, agent, said, **options):
        return await Runner.run(agent, said, run_config=self.config, **options)

    async def stream(self, agent, said, **options):
        """The run, and the words as they came."""
        it = Runner.run_streamed(agent, said, run_config=self.config, **options)
        words = [event.data.delta async for event in it.stream_events() if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"]
        return it, "".join(words)


@pytest.fixture
async def runs(server):
    async with strict.AsyncHttp() as http:
        yield Runs(server, http)


@pytest.fixture
async def smart_runs(smart):
    async with strict.AsyncHttp() as http:
        yield Runs(smart, http)


def agent(**fields):
    return Agent(name="helper", instructions="be kind", model=NAME, **fields)


def with_fields(**fields):
    return ModelSettings(extra_body=fields)


async def test_a_run_and_its_stream_say_the_same(runs):
    whole = await runs.run(agent(), "hello")
    streamed, words = await runs.stream(agent(), "hello")

    assert whole.final_output and whole.final_output == streamed.final_output == words


async def test_our_fields_go_into_extra_body(runs):
    answer = await runs.run(agent(model_settings=with_fields(**PLAN)), "what would happen?")

    assert "notes" in answer.final_output


async def test_operation_and_deployment_are_beside_the_output(tmp_path):
    with bed.Server(**bed.programs(tmp_path, "exit 1"), RETRY_ATTEMPTS="0") as server:
        async with strict.AsyncHttp() as http:
            it = Runner.run_streamed(agent(model_settings=with_fields(**DEPLOY)), "deploy it", run_config=Runs(server, http).config)
            ends = [event.data.response async for event in it.stream_events() if event.type == "raw_response_event" and event.data.type == "response.completed"]
            operations = httpx.get(f"{server.url}/operations").json()["data"]

    assert [end.operation["id"] for end in ends] == [it["id"] for it in operations]
    assert ends[0].operation["state"] in ("failed", "undone") and ends[0].deployment["instance_name"] == "notes"
    assert it.final_output


async def test_its_own_tools_are_called_and_what_they_say_goes_back(smart_runs):
    whole = await smart_runs.run(agent(tools=[get_weather]), SUNNY)
    streamed, _ = await smart_runs.stream(agent(tools=[get_weather]), SUNNY)

    assert whole.final_output == streamed.final_output == "The tool says: sunny in Paris"
    assert len(whole.raw_responses) == 2


async def test_our_tools_are_called_beside_its_own(smart_runs, behind):
    answer = await smart_runs.run(agent(tools=[get_weather]), "please list what is deployed")

    assert len(answer.raw_responses) == 1 and answer.final_output
    asked = httpx.get(f"{behind.origin}/requests").json()[-1]["body"]
    assert {"get_weather", "deploy"} <= {it["function"]["name"] for it in asked["tools"]}


async def test_with_our_fields_its_own_tools_are_not_called_and_the_run_ends(tmp_path, behind):
    with bed.Server(**bed.programs(tmp_path, "exit 1"), **behind.settings, RETRY_ATTEMPTS="0") as server:
        async with strict.AsyncHttp() as http:
            answer = await Runs(server, http).run(agent(tools=[get_weather], model_settings=with_fields(**DEPLOY)), SUNNY)
            operations = httpx.get(f"{server.url}/operations").json()["data"]

    assert len(answer.raw_responses) == 1 and len(operations) == 1


async def test_it_goes_on_from_a_response(smart_runs, behind):
    first = await smart_runs.run(agent(tools=[get_weather]), SUNNY)
    await smart_runs.run(agent(), "and a haiku", previous_response_id=first.last_response_id)

    said = httpx.get(f"{behind.origin}/requests").json()[-1]["body"]["messages"]
    assert SUNNY in [it["content"] for it in said if it["role"] == "user"]


async def test_previous_responses_are_taken_by_themselves(smart_runs):
    answer = await smart_runs.run(agent(tools=[get_weather]), SUNNY, auto_previous_response_id=True)

    assert answer.final_output == "The tool says: sunny in Paris"


async def test_a_session_sends_everything_again(smart_runs, behind):
    session = SQLiteSession("of-the-client-tests")
    await smart_runs.run(agent(tools=[get_weather]), SUNNY, session=session)
    answer = await smart_runs.run(agent(tools=[get_weather]), "one haiku", session=session)

    assert answer.final_output
    said = httpx.get(f"{behind.origin}/requests").json()[-1]["body"]["messages"]
    assert {"user", "assistant", "tool"} <= {it["role"] for it in said}


async def test_a_structured_output_has_its_shape(smart_runs):
    answer = await smart_runs.run(agent(output_type=City), "'Paris' has 2000000")

    assert answer.final_output == City(name="Paris", inhabitants=2_000_000)


async def test_it_hands_over_to_another_agent(smart_runs):
    other = Agent(name="poet", instructions="be a poet", model=NAME)

    answer = await smart_runs.run(agent(handoffs=[other]), "transfer_to_poet for a haiku")

    assert answer.last_agent is other and answer.final_output


async def test_hosted_tools_that_are_not_served_do_not_hinder(smart_runs, runs):
    for them in (smart_runs, runs):
        assert (await them.run(agent(tools=[WebSearchTool()]), "one haiku")).final_output


async def test_what_is_wrong_is_its_exception(runs, smart_runs):
    with pytest.raises(openai.BadRequestError, match="deployment_mode"):
        await runs.run(agent(model_settings=with_fields(action="deploy")), "deploy")
    with pytest.raises(openai.NotFoundError):
        await runs.run(agent(), "hello", previous_response_id="resp_nothing")
    with pytest.raises(ModelBehaviorError):
        await smart_runs.stream(Agent(name="alone", model="chat"), "tell me a long story about someone who left early [cut]")

"""The official MCP client for Python, in both manners that it has (2026-07-28 and the handshake of 2025-11-25), by HTTP and by
stdio through `on-demand-infra mcp`, before a server whose deployments fail or never end. test_real.py has one that runs.
"""

import asyncio
import itertools
import os
import subprocess

import mcp_types as types
import pytest
from mcp import MCPError

import bed
from conftest import PLAN
from protocol import LEGACY, MODERN, MODES, Connect, Person, Tasks, call, http_client, refused, text_of

NOTES = {name: value for name, value in PLAN.items() if name not in ("action", "dry_run")}
PLACE = {name: NOTES[name] for name in ("deployment_mode", "target_namespace", "instance_name")}
READ_ONLY = {"plan", "status", "list", "logs", "cost", "diagnose", "operation_show", "operation_wait"}
CHANGES = {"deploy", "redeploy", "scale", "restart", "rollback", "decommission", "undo", "operation_cancel", "operation_resume"}


@pytest.fixture(params=itertools.product(MODES, ["http", "stdio"]), ids=" by ".join)
def connect(request):
    return Connect(*request.param)


@pytest.fixture(params=MODES)
def connect_by_http(request):
    """Where the way makes no difference."""
    return Connect(request.param, "http")


@pytest.fixture(scope="module")
def failing(tmp_path_factory, behind):
    """A server whose deployments fail after a moment. It has credentials of an AWS that refuses everything."""
    with bed.Server(**bed.programs(tmp_path_factory.mktemp("programs"), "sleep 0.5; exit 1"), **bed.aws(behind.origin), RETRY_ATTEMPTS="0") as server:
        yield server


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """A server whose deployments take for ever."""
    with bed.Server(**bed.programs(tmp_path_factory.mktemp("programs"), "exec sleep 300")) as server:
        yield server


def named(name):
    return {**NOTES, "instance_name": name}


def place(name):
    return {**PLACE, "instance_name": name}


# What there is.


async def test_a_version_is_agreed_on_and_the_server_says_who_it_is(server, connect):
    async with connect(server) as client:
        assert client.protocol_version == connect.version
        assert client.server_info.name == "on-demand-infra" and client.server_info.version
        assert client.instructions
        capabilities = client.server_capabilities
        assert capabilities.tools is not None and capabilities.resources is not None and capabilities.prompts is not None


async def test_every_tool_says_what_it_takes_and_gives_and_whether_it_only_reads(server, connect_by_http):
    async with connect_by_http(server) as client:
        tools = {it.name: it for it in (await client.list_tools()).tools}

    assert set(tools) == READ_ONLY | CHANGES
    for name, tool in tools.items():
        assert tool.description and tool.input_schema["type"] == "object" and tool.output_schema["type"] == "object", name
        assert tool.annotations.read_only_hint is (name in READ_ONLY), name
    assert tools["decommission"].annotations.destructive_hint is True
    assert tools["operation_wait"].input_schema["required"] == ["id"]
    assert "confirm" in tools["decommission"].input_schema["properties"]
    # Credentials are the server's; nobody should teach a model to ask for them.
    assert "aws_credentials" not in str([it.input_schema for it in tools.values()])


async def test_the_prompts_are_listed_and_made(server, connect_by_http):
    async with connect_by_http(server) as client:
        prompts = {it.name: it for it in (await client.list_prompts()).prompts}
        asked = {name: {it.name: "https://github.com/example/notes" for it in prompt.arguments or [] if it.required} for name, prompt in prompts.items()}
        made = {name: await client.get_prompt(name, arguments) for name, arguments in asked.items()}
        with pytest.raises(MCPError) as caught:
            await client.get_prompt("no_such_prompt")

    assert set(prompts) == {"deploy_repository", "find_the_fault", "take_down", "overview"}
    assert all(it.description for it in prompts.values())
    assert all(it.messages and it.messages[0].content.text for it in made.values())
    assert "https://github.com/example/notes" in str(made["deploy_repository"].messages)
    assert caught.value.code == types.INVALID_PARAMS


# Calls.


async def test_a_plan_is_shown_and_nothing_is_done(server, connect):
    async with connect(server) as client:
        await client.list_tools()
        result = await client.call_tool("plan", {"action": "deploy", **NOTES})
        listed = await call(client, "list")

    told = result.structured_content
    assert not result.is_error and told["outcome"] == "plan"
    assert told["plan"]["hash"] and told["next_step"] and "operation" not in told
    assert "notes" in text_of(result)
    assert listed == {"deployments": []}


async def test_a_deployment_is_begun_watched_and_told_to_its_end(failing, connect):
    seen = []

    async def progress(done, total, message):
        seen.append((done, total, message))

    async with connect(failing) as client:
        await client.list_tools()
        begun = await call(client, "deploy", **named(f"begun-{connect.label}"))
        waited = await client.call_tool("operation_wait", {"id": begun["operation"]["id"], "timeout_s": 45}, progress_callback=progress)
        shown = await call(client, "operation_show", id=begun["operation"]["id"])

    assert begun["outcome"] == "operation" and begun["operation"]["state"] in ("queued", "running")
    # That a deployment failed is an answer, and no fault of the call.
    assert not waited.is_error and waited.structured_content["operation"]["state"] in ("failed", "undone")
    assert shown["operation"] == waited.structured_content["operation"]
    assert text_of(waited)
    assert seen and [it[0] for it in seen] == sorted({it[0] for it in seen}), seen
    assert all(message for _, _, message in seen)


async def test_what_goes_on_is_told_and_cancelled(slow, connect_by_http):
    name = f"going-{connect_by_http.label}"
    async with connect_by_http(slow) as client:
        await client.list_tools()
        begun = await call(client, "deploy", **named(name))
        identity = begun["operation"]["id"]
        waited = await call(client, "operation_wait", id=identity, timeout_s=1)
        status = await call(client, "status", **place(name))
        listed = await call(client, "list")
        diagnosed = await call(client, "diagnose", **place(name))
        cost = await call(client, "cost")
        busy = await refused(client, "scale", **place(name), scale_replicas=2)
        cancelled = await call(client, "operation_cancel", id=identity)
        ended = await call(client, "operation_wait", id=identity)

    assert waited["operation"]["state"] == "running"
    assert status["deployment"]["instance_name"] == name and status["summary"]
    assert name in [it["instance_name"] for it in listed["deployments"]]
    assert diagnosed["status"]["deployment"] == status["deployment"] and diagnosed["last_operation"]["id"] == identity
    assert [it["instance_name"] for it in cost["costs"] if it["instance_name"] == name] == [name]
    assert identity in busy
    assert cancelled["operation"]["id"] == identity
    assert ended["operation"]["state"] in ("cancelled", "undone")


async def test_what_is_wrong_is_a_result_that_says_so(server, connect):
    async with connect(server) as client:
        await client.list_tools()
        missing = await refused(client, "deploy", deployment_mode="local")
        wrong = await refused(client, "deploy", **{**NOTES, "deployment_mode": "moon"})
        misspelt = await refused(client, "deploy", **NOTES, scale_replica=2)
        nowhere = await refused(client, "status", **place("nothing-here"))
        unknown = await refused(client, "operation_show", id="op-that-is-not-there")
        with pytest.raises(MCPError) as caught:
            await client.call_tool("make_coffee", {})

    assert "github_repo_url" in missing
    assert "moon" in wrong and "scale_replica" in misspelt
    assert "nothing-here" in nowhere and "op-that-is-not-there" in unknown
    assert caught.value.code == types.INVALID_PARAMS


# A yes. What makes an instance needs one, also where it then comes to nothing.


INSTANCE = {**NOTES, "deployment_mode": "cloud-local", "ec2_key_name": "mine"}


async def test_a_person_is_asked_and_only_a_yes_counts(failing):
    person = Person("decline", False, "cancel", True)
    async with http_client(failing, MODERN, elicitation_callback=person) as client:
        await client.list_tools()
        noes = [await call(client, "deploy", **INSTANCE) for _ in range(3)]
        listed = await call(client, "list")
        begun = await call(client, "deploy", **INSTANCE)

    assert [it["outcome"] for it in noes] == ["declined"] * 3 and listed["deployments"] == []
    assert begun["outcome"] == "operation"
    question = person.asked[0]
    assert question.requested_schema["required"] == ["confirm"] and question.requested_schema["properties"]["confirm"]["type"] == "boolean"
    assert "notes" in question.message and "USD" in question.message and "**" not in question.message


async def test_whoever_cannot_be_asked_shows_the_plan_and_names_it(failing, connect):
    named = {**INSTANCE, "instance_name": f"named-{connect.label}"}
    async with connect(failing) as client:
        await client.list_tools()
        shown = await client.call_tool("deploy", named)
        other = await call(client, "deploy", **named, confirm="0123456789ab")
        begun = await call(client, "deploy", **named, confirm=shown.structured_content["plan"]["hash"])

    plan = shown.structured_content["plan"]
    assert shown.structured_content["outcome"] == other["outcome"] == "confirmation_needed" and "operation" not in other
    assert plan["hash"] in text_of(shown) and "USD" in text_of(shown)
    assert other["plan"]["hash"] == plan["hash"] and other["plan"]["plan_changed"] is True
    assert begun["outcome"] == "operation"


async def test_a_key_that_asks_takes_a_persons_word_and_no_hash(tmp_path, behind):
    with bed.Server(**bed.programs(tmp_path, "exit 1"), **bed.aws(behind.origin), RETRY_ATTEMPTS="0", API_KEYS=bed.KEY) as server:
        environment = {**os.environ, "ON_DEMAND_INFRA_URL": server.origin, "ON_DEMAND_INFRA_API_KEY": bed.KEY}
        create = [bed.PROGRAM, "key", "create", "--name", "chat", "--role", "deployer", "--namespace", "demo", "--ask"]
        key = subprocess.run(create, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, text=True).stdout.strip()
        async with http_client(server, LEGACY, key=key) as client:
            await client.list_tools()
            shown = await call(client, "deploy", **INSTANCE)
            still = await call(client, "deploy", **INSTANCE, confirm=shown["plan"]["hash"])
        async with http_client(server, MODERN, key=key, elicitation_callback=Person(True)) as client:
            await client.list_tools()
            begun = await call(client, "deploy", **INSTANCE)

    assert shown["outcome"] == still["outcome"] == "confirmation_needed" and begun["outcome"] == "operation"


# Keys.


async def test_the_right_key_opens_the_door_and_others_do_not(keyed, connect):
    async with connect(keyed, key=bed.KEY) as client:
        assert await call(client, "list") == {"deployments": []}

    for key in (None, "a-key-of-somebody-else"):
        with pytest.raises(BaseExceptionGroup) as caught:
            async with connect(keyed, key=key):
                pass
        assert caught.group_contains(MCPError, match="key"), caught.value


# Resources.


async def test_deployments_operations_and_their_output_are_resources(slow, connect_by_http):
    name = f"read-{connect_by_http.label}"
    async with connect_by_http(slow) as client:
        begun = await call(client, "deploy", **named(name))
        operation, deployment = begun["operation"]["id"], begun["operation"]["deployment"]["id"]
        templates = {it.uri_template for it in (await client.list_resource_templates()).resource_templates}
        listed = {str(it.uri) for it in (await client.list_resources()).resources}
        read = {scheme: await client.read_resource(f"{scheme}://{id}") for scheme, id in (("deployment", deployment), ("operation", operation))}
        with pytest.raises(MCPError):
            await client.read_resource("deployment://nothing-here")
        await call(client, "operation_cancel", id=operation)

    assert {it.split("{")[0] for it in templates} == {"deployment://", "operation://", "logs://"}
    assert f"deployment://{deployment}" in listed
    assert all(it.contents and it.contents[0].mime_type for it in read.values())
    assert name in read["deployment"].contents[0].text and operation in read["operation"].contents[0].text


@pytest.mark.parametrize("way", ["http", "stdio"])
async def test_whoever_listens_hears_that_an_operation_went_on(slow, way):
    async with Connect(MODERN, way)(slow) as client:
        begun = await call(client, "deploy", **named(f"heard-{way}"))
        uri = f"operation://{begun['operation']['id']}"
        async with asyncio.timeout(20), client.listen(resource_subscriptions=[uri, "coffee://pot"]) as events:
            await call(client, "operation_cancel", id=begun["operation"]["id"])
            event = await anext(events)

    assert events.honored.resource_subscriptions == [uri] and event.uri == uri


# Tasks.


async def test_a_change_is_a_task_for_those_who_know_tasks(failing):
    tasks = Tasks()
    async with http_client(failing, MODERN, extensions=[tasks]) as client:
        assert tasks.identifier in client.server_capabilities.extensions
        result = await client.call_tool("deploy", named("a-task"))
        listed = await call(client, "list")

    created, *_, ended = tasks.seen
    assert created.status == "working" and ended.task_id == created.task_id
    assert ended.status == "completed" and result.structured_content["operation"]["id"] == created.task_id
    assert listed is not None

"""The official MCP client for Python as the stories use it: opened in one of its manners, calls that are no refusal, answers to what
a server asks, and the extension for tasks, which the client leaves to whoever wants it.

The client itself holds every result against the schema of its version, and `structuredContent` against the tool's `outputSchema`.
"""

import asyncio
import contextlib
from typing import Literal

import mcp_types as types
from mcp import Client, StdioServerParameters
from mcp.client.extension import ClientExtension, ResultClaim
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

import bed

# Every request stands alone, and the last of the versions that shake hands.
MODERN, LEGACY = "2026-07-28", "2025-11-25"
MODES = {MODERN: "auto", LEGACY: "legacy"}
ENDED = {"succeeded", "failed", "undone", "cancelled", "stuck"}


@contextlib.asynccontextmanager
async def http_client(server, version, key=None, **options):
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with create_mcp_http_client(headers) as http:
        async with Client(streamable_http_client(f"{server.origin}/mcp", http_client=http), mode=MODES[version], **options) as it:
            yield it


def stdio_client(server, version, key=None, **options):
    environment = {"ON_DEMAND_INFRA_URL": server.origin} | ({"ON_DEMAND_INFRA_API_KEY": key} if key else {})
    return Client(StdioServerParameters(command=str(bed.PROGRAM), args=["mcp"], env=environment), mode=MODES[version], **options)


class Connect:
    """Opens clients to a server, in one way."""

    def __init__(self, version, way):
        self.version, self.label = version, f"{way}-{version[:4]}"
        self.open = {"http": http_client, "stdio": stdio_client}[way]

    def __call__(self, server, **options):
        return self.open(server, self.version, **options)


def text_of(result):
    return "\n".join(it.text for it in result.content if it.type == "text")


async def call(client, tool, **arguments):
    """What a call gave that was no refusal: its structured content."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, text_of(result)
    assert text_of(result)
    return result.structured_content


async def refused(client, tool, **arguments):
    """The words of a refusal."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error, result
    return text_of(result)


async def ended(client, begun):
    """The operation that a change has begun, once it has ended."""
    operation = begun["operation"]
    while operation["state"] not in ENDED:
        operation = (await call(client, "operation_wait", id=operation["id"]))["operation"]
    return operation


class Person:
    """Answers what a server asks, and remembers it."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    async def __call__(self, _, question):
        self.asked.append(question)
        answer = self.answers.pop(0)
        return types.ElicitResult(action="accept", content={"confirm": answer}) if isinstance(answer, bool) else types.ElicitResult(action=answer)


class Created(types.Result):
    result_type: Literal["task"]
    task_id: str
    status: str
    ttl_ms: int | None
    poll_interval_ms: int | None = None


class TaskOf(types.RequestParams):
    task_id: str


class GetTask(types.Request[TaskOf, Literal["tasks/get"]]):
    name_param = "taskId"
    method: Literal["tasks/get"] = "tasks/get"
    params: TaskOf


class Task(types.Result):
    task_id: str
    status: str
    result: types.CallToolResult | None = None


class Tasks(ClientExtension):
    """A call that became a task is asked for until its end."""

    identifier = "io.modelcontextprotocol/tasks"

    def __init__(self):
        self.seen = []

    def claims(self):
        return [ResultClaim(result_type="task", model=Created, resolve=self.resolve)]

    async def resolve(self, created, context):
        self.seen.append(created)
        while True:
            task = await context.session.send_request(GetTask(params=TaskOf(task_id=created.task_id)), Task)
            self.seen.append(task)
            if task.status not in ("working", "input_required"):
                return task.result
            await asyncio.sleep((created.poll_interval_ms or 100) / 1000)

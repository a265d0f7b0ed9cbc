"""openai-python's own types for the Responses API, taken at their word.

The client itself reads leniently: it takes answers that its types do not allow. `Http` and `AsyncHttp` are its HTTP clients
that keep what came, and `check` holds all of it against the types: every field of the right kind and none that they do not
know, save ours, and the events of a stream in the one order that they may come in.
"""

import json
from urllib.parse import parse_qs, urlsplit

import httpx
from openai import BaseModel
from openai.types.responses import Response, ResponseItemList, ResponseStreamEvent
from pydantic import TypeAdapter

OURS = {"Response": {"operation", "deployment"}}
FIRST = ["response.created", "response.in_progress"]
LAST = {"response.completed": {"completed", "cancelled"}, "response.incomplete": {"incomplete"}, "response.failed": {"failed"}}
ADAPTERS = {kind: TypeAdapter(kind) for kind in (Response, ResponseItemList, ResponseStreamEvent)}


def parse(kind, text):
    """What this text is, as openai-python's types have it."""
    it = ADAPTERS[kind].validate_json(text, strict=True)
    refuse_unknown(it, kind.__name__ if isinstance(kind, type) else "event")
    return it


def refuse_unknown(it, at):
    if isinstance(it, dict):
        for name, value in it.items():
            refuse_unknown(value, f"{at}.{name}")
    elif isinstance(it, list):
        for index, value in enumerate(it):
            refuse_unknown(value, f"{at}[{index}]")
    elif isinstance(it, BaseModel):
        unknown = set(it.model_extra or {}) - OURS.get(type(it).__name__, set())
        assert not unknown, f"{at}, a {type(it).__name__}, has {sorted(unknown)}"
        for name in type(it).model_fields:
            refuse_unknown(getattr(it, name), f"{at}.{name}")


def events_of(text):
    """The events of a stream, and whether it came to its end."""
    events, is_whole = [], False
    for block in text.split("\n\n"):
        lines = [it for it in block.splitlines() if it and not it.startswith(":")]
        if not lines:
            continue
        assert not is_whole, f"after [DONE] comes {lines}"
        fields = dict(it.split(": ", 1) for it in lines)
        assert set(fields) <= {"event", "data"} and "data" in fields, lines
        if fields["data"] == "[DONE]":
            is_whole = True
            continue
        event = parse(ResponseStreamEvent, fields["data"])
        assert fields.get("event", event.type) == event.type, lines
        events.append(event)
    return events, is_whole


def check_order(events, is_whole, after=None):
    """Events of one response: from the first on, or from the one after that number on."""
    numbers = [it.sequence_number for it in events]
    begin = 0 if after is None else after + 1
    assert numbers == list(range(begin, begin + len(numbers))), numbers
    if is_whole and events:
        assert events[-1].type in LAST and events[-1].response.status in LAST[events[-1].type], events[-1]
        assert sum(it.type in LAST for it in events) == 1
    if after is not None:
        return
    assert [it.type for it in events[:2]] == FIRST[: len(events)]
    assert len({it.response.id for it in events if hasattr(it, "response")}) == 1
    done = [it.item for it in events if it.type == "response.output_item.done"]
    check_items(events, [it.id for it in done])
    if is_whole:
        assert events[-1].response.output == done, "what is told at the end is what was told before"


def check_items(events, ended):
    """Items and parts are opened, filled and closed, one after the other, and what closes them is what was in them."""
    begun, text, part = [], None, False
    for it in events:
        match it.type:
            case "response.output_item.added":
                assert it.output_index == len(begun) and (not begun or begun[-1] in ended), "one item at a time"
                begun.append(it.item.id)
                text = ""
                if it.item.type == "message":
                    assert it.item.content == [] and it.item.status == "in_progress"
            case "response.content_part.added":
                assert not part and it.part.text == ""
                part = True
            case "response.output_text.delta":
                assert part and it.delta
                text += it.delta
            case "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta":
                text += it.delta
            case "response.output_text.done":
                assert part and it.text == text
            case "response.function_call_arguments.done":
                assert it.arguments == text
            case "response.custom_tool_call_input.done":
                assert it.input == text
            case "response.content_part.done":
                assert part and it.part.text == text
                part = False
            case "response.output_item.done":
                assert it.item.id == begun[-1] and not part
                said = {"message": lambda item: item.content[0].text, "function_call": lambda item: item.arguments, "custom_tool_call": lambda item: item.input}
                assert said[it.item.type](it.item) == text
        if hasattr(it, "item_id"):
            assert (it.item_id, it.output_index) == (begun[-1], len(begun) - 1)


class Exchange:
    """One answer as it came."""

    def __init__(self, request, response):
        self.method, self.url = request.method, str(request.url)
        self.status, self.kind = response.status_code, response.headers.get("content-type", "")
        self.parts = []

    def check(self):
        url = urlsplit(self.url)
        text = b"".join(self.parts).decode()
        if "/responses" not in url.path:
            return
        if self.status >= 400:
            assert set(json.loads(text)["error"]) == {"message", "type", "param", "code"}, text
        elif self.kind.startswith("text/event-stream"):
            after = parse_qs(url.query).get("starting_after")
            # Whoever leaves early may have half a line.
            check_order(*events_of(text[: text.rfind("\n\n") + 2]), int(after[0]) if after else None)
        elif url.path.endswith("/input_items"):
            parse(ResponseItemList, text)
        elif self.method == "DELETE":
            told = json.loads(text)
            assert told == {"id": url.path.rsplit("/", 1)[1], "object": "response", "deleted": True}
        else:
            parse(Response, text)


class Kept(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that is kept while it is read."""

    def __init__(self, stream, parts):
        self.stream, self.parts = stream, parts

    def __iter__(self):
        for part in self.stream:
            self.parts.append(part)
            yield part

    async def __aiter__(self):
        async for part in self.stream:
            self.parts.append(part)
            yield part

    def close(self):
        self.stream.close()

    async def aclose(self):
        await self.stream.aclose()


class Transport(httpx.HTTPTransport):
    def __init__(self, kept):
        super().__init__()
        self.kept = kept

    def handle_request(self, request):
        request.headers["accept-encoding"] = "identity"
        response = super().handle_request(request)
        self.kept.append(Exchange(request, response))
        return httpx.Response(response.status_code, headers=response.headers, stream=Kept(response.stream, self.kept[-1].parts), extensions=response.extensions)


class AsyncTransport(httpx.AsyncHTTPTransport):
    def __init__(self, kept):
        super().__init__()
        self.kept = kept

    async def handle_async_request(self, request):
        request.headers["accept-encoding"] = "identity"
        response = await super().handle_async_request(request)
        self.kept.append(Exchange(request, response))
        return httpx.Response(response.status_code, headers=response.headers, stream=Kept(response.stream, self.kept[-1].parts), extensions=response.extensions)


class Http(httpx.Client):
    """An HTTP client for openai-python. When it is left, everything that came is checked."""

    def __init__(self):
        self.kept = []
        super().__init__(transport=Transport(self.kept), timeout=60)

    def __exit__(self, kind=None, *rest):
        super().__exit__(kind, *rest)
        if kind is None:
            check(self.kept)


class AsyncHttp(httpx.AsyncClient):
    """The same for its asynchronous client."""

    def __init__(self):
        self.kept = []
        super().__init__(transport=AsyncTransport(self.kept), timeout=60)

    async def __aexit__(self, kind=None, *rest):
        await super().__aexit__(kind, *rest)
        if kind is None:
            check(self.kept)


def check(kept):
    for it in kept:
        it.check()

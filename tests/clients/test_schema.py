"""Whatever a schema allows is answered within that schema, and never by a 5xx (schemathesis); chunks are OpenAI's."""

import json
import subprocess
import sys

import httpx
import jsonschema
import pytest
import yaml

import bed
from conftest import HELLO, NAME, PLAN

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Made-up requests may start operations: they fail at once, without a cluster and without a clone."""
    programs = bed.programs(tmp_path_factory.mktemp("programs"), "exit 1")
    with bed.Server(**programs, RETRY_ATTEMPTS="0", ANSWER_WITHIN_S="2", API_KEYS=bed.KEY) as it:
        yield it


def run(folder, schema, url, examples):
    """Runs it in a folder where it may keep what it likes. One worker: in CPython 3.11 two threads that parse at the same time
    may end in "AST constructor recursion depth mismatch"."""
    argv = [sys.executable, "-m", "schemathesis.cli", "run", schema, "--url", url, "--phases", "examples,coverage,fuzzing", "--checks", ",".join(CHECKS)]
    options = ["--header", f"Authorization: Bearer {bed.KEY}", "--max-examples", str(examples), "--seed", "20260101", "--workers", "1", "--request-timeout", "20"]
    options += ["--suppress-health-check", "all", "--warnings", "off", "--generation-database", "none", "--no-color"]
    ended = subprocess.run(argv + options, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=600, cwd=folder)
    assert ended.returncode == 0, ended.stdout.decode()[-20_000:]


def test_our_own_document_holds(server, tmp_path):
    run(tmp_path, f"{server.origin}/openapi.json", server.origin, 30)


def test_openais_document_holds_for_the_paths_that_are_here(server, tmp_path):
    run(tmp_path, str(bed.HERE / "openai-reduced.yaml"), server.url, 60)


TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}
ANSWERS = {
    "words": {"messages": HELLO},
    "words with their usage": {"messages": HELLO, "stream_options": {"include_usage": True}},
    "a plan": {"messages": HELLO, **PLAN},
    "an operation": {"messages": HELLO, **{key: value for key, value in PLAN.items() if key != "dry_run"}},
    "a list": {"messages": HELLO, "action": "list"},
    "a tool call of the model": {"messages": [{"role": "user", "content": "get_weather in 'Paris'"}], "tools": [TOOL], "stream_options": {"include_usage": True}},
    "a structured answer of the model": {"messages": HELLO, "response_format": {"type": "json_object"}, "logprobs": True},
}


@pytest.fixture(scope="module")
def smart(tmp_path_factory, behind):
    programs = bed.programs(tmp_path_factory.mktemp("programs"), "exit 1")
    with bed.Server(**programs, **behind.azure_settings, RETRY_ATTEMPTS="0") as it:
        yield it


@pytest.mark.parametrize("answer", ANSWERS)
def test_answers_and_chunks_are_openais(smart, answer):
    document = yaml.safe_load((bed.HERE / "openai-reduced.yaml").read_text())
    whole, chunk = (
        jsonschema.Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": document["components"]})
        for name in ("CreateChatCompletionResponse", "CreateChatCompletionStreamResponse")
    )
    body = {"model": NAME, **ANSWERS[answer]}

    answered = httpx.post(f"{smart.url}/chat/completions", json=body, timeout=60)
    streamed = httpx.post(f"{smart.url}/chat/completions", json={**body, "stream": True}, timeout=60)

    assert (answered.status_code, streamed.status_code) == (200, 200)
    whole.validate(answered.json())
    *chunks, last = [it.removeprefix("data: ") for it in streamed.text.splitlines() if it.startswith("data: ")]
    assert last == "[DONE]" and len(chunks) > 1
    for it in chunks:
        chunk.validate(json.loads(it))


RESPONSES = {
    "words": {},
    "a plan": PLAN,
    "an operation": {key: value for key, value in PLAN.items() if key != "dry_run"},
    "an operation in the background": {**PLAN, "dry_run": False, "instance_name": "later", "background": True},
    "calls of the model": {"input": "get_weather in 'Paris'", "tools": [{"type": "function", "strict": True, **TOOL["function"]}]},
    "a call with text": {"input": "run_sql with 'select 1'", "tools": [{"type": "custom", "name": "run_sql"}]},
    "a structured answer": {"text": {"format": {"type": "json_object"}}},
}


@pytest.mark.parametrize("answer", RESPONSES)
def test_responses_are_openais(smart, answer):
    document = yaml.safe_load((bed.HERE / "openai-reduced.yaml").read_text())
    schema = {"$ref": "#/components/schemas/Response", "components": document["components"]}

    answered = httpx.post(f"{smart.url}/responses", json={"model": NAME, "input": "hello", **RESPONSES[answer]}, timeout=60)

    assert answered.status_code == 200
    jsonschema.Draft202012Validator(schema).validate(answered.json())

"""curl, as in README.md."""

import json
import subprocess

from conftest import HELLO, NAME, PLAN


def curl(url, body, *options, media_type="application/json"):
    argv = ["curl", "-sS", "--max-time", "20", url, "-H", f"content-type: {media_type}", "-d", body, *options]
    return subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout.decode()


def body(**fields):
    return json.dumps({"model": NAME, "messages": HELLO, **fields})


def test_an_answer_is_one_line_of_json(server):
    answer = curl(f"{server.url}/chat/completions", body(**PLAN))

    assert "notes" in json.loads(answer)["choices"][0]["message"]["content"]


def test_a_stream_comes_as_it_is_written(server):
    lines = [it for it in curl(f"{server.url}/chat/completions", body(stream=True), "-N").splitlines() if it]

    assert lines[-1] == "data: [DONE]"
    assert all(json.loads(it.removeprefix("data: "))["choices"][0]["index"] == 0 for it in lines[:-1])


def test_status_and_error_are_readable(server):
    for sent, status, code in [
        ("{", "400", "invalid_json"),
        ("[]", "422", "invalid_type"),
        ("{}", "400", "missing_required_parameter"),
        (body(model="gpt-2"), "404", "model_not_found"),
    ]:
        answer = curl(f"{server.url}/chat/completions", sent, "-w", "\n%{http_code}")
        text, seen = answer.rsplit("\n", 1)
        assert (seen, json.loads(text)["error"]["code"]) == (status, code)


def test_a_body_that_is_not_said_to_be_json_is_refused(server):
    answer = curl(f"{server.url}/chat/completions", body(), media_type="text/plain")

    assert json.loads(answer)["error"]["code"] == "unsupported_media_type"


def test_fail_with_body_is_what_scripts_use(server):
    argv = ["curl", "-sS", "--fail-with-body", f"{server.url}/models/gpt-2"]
    ended = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)

    assert ended.returncode == 22
    assert json.loads(ended.stdout)["error"]["code"] == "model_not_found"


def test_compression_is_offered_to_those_who_ask(server):
    argv = ["curl", "-sS", "--compressed", "-o", "/dev/null", "-D", "-", f"{server.origin}/openapi.json"]
    headers = subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout.decode().lower()

    assert "content-encoding: gzip" in headers and "x-request-id:" in headers


def test_a_path_that_is_no_text_is_refused_as_an_error_object(server):
    argv = ["curl", "-sS", "-w", "\n%{http_code}", f"{server.url}/models/%FF"]
    text, status = subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout.decode().rsplit("\n", 1)

    assert (status, json.loads(text)["error"]["param"]) == ("400", "id")

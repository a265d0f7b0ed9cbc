"""What openai-python's own tests take for granted. They were written for a mock, which has every model and knows every id.

usage: made.py FILE...     rewrites such tests: they name our model, say something, and ask for what is stored here, which
`response` and `completion` make when a test wants it
"""

import json
import os
import pathlib
import re
import sys
import urllib.request

MODEL = "app-server-default"
REWRITTEN = [
    (r'"gpt-[a-z0-9.-]+"', f'"{MODEL}"'),
    # A request must say something.
    (r"responses(\.with_\w+)?\.create\(\)", rf'responses\1.create(input="string", model="{MODEL}")'),
    (r"(responses(?:\.with_\w+)?\.create\(\s+stream=True,)(\s+\))", rf'\1 input="string", model="{MODEL}"\2'),
    # Conversations and prompts are kept by OpenAI alone: these are 400 here, as test_responses.py says.
    (r'\n +conversation="string",', ""),
    (r"\n +prompt=\{(?:[^{}]|\{[^{}]*\})*\},", ""),
    # What is stored.
    (r'"(?:resp_677efb5139a88190b512bc3fef8e535d|response_id|previous_response_id)"', "made.response()"),
    (r'"completion_id"', "made.completion()"),
    # Pages begin somewhere and have at least one entry.
    (r'\n +after="after",', ""),
    (r"\blimit=0\b", "limit=1"),
    (r"\nimport pytest\n", "\nimport made\nimport pytest\n"),
]


def post(path, **body):
    """The id of what a request made."""
    request = urllib.request.Request(f"{os.environ['TEST_API_BASE_URL']}/{path}", json.dumps({"model": MODEL, **body}).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["id"]


def response():
    return post("responses", input="string")


def completion():
    # Of the messages that were said openai-python's types know only the assistant's, although OpenAI gives back all.
    return post("chat/completions", messages=[{"role": "assistant", "content": "string"}], store=True)


if __name__ == "__main__":
    for file in map(pathlib.Path, sys.argv[1:]):
        text = file.read_text()
        for pattern, instead in REWRITTEN:
            text = re.sub(pattern, instead, text)
        file.write_text(text)

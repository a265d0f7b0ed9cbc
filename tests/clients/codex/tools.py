"""Codex with this server as its MCP server. The model is a script, which calls a tool and then has its say.

Codex 0.171 shakes hands as of 2025-06-18, offers the tools of a server together as one namespace, and asks its person before a
tool that is not annotated as one that only reads; without a person such a call is declined, unless the settings approve it.
"""

import http.server
import json
import pathlib
import tempfile
import threading
import unittest

import bed
from agent import Codex, answer, get, items

CONFIG = """
model = "script"
model_provider = "script"
approval_policy = "never"
sandbox_mode = "read-only"
check_for_update_on_startup = false

[analytics]
enabled = false

[model_providers.script]
name = "A script"
base_url = "{model}"
wire_api = "responses"

[mcp_servers.infra]
{way}
required = true
default_tools_approval_mode = "{approval}"
"""
BY_HTTP = """
url = "{origin}/mcp"
bearer_token_env_var = "INFRA_KEY"
"""
BY_STDIO = """
command = "{program}"
args = ["mcp"]
env = {{ ON_DEMAND_INFRA_URL = "{origin}" }}
env_vars = ["ON_DEMAND_INFRA_API_KEY"]
"""
ITS_OWN = ("list_mcp_resources", "read_mcp_resource")
WAYS = {"http": BY_HTTP, "stdio": BY_STDIO}
NOTES = {"deployment_mode": "local", "github_repo_url": "https://github.com/example/notes", "target_namespace": "demo", "instance_name": "notes"}


class Script(http.server.ThreadingHTTPServer):
    """A model that speaks the Responses API. Each of its turns is a call of one of our tools, or a text that ends."""

    def __init__(self, *turns):
        self.turns, self.requests = list(turns), []
        super().__init__(("127.0.0.1", 0), Turn)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def server_close(self):
        self.shutdown()
        super().server_close()

    @property
    def offered(self):
        """Our tools, as they were offered."""
        return next(it for it in self.requests[0]["tools"] if it["type"] == "namespace" and it["name"] == "mcp__infra")["tools"]

    @property
    def outputs(self):
        """What the tools gave, as the model sees it."""
        return [str(it["output"]) for it in self.requests[-1]["input"] if it["type"] == "function_call_output"]


class Turn(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.requests.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        turn = self.server.turns.pop(0)
        if isinstance(turn, str):
            item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": turn, "annotations": []}]}
        else:
            name, arguments = turn
            item = {"type": "function_call", "call_id": f"call_{len(self.server.requests)}", "name": name, "arguments": json.dumps(arguments)}
            if name not in ITS_OWN:
                item["namespace"] = "mcp__infra"
        item |= {"id": f"item_{len(self.server.requests)}", "status": "completed"}
        whole = {"id": "resp_1", "object": "response", "status": "completed", "output": [item], "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}}
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for kind, fields in (("created", {"response": {**whole, "status": "in_progress", "output": []}}), ("output_item.done", {"output_index": 0, "item": item}), ("completed", {"response": whole})):
            self.wfile.write(f"data: {json.dumps({'type': f'response.{kind}', **fields})}\n\n".encode())

    def do_GET(self):
        # It would like a list of models.
        self.send_error(404)

    def log_message(self, *_):
        pass


class Stories(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="clients-codex-")))
        (self.folder / "programs").mkdir()
        programs = bed.programs(self.folder / "programs", "exit 1")
        self.server = self.enterContext(bed.Server(**programs, RETRY_ATTEMPTS="0", API_KEYS=bed.KEY))

    def run_script(self, *turns, way="http", approval="approve", key=bed.KEY):
        """The script and what Codex told, when it had it as its model."""
        with Script(*turns) as script:
            folder = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
            codex = Codex(folder, self.server, key)
            settings = WAYS[way].format(origin=self.server.origin, program=bed.PROGRAM)
            (codex.home / "config.toml").write_text(CONFIG.format(model=script.url, way=settings, approval=approval))
            codex.environment["ON_DEMAND_INFRA_API_KEY"] = key
            events = codex.say("please")
            return script, events

    def test_it_deploys_and_waits_for_the_end(self):
        for way in WAYS:
            with self.subTest(way):
                named = {**NOTES, "instance_name": f"notes-{way}"}
                begun, events = self.run_script(("plan", {"action": "deploy", **named}), ("deploy", named), "begun", way=way)
                (operation,) = [it for it in get(f"{self.server.url}/operations")["data"] if it["deployment"]["instance_name"] == f"notes-{way}"]
                waited, told = self.run_script(("operation_wait", {"id": operation["id"]}), "it is over", way=way)

                self.assertEqual(answer(events), "begun")
                self.assertEqual([(it["tool"], it["status"]) for it in items(events, "mcp_tool_call")], [("plan", "completed"), ("deploy", "completed")])
                self.assertLessEqual({"deploy", "status", "operation_wait"}, {it["name"] for it in begun.offered})
                self.assertIn(operation["id"], begun.outputs[-1])
                (wait,) = items(told, "mcp_tool_call")
                self.assertIn(wait["result"]["structured_content"]["operation"]["state"], ("failed", "undone"))
                self.assertIn(operation["id"], waited.outputs[-1])

    def test_what_only_reads_needs_no_approval_and_the_rest_does(self):
        script, events = self.run_script(("list", {}), ("deploy", NOTES), "that was it", approval="auto")

        looked, changed = items(events, "mcp_tool_call")
        self.assertEqual((looked["status"], changed["status"]), ("completed", "failed"))
        self.assertIn("requires approval", changed["error"]["message"])
        self.assertEqual(get(f"{self.server.url}/operations")["data"], [])

    def test_a_call_that_is_refused_says_why_to_the_model(self):
        script, events = self.run_script(("status", {"deployment_mode": "local", "target_namespace": "demo", "instance_name": "nothing-here"}), "it is not there")

        self.assertIn("nothing-here", script.outputs[-1])
        self.assertEqual(answer(events), "it is not there")

    def test_resources_are_read(self):
        self.run_script(("deploy", NOTES), "begun")
        (operation,) = get(f"{self.server.url}/operations")["data"]

        script, _ = self.run_script(("list_mcp_resources", {"server": "infra"}), ("read_mcp_resource", {"server": "infra", "uri": f"operation://{operation['id']}"}), "read")

        self.assertIn("infra", script.outputs[0])
        self.assertIn(operation["id"], script.outputs[1])

    def test_a_wrong_key_ends_with_its_message(self):
        with self.assertRaises(AssertionError) as caught:
            self.run_script("never said", key="a-key-of-somebody-else")

        self.assertIn("infra", str(caught.exception))


if __name__ == "__main__":
    unittest.main()

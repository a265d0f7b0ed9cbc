"""Codex, as somebody uses it who has pointed it here: `codex exec` in an empty folder, with a home of its own.

It sends everything with every request, stores nothing, always streams, and offers some tools that are not served here.
"""

import concurrent.futures
import json
import os
import pathlib
import subprocess
import tempfile
import time
import unittest
import urllib.request

import bed

bed.end_in_order()

CODEX = os.environ["CODEX"]
CONFIG = """
model = "app-server-default"
model_provider = "infra"
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false

[analytics]
enabled = false

[model_providers.infra]
name = "On-demand infra"
base_url = "{url}"
env_key = "INFRA_KEY"
wire_api = "responses"
"""


def get(url):
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {bed.KEY}"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


class Codex:
    """One home and one working folder of Codex."""

    def __init__(self, folder, server, key=bed.KEY):
        self.home, self.work = folder / "home", folder / "work"
        self.home.mkdir(), self.work.mkdir()
        (self.home / "config.toml").write_text(CONFIG.format(url=server.url))
        nowhere = "http://127.0.0.1:9"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "CODEX_HOME": str(self.home),
            "INFRA_KEY": key,
            # Whatever is not on this machine is out of its reach.
            **{name: nowhere for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")},
            **{name: "127.0.0.1,localhost" for name in ("NO_PROXY", "no_proxy")},
        }

    def say(self, text, resumes=False):
        """The events of one turn, of which the last tells how it ended."""
        argv = ["node", CODEX, "exec", *(["resume", "--last"] if resumes else []), "--skip-git-repo-check", "--json", text]
        ended = subprocess.run(argv, cwd=self.work, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
        events = [json.loads(it) for it in ended.stdout.splitlines() if it.startswith("{")]
        assert events, ended.stderr[-3000:]
        return events


def items(events, kind):
    return [it["item"] for it in events if it["type"] == "item.completed" and it["item"]["type"] == kind]


def answer(events):
    assert events[-1]["type"] == "turn.completed", events
    return items(events, "agent_message")[-1]["text"]


class Stories(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="clients-codex-")))

    def settings(self, end="exit 1"):
        """For a server whose deployments fail, at once when nothing else is said."""
        (self.folder / "programs").mkdir()
        return {**bed.programs(self.folder / "programs", end), "RETRY_ATTEMPTS": "0", "API_KEYS": bed.KEY}

    def start(self, model=None):
        return self.enterContext(bed.Server(**self.settings(), **(model.settings if model else {})))

    def start_with_model(self):
        model = self.enterContext(bed.Model())
        return model, self.start(model)

    def test_it_asks_and_deploys_in_sentences(self):
        server = self.start()
        codex = Codex(self.folder, server)

        listed = codex.say("list deployments")
        deployed = codex.say("deploy https://github.com/example/notes to local as notes in namespace demo")

        self.assertTrue(answer(listed))
        self.assertEqual(listed[-1]["usage"].keys() & {"input_tokens", "output_tokens"}, {"input_tokens", "output_tokens"})
        self.assertIn("notes", answer(deployed))
        (operation,) = get(f"{server.url}/operations")["data"]
        self.assertEqual((operation["action"], operation["deployment"]["instance_name"]), ("deploy", "notes"))

    def test_a_conversation_that_goes_on_begins_nothing_again(self):
        server = self.start()
        codex = Codex(self.folder, server)

        codex.say("deploy https://github.com/example/notes to local as notes in namespace demo")
        thanks = codex.say("thank you!", resumes=True)

        self.assertTrue(answer(thanks))
        self.assertEqual(len(get(f"{server.url}/operations")["data"]), 1)

    def test_a_server_that_is_killed_is_found_again_at_the_same_operation(self):
        settings = {**self.settings("sleep 4; exit 1"), "PORT": str(bed.free_port()), "PERSISTENT_WORKSPACE_BASE_DIR": str(self.folder / "workspace")}
        server = bed.Server(**settings)
        codex = Codex(self.folder, server)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            turn = pool.submit(codex.say, "deploy https://github.com/example/notes to local as notes in namespace demo")
            until = time.monotonic() + 30
            while not (begun := get(f"{server.url}/operations")["data"]):
                self.assertLess(time.monotonic(), until)
                time.sleep(0.1)
            server.child.kill()
            server.close()
            server = self.enterContext(bed.Server(**settings))
            events = turn.result()

        self.assertIn(begun[0]["id"], answer(events))
        self.assertEqual([it["id"] for it in get(f"{server.url}/operations")["data"]], [begun[0]["id"]])

    def test_its_own_tools_are_called(self):
        model, server = self.start_with_model()
        codex = Codex(self.folder, server)

        events = codex.say("use exec_command for 'echo from the shell > made.txt'")

        self.assertTrue(answer(events).startswith("The tool says:"))
        (ran,) = items(events, "command_execution")
        self.assertEqual((ran["status"], ran["exit_code"]), ("completed", 0))
        self.assertEqual((codex.work / "made.txt").read_text(), "from the shell\n")
        offered = {it["function"]["name"] for it in get(f"{model.origin}/requests")[-1]["body"]["tools"]}
        self.assertLessEqual({"exec_command", "deploy", "decommission"}, offered)

    def test_our_tools_are_called_beside_its_own(self):
        model, server = self.start_with_model()
        codex = Codex(self.folder, server)

        events = codex.say("decommission 'notes' please")
        again = codex.say("one haiku", resumes=True)

        self.assertEqual(items(events, "command_execution"), [])
        self.assertTrue(answer(events))
        self.assertEqual(answer(again), "You said: one haiku")
        said = [it["role"] for it in get(f"{model.origin}/requests")[-1]["body"]["messages"]]
        self.assertEqual(said[-3:], ["user", "assistant", "user"])

    def test_a_wrong_key_ends_with_its_message(self):
        # Codex tries six times.
        codex = Codex(self.folder, self.start(), key="a-key-of-somebody-else")

        events = codex.say("list deployments")

        self.assertEqual(events[-1]["type"], "turn.failed")
        self.assertIn("401", events[-1]["error"]["message"])


if __name__ == "__main__":
    unittest.main()

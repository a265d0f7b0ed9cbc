"""The programs that the clients talk to: the server, with a workspace of its own, and a model behind it (model.js).

usage: bed.py COMMAND...     runs a command with OPEN_URL, KEYED_URL, MODEL_URL and FAILING_URL set, which are /v1 of four servers:
without keys and without a model; with the key KEY; without keys and with the model; one whose deployments fail after a moment.
PROGRAM is the server's program.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PROGRAM = pathlib.Path(os.environ.get("SERVER_PROGRAM", ROOT / "target/debug/on-demand-infra")).resolve()
KEY = "a-key-of-the-client-tests"
MODEL_KEY = "a-key-of-the-model-behind"
MODEL_NAME = "behind-the-scenes"
EMBEDDING_NAME = "behind-the-vectors"
AZURE_VERSION = "2024-10-21"


def end_in_order():
    """Makes SIGTERM and SIGHUP interrupt this process as Ctrl-C does, so that it ends what it has started."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


def free_node_ports():
    """Two ports in a row that nobody listens on, of those that Kubernetes has for this."""
    for first in range(31700, 32700, 2):
        try:
            for port in (first, first + 1):
                with socket.socket() as it:
                    it.bind(("127.0.0.1", port))
        except OSError:
            continue
        return f"{first}-{first + 1}"
    raise RuntimeError("no two ports in a row are free")


def programs(folder, end):
    """Settings with a `kind` and a `git` whose work ends like this: `exec sleep 300` is for ever, `exit 1` is at once."""
    scripts = {
        "kind": f"case $1 in version) echo kind v0.31.0 go1.25.0 linux/amd64;; create) {end};; esac",
        "git": f"case $1 in --version) echo git version 2.50.0;; *) {end};; esac",
    }
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return {"KIND_PROGRAM": str(folder / "kind"), "GIT_PROGRAM": str(folder / "git"), "SHUTDOWN_GRACE_S": "1"}


def aws(origin):
    """Settings with credentials of an AWS at this address, which may refuse everything: a plan needs no more."""
    return {
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "of-the-client-tests",
        "AWS_REGION": "eu-central-1",
        "AWS_ENDPOINT_URL": origin,
        "EC2_PRIVATE_KEY_BASE_PATH": "/nowhere",
    }


def rig(*parts):
    """The environment of the test bed, whose parts are brought up."""
    file = subprocess.run([ROOT / "tests/rig/up", *parts], stdout=subprocess.PIPE, check=True, text=True).stdout.strip()
    listing = subprocess.run(["bash", "-c", '. "$0"; env -0', file], stdout=subprocess.PIPE, check=True, text=True).stdout
    return dict(line.split("=", 1) for line in listing.split("\0") if "=" in line)


def real_programs():
    """Settings with the test bed's own Docker, kind and git server, which are brought up."""
    variables = rig("docker", "kind", "images", "apps")
    kept = {name: variables[name] for name in ("PATH", "KIND_NODE_IMAGE", "GIT_BASE", "GIT_SSL_CAINFO") if name in variables}
    return {**kept, "GIT_ALLOWED_HOSTS": kept["GIT_BASE"].removeprefix("https://")}


class Process:
    """A child that answers on a port of 127.0.0.1 until it is closed."""

    def __init__(self, argv, port, probe, environment, folder, patience_s=60):
        self.port, self.folder = port, folder
        self.origin = f"http://127.0.0.1:{port}"
        self.log = folder / "log"
        with open(self.log, "w") as log:
            self.child = subprocess.Popen(argv, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + patience_s
        while not self.answers(probe):
            if self.child.poll() is not None or time.monotonic() > until:
                tail = self.log.read_text()[-3000:]
                self.close()
                raise SystemExit(f"{argv[0]} does not answer:\n{tail}")
            time.sleep(0.02)

    def answers(self, path):
        try:
            with urllib.request.urlopen(self.origin + path, timeout=5):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    def close(self):
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(30)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Server(Process):
    """The server, with settings."""

    def __init__(self, **settings):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="clients-server-"))
        port = int(settings.get("PORT") or free_port())
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", str(folder)),
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "RATE_LIMIT_PER_MINUTE": "0",
            "PERSISTENT_WORKSPACE_BASE_DIR": str(folder / "workspace"),
            "KIND_CLUSTER_NAME": "clients",
            **settings,
        }
        super().__init__([str(PROGRAM), "serve"], port, "/health", environment, folder)
        self.url = f"{self.origin}/v1"


class Model(Process):
    """The model behind the server; model.js says what it does."""

    def __init__(self):
        folder, port = pathlib.Path(tempfile.mkdtemp(prefix="clients-model-")), free_port()
        environment = {"PATH": os.environ["PATH"], "PORT": str(port), "KEY": MODEL_KEY, "NAME": MODEL_NAME, "EMBEDDING_NAME": EMBEDDING_NAME}
        super().__init__(["node", str(HERE / "model.js")], port, "/requests", environment, folder)

    @property
    def settings(self):
        """The server's settings for any endpoint that speaks OpenAI's protocol."""
        return {"LLM_BASE_URL": f"{self.origin}/v1", "LLM_API_KEY": MODEL_KEY, "LLM_MODEL": MODEL_NAME, "LLM_EMBEDDING_MODEL": EMBEDDING_NAME}

    @property
    def azure_settings(self):
        """The server's settings for Azure OpenAI."""
        return {
            "AZURE_OPENAI_ENDPOINT": self.origin,
            "AZURE_OPENAI_API_KEY": MODEL_KEY,
            "AZURE_OPENAI_API_VERSION": AZURE_VERSION,
            "AZURE_OPENAI_DEPLOYMENT": MODEL_NAME,
            "AZURE_EMBEDDING_DEPLOYMENT": EMBEDDING_NAME,
        }


def main():
    end_in_order()
    with contextlib.ExitStack() as stack:
        model = stack.enter_context(Model())
        failing = programs(pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clients-programs-"))), "sleep 0.5; exit 1")
        urls = {
            "OPEN_URL": stack.enter_context(Server()).url,
            "KEYED_URL": stack.enter_context(Server(API_KEYS=KEY)).url,
            "MODEL_URL": stack.enter_context(Server(**model.settings)).url,
            "FAILING_URL": stack.enter_context(Server(**failing, **aws(model.origin), RETRY_ATTEMPTS="0")).url,
        }
        return subprocess.run(sys.argv[1:], env={**os.environ, **urls, "KEY": KEY, "PROGRAM": str(PROGRAM)}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

"""OpenSSH's client as far as this program uses one: a master that forwards sockets, and programs over it.

The other machine is this one, with a home and programs of its own. Without the file `ssh-open` it lets nobody in."""

import os
import socket
import subprocess
import sys
import threading
import time

WORLD = "@WORLD@"
OPTIONS_WITH_VALUE = "FoilpSLO"
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGl0aXRpdGl0aXRpdGl0aXRpdGl0aXRpdGl0aXRpdGl0"


def main() -> None:
    options: dict[str, list[str]] = {}
    words = sys.argv[1:]
    while words and words[0].startswith("-"):
        flag = words.pop(0)[1]
        options.setdefault(flag, []).append(words.pop(0) if flag in OPTIONS_WITH_VALUE else "")
    command = words[1] if len(words) > 1 else ""
    control = options.get("S", [""])[0]
    with open(f"{WORLD}/ssh.calls", "a") as calls:
        calls.write(" ".join(sys.argv[1:]).replace("\n", " ")[:200] + "\n")
    if "M" in options:
        while os.path.exists(f"{WORLD}/failpoints/ssh.hold"):
            open(f"{WORLD}/failpoints/ssh.reached", "w").close()
            time.sleep(0.02)
        if not os.path.exists(f"{WORLD}/ssh-open"):
            refuse("it@127.0.0.1: Permission denied (publickey).")
        pin(dict(it.split("=", 1) for it in options["o"]))
        master(control, options["L"][0], command)
    try:
        with socket.socket(socket.AF_UNIX) as to_master:
            to_master.connect(control)
            if options.get("O") == ["forward"]:
                to_master.sendall(options["L"][0].encode())
                to_master.shutdown(socket.SHUT_WR)
                to_master.recv(1)
                sys.exit(0)
    except OSError:
        refuse("the master is gone")
    os.chdir(there())
    os.execvpe("sh", ["sh", "-c", command], environment())


def there() -> str:
    home = f"{WORLD}/there"
    os.makedirs(home, exist_ok=True)
    return home


def environment() -> dict[str, str]:
    return {"HOME": there(), "PATH": f"{WORLD}/bin/there:{WORLD}/bin:{os.environ['PATH']}", "LC_ALL": "C"}


def pin(options: dict[str, str]) -> None:
    """The first contact pins the host key."""
    file, name = options["UserKnownHostsFile"].strip('"'), options["HostKeyAlias"]
    with open(file, "a+") as known:
        known.seek(0)
        if options["StrictHostKeyChecking"] == "accept-new" and f"{name} " not in known.read():
            known.write(f"{name} {HOST_KEY}\n")


def refuse(why: str) -> None:
    print(why, file=sys.stderr)
    sys.exit(255)


def master(control: str, forward: str, command: str) -> None:
    """Lives as long as its program, which lives as long as our standard input."""
    listen(forward)
    at = server(control)
    threading.Thread(target=obey, args=(at,), daemon=True).start()
    code = subprocess.call(["sh", "-c", command], cwd=there(), env=environment())
    os._exit(code)


def obey(at: socket.socket) -> None:
    while True:
        client, _ = at.accept()
        with client:
            # Whoever only looks whether somebody is here says nothing.
            asked = client.recv(4096).decode()
            if asked:
                listen(asked)
                client.sendall(b".")


def listen(forward: str) -> None:
    """`LOCAL_SOCKET:SOCKET`, or `LOCAL_SOCKET:HOST:PORT`."""
    local, *remote = forward.split(":")
    at = server(local)

    def serve() -> None:
        while True:
            near, _ = at.accept()
            far = socket.create_connection((remote[0], int(remote[1]))) if len(remote) > 1 else docker()
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=copy, args=(source, sink), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()


def docker() -> socket.socket:
    far = socket.socket(socket.AF_UNIX)
    far.connect(f"{WORLD}/docker.sock")
    return far


def server(path: str) -> socket.socket:
    if os.path.exists(path):
        os.remove(path)
    at = socket.socket(socket.AF_UNIX)
    at.bind(path)
    at.listen(64)
    return at


def copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    try:
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


main()

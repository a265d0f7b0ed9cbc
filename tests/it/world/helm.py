"""Helm as far as this program uses one: a release is a Service of type LoadBalancer, and a file in its cluster's folder."""

import glob
import json
import os
import sys
import time
import urllib.error
import urllib.request

WORLD = "@WORLD@"
NAME = "nginx-ingress-controller"


def main() -> None:
    words = sys.argv[1:]
    with open(f"{WORLD}/helm.calls", "a") as calls:
        calls.write(" ".join(words) + "\n")
    if words[0] == "version":
        print("v3.18.0")
        return
    release = f"{glob.glob(f'{WORLD}/clusters/*')[0]}/release"
    namespace = words[words.index("--namespace") + 1]
    if words[0] == "status":
        if not os.path.exists(release):
            sys.exit("Error: release: not found")
        print(json.dumps({"info": {"status": "deployed"}}))
    elif words[0] == "upgrade":
        point("helm-upgrade")
        with open(words[words.index("--values") + 1]) as file:
            service = json.load(file)["controller"]["service"]
        call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        body = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME, "annotations": service["annotations"]},
            "spec": {"type": "LoadBalancer"},
        }
        call("PATCH", f"/api/v1/namespaces/{namespace}/services/{NAME}", body)
        open(release, "w").close()
        print("{}")
    else:
        point("helm-uninstall")
        call("DELETE", f"/api/v1/namespaces/{namespace}/services/{NAME}", {})
        if os.path.exists(release):
            os.remove(release)


def point(name: str) -> None:
    while os.path.exists(f"{WORLD}/failpoints/{name}.hold"):
        open(f"{WORLD}/failpoints/{name}.reached", "w").close()
        time.sleep(0.02)
    if os.path.exists(f"{WORLD}/failpoints/{name}.fail"):
        with open(f"{WORLD}/failpoints/{name}.fail") as why:
            sys.exit(why.read())


def call(method: str, path: str, body: dict) -> None:
    if not os.environ.get("HELM_KUBETOKEN"):
        sys.exit("Error: Kubernetes cluster unreachable: the server has asked for the client to provide credentials")
    url = os.environ["HELM_KUBEAPISERVER"].rstrip("/") + path
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(request).close()
    except urllib.error.HTTPError as error:
        if error.code not in (404, 409):
            sys.exit(f"Error: {error}")


main()

"""One deployment for real, as a person with an SDK sees it: on the test bed's Docker, kind and git server."""

import os
import subprocess

import httpx
import pytest
from openai import OpenAI

import bed
from conftest import NAME


@pytest.fixture
def client():
    programs = bed.real_programs()
    cluster = "on-demand-infra-clients"
    settings = {"KIND_CLUSTER_NAME": cluster, "NODE_PORT_RANGE": bed.free_node_ports()}
    with bed.Server(**programs, **settings) as server, OpenAI(base_url=server.url, api_key="none", timeout=300) as client:
        client.repository = f"{programs['GIT_BASE']}/static-site.git"
        yield client
    delete = ["kind", "delete", "cluster", "--quiet", "--name", cluster, "--kubeconfig", "/dev/null"]
    subprocess.run(delete, env={**os.environ, "PATH": programs["PATH"]}, check=True)


def ask(client, text, **fields):
    return client.chat.completions.create(model=NAME, messages=[{"role": "user", "content": text}], **fields)


def test_a_streamed_deployment_runs_and_is_taken_down_again(client):
    place = {"deployment_mode": "local", "target_namespace": "clients", "instance_name": "site"}
    deploy = {**place, "action": "deploy", "github_repo_url": client.repository}

    chunks = list(ask(client, "deploy it", stream=True, extra_body=deploy))
    again = ask(client, "deploy it", extra_body=deploy, extra_headers={"x-stainless-retry-count": "1"})
    running = httpx.get(again.deployment["app_url"])
    gone = ask(client, "take it down", extra_body={**place, "action": "decommission"})

    told = "".join(it.choices[0].delta.content or "" for it in chunks)
    assert chunks[-1].operation["state"] == "succeeded", told
    assert chunks[-1].operation["id"] == again.operation["id"] and chunks[-1].id == again.id
    assert len([it for it in told.splitlines() if it.startswith("- ✓")]) > 5
    assert running.status_code == 200
    assert gone.operation["state"] == "succeeded" and gone.deployment["state"] == "removed"

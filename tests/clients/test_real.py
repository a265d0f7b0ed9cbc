"""Deployments for real, as a person with an SDK and one with an MCP client see them: on the test bed's Docker, kind and git server."""

import os
import subprocess

import httpx
import pytest
from openai import OpenAI

import bed
from conftest import NAME
from protocol import LEGACY, MODERN, Person, call, ended, http_client


@pytest.fixture(scope="module")
def real():
    programs = bed.real_programs()
    cluster = "on-demand-infra-clients"
    settings = {"KIND_CLUSTER_NAME": cluster, "NODE_PORT_RANGE": bed.free_node_ports()}
    with bed.Server(**programs, **settings) as server:
        server.repository = f"{programs['GIT_BASE']}/static-site.git"
        yield server
    delete = ["kind", "delete", "cluster", "--quiet", "--name", cluster, "--kubeconfig", "/dev/null"]
    subprocess.run(delete, env={**os.environ, "PATH": programs["PATH"]}, check=True)


@pytest.fixture
def client(real):
    with OpenAI(base_url=real.url, api_key="none", timeout=300) as client:
        yield client


def ask(client, text, **fields):
    return client.chat.completions.create(model=NAME, messages=[{"role": "user", "content": text}], **fields)


def test_a_streamed_deployment_runs_and_is_taken_down_again(real, client):
    place = {"deployment_mode": "local", "target_namespace": "clients", "instance_name": "site"}
    deploy = {**place, "action": "deploy", "github_repo_url": real.repository}

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


async def test_tools_deploy_look_change_and_take_down_with_a_yes(real):
    place = {"deployment_mode": "local", "target_namespace": "tools", "instance_name": "site"}
    person = Person("decline", True)
    async with http_client(real, MODERN, elicitation_callback=person) as modern, http_client(real, LEGACY) as legacy:
        await modern.list_tools(), await legacy.list_tools()
        deployed = await ended(modern, await call(modern, "deploy", **place, github_repo_url=real.repository))
        status = await call(modern, "status", **place)
        listed = await call(legacy, "list")
        logs = await call(legacy, "logs", **place)
        diagnosed = await call(modern, "diagnose", **place)
        scaled = await ended(legacy, await call(legacy, "scale", **place, scale_replicas=2))
        running = httpx.get(status["deployment"]["app_url"])

        asked = await call(legacy, "scale", **place, scale_replicas=0)
        stopped = await ended(legacy, await call(legacy, "scale", **place, scale_replicas=0, confirm=asked["plan"]["hash"]))
        stale = await call(legacy, "decommission", **place, confirm=asked["plan"]["hash"])
        declined = await call(modern, "decommission", **place)
        removed = await ended(modern, await call(modern, "decommission", **place))
        left = await call(legacy, "list")

    assert (deployed["state"], scaled["state"], stopped["state"], removed["state"]) == ("succeeded",) * 4
    assert status["serving"] == status["wanted"] == 1 and "failure" not in status and running.status_code == 200
    assert [it["instance_name"] for it in listed["deployments"]] == ["site"]
    assert logs["deployment"]["id"] == status["deployment"]["id"] and "failure" not in diagnosed["status"]
    assert asked["outcome"] == stale["outcome"] == "confirmation_needed" and "operation" not in asked
    assert declined["outcome"] == "declined" and len(person.asked) == 2
    assert person.asked[0].requested_schema["required"] == ["confirm"] and "site" in person.asked[0].message
    assert left == {"deployments": []}

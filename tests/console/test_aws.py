"""An application on EC2 and one on EKS, by pages alone, with credentials that are typed: on the local AWS, which is one for all tests."""

import fcntl
import json
import os
import pathlib
import re
import subprocess
import tempfile
import urllib.request

import pytest
from playwright.sync_api import expect

import bed
from console import PATIENCE, SOON, Server, agree, await_state, delays, faults, path_of, picture, tell_delays

RIG = bed.ROOT / "tests/rig/aws"
ZONE = "apps.example.test"
# A page, built in a second, which says its version.
REPOSITORY = "private/ledger"


class Account:
    """The account, empty but for a key pair and a hosted zone, and what of the bed's a server on it needs."""

    def __init__(self, folder):
        self.variables = bed.rig("docker", "kind", "images", "apps", "aws")
        self.folder = folder
        self.git_token = pathlib.Path(self.variables["GIT_TOKEN_FILE"]).read_text().strip()
        self.repository = f"{self.variables['GIT_BASE']}/{REPOSITORY}.git"
        if left := self.leftovers():
            pytest.fail(f"the local AWS is in use, or was left so (tests/rig/aws/reset empties it): {left}")
        self.reset()
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "team.pem"], check=True)
        make = """
import boto3, sys
boto3.client("ec2").import_key_pair(KeyName="team", PublicKeyMaterial=sys.argv[1].encode())
print(boto3.client("route53").create_hosted_zone(Name=sys.argv[2], CallerReference="console")["HostedZone"]["Id"].rpartition("/")[2])
"""
        public = (folder / "team.pem.pub").read_text()
        python = f"{self.variables['RIG_CACHE']}/aws/venv/bin/python"
        self.zone = subprocess.run([python, "-c", make, public, ZONE], env=self.variables, check=True, capture_output=True, text=True).stdout.strip()

    def rig(self, script):
        return subprocess.run([RIG / script], stdout=subprocess.PIPE, text=True).stdout

    def leftovers(self):
        return self.rig("leftovers")

    def reset(self):
        self.rig("reset")

    def order(self, what, body=None):
        """Orders trouble, or takes it back."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.variables['AWS_ENDPOINT_URL']}/rig/{what}", data, method="POST" if data else "DELETE")
        urllib.request.urlopen(request, timeout=30).close()

    def credentials(self, mode):
        """What the user types who acts in this mode: what it calls is held against the mode's policy."""
        user = mode.replace("-", "_").upper()
        return {
            "AWS access key id": self.variables[f"RIG_{user}_ACCESS_KEY_ID"],
            "AWS secret access key": self.variables[f"RIG_{user}_SECRET_ACCESS_KEY"],
            "AWS region": "us-east-1",
        }

    @property
    def settings(self):
        """Settings of a server that has no credentials of its own."""
        inherited = {name: it for name, it in self.variables.items() if name.startswith(("AWS_ENDPOINT", "AWS_EC2_", "RIG_", "TF_", "KIND_", "GIT_"))}
        chart = next(pathlib.Path(self.variables["RIG_CACHE"]).glob("charts/nginx-ingress-*.tgz"))
        return {
            **inherited,
            "PATH": self.variables["PATH"],
            "GIT_ALLOWED_HOSTS": self.variables["GIT_BASE"].removeprefix("https://"),
            "NODE_PORT_RANGE": bed.free_node_ports(),
            "EC2_PRIVATE_KEY_BASE_PATH": str(self.folder),
            "EC2_AMI_OWNER": "099720109477",
            "EC2_AMI_NAME": "ubuntu/images/hvm-ssd*/ubuntu-*-amd64-server-*",
            "SSH_ALLOWED_CIDR": "127.0.0.0/8",
            "INGRESS_CHART": str(chart),
            "APP_CA_FILE": self.variables["RIG_AWS_CA"],
            "CERTIFICATE_PATIENCE_S": "5",
            "RETRY_BASE_MS": "50",
        }


@pytest.fixture(scope="module")
def account():
    # The stories of tests/real on AWS hold the same one.
    lock = bed.ROOT / "target/tmp/real-aws.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "w") as held, tempfile.TemporaryDirectory(prefix="console-keys-") as folder:
        fcntl.flock(held, fcntl.LOCK_EX)
        it = Account(pathlib.Path(folder))
        try:
            yield it
        finally:
            it.reset()


@pytest.fixture(scope="module")
def server(account):
    with Server(**account.settings) as it:
        yield it


def plan(page, server, mode, fields):
    """Fills in the form of a new deployment, as far as the plan."""
    page.goto(f"{server.origin}/new")
    page.get_by_role("radio", name=re.compile(f"^{mode}")).check()
    type_in(page, fields)
    page.get_by_role("button", name="Show the plan").click()
    expect(page.get_by_role("heading", name="Plan", exact=True)).to_be_visible(timeout=SOON)
    expect(page.get_by_label("Plan", exact=True)).to_contain_text(re.compile(r"\d USD per hour"))


def type_in(page, fields):
    for label, text in fields.items():
        page.get_by_label(label, exact=True).fill(text)


def decommission(page, server, account, place, credentials):
    """Removes a deployment, from its page on."""
    page.goto(server.origin + place)
    page.get_by_role("button", name="Plan a decommission", exact=True).click()
    # This server has no credentials: it asks for some, and does not ask for the rest again.
    expect(page.get_by_role("heading", name="Could not decommission")).to_be_visible(timeout=SOON)
    assert not (found := faults(page)), "\n".join(found)
    type_in(page, credentials)
    page.get_by_role("button", name="Show the plan").click()
    expect(page.get_by_role("heading", name="Plan", exact=True)).to_be_visible(timeout=SOON)
    agree(page)
    await_state(page, "succeeded", "failed", "stuck")
    expect(page.locator(".title-row .badge")).to_have_attribute("data-state", "succeeded")
    page.goto(server.origin + place)
    expect(page.get_by_text("It was removed")).to_be_visible()
    assert account.leftovers() == ""


def test_an_application_lives_on_an_instance(account, server, visit):
    page, credentials = visit(), account.credentials("cloud-local")
    secrets = [account.git_token, credentials["AWS secret access key"]]
    fields = {"Repository": account.repository, "Access token of the repository": account.git_token, "Name of the application": "ledger", "EC2 key pair": "team"}
    plan(page, server, "cloud-local", {**fields, **credentials})
    picture(page, "plan-instance")
    assert not any(it in page.content() for it in secrets)
    agree(page)
    await_state(page, "succeeded", "failed", "undone", "stuck")
    assert page.evaluate("window.isTheSamePage")
    expect(page.locator(".title-row .badge")).to_have_attribute("data-state", "succeeded")
    tell_delays("a deploy to an instance", delays(server, page, path_of(page).split("/")[-1]))
    picture(page, "operation-instance")
    assert not any(it in page.content() for it in secrets)
    with page.expect_popup() as popup:
        page.get_by_role("link", name="Open ledger").click()
    expect(popup.value.locator("body")).to_contain_text("version 1", timeout=SOON)

    page.locator(".crumbs").get_by_role("link", name="ledger").click()
    place = path_of(page)
    expect(page.locator("#health .tree")).to_contain_text("Pod", timeout=SOON)
    expect(page.get_by_role("heading", name="AWS was not asked")).to_be_visible()
    picture(page, "deployment-instance")
    assert not (found := faults(page)), "\n".join(found)
    look = page.locator("#health form")
    look.get_by_label("Access key id", exact=True).fill(credentials["AWS access key id"])
    look.get_by_label("Secret access key", exact=True).fill(credentials["AWS secret access key"])
    look.get_by_role("button", name="Look with these").click()
    expect(page.get_by_role("heading", name="AWS was not asked")).to_have_count(0, timeout=SOON)
    expect(page.locator("#health .tree")).to_contain_text("Pod")
    assert not any(it in page.content() for it in secrets)
    page.goto(f"{server.origin}/costs")
    expect(page.locator("main")).to_contain_text("USD")

    decommission(page, server, account, place, credentials)


def test_an_application_on_eks_waits_for_its_certificate_until_somebody_looks_again(account, server, visit):
    page, credentials = visit(ignore_https_errors=True), account.credentials("cloud-hosted")
    account.order("faults", {"service": "acm", "action": "Validation", "error": "undelegated"})
    fields = {"Repository": account.repository, "Access token of the repository": account.git_token, "Name of the application": "shop"}
    plan(page, server, "cloud-hosted", {**fields, "Hosted zone": account.zone, "Label below the zone": "shop", **credentials})
    agree(page)
    await_state(page, "waiting", "succeeded", "failed", "undone", "stuck")
    assert page.evaluate("window.isTheSamePage")
    expect(page.locator("main")).to_contain_text("CNAME", timeout=SOON)
    page.locator("#resume > summary").click()
    picture(page, "operation-waiting")
    assert not (found := faults(page)), "\n".join(found)

    account.order("faults")
    page.locator("#resume").get_by_role("button", name="Look again now").click()
    await_state(page, "succeeded", "failed", "undone", "stuck")
    expect(page.locator(".title-row .badge")).to_have_attribute("data-state", "succeeded")
    with page.expect_popup() as popup:
        page.get_by_role("link", name="Open shop").click()
    expect(popup.value.locator("body")).to_contain_text("version 1", timeout=SOON)
    assert popup.value.url.startswith(f"https://shop.{ZONE}")

    page.locator(".crumbs").get_by_role("link", name="shop").click()
    place = path_of(page)
    picture(page, "deployment-eks")
    assert not (found := faults(page)), "\n".join(found)
    page.get_by_role("link", name="Logs", exact=True).click()
    type_in(page, {it.removeprefix("AWS ").capitalize(): text for it, text in credentials.items()})
    page.get_by_role("button", name=re.compile("^Read")).last.click()
    expect(page.locator(".log")).not_to_be_empty(timeout=SOON)
    assert credentials["AWS secret access key"] not in page.content()

    decommission(page, server, account, place, credentials)

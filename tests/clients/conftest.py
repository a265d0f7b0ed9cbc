"""What the stories share: servers, the model behind one of them, and clients."""

import pytest
from openai import AsyncOpenAI, OpenAI

import bed

bed.end_in_order()

NAME = "app-server-default"
HELLO = [{"role": "user", "content": "hello"}]
PLAN = {
    "action": "deploy",
    "dry_run": True,
    "deployment_mode": "local",
    "github_repo_url": "https://github.com/example/notes",
    "target_namespace": "demo",
    "instance_name": "notes",
}


@pytest.fixture(scope="session")
def server():
    """Without keys, without a model, without a limit."""
    with bed.Server() as it:
        yield it


@pytest.fixture(scope="session")
def keyed():
    """With a key."""
    with bed.Server(API_KEYS=bed.KEY) as it:
        yield it


@pytest.fixture(scope="session")
def behind():
    """The model behind `smart` and `azure`."""
    with bed.Model() as it:
        yield it


@pytest.fixture(scope="session")
def smart(behind):
    """With a model behind it."""
    with bed.Server(**behind.settings) as it:
        yield it


@pytest.fixture(scope="session")
def azure(behind):
    """With Azure OpenAI behind it."""
    with bed.Server(**behind.azure_settings) as it:
        yield it


@pytest.fixture
def client(server):
    with OpenAI(base_url=server.url, api_key="none") as it:
        yield it


@pytest.fixture
async def async_client(server):
    async with AsyncOpenAI(base_url=server.url, api_key="none") as it:
        yield it

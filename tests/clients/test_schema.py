"""schemathesis: whatever a schema allows is answered within that schema, and never by a 5xx."""

import subprocess
import sys

import pytest

import bed

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Made-up requests may start operations: they fail at once, without a cluster and without a clone."""
    programs = bed.programs(tmp_path_factory.mktemp("programs"), "exit 1")
    with bed.Server(**programs, RETRY_ATTEMPTS="0", ANSWER_WITHIN_S="2", API_KEYS=bed.KEY) as it:
        yield it


def run(schema, url, phases, examples):
    argv = [sys.executable, "-m", "schemathesis.cli", "run", schema, "--url", url, "--phases", phases, "--checks", ",".join(CHECKS)]
    options = ["--header", f"Authorization: Bearer {bed.KEY}", "--max-examples", str(examples), "--seed", "20260101", "--workers", "2", "--request-timeout", "20"]
    options += ["--suppress-health-check", "all", "--warnings", "off", "--generation-database", "none", "--no-color"]
    ended = subprocess.run(argv + options, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=600)
    assert ended.returncode == 0, ended.stdout.decode()[-20_000:]


def test_our_own_document_holds(server):
    run(f"{server.origin}/openapi.json", server.origin, "examples,coverage,fuzzing", 30)


def test_openais_document_holds_for_the_paths_that_are_here(server):
    run(str(bed.HERE / "openai-reduced.yaml"), server.url, "examples,coverage,fuzzing", 60)

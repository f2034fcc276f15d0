"""What schemathesis makes of the OpenAPI description: nothing that it sends is answered with 5xx or as undocumented."""

from __future__ import annotations

from pathlib import Path

from tests.integration.fake_triton import FakeTriton
from tests.integration.foreign_clients import python_with, run_client
from tests.integration.gateway_process import GatewayProcess

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
)


def test_fuzz(gateway: GatewayProcess, triton: FakeTriton, tmp_path: Path) -> None:
    command = python_with("schemathesis").with_name("schemathesis")
    flags = ["--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing", "--max-examples", "10"]
    flags += ["--seed", "1", "--continue-on-failure", "--no-color", "--generation-database", "none"]
    flags += ["--suppress-health-check", "all"]
    done = run_client([command, "run", f"{gateway.http}/openapi.json", *flags], tmp_path)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr

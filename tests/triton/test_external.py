"""A gateway before a Triton that somebody else runs."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from cutout_build.photos import photo
from cutout_gateway.embedded.ports import free_port
from tests.integration.gateway_process import start_gateway
from tests.triton.conftest import RunningTriton

pytestmark = [pytest.mark.triton, pytest.mark.timeout(300)]


def test_an_external_triton_is_used_and_none_is_started(triton_server: RunningTriton, tmp_path: Path) -> None:
    metrics_url = triton_server.embedded.metrics_url
    gateway = start_gateway(
        tmp_path, "--triton-url", triton_server.url, "--triton-metrics-url", metrics_url, ready_timeout_s=30
    )
    try:
        assert psutil.Process(gateway.process.pid).children() == []
        answer = httpx.post(f"{gateway.http}/v1/cutouts", content=photo("coffee").read_bytes(), timeout=30)
        assert answer.status_code == 200
        assert httpx.get(f"{gateway.http}/info").json()["triton"] == "2.51.0"
        assert "nv_inference_request_success" in httpx.get(f"{gateway.http}/metrics/triton").text
    finally:
        assert gateway.stop() == 0


def test_a_triton_of_the_wrong_profile_is_never_ready(triton_server: RunningTriton) -> None:
    """Triton falls back to another configuration in silence; the backend that it reports tells."""
    port = free_port()
    command = [sys.executable, "-m", "cutout_gateway", "--http-port", str(port), "--grpc-port", "0", "--profile", "gpu"]
    process = subprocess.Popen([*command, "--triton-url", triton_server.url], stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 15
        reason = ""
        while time.monotonic() < end and "profile" not in reason:
            time.sleep(0.1)
            try:
                answer = httpx.get(f"http://127.0.0.1:{port}/readyz")
            except httpx.ConnectError:
                continue
            assert answer.status_code == 503
            reason = answer.json()["reason"]
        assert "segmentation runs on backend 'python'; profile gpu means 'tensorrt'." in reason
    finally:
        process.terminate()
        assert process.wait(20) == 0

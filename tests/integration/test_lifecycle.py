"""Starting and stopping: what cannot start says why and leaves; the environment's proxy is not ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.integration.fake_triton import FakeTriton
from tests.integration.gateway_process import start_gateway


def run_gateway(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cutout_gateway", "--http-port", "0", "--grpc-port", "0", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


def test_a_failure_while_serving_ends_the_process(triton: FakeTriton) -> None:
    done = run_gateway("--triton-url", f"127.0.0.1:{triton.port}", "--ready-file", "/nonexistent/ready.json")
    assert done.returncode == 1
    assert "/nonexistent/ready.tmp" in done.stderr


def test_a_port_that_is_taken(triton: FakeTriton, tmp_path: Path) -> None:
    url = f"127.0.0.1:{triton.port}"
    gateway = start_gateway(tmp_path, "--triton-url", url)
    try:
        for flag, port in (("--http-port", gateway.http_port), ("--grpc-port", gateway.grpc_port)):
            done = run_gateway("--triton-url", url, flag, str(port))
            assert done.returncode == 1
            assert f"127.0.0.1:{port}" in done.stderr
            assert f"CUTOUT_{flag[2:6].upper()}_PORT" in done.stderr
    finally:
        assert gateway.stop() == 0


def test_an_engine_that_is_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUTOUT_CACHE", str(tmp_path))
    done = run_gateway()
    assert done.returncode == 1
    assert "run `make models`" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CUTOUT_CACHE", str(tmp_path / "file" / "cache"))
    done = run_gateway()
    assert done.returncode == 1
    assert "set CUTOUT_CACHE" in done.stderr


def test_a_proxy_of_the_environment_is_not_asked(
    triton: FakeTriton, small_jpeg: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    gateway = start_gateway(tmp_path, "--triton-url", f"127.0.0.1:{triton.port}", ready_timeout_s=15)
    with httpx.Client(trust_env=False) as client:
        assert client.post(f"{gateway.http}/v1/cutouts", content=small_jpeg).status_code == 200
    assert gateway.stop() == 0

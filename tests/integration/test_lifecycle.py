"""Starting, stopping and bounds: what cannot start says why and leaves; who stalls costs a bounded amount."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.integration.fake_triton import FakeTriton
from tests.integration.gateway_process import GatewayProcess, start_gateway

pytestmark = pytest.mark.slow  # each starts processes or waits for a limit to pass

Start = Callable[..., GatewayProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts gateways; those that a failed test leaves are stopped."""
    started: list[GatewayProcess] = []

    def start_one(*flags: str) -> GatewayProcess:
        started.append(start_gateway(tmp_path, *flags))
        return started[-1]

    yield start_one
    for gateway in started:
        gateway.stop()


def run_gateway(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cutout_gateway", "--http-port", "0", "--grpc-port", "0", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


def test_a_failure_while_serving_ends_the_process(triton: FakeTriton) -> None:
    done = run_gateway("--triton-url", f"127.0.0.1:{triton.port}", "--ready-file", "/nonexistent/ready.json")
    assert done.returncode == 1
    assert "/nonexistent/ready.tmp" in done.stderr


def test_a_port_that_is_taken(triton: FakeTriton, start: Start) -> None:
    url = f"127.0.0.1:{triton.port}"
    gateway = start("--triton-url", url)
    try:
        for flag, port in (("--http-port", gateway.http_port), ("--grpc-port", gateway.grpc_port)):
            done = run_gateway("--triton-url", url, flag, str(port))
            assert done.returncode == 1
            assert f"127.0.0.1:{port}" in done.stderr
            assert f"CUTOUT_{flag[2:6].upper()}_PORT" in done.stderr
    finally:
        assert gateway.stop() == 0


def test_every_line_of_a_json_log_is_json(triton: FakeTriton, small_jpeg: bytes, start: Start) -> None:
    gateway = start("--triton-url", f"127.0.0.1:{triton.port}", "--log-format", "json")
    assert (
        httpx.post(f"{gateway.http}/v1/cutouts", content=small_jpeg, headers={"X-Request-Id": "a"}).status_code == 200
    )
    assert httpx.post(f"{gateway.http}/v1/cutouts", content=b"x", headers={"X-Request-Id": "b"}).status_code == 415
    assert gateway.stop() == 0
    events = [json.loads(line) for line in gateway.log.splitlines()]
    assert {event["level"] for event in events} == {"info"}, "nothing is wrong in a normal life"
    messages = [event["message"] for event in events]
    ready = next(event for event in events if event["message"].startswith("ready after "))
    assert messages.index("loading the models") < messages.index(ready["message"])
    assert 0 < ready["ms"] < 60_000
    done, refused = (event for event in events if event["message"].startswith("request "))
    assert (done["request_id"], done["protocol"], done["code"], done["bytes_in"]) == (
        "a",
        "http",
        "ok",
        len(small_jpeg),
    )
    assert done["ms"] > 0
    assert (refused["request_id"], refused["code"]) == ("b", "not_an_image")


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
    triton: FakeTriton, small_jpeg: bytes, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    gateway = start("--triton-url", f"127.0.0.1:{triton.port}")
    with httpx.Client(trust_env=False) as client:
        assert client.post(f"{gateway.http}/v1/cutouts", content=small_jpeg).status_code == 200
    assert gateway.stop() == 0


@pytest.mark.parametrize(("flags", "limit"), [([], 40), (["--timeout-s", "4"], 20), (["--max-crowd-wait-s", "1"], 10)])
def test_a_crowd_fills_half_a_deadline_or_what_is_set(
    triton: FakeTriton, start: Start, flags: list[str], limit: int
) -> None:
    """At the rate that is taken for granted before the first answers, ten requests a second."""
    gateway = start("--triton-url", f"127.0.0.1:{triton.port}", "--max-in-flight", "40", "--batch-slots", "1", *flags)
    assert f"cutout_in_flight_limit {limit}.0" in httpx.get(f"{gateway.http}/metrics").text
    assert gateway.stop() == 0


def connect(gateway: GatewayProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", gateway.http_port), timeout=10)


def test_a_silent_connection_is_closed(gateway: GatewayProcess) -> None:
    with connect(gateway) as connection:
        assert connection.recv(1) == b""


def test_bodies_on_their_way_count_towards_the_bytes_in_flight(triton: FakeTriton, start: Start) -> None:
    limits = ["--max-bytes", "100000", "--max-in-flight-bytes", "250000", "--upload-timeout-s", "8"]
    gateway = start("--triton-url", f"127.0.0.1:{triton.port}", *limits)
    head = b"POST /v1/cutouts HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            connection = stack.enter_context(connect(gateway))
            connection.sendall(head + bytes(99_000))
        assert wait_for_metric(gateway, "cutout_uploads 2.0")
        answer = httpx.post(f"{gateway.http}/v1/cutouts", content=b"\xff" * 90_000)
        assert answer.status_code == 429
        assert answer.json()["error"]["code"] == "overloaded"
    assert wait_for_metric(gateway, "cutout_uploads 0.0")
    assert gateway.stop() == 0


def test_a_caller_that_does_not_read_its_answer_is_let_go(triton: FakeTriton, small_jpeg: bytes, start: Start) -> None:
    triton.result = bytes(40_000_000)
    gateway = start("--triton-url", f"127.0.0.1:{triton.port}", "--send-timeout-s", "0.5")
    head = f"POST /v1/cutouts HTTP/1.1\r\nHost: x\r\nContent-Length: {len(small_jpeg)}\r\n\r\n".encode()
    with connect(gateway) as connection:
        connection.sendall(head + small_jpeg)
        end = time.monotonic() + 10
        while "did not read its answer" not in gateway.log and time.monotonic() < end:
            time.sleep(0.05)
        assert "did not read its answer" in gateway.log
        connection.settimeout(5)
        arrived = sum(iter(lambda: receive(connection), 0))
        assert arrived < len(triton.result) / 2, "an answer was kept for a caller that was let go"
        assert gateway.stop() == 0


def receive(connection: socket.socket) -> int:
    """Bytes that the next read brings; 0 at the connection's end."""
    try:
        return len(connection.recv(1 << 20))
    except ConnectionResetError:
        return 0


def test_grpc_on_an_ipv6_address(triton: FakeTriton, start: Start) -> None:
    if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists():
        pytest.skip("no IPv6 here")
    gateway = start("--triton-url", f"127.0.0.1:{triton.port}", "--grpc-host", "::1")
    with grpc.insecure_channel(f"[::1]:{gateway.grpc_port}") as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert gateway.stop() == 0


def wait_for_metric(gateway: GatewayProcess, line: str) -> bool:
    end = time.monotonic() + 5
    while time.monotonic() < end:
        if line in httpx.get(f"{gateway.http}/metrics").text:
            return True
        time.sleep(0.05)
    return False

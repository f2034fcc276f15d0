"""The bounded load against a real gateway: it sends what it was told, and counts what failed."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from cutout_loadtest import run_closed_loop
from cutout_loadtest.__main__ import main
from tests.integration.fake_triton import FakeTriton
from tests.integration.gateway_process import GatewayProcess


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_every_request_is_sent_and_timed(
    gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes, protocol: str
) -> None:
    triton.delay_s = 0.05
    url = gateway.http if protocol == "http" else f"grpc://{gateway.grpc}"
    report = run_closed_loop(url, [small_jpeg], requests=12, concurrency=3)
    assert (report.requests, report.succeeded, report.errors) == (12, 12, {})
    assert sum(triton.batches) == 12
    assert report.bytes_out == 12 * len(triton.result)
    assert 50 <= report.p50_ms <= report.p95_ms
    assert 5 < report.images_per_s < 1.1 * 3 / triton.delay_s  # three callers, one answer in 50 ms each


def test_failures_are_counted_and_told(
    gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    triton.fail_with = grpc.StatusCode.UNAVAILABLE
    (tmp_path / "a.jpg").write_bytes(small_jpeg)
    assert main(["closed", str(tmp_path / "a.jpg"), "--url", gateway.http, "-n", "3", "-c", "1"]) == 1
    assert "errors {'model_unavailable': 3}" in capsys.readouterr().out


def test_a_load_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="needs an image"):
        run_closed_loop("http://127.0.0.1:1", [], requests=1, concurrency=1)


def test_a_server_that_is_not_there_is_an_outcome() -> None:
    for url in ("http://127.0.0.1:1", "grpc://127.0.0.1:1"):
        assert run_closed_loop(url, [b"image"], requests=2, concurrency=1).errors == {"connection_failed": 2}

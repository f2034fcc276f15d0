"""The gateway's event loop keeps turning while large photos and results pass through it."""

from __future__ import annotations

import asyncio
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cutout_loadtest import run_closed_loop
from cutout_loadtest.stats import percentile
from tests.integration.fake_triton import FakeTriton
from tests.integration.gateway_process import start_gateway
from tests.integration.probed_gateway import watch

#: Most that 99 of 100 turns of the loop may be late under 8 callers with 5 MB each way. 9 to 23 ms were seen on two
#: cores that others kept busy.
P99_MS = 100.0


async def test_the_probe_sees_a_blocked_loop() -> None:
    lags_ms: list[float] = []
    watcher = asyncio.create_task(watch(lags_ms))
    await asyncio.sleep(0.02)
    time.sleep(0.3)  # noqa: ASYNC251  # the blocking is the point
    await asyncio.sleep(0.02)
    watcher.cancel()
    assert max(lags_ms) >= 250


@pytest.mark.parametrize("transport", ["shared memory", "grpc"])
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_large_uploads_and_results_do_not_block_the_loop(
    triton: FakeTriton, tmp_path: Path, protocol: str, transport: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(noise).save(file, "JPEG", quality=94, subsampling="4:4:4")
    photo = file.getvalue()
    assert 4.5e6 < len(photo) < 7e6
    triton.result, triton.delay_s = photo, 0.05
    lags_file = tmp_path / "lags"
    program = ["-m", "tests.integration.probed_gateway", str(lags_file)]
    flags = ["--triton-url", f"127.0.0.1:{triton.port}"]
    flags += ["--shared-memory-bytes", "0", "--shared-memory-result-bytes", "0"] if transport == "grpc" else []
    gateway = start_gateway(tmp_path, *flags, program=program, ready_timeout_s=100)
    try:
        url = gateway.http if protocol == "http" else f"grpc://{gateway.grpc}"
        report = run_closed_loop(url, [photo], requests=24, concurrency=8)
    finally:
        assert gateway.stop() == 0
    lags_ms = [float(line) for line in lags_file.read_text().splitlines()]
    assert (report.succeeded, report.errors) == (24, {})
    assert report.bytes_out == 24 * len(photo)
    assert bool(triton.placed) == bool(triton.stored) == (transport == "shared memory")
    assert len(lags_ms) > 50
    assert percentile(lags_ms, 99) <= P99_MS

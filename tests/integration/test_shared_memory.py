"""Batches in flight at once whose shared memory Triton forgets, refuses, or has none left for."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator

import grpc
import pytest

from cutout_core.contract import CutoutError, ErrorCode
from cutout_gateway.batcher import Row
from cutout_gateway.result_rooms import MIN_PIXELS
from cutout_gateway.triton import TritonClient
from tests.integration.fake_triton import FakeTriton

IMAGE = bytes(200_000)


@pytest.fixture
async def client(triton: FakeTriton) -> AsyncIterator[TritonClient]:
    made = TritonClient(f"127.0.0.1:{triton.port}", "cpu", 8 << 20, 64 << 20)
    yield made
    await made.close()


async def infer(client: TritonClient, count: int) -> list[list[bytes]]:
    """The results of batches of 1 to `count` rows, all in flight at once."""
    deadline = time.monotonic() + 20
    row = Row(IMAGE, b"", MIN_PIXELS, deadline)
    batches = [client.infer("cutout", [row] * (rows + 1), deadline) for rows in range(count)]
    return [[row.result for row in batch] for batch in await asyncio.gather(*batches)]


async def test_what_several_batches_lost_is_registered_anew_once(
    client: TritonClient, triton: FakeTriton, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    triton.delay_s = 0.1
    expected = [[triton.result] * rows for rows in (1, 2, 3)]
    assert await infer(client, 3) == expected
    files = len(os.listdir("/proc/self/fd"))
    triton.regions.clear()
    triton.stored.clear()
    assert await infer(client, 3) == expected
    assert caplog.text.count("has forgotten") == 1
    assert len(triton.stored) == 3
    assert len(triton.regions) == 6
    assert len(os.listdir("/proc/self/fd")) <= files


async def test_a_result_that_does_not_fit_is_sent_and_the_next_fits(client: TritonClient, triton: FakeTriton) -> None:
    triton.result = bytes(3 * MIN_PIXELS)
    assert await infer(client, 1) == [[triton.result]]
    assert (len(triton.batches), triton.stored) == (2, [])
    assert await infer(client, 1) == [[triton.result]]
    assert (len(triton.batches), len(triton.stored)) == (3, 1)


async def test_a_step_without_shared_memory_is_no_forgotten_region(client: TritonClient, triton: FakeTriton) -> None:
    triton.fail_with = grpc.StatusCode.INTERNAL
    triton.failure = "use '--shm-size' flag to control the shared memory region size. Error: No space left on device"
    with pytest.raises(CutoutError) as caught:
        await infer(client, 1)
    assert caught.value.code is ErrorCode.INTERNAL
    assert len(triton.batches) == 1

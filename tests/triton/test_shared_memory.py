"""Images through shared memory to a real Triton, and results back."""

from __future__ import annotations

import io
import time
from collections.abc import AsyncIterator, Callable, Iterator

import numpy as np
import pytest
from PIL import Image
from tritonclient.grpc import InferenceServerClient
from tritonclient.grpc import service_pb2 as pb

from cutout_build.photos import photo
from cutout_gateway import result_rooms
from cutout_gateway.batcher import Row
from cutout_gateway.result_rooms import MIN_PIXELS
from cutout_gateway.shared_memory import MIN_BYTES
from cutout_gateway.triton import TritonClient
from tests.triton.conftest import RunningTriton

pytestmark = pytest.mark.triton

Registered = Callable[[], list[str]]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """Two photos, of more bytes than the bound together."""
    files = []
    for name in ("astronaut", "chelsea"):
        buffer = io.BytesIO()
        Image.open(io.BytesIO(photo(name).read_bytes())).convert("RGB").save(buffer, "JPEG", quality=95)
        files.append(buffer.getvalue())
    assert sum(map(len, files)) > MIN_BYTES
    return [Row(file, b"", MIN_PIXELS // 2, time.monotonic() + 60) for file in files]


@pytest.fixture
async def client(triton_server: RunningTriton) -> AsyncIterator[TritonClient]:
    made = TritonClient(triton_server.url, "cpu", shared_memory=8 << 20, result_memory=8 << 20)
    yield made
    await made.close()


@pytest.fixture
def registered(triton_client: InferenceServerClient) -> Iterator[Registered]:
    def names() -> list[str]:
        return sorted(triton_client.get_system_shared_memory_status().regions)

    assert names() == []
    yield names
    assert names() == []  # the client has taken its regions back


async def test_the_result_is_that_of_grpc(
    registered: Registered, client: TritonClient, triton_server: RunningTriton, rows: list[Row]
) -> None:
    plain = TritonClient(triton_server.url, "cpu")
    over_grpc = await plain.infer("cutout_fast", rows, time.monotonic() + 60)
    assert registered() == []
    shared = await client.infer("cutout_fast", rows, time.monotonic() + 60)
    again = await client.infer("cutout_fast", rows[::-1], time.monotonic() + 60)
    assert len(registered()) == 2  # one for images, one for results
    await plain.close()
    assert [row.result for row in shared] == [row.result for row in over_grpc]
    assert [row.result for row in again] == [row.result for row in over_grpc[::-1]]
    assert np.asarray(Image.open(io.BytesIO(shared[0].result)))[..., 3].any()


async def test_a_triton_that_forgot_its_regions_is_told_again(
    registered: Registered, client: TritonClient, triton_server: RunningTriton, rows: list[Row]
) -> None:
    first = await client.infer("cutout_fast", rows, time.monotonic() + 60)
    before = registered()
    await client._stub.SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest(name=""))  # all of them
    second = await client.infer("cutout_fast", rows, time.monotonic() + 60)
    after = registered()
    assert len(after) == len(before) == 2
    assert not set(after) & set(before)
    assert [row.result for row in second] == [row.result for row in first]


async def test_a_result_that_does_not_fit_is_made_again_and_the_next_one_fits(
    registered: Registered,
    client: TritonClient,
    rows: list[Row],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    fitting = await client.infer("cutout_fast", rows, time.monotonic() + 60)
    for name, value in {"_LEAST": 0.001, "_FIXED": 16}.items():
        monkeypatch.setattr(result_rooms, name, value)
    client._rooms._densities.clear()
    assert not caplog.records
    first = await client.infer("cutout_fast", rows, time.monotonic() + 60)
    assert "a result did not fit" in caplog.text
    caplog.clear()
    second = await client.infer("cutout_fast", rows, time.monotonic() + 60)
    assert not caplog.records
    assert [row.result for row in first] == [row.result for row in second] == [row.result for row in fitting]
    assert len(registered()) == 2

"""The pool of shared memory for inputs, with a stub in Triton's place."""

from __future__ import annotations

import asyncio
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2 as pb

from cutout_gateway import shared_memory
from cutout_gateway.embedded.run_directory import run_name
from cutout_gateway.shared_memory import FOLDER, MIN_BYTES, InputRegions

BIG = b"x" * MIN_BYTES
MEGA = 1 << 20


class StubTriton:
    """Remembers what is registered; refuses with `refusal` where one is set."""

    def __init__(self, refusal: grpc.StatusCode | None = None) -> None:
        self.refusal = refusal
        self.registered: dict[str, int] = {}
        self.asked, self.answers = asyncio.Event(), asyncio.Event()
        self.answers.set()

    async def SystemSharedMemoryRegister(self, request: Any, timeout: float) -> Any:  # noqa: N802
        if self.refusal is not None:
            raise grpc.aio.AioRpcError(self.refusal, grpc.aio.Metadata(), grpc.aio.Metadata(), "not here")
        assert (FOLDER / request.key.removeprefix("/")).stat().st_size == request.byte_size
        self.registered[request.name] = request.byte_size
        self.asked.set()
        await self.answers.wait()
        return pb.SystemSharedMemoryRegisterResponse()

    async def SystemSharedMemoryUnregister(self, request: Any, timeout: float) -> Any:  # noqa: N802
        self.registered.pop(request.name, None)
        return pb.SystemSharedMemoryUnregisterResponse()

    async def SystemSharedMemoryStatus(self, request: Any, timeout: float) -> Any:  # noqa: N802
        answer = pb.SystemSharedMemoryStatusResponse()
        for name in self.registered:
            answer.regions[name].name = name
        return answer


@pytest.fixture
def triton() -> StubTriton:
    return StubTriton()


@pytest.fixture
def pool(triton: StubTriton) -> Iterator[InputRegions]:
    made = InputRegions(triton, 4 * MEGA)
    yield made
    made.forget()


async def test_elements_are_written_with_their_lengths_and_the_region_is_private(pool: InputRegions) -> None:
    placed = await pool.place([BIG, b"", b"tail"])
    assert placed is not None
    region, size = placed
    path = FOLDER / region.name
    assert path.read_bytes()[:size] == b"".join(struct.pack("<I", len(v)) + v for v in (BIG, b"", b"tail"))
    assert path.stat().st_mode & 0o777 == 0o600


async def test_an_answered_region_is_used_again_and_an_unanswered_one_rests(
    pool: InputRegions, triton: StubTriton, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await pool.place([BIG])
    assert first is not None
    pool.release(first[0], answered=True)
    second = await pool.place([BIG])
    assert second is not None
    assert second[0] is first[0]
    pool.release(second[0], answered=False)
    third = await pool.place([BIG])
    assert third is not None
    assert third[0] is not first[0]
    monkeypatch.setattr(shared_memory.time, "monotonic", lambda: first[0].free_at)
    fourth = await pool.place([BIG])
    assert fourth is not None
    assert fourth[0] is first[0]


async def test_the_pool_is_bounded_and_a_small_free_region_makes_room(pool: InputRegions, triton: StubTriton) -> None:
    small = await pool.place([BIG])
    assert small is not None
    assert await pool.place([b"x" * (3 * MEGA)]) is None  # needs 4 MiB, of which the small one has one
    pool.release(small[0], answered=True)
    assert await pool.place([b"x" * (3 * MEGA)]) is not None
    assert list(triton.registered.values()) == [4 * MEGA]
    assert await pool.place([BIG]) is None
    assert not (FOLDER / small[0].name).exists()


async def test_what_is_small_or_larger_than_the_pool_goes_over_grpc(pool: InputRegions, triton: StubTriton) -> None:
    assert await pool.place([b"tiny"]) is None
    assert await pool.place([b"x" * (5 * MEGA)]) is None
    assert triton.registered == {}


async def test_a_triton_that_refuses_is_not_asked_again() -> None:
    triton = StubTriton(grpc.StatusCode.INVALID_ARGUMENT)
    pool = InputRegions(triton, 4 * MEGA)
    before = set(os.listdir(FOLDER))
    assert await pool.place([BIG]) is None
    triton.refusal = None
    assert await pool.place([BIG]) is None
    assert set(os.listdir(FOLDER)) <= before


async def test_a_triton_that_is_away_is_asked_again() -> None:
    triton = StubTriton(grpc.StatusCode.UNAVAILABLE)
    pool = InputRegions(triton, 4 * MEGA)
    assert await pool.place([BIG]) is None
    triton.refusal = None
    assert await pool.place([BIG]) is not None
    await pool.close()
    assert triton.registered == {}


@pytest.mark.parametrize("free", [0, 1000])
async def test_full_shared_memory_switches_it_off(
    pool: InputRegions, triton: StubTriton, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    def full(*args: object) -> int:
        if not free:
            raise OSError(28, "No space left on device")
        return free

    monkeypatch.setattr(shared_memory.os, "pwritev", full)
    before = set(os.listdir(FOLDER))
    assert await pool.place([BIG]) is None
    assert set(os.listdir(FOLDER)) <= before
    assert triton.registered == {}
    monkeypatch.undo()
    assert await pool.place([BIG]) is None


async def test_a_region_takes_pages_only_for_what_is_written(pool: InputRegions) -> None:
    placed = await pool.place([b"x" * (MEGA + 1)])
    assert placed is not None
    state = (FOLDER / placed[0].name).stat()
    assert state.st_size == 2 * MEGA
    assert state.st_blocks * 512 < 1.1 * MEGA


async def test_a_caller_that_leaves_during_the_registration_leaves_nothing(
    pool: InputRegions, triton: StubTriton
) -> None:
    files, before = set(os.listdir("/proc/self/fd")), set(os.listdir(FOLDER))
    triton.answers.clear()
    caller = asyncio.create_task(pool.place([BIG]))
    await triton.asked.wait()
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    assert caller.cancelled()
    assert set(os.listdir(FOLDER)) <= before
    assert triton.registered == {}
    assert set(os.listdir("/proc/self/fd")) <= files
    triton.answers.set()
    assert await pool.place([BIG]) is not None


class SlowWriter:
    """Writes in its thread once `go` is set."""

    def __init__(self) -> None:
        self.go, self.begun = threading.Event(), threading.Event()
        self.fill = shared_memory._fill

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.wait, 10)

    def __call__(self, handle: int, values: Sequence[bytes]) -> int:
        self.begun.set()
        assert self.go.wait(10)
        return self.fill(handle, values)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowWriter]:
    writer = SlowWriter()
    monkeypatch.setattr(shared_memory, "_fill", writer)
    yield writer
    writer.go.set()


async def test_a_large_batch_is_written_beside_the_event_loop(pool: InputRegions, slow: SlowWriter) -> None:
    caller = asyncio.create_task(pool.place([b"x" * (2 * MEGA)]))
    await slow.has_begun()  # which needs the loop
    assert not caller.done()
    slow.go.set()
    placed = await caller
    assert placed is not None
    assert (FOLDER / placed[0].name).read_bytes()[4 : placed[1]] == b"x" * (2 * MEGA)


async def test_a_region_whose_caller_left_is_nobody_elses_while_it_is_written(
    pool: InputRegions, triton: StubTriton, slow: SlowWriter
) -> None:
    leaving = asyncio.create_task(pool.place([b"x" * (MEGA + 1)]))
    await slow.has_begun()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    (first,) = triton.registered
    slow.begun.clear()
    second = asyncio.create_task(pool.place([b"y" * (MEGA + 1)]))
    await slow.has_begun()
    assert len(triton.registered) == 2
    slow.go.set()
    placed = await second
    assert placed is not None
    assert placed[0].name != first
    for _ in range(1000):  # until the first is written too
        third = await pool.place([b"z" * (MEGA + 1)])
        if third is not None:
            break
        await asyncio.sleep(0.01)
    assert third is not None
    assert third[0].name == first  # what was written is of no use, the region is


async def test_a_region_that_is_removed_while_it_is_written_harms_nothing(pool: InputRegions, slow: SlowWriter) -> None:
    files = set(os.listdir("/proc/self/fd"))
    caller = asyncio.create_task(pool.place([b"x" * (2 * MEGA)]))
    await slow.has_begun()
    pool.forget()
    slow.go.set()
    assert await caller is not None
    assert set(os.listdir("/proc/self/fd")) <= files


@pytest.fixture
def dead() -> str:
    """A region whose process has ended."""
    code = (
        "import os;from cutout_gateway.embedded.run_directory import run_name;n=run_name(os.getpid());"
        "open('/dev/shm/'+n,'w').write('left');print(n)"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


async def test_regions_of_dead_gateways_are_reclaimed(pool: InputRegions, triton: StubTriton, dead: str) -> None:
    alive = run_name(os.getpid())
    (FOLDER / alive).touch()
    triton.registered |= {dead: 4, alive: 4, "of somebody else": 4}
    try:
        assert await pool.place([BIG]) is not None
        assert not (FOLDER / dead).exists()
        assert dead not in triton.registered
        assert {alive, "of somebody else"} <= set(triton.registered)
        assert (FOLDER / alive).exists()
    finally:
        (FOLDER / alive).unlink()

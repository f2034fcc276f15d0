"""The pools of shared memory, with a stub in Triton's place."""

from __future__ import annotations

import asyncio
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from cutout_gateway import shared_memory
from cutout_gateway.embedded.run_directory import run_name
from cutout_gateway.shared_memory import FOLDER, MIN_BYTES, Regions
from tests.unit.gateway.stub_regions import StubTriton

BIG = b"x" * MIN_BYTES
MEGA = 1 << 20


@pytest.fixture
def triton() -> StubTriton:
    return StubTriton()


@pytest.fixture
def pool(triton: StubTriton) -> Iterator[Regions]:
    made = Regions(triton, 4 * MEGA)
    yield made
    made.forget()


async def test_elements_are_written_with_their_lengths_and_the_region_is_private(pool: Regions) -> None:
    placed = await pool.place([BIG, b"", b"tail"])
    assert placed is not None
    path = FOLDER / placed.region.name
    assert path.read_bytes()[: placed.size] == b"".join(struct.pack("<I", len(v)) + v for v in (BIG, b"", b"tail"))
    assert path.stat().st_mode & 0o777 == 0o600


async def test_an_answered_region_is_used_again_and_an_unanswered_one_rests(
    pool: Regions, triton: StubTriton, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await pool.place([BIG])
    assert first is not None
    pool.release(first.region, answered=True)
    second = await pool.place([BIG])
    assert second is not None
    assert second.region is first.region
    pool.release(second.region, answered=False)
    third = await pool.place([BIG])
    assert third is not None
    assert third.region is not first.region
    monkeypatch.setattr(shared_memory.time, "monotonic", lambda: first.region.free_at)
    fourth = await pool.place([BIG])
    assert fourth is not None
    assert fourth.region is first.region


async def test_the_pool_is_bounded_and_a_small_free_region_makes_room(pool: Regions, triton: StubTriton) -> None:
    small = await pool.place([BIG])
    assert small is not None
    assert await pool.place([b"x" * (3 * MEGA)]) is None  # needs 4 MiB, of which the small one has one
    pool.release(small.region, answered=True)
    assert await pool.place([b"x" * (3 * MEGA)]) is not None
    assert list(triton.registered.values()) == [4 * MEGA]
    assert await pool.place([BIG]) is None
    assert not (FOLDER / small.region.name).exists()


async def test_what_is_small_or_larger_than_the_pool_goes_over_grpc(pool: Regions, triton: StubTriton) -> None:
    assert await pool.place([b"tiny"]) is None
    assert await pool.place([b"x" * (5 * MEGA)]) is None
    assert triton.registered == {}


async def test_a_triton_that_refuses_is_not_asked_again() -> None:
    triton = StubTriton(grpc.StatusCode.INVALID_ARGUMENT)
    pool = Regions(triton, 4 * MEGA)
    before = set(os.listdir(FOLDER))
    assert await pool.place([BIG]) is None
    triton.refusal = None
    assert await pool.place([BIG]) is None
    assert set(os.listdir(FOLDER)) <= before


async def test_a_triton_that_is_away_is_asked_again() -> None:
    triton = StubTriton(grpc.StatusCode.UNAVAILABLE)
    pool = Regions(triton, 4 * MEGA)
    assert await pool.place([BIG]) is None
    triton.refusal = None
    assert await pool.place([BIG]) is not None
    await pool.close()
    assert triton.registered == {}


@pytest.mark.parametrize("free", [0, 1000])
async def test_full_shared_memory_switches_it_off(
    pool: Regions, triton: StubTriton, monkeypatch: pytest.MonkeyPatch, free: int
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


async def test_a_region_takes_pages_only_for_what_is_written(pool: Regions) -> None:
    placed = await pool.place([b"x" * (MEGA + 1)])
    assert placed is not None
    state = (FOLDER / placed.region.name).stat()
    assert state.st_size == 2 * MEGA
    assert state.st_blocks * 512 < 1.1 * MEGA


async def test_a_caller_that_leaves_during_the_registration_leaves_nothing(pool: Regions, triton: StubTriton) -> None:
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


async def test_a_large_batch_is_written_beside_the_event_loop(pool: Regions, slow: SlowWriter) -> None:
    caller = asyncio.create_task(pool.place([b"x" * (2 * MEGA)]))
    await slow.has_begun()  # which needs the loop
    assert not caller.done()
    slow.go.set()
    placed = await caller
    assert placed is not None
    assert (FOLDER / placed.region.name).read_bytes()[4 : placed.size] == b"x" * (2 * MEGA)


async def test_a_region_whose_caller_left_is_nobody_elses_while_it_is_written(
    pool: Regions, triton: StubTriton, slow: SlowWriter
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
    assert placed.region.name != first
    for _ in range(1000):  # until the first is written too
        third = await pool.place([b"z" * (MEGA + 1)])
        if third is not None:
            break
        await asyncio.sleep(0.01)
    assert third is not None
    assert third.region.name == first  # what was written is of no use, the region is


async def test_a_region_that_is_removed_while_it_is_written_harms_nothing(pool: Regions, slow: SlowWriter) -> None:
    files = set(os.listdir("/proc/self/fd"))
    caller = asyncio.create_task(pool.place([b"x" * (2 * MEGA)]))
    await slow.has_begun()
    pool.forget()
    slow.go.set()
    placed = await caller
    assert placed is not None
    pool.release(placed.region, answered=True)
    assert set(os.listdir("/proc/self/fd")) <= files


async def test_what_triton_stores_into_has_its_pages_before(pool: Regions) -> None:
    room = await pool.reserve(MEGA + 1)
    assert room is not None
    assert room.size == MEGA + 1
    state = (FOLDER / room.region.name).stat()
    assert state.st_size == 2 * MEGA
    assert MEGA + 1 <= state.st_blocks * 512 < 1.1 * MEGA
    pool.release(room.region, answered=True)
    more = await pool.reserve(2 * MEGA)
    assert more is not None
    assert more.region is room.region
    assert (FOLDER / room.region.name).stat().st_blocks * 512 == 2 * MEGA
    assert await pool.reserve(4 * MEGA + 1) is None


async def test_results_leave_half_of_shared_memory_to_others(pool: Regions, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await pool.reserve(MEGA)
    assert first is not None
    pool.release(first.region, answered=True)
    half = (1 << 30) // 4096 // 2
    free = os.statvfs_result((4096, 4096, 2 * half, half + 255, half + 255, 0, 0, 0, 0, 255))  # a page short of a MiB
    monkeypatch.setattr(shared_memory.os, "statvfs", lambda _: free)
    again = await pool.reserve(MEGA)  # has its pages
    assert again is not None
    assert await pool.reserve(MEGA) is None
    pool.release(again.region, answered=True)
    assert await pool.reserve(MEGA + 1) is None
    taken = await pool.reserve(MEGA)
    assert taken is not None  # the refusals left it free
    assert taken.region is first.region


async def test_a_container_s_64_mb_take_no_results(pool: Regions, monkeypatch: pytest.MonkeyPatch) -> None:
    small = os.statvfs_result((4096, 4096, 16384, 16384, 16384, 0, 0, 0, 0, 255))
    monkeypatch.setattr(shared_memory.os, "statvfs", lambda _: small)
    assert await pool.reserve(4096) is None


async def test_without_a_folder_for_it_results_are_sent(pool: Regions, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(shared_memory.os, "statvfs", missing)
    assert await pool.reserve(MEGA) is None


async def test_a_region_that_is_forgotten_in_use_stays_open_until_it_is_given_back(pool: Regions) -> None:
    files = set(os.listdir("/proc/self/fd"))
    room, idle = await pool.reserve(MEGA), await pool.reserve(MEGA)
    assert room is not None
    assert idle is not None
    pool.release(idle.region, answered=True)
    os.pwrite(room.region.handle, b"mine", 0)
    pool.forget()
    assert not pool.holds(room.region)
    assert not (FOLDER / room.region.name).exists()
    other = await pool.reserve(MEGA)
    assert other is not None
    os.pwrite(other.region.handle, b"other", 0)
    assert os.pread(room.region.handle, 4, 0) == b"mine"
    pool.release(room.region, answered=True)
    pool.release(other.region, answered=True)
    pool.forget()
    assert set(os.listdir("/proc/self/fd")) <= files


async def test_a_caller_that_leaves_before_a_thread_is_free_leaves_no_file_open(pool: Regions) -> None:
    room = await pool.reserve(MEGA)
    assert room is not None
    pool.release(room.region, answered=True)
    files = set(os.listdir("/proc/self/fd"))
    go = threading.Event()
    executor = ThreadPoolExecutor(1)
    asyncio.get_running_loop().set_default_executor(executor)
    busy = asyncio.create_task(asyncio.to_thread(go.wait, 10))
    await asyncio.sleep(0.01)
    leaving = asyncio.create_task(pool.reserve(2 * MEGA))
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(os.listdir("/proc/self/fd")) == len(files) + 2  # the region's, and that for the thread it waits for
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    go.set()
    await busy
    await asyncio.to_thread(int)  # the thread has come to it before
    pool.forget()
    assert set(os.listdir("/proc/self/fd")) <= files


async def test_full_shared_memory_has_results_sent(
    pool: Regions, triton: StubTriton, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    files, before = set(os.listdir("/proc/self/fd")), set(os.listdir(FOLDER))
    monkeypatch.setattr(shared_memory.os, "posix_fallocate", full)
    assert await pool.reserve(MEGA) is None
    assert set(os.listdir(FOLDER)) <= before
    assert set(os.listdir("/proc/self/fd")) <= files
    assert triton.registered == {}
    monkeypatch.undo()
    assert await pool.reserve(MEGA) is not None


async def test_a_caller_that_leaves_while_pages_are_taken_gives_its_region_back(
    pool: Regions, triton: StubTriton, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, begun, take = threading.Event(), threading.Event(), shared_memory._take_pages

    def slowly(handle: int, size: int) -> None:
        begun.set()
        assert go.wait(10)
        take(handle, size)

    monkeypatch.setattr(shared_memory, "_take_pages", slowly)
    leaving = asyncio.create_task(pool.reserve(MEGA))
    assert await asyncio.to_thread(begun.wait, 10)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    go.set()
    again = await pool.reserve(MEGA)
    assert again is not None
    assert list(triton.registered) == [again.region.name]


@pytest.fixture
def dead() -> str:
    """A region whose process has ended."""
    code = (
        "import os;from cutout_gateway.embedded.run_directory import run_name;n=run_name(os.getpid());"
        "open('/dev/shm/'+n,'w').write('left');print(n)"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


async def test_regions_of_dead_gateways_are_reclaimed(pool: Regions, triton: StubTriton, dead: str) -> None:
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

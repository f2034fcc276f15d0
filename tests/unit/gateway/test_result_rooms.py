"""How much room results get, and that nothing is read which Triton did not write, with a stub in Triton's place."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

import pytest

from cutout_gateway.batcher import Row
from cutout_gateway.result_rooms import MIN_PIXELS, ResultRooms
from cutout_gateway.shared_memory import Placed
from tests.unit.gateway.stub_regions import StubTriton

#: Bytes that every row gets beside its pixels.
FIXED = 64 * 1024


def row(pixels: int = MIN_PIXELS) -> Row:
    return Row(b"image", b"", pixels, 1e9)


@pytest.fixture
def rooms() -> Iterator[ResultRooms]:
    made = ResultRooms(StubTriton(), 64 << 20)
    yield made
    made.forget()


async def size_of(rooms: ResultRooms, *rows: Row) -> int:
    room = await rooms.reserve(rows)
    assert room is not None
    rooms.release(room, answered=True)
    return room.size


def store(room: Placed, *elements: bytes) -> None:
    os.pwrite(room.region.handle, b"".join(struct.pack("<I", len(e)) + e for e in elements), 0)


async def test_small_batches_and_a_pool_of_nothing_have_no_room(rooms: ResultRooms) -> None:
    assert await rooms.reserve([row(MIN_PIXELS - 1)]) is None
    assert await ResultRooms(StubTriton(), 0).reserve([row()]) is None
    assert await size_of(rooms, row(MIN_PIXELS // 2), row(MIN_PIXELS // 2)) > MIN_PIXELS


async def test_room_is_a_fifth_more_than_the_largest_recent_result_took(rooms: ResultRooms) -> None:
    assert await size_of(rooms, row()) == pytest.approx(1.8 * MIN_PIXELS + FIXED, abs=1)
    rooms.learn([row(), row()], [bytes(2 * MIN_PIXELS + FIXED), bytes(10)])
    assert await size_of(rooms, row(), row(2 * MIN_PIXELS)) == pytest.approx(7.2 * MIN_PIXELS + 2 * FIXED, abs=1)
    rooms.learn([row()] * 256, [b""] * 256)  # which brings it down to a byte for a pixel, never below
    assert await size_of(rooms, row()) == pytest.approx(1.2 * MIN_PIXELS + FIXED, abs=1)


async def test_a_tiny_photo_and_noise_do_not_make_rooms_huge(rooms: ResultRooms) -> None:
    rooms.learn([row(1), row(100)], [bytes(FIXED), bytes(FIXED + 10_000)])
    assert await size_of(rooms, row()) == pytest.approx(5.04 * MIN_PIXELS + FIXED, abs=1)


async def test_a_refusal_tells_how_large_the_results_are(rooms: ResultRooms) -> None:
    text = "shared memory size specified with the request for output 'RESULT' ({} bytes) should be at least {} bytes"
    assert not rooms.was_too_small([row()], "Unable to find shared memory region: 'x'")
    assert rooms.was_too_small([row(), row()], text.format(10, 6 * MIN_PIXELS + 2 * FIXED) + " to hold the results")
    assert await size_of(rooms, row()) == pytest.approx(3.6 * MIN_PIXELS + FIXED, abs=1)


async def test_what_triton_stored_is_read(rooms: ResultRooms) -> None:
    room = await rooms.reserve([row(), row(), row()])
    assert room is not None
    store(room, b"first", b"", b"third" * 1000)
    assert await rooms.read(room, 3) == [b"first", b"", b"third" * 1000]


async def test_an_older_result_is_never_taken_for_one_that_was_not_written(rooms: ResultRooms) -> None:
    files = set(os.listdir("/proc/self/fd"))
    first = await rooms.reserve([row()])
    assert first is not None
    store(first, b"somebody's picture")
    rooms.release(first, answered=True)
    second = await rooms.reserve([row()])
    assert second is not None
    assert second.region is first.region
    with pytest.raises(ValueError, match="not in their shared memory"):
        await rooms.read(second, 1)
    rooms.release(second, answered=True)
    rooms.forget()
    assert set(os.listdir("/proc/self/fd")) <= files


async def test_an_unanswered_room_is_nobody_elses(rooms: ResultRooms) -> None:
    first = await rooms.reserve([row()])
    assert first is not None
    rooms.release(first, answered=False)
    second = await rooms.reserve([row()])
    assert second is not None
    assert second.region is not first.region

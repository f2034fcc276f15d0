"""The batcher: slots, weights, fairness, deadlines, cancellation; every future is resolved on every path."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

import pytest

from cutout_core.contract import CutoutError, ErrorCode, RowMeta
from cutout_gateway.batcher import Batcher, Row, RowResult


class Engine:
    """Answers with each row's own image once `gate` is open; remembers the batches."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.batches: list[tuple[str, list[bytes]]] = []
        self.cancelled = 0
        self.error: Exception | None = None

    async def run(self, ensemble: str, rows: Sequence[Row], deadline: float) -> list[RowResult]:
        self.batches.append((ensemble, [row.image for row in rows]))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error:
            raise self.error
        return [RowResult(row.image, RowMeta()) for row in rows]


class Observer:
    def __init__(self) -> None:
        self.dropped: Counter[tuple[str, str]] = Counter()

    def batch_started(self, ensemble: str, rows: int) -> None:
        pass

    def row_dropped(self, place: str, reason: str) -> None:
        self.dropped[place, reason] += 1


def row(name: str = "a", pixels: int = 100, seconds: float = 5.0) -> Row:
    return Row(name.encode(), b"", pixels, time.monotonic() + seconds)


def make(engine: Engine, observer: Observer | None = None, *, slots: int = 1, max_rows: int = 4) -> Batcher:
    return Batcher(engine.run, observer or Observer(), slots=slots, max_rows=max_rows, max_pixels=1000)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_idle_batcher_sends_a_row_alone_at_once() -> None:
    engine = Engine()
    result, queued_s = await make(engine).submit("fast", row("x"))
    assert result.result == b"x"
    assert queued_s < 0.05
    assert engine.batches == [("fast", [b"x"])]


async def test_what_waits_while_the_slot_is_busy_becomes_one_batch() -> None:
    engine = Engine()
    engine.gate.clear()
    batcher = make(engine)
    tasks = [asyncio.create_task(batcher.submit("fast", row(str(i)))) for i in range(6)]
    await settle()
    assert batcher.waiting == 5
    engine.gate.set()
    results = await asyncio.gather(*tasks)
    assert [result.result for result, _ in results] == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert [rows for _, rows in engine.batches] == [[b"0"], [b"1", b"2", b"3", b"4"], [b"5"]]


async def test_a_batch_is_bounded_in_pixels_and_a_huge_row_travels_alone() -> None:
    engine = Engine()
    engine.gate.clear()
    batcher = make(engine)
    sizes = [("first", 1), ("a", 600), ("b", 600), ("huge", 5000), ("c", 10)]
    tasks = [asyncio.create_task(batcher.submit("fast", row(name, pixels))) for name, pixels in sizes]
    await settle()
    engine.gate.set()
    await asyncio.gather(*tasks)
    assert [rows for _, rows in engine.batches] == [[b"first"], [b"a"], [b"b"], [b"huge"], [b"c"]]


async def test_an_ensemble_never_waits_for_another_ones_slots() -> None:
    engine = Engine()
    engine.gate.clear()
    batcher = make(engine, max_rows=1)
    names = ["high", "high", "high", "standard", "fast"]
    tasks = [asyncio.create_task(batcher.submit(name, row(str(i)))) for i, name in enumerate(names)]
    await settle()
    assert [name for name, _ in engine.batches] == ["high", "standard", "fast"]
    assert batcher.waiting == 2
    engine.gate.set()
    await asyncio.gather(*tasks)
    assert len(engine.batches) == 5


@pytest.mark.parametrize(
    ("slots", "megapixels", "batches"),
    [
        (3, [0.9] * 6, 3),
        (3, [1.0] * 6, 3),
        (3, [1.5] * 6, 3),  # 3 + 1.5 of the 6 MP that three batches of two may have
        (3, [4.0] * 6, 2),
        (3, [0.2, 0.2, 4.0, 1.0, 0.2, 0.2], 3),
        (3, [0.2, 4.0, 4.0, 0.2, 0.2], 2),
        (2, [4.0] * 6, 2),
        (1, [4.0] * 6, 1),
        (4, [12.0] * 8, 3),
    ],
)
async def test_the_last_of_many_slots_is_for_small_photos(slots: int, megapixels: list[float], batches: int) -> None:
    engine = Engine()
    engine.gate.clear()
    batcher = Batcher(engine.run, Observer(), slots=slots, max_rows=2, max_pixels=100_000_000)
    tasks = [asyncio.create_task(batcher.submit("fast", row(pixels=int(n * 1e6)))) for n in megapixels]
    await settle()
    assert len(engine.batches) == batches
    engine.gate.set()
    await asyncio.gather(*tasks)
    assert sum(len(rows) for _, rows in engine.batches) == len(megapixels)


async def test_an_ensemble_may_have_smaller_batches() -> None:
    engine = Engine()
    engine.gate.clear()
    batcher = Batcher(engine.run, Observer(), slots=1, max_rows=4, max_pixels=1000, max_rows_of={"high": 2})
    tasks = [asyncio.create_task(batcher.submit(name, row())) for name in ["high"] * 6 + ["fast"] * 6]
    await settle()
    engine.gate.set()
    await asyncio.gather(*tasks)
    assert {name: max(len(rows) for n, rows in engine.batches if n == name) for name in ("high", "fast")} == {
        "high": 2,
        "fast": 4,
    }


async def test_slots_bound_the_batches_in_flight() -> None:
    engine = Engine()
    engine.gate.clear()
    batcher = make(engine, slots=2, max_rows=1)
    tasks = [asyncio.create_task(batcher.submit("fast", row(str(i)))) for i in range(5)]
    await settle()
    assert len(engine.batches) == 2
    engine.gate.set()
    await asyncio.gather(*tasks)
    assert len(engine.batches) == 5


async def test_a_deadline_ends_the_wait_and_cancels_the_batch() -> None:
    engine, observer = Engine(), Observer()
    engine.gate.clear()
    batcher = make(engine, observer)
    with pytest.raises(CutoutError) as caught:
        await batcher.submit("fast", row(seconds=0.05))
    assert caught.value.code is ErrorCode.DEADLINE_EXCEEDED
    await settle()
    assert engine.cancelled == 1
    assert observer.dropped == {("engine", "deadline"): 1}
    engine.gate.set()
    assert (await batcher.submit("fast", row("next")))[0].result == b"next"


async def test_a_batch_goes_on_while_one_of_its_callers_is_left() -> None:
    engine, observer = Engine(), Observer()
    engine.gate.clear()
    batcher = make(engine, observer)
    first = asyncio.create_task(batcher.submit("fast", row("first")))
    pair = [asyncio.create_task(batcher.submit("fast", row(name))) for name in "ab"]
    await settle()
    engine.gate.set()
    await first
    engine.gate.clear()
    await settle()
    pair[0].cancel()
    await settle()
    assert engine.cancelled == 0
    engine.gate.set()
    assert (await pair[1])[0].result == b"b"
    assert observer.dropped == {("engine", "cancelled"): 1}


async def test_rows_that_leave_the_queue_are_never_sent() -> None:
    engine, observer = Engine(), Observer()
    engine.gate.clear()
    batcher = make(engine, observer)
    first = asyncio.create_task(batcher.submit("fast", row("first")))
    gone = asyncio.create_task(batcher.submit("fast", row("gone")))
    late = asyncio.create_task(batcher.submit("fast", row("late", seconds=0.02)))
    await settle()
    gone.cancel()
    with pytest.raises(CutoutError):
        await late
    engine.gate.set()
    await first
    await settle()
    assert [rows for _, rows in engine.batches] == [[b"first"]]
    assert observer.dropped == {("queue", "cancelled"): 1, ("queue", "deadline"): 1}
    assert batcher.waiting == 0


async def test_an_expired_row_is_dropped_even_when_its_timer_has_not_run() -> None:
    engine, observer = Engine(), Observer()
    with pytest.raises(CutoutError) as caught:
        await make(engine, observer).submit("fast", row(seconds=-1))
    assert caught.value.code is ErrorCode.DEADLINE_EXCEEDED
    assert engine.batches == []
    assert sum(observer.dropped.values()) == 1


async def test_many_rows_that_expire_together_are_dropped_once_each() -> None:
    engine, observer = Engine(), Observer()
    engine.gate.clear()
    batcher = make(engine, observer)
    tasks = [asyncio.create_task(batcher.submit("fast", row(str(i), seconds=0.03))) for i in range(200)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(r, CutoutError) and r.code is ErrorCode.DEADLINE_EXCEEDED for r in results)
    assert sum(observer.dropped.values()) == 200
    assert batcher.waiting == 0


async def test_a_failed_batch_fails_its_rows_and_frees_its_slot() -> None:
    engine = Engine()
    batcher = make(engine)
    engine.error = CutoutError(ErrorCode.MODEL_UNAVAILABLE)
    with pytest.raises(CutoutError):
        await batcher.submit("fast", row())
    engine.error = None
    assert (await batcher.submit("fast", row("ok")))[0].result == b"ok"


async def test_a_short_answer_is_a_defect_and_hangs_nobody() -> None:
    async def run(ensemble: str, rows: Sequence[Row], deadline: float) -> list[RowResult]:
        return []

    batcher = Batcher(run, Observer(), slots=1, max_rows=4, max_pixels=1000)
    with pytest.raises(CutoutError) as caught:
        await batcher.submit("fast", row())
    assert caught.value.code is ErrorCode.INTERNAL


async def test_closing_resolves_everything() -> None:
    engine = Engine()
    engine.gate.clear()
    batcher = make(engine)
    tasks = [asyncio.create_task(batcher.submit("fast", row(str(i)))) for i in range(6)]
    await settle()
    await batcher.close()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(r, CutoutError) and r.code is ErrorCode.SHUTTING_DOWN for r in results)

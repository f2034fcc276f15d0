"""Admission: each bound refuses, permits are given back, Retry-After follows the rate."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from cutout_core.contract import CutoutError, ErrorCode
from cutout_gateway.admission import Admission, Budget


def make() -> Admission:
    return Admission(Budget(requests=3, pixels=100, bytes=1000, uploads=2))


@contextmanager
def holding(admission: Admission, *, pixels: int = 1, size: int = 1) -> Iterator[None]:
    with admission.permit(size) as weight:
        weight.add(pixels=pixels)
        yield


def refused(admission: Admission, *, pixels: int = 1, size: int = 1) -> CutoutError:
    with pytest.raises(CutoutError) as caught, holding(admission, pixels=pixels, size=size):
        pass
    return caught.value


async def test_each_bound_refuses_at_once() -> None:
    for weights in ({"pixels": 34, "size": 1}, {"pixels": 1, "size": 334}, {"pixels": 1, "size": 1}):
        admission = make()
        with ExitStack() as stack:
            for _ in range(2 if max(weights.values()) > 1 else 3):
                stack.enter_context(holding(admission, **weights))
            error = refused(admission, **weights)
            assert error.code is ErrorCode.OVERLOADED
            assert error.retry_after_s is not None
            assert 1 <= error.retry_after_s <= 30
        with holding(admission, **weights):
            assert admission.requests == 1


async def test_a_permit_is_given_back_after_an_error() -> None:
    admission = make()
    for _ in range(10):
        with pytest.raises(RuntimeError), holding(admission, pixels=100, size=1000):
            raise RuntimeError
    assert admission.requests == 0


async def test_uploads_are_bounded_and_refused_while_full() -> None:
    admission = make()
    with admission.upload(), admission.upload(), pytest.raises(CutoutError) as caught, admission.upload():
        pass
    assert caught.value.code is ErrorCode.OVERLOADED
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(holding(admission))
        with pytest.raises(CutoutError), admission.upload():
            pass
    with admission.upload():
        assert admission.uploads == 1


async def test_what_arrives_is_counted_while_it_arrives() -> None:
    admission = make()
    with admission.upload() as first, admission.upload() as second:
        first.add(size=600)
        second.add(size=400)
        with pytest.raises(CutoutError) as caught:
            second.add(size=1)
        assert caught.value.code is ErrorCode.OVERLOADED
        assert refused(admission, size=1).code is ErrorCode.OVERLOADED
    assert admission.bytes == 0
    with holding(admission, size=1000):
        assert admission.bytes == 1000


async def test_after_close_everything_is_refused_and_idle_is_told() -> None:
    admission = make()
    with holding(admission):
        admission.close()
        assert refused(admission).code is ErrorCode.SHUTTING_DOWN
        waiting = asyncio.create_task(admission.wait_idle())
        await asyncio.sleep(0)
        assert not waiting.done()
    await asyncio.wait_for(waiting, 1)
    with pytest.raises(CutoutError) as caught, admission.upload():
        pass
    assert caught.value.code is ErrorCode.SHUTTING_DOWN


async def test_items_of_streams_leave_a_quarter_to_single_calls() -> None:
    admission = Admission(Budget(requests=4, pixels=100, bytes=1000, uploads=2))
    with ExitStack() as stack:
        for _ in range(3):
            assert admission.has_room()
            stack.enter_context(admission.permit(1, bulk=True))
        assert not admission.has_room()
        with pytest.raises(CutoutError), admission.permit(1, bulk=True):
            pass
        with admission.permit(1):
            pass
    assert admission.has_room()


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("cutout_gateway.admission.time.monotonic", lambda: self.now)


class Load:
    """Requests in flight at an admission for 16, or for 15 s and in an overload 3 s; with 4 the engines are busy."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, wait_s: float = 3.0, crowd_s: float = 15.0) -> None:
        self.clock = Clock(monkeypatch)
        self.admission = Admission(Budget(16, 100, 1000, uploads=2, crowd_s=crowd_s, wait_s=wait_s, least=4))
        self.open: list[ExitStack] = []

    def arrive(self, count: int = 1) -> int:
        """How many of them were let in."""
        for number in range(count):
            stack = ExitStack()
            try:
                stack.enter_context(self.admission.permit(1))
            except CutoutError:
                return number
            self.open.append(stack)
        return count

    def answer(self, seconds: float) -> None:
        """The oldest is answered, `seconds` later."""
        self.clock.now += seconds
        self.open.pop(0).close()

    def run(self, callers: int, seconds_each: float, answers: int) -> None:
        """So many callers that wait for their answers, or as many of them as are let in."""
        for _ in range(answers):
            self.arrive(callers - len(self.open))
            self.answer(seconds_each)
        self.arrive(callers - len(self.open))


async def test_a_long_queue_is_no_overload_until_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    load = Load(monkeypatch)
    load.run(16, 0.31, 200)
    assert load.admission.requests == load.admission.limit == 16
    assert load.arrive() == 0
    load.run(17, 0.31, 50)
    assert load.admission.requests == load.admission.limit == 9
    with pytest.raises(CutoutError), load.admission.upload():
        pass


async def test_nobody_is_let_in_to_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    load = Load(monkeypatch)
    load.run(10, 1.3, 200)
    assert load.admission.limit == 11
    load.run(12, 1.3, 50)
    assert load.admission.requests == 4


async def test_all_places_are_open_again_once_half_of_what_waits_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    load = Load(monkeypatch)
    load.run(17, 0.31, 100)
    while load.admission.requests > 5:
        load.answer(0.31)
        assert load.admission.limit == 9
    assert load.arrive() == 1  # six: still an overload
    assert load.admission.limit == 9
    load.answer(0.31)
    load.answer(0.31)
    assert load.arrive(16) == 12


async def test_slow_work_still_keeps_the_engines_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    load = Load(monkeypatch)
    load.run(17, 9.0, 200)
    assert load.admission.requests == 4


async def test_idle_time_does_not_count_as_slowness(monkeypatch: pytest.MonkeyPatch) -> None:
    load = Load(monkeypatch)
    load.run(4, 0.31, 100)
    for _ in range(20):
        while load.open:
            load.answer(0.31)
        load.clock.now += 600
        load.arrive(2)
    load.run(17, 0.31, 30)
    assert load.admission.requests == 9


async def test_without_a_longest_wait_all_places_stay_open(monkeypatch: pytest.MonkeyPatch) -> None:
    load = Load(monkeypatch, wait_s=0, crowd_s=0)
    load.run(17, 9.0, 200)
    assert load.admission.requests == 16


async def test_streams_keep_to_what_is_answered_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    load = Load(monkeypatch)
    load.run(16, 0.31, 100)
    assert not load.admission.has_room()
    while load.admission.requests > 7:
        load.answer(0.31)
        assert not load.admission.has_room()
    load.answer(0.31)
    assert load.admission.has_room()


async def test_who_waits_is_woken_by_what_is_given_back_and_by_the_end() -> None:
    admission = make()
    with admission.permit(1):
        waiters = [asyncio.ensure_future(admission.freed()) for _ in range(2)]
        await asyncio.sleep(0)
        assert not any(waiter.done() for waiter in waiters)
    await asyncio.wait_for(asyncio.gather(*waiters), 1)
    waiter = asyncio.ensure_future(admission.freed())
    await asyncio.sleep(0)
    admission.close()
    await asyncio.wait_for(waiter, 1)
    await asyncio.wait_for(admission.freed(), 1)
    assert admission.closed.is_set()


async def test_streams_read_no_further_while_an_item_waits() -> None:
    admission = make()
    with admission.waiting():
        assert not admission.has_room()
        waiter = asyncio.ensure_future(admission.freed())
        await asyncio.sleep(0)
    await asyncio.wait_for(waiter, 1)
    assert admission.has_room()

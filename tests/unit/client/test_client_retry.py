"""Back-off, Retry-After and the total time, without waiting."""

from __future__ import annotations

import itertools

import pytest

from cutout_client import ConnectError, InvalidImage, Overloaded, ProtocolError, Retry, Timeout, TimeoutError_
from cutout_client._retry import Attempts, Clock


class Time:
    """Time that passes only when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def clock(self, draw: float = 1.0) -> Clock:
        """A clock whose draws are always at `draw` of their range."""
        return Clock(now=lambda: self.now, uniform=lambda low, high: low + draw * (high - low))


def overloaded(retry_after_s: float | None = None) -> Overloaded:
    return Overloaded("Busy.", code="overloaded", retry_after_s=retry_after_s)


def test_the_ceiling_doubles_up_to_the_cap() -> None:
    attempts = Attempts(Retry(attempts=9, base=0.5, cap=3.0), None, Time().clock())
    assert [attempts.pause_after(overloaded()) for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_the_pause_is_drawn_from_the_whole_range() -> None:
    attempts = Attempts(Retry(attempts=9, base=0.5), None, Time().clock(draw=0.0))
    assert attempts.pause_after(overloaded()) == 0.0


def test_many_attempts_do_not_overflow() -> None:
    attempts = Attempts(Retry(attempts=3000, cap=2.0), None, Time().clock())
    pauses = [attempts.pause_after(overloaded()) for _ in range(2500)]
    assert pauses[-1] == 2.0


def test_retry_after_is_waited_whatever_the_draw() -> None:
    for draw in (0.0, 0.5, 1.0):
        attempts = Attempts(Retry(base=0.2), 60, Time().clock(draw))
        assert attempts.pause_after(overloaded(retry_after_s=7)) == pytest.approx(7 + draw * 0.2)


def test_the_last_attempts_error_is_raised() -> None:
    attempts = Attempts(Retry(attempts=3), None, Time().clock())
    attempts.pause_after(overloaded())
    attempts.pause_after(overloaded())
    last = overloaded()
    with pytest.raises(Overloaded) as caught:
        attempts.pause_after(last)
    assert caught.value is last


@pytest.mark.parametrize(
    "error",
    [InvalidImage("No.", code="not_an_image"), TimeoutError_("Late."), ProtocolError("What?", http_status=404)],
    ids=lambda error: type(error).__name__,
)
def test_what_the_table_calls_final_is_final(error: Exception) -> None:
    with pytest.raises(type(error)):
        Attempts(Retry(), None, Time().clock()).pause_after(error)  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [ConnectError("Refused."), ProtocolError("Proxy.", http_status=502)], ids=str)
def test_a_broken_connection_may_be_retried(error: ConnectError) -> None:
    assert Attempts(Retry(base=0.2), None, Time().clock()).pause_after(error) == 0.2


def test_a_pause_that_outlasts_the_total_is_not_begun() -> None:
    time = Time()
    attempts = Attempts(Retry(), 5.0, time.clock())
    with pytest.raises(Overloaded):
        attempts.pause_after(overloaded(retry_after_s=5))
    assert time.now == 100.0


def test_attempts_share_the_total() -> None:
    time = Time()
    attempts = Attempts(Retry(attempts=9), 5.0, time.clock())
    left = []
    for passed in itertools.repeat(1.5, 4):
        left.append(attempts.remaining_s())
        time.now += passed
    assert left == [5.0, 3.5, 2.0, 0.5]
    assert attempts.remaining_s() == 0.001


@pytest.mark.parametrize("total", [0, -1, float("nan"), float("inf")])
def test_a_timeout_is_above_zero(total: float) -> None:
    with pytest.raises(ValueError, match="total is"):
        Timeout(total=total)


@pytest.mark.parametrize(("name", "value"), [("attempts", 0), ("base", -0.1), ("cap", float("nan"))])
def test_a_retry_is_checked(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} is"):
        Retry(**{name: value})  # type: ignore[arg-type]

"""The token bucket: megapixels, refill, debts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutout_gateway.rate_limit import TokenBucket, megapixel_cost


@pytest.mark.parametrize(
    ("pixels", "cost"),
    [(1, 1), (625 * 400, 1), (1_499_999, 1), (1_500_000, 2), (2_500_000, 3), (2500 * 1600, 4), (24_600_000, 25)],
)
def test_an_image_costs_its_megapixels_and_at_least_one(pixels: int, cost: int) -> None:
    assert megapixel_cost(pixels) == cost


def test_a_minutes_worth_is_there_at_once_and_comes_back_in_a_minute() -> None:
    bucket = TokenBucket(60, now=100.0)
    assert bucket.wait_s(60, 100.0) == 0
    bucket.take(60, 100.0)
    assert bucket.remaining(100.0) == 0
    assert bucket.wait_s(1, 100.0) == pytest.approx(1.0)
    assert bucket.wait_s(12, 105.0) == pytest.approx(7.0)
    assert bucket.remaining(110.5) == 10
    assert bucket.full_in_s(130.0) == pytest.approx(30.0)
    assert bucket.remaining(1000.0) == 60


def test_an_image_above_a_minutes_worth_waits_for_a_full_bucket_and_is_paid_off() -> None:
    bucket = TokenBucket(10, now=0.0)
    assert bucket.wait_s(25, 0.0) == 0
    bucket.take(25, 0.0)
    assert bucket.remaining(0.0) == 0
    assert bucket.wait_s(1, 0.0) == pytest.approx(96.0)  # 15 owed and 1 more, at 10 a minute


@given(
    st.floats(1, 1000),
    st.lists(st.tuples(st.floats(0, 30), st.integers(1, 50)), max_size=60),
)
def test_over_any_time_no_more_goes_through_than_the_rate_and_one_bucket_and_one_debt(
    rate: float, requests: list[tuple[float, int]]
) -> None:
    bucket, now, taken, largest = TokenBucket(rate, now=0.0), 0.0, 0, 0
    for pause, cost in requests:
        now += pause
        if bucket.wait_s(cost, now) == 0:
            bucket.take(cost, now)
            taken += cost
            largest = max(largest, cost)
    assert taken <= rate + rate * now / 60 + largest + 1e-6

"""The perfect server: known queues, by hand and from queueing theory."""

from __future__ import annotations

import math
import random

import pytest

from cutout_loadtest.ideal_queue import ideal_p99_over_p50


def test_regular_arrivals_never_wait() -> None:
    assert ideal_p99_over_p50([0.5 * i for i in range(200)], servers=2, capacity=2.5) == pytest.approx(1)


def test_a_crowd_waits_in_turn() -> None:
    """100 at once on two servers: pairs are done after 1, 2, ... 50 units."""
    assert ideal_p99_over_p50([0.0] * 100, servers=2, capacity=2.0) == pytest.approx(50 / 25.5, rel=0.02)


def test_poisson_arrivals_at_four_fifths_of_one_server() -> None:
    """M/D/1 at a load of 0.8: waits of 2 units of work on average (Pollaczek and Khinchine), some 9 at p99."""
    draws = random.Random(0)
    times, now = [], 0.0
    for _ in range(200_000):
        now += draws.expovariate(0.8)
        times.append(now)
    assert 4.0 < ideal_p99_over_p50(times, servers=1, capacity=1.0) < 5.2


def test_more_servers_have_shorter_tails_and_nothing_is_no_figure() -> None:
    draws = random.Random(1)
    times = sorted(draws.uniform(0, 10_000) for _ in range(8000))
    ratios = [ideal_p99_over_p50(times, servers, capacity=1.0) for servers in (1, 2, 4, 8)]
    assert ratios == sorted(ratios, reverse=True)
    assert math.isnan(ideal_p99_over_p50([], 2, 1.0))

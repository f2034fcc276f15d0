from __future__ import annotations

import math

import numpy as np
import pytest

from cutout_loadtest.slo import Slo
from cutout_loadtest.stats import Step, knee, percentile, recovery_s, slope, steady_rate, sustained


def test_percentiles_are_numpys() -> None:
    values = np.random.default_rng(0).exponential(size=37).tolist()
    for percent in (0, 50, 95, 99.9, 100):
        assert percentile(values, percent) == pytest.approx(np.percentile(values, percent))
    assert percentile([4.0], 99) == 4.0
    assert math.isnan(percentile([], 50))


def test_the_steady_rate_is_of_the_time_in_which_all_callers_wait() -> None:
    answers = [0.5 + 0.1 * number for number in range(40)]  # one by one; the first takes longer
    begun = [0.0] * 4 + answers[:-4]  # each answer's caller begins again
    loop = [(done - began, done) for began, done in zip(begun, answers, strict=True)]
    leaving = [(0.2, answers[-1] + 0.1 * number) for number in (1, 2, 3)]  # fewer and fewer wait
    assert steady_rate([*leaving, *loop], 4, answers[-1]) == pytest.approx(10)
    assert steady_rate([(0.2, 0.2), (0.2, 0.4), (0.2, 0.6)], 1, 0.6) == pytest.approx(5)


@pytest.mark.parametrize("jitter", [0.0, 0.02])
def test_callers_in_step_are_not_cut_off(jitter: float) -> None:
    first = [(2.5 + jitter * caller, 2.5 + jitter * caller) for caller in range(4)]
    rounds = [(2.5, turn * 2.5 + jitter * caller) for turn in (2, 3, 4) for caller in range(4)]
    assert steady_rate([*first, *rounds], 4, closed=10.0) == pytest.approx(4 / 2.5)


def test_a_run_too_short_to_have_a_steady_part_counts_whole() -> None:
    assert steady_rate([(0.5, 0.5), (1.0, 1.0), (1.5, 1.5), (2.0, 2.0)], 4, 0.5) == 2
    assert steady_rate([], 4, 1.0) == 0


def test_slope_is_least_squares() -> None:
    rng = np.random.default_rng(1)
    times = np.arange(50) / 10
    values = 3 * times + rng.normal(size=50)
    assert slope(times.tolist(), values.tolist()) == pytest.approx(np.polyfit(times, values, 1)[0])
    assert math.isnan(slope([1.0], [2.0]))


def test_the_knee_of_a_queue_lies_at_half_its_load() -> None:
    """M/M/1: latency 1 / (mu - lambda), so goodput over latency is lambda (mu - lambda), greatest at mu / 2."""
    steps = [Step(rate, rate, 1000 / (100 - rate), 5000 / (100 - rate)) for rate in range(10, 100, 10)]
    found = knee(steps)
    assert found is not None
    assert found.offered == 50
    assert knee([Step(1, 0, math.nan, math.nan)]) is None


def test_the_sustained_rate_is_the_last_before_the_first_that_fails() -> None:
    steps = [Step(10, 10, 5, 50), Step(20, 19.5, 6, 60), Step(30, 25, 7, 70), Step(40, 40, 5, 50)]
    assert sustained(steps, 1000) == steps[1]
    assert sustained(steps, 55) == steps[0]
    assert sustained(steps, 10) is None


def test_a_step_is_not_blamed_for_requests_that_chance_did_not_send() -> None:
    few = Step(offered=2.0, goodput=1.5, p50_ms=50, p99_ms=60, sent=1.5)
    assert sustained([few], 100) == few
    assert sustained([Step(2.0, 1.5, 50, 60, sent=2.1)], 100) is None


def test_recovery_is_the_first_of_three_calm_seconds() -> None:
    calm = [100.0] * 20
    after = [(0.5, 900.0), (1.5, 150.0), (2.5, math.inf), (3.5, 120.0), (4.5, 190.0), (5.5, 110.0)]
    assert recovery_s(calm, after) == 3
    assert recovery_s(calm, [(at, math.inf) for at in range(5)]) == math.inf
    assert recovery_s(calm, [(0.1, 90.0), (1.1, 90.0)]) == 0
    assert math.isnan(recovery_s([], after))


def test_objectives() -> None:
    slo = Slo.parse(" p99_ms<=500 ")
    assert str(slo) == "p99_ms <= 500"
    assert slo.met({"p99_ms": 500.0})
    assert not slo.met({"p99_ms": 500.1})
    assert not slo.met({"p99_ms": math.nan}), "what was not measured is not met"
    assert Slo.parse("goodput_share>=0.9").met({"goodput_share": 0.95})
    for text in ("p99<=5", "p99_ms=5", "p99_ms<=fast"):
        with pytest.raises(ValueError, match="is no objective"):
            Slo.parse(text)

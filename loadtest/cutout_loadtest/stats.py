"""Figures from samples: percentiles, slope, knee, recovery. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


def percentile(values: Sequence[float], percent: float) -> float:
    """The inclusive percentile by linear interpolation, 0..100; NaN without values."""
    if not values:
        return math.nan
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Least-squares change of `values` for each unit of `times`; NaN with fewer than two instants."""
    if len(times) < 2:
        return math.nan
    mean_t, mean_v = sum(times) / len(times), sum(values) / len(values)
    spread = sum((t - mean_t) ** 2 for t in times)
    if not spread:
        return math.nan
    return sum((t - mean_t) * (v - mean_v) for t, v in zip(times, values, strict=True)) / spread


def steady_rate(exchanges: Sequence[tuple[float, float]], callers: int, closed: float) -> float:
    """Answers a second while all callers are at work: callers over the mean time of an exchange, as each begins its
    next one at once (Little, "A Proof for the Queuing Formula L = λW", Operations Research 9(3), 1961). Counted between
    two instants instead, answers that come in bursts, as of batches or of callers in step, would be cut off at both.

    exchanges: seconds that each took, and when it was done, seconds since the first began. closed: when the first
    caller had nothing more to begin. Left out are each caller's first, which met an idle server, and what was in flight
    at `closed`, which saw the others leave. Where fewer than `callers` remain it is the rate of the whole run.
    """
    begun = sorted((done - took, took, done) for took, done in exchanges)
    steady = [took for _, took, done in begun[callers:] if done <= closed]
    if len(steady) >= callers:
        return callers * len(steady) / sum(steady)
    return len(begun) / max(closed, *(done for _, _, done in begun)) if begun else 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a ramp: what was offered, what was answered well, both a second, and latencies in ms. sent: what
    chance made of the offered rate, requests a second."""

    offered: float
    goodput: float
    p50_ms: float
    p99_ms: float
    sent: float = math.inf


def knee(steps: Sequence[Step]) -> Step | None:
    """The step with the greatest goodput / mean-like latency (p50): the "power" of Kleinrock 1979, whose maximum is
    where more load begins to buy more waiting than work. None without an answered step."""
    answered = [step for step in steps if step.goodput > 0 and step.p50_ms > 0]
    return max(answered, key=lambda step: step.goodput / step.p50_ms, default=None)


def sustained(steps: Sequence[Step], p99_ms: float, share: float = 0.95) -> Step | None:
    """The highest step up to which every one kept the p99 and `share` of what was offered, or of what was sent where
    chance made that less; None where none did."""
    best = None
    for step in sorted(steps, key=lambda step: step.offered):
        if not (step.goodput >= share * min(step.offered, step.sent) and step.p99_ms <= p99_ms):
            break
        best = step
    return best


def recovery_s(
    calm_ms: Sequence[float], after: Sequence[tuple[float, float]], factor: float = 2.0, windows: int = 3
) -> float:
    """Seconds from the end of an overload until the service is calm again.

    calm_ms: latencies before it. after: (seconds since its end, latency in ms or infinity for a failure) of the
    requests sent afterwards. Calm is the first of `windows` seconds in a row whose median stays within `factor` times
    the p95 before; infinity where that never comes, NaN without requests on both sides.
    """
    if not calm_ms or not after:
        return math.nan
    bound = factor * percentile(calm_ms, 95)
    by_second: dict[int, list[float]] = {}
    for at, latency in after:
        by_second.setdefault(int(at), []).append(latency)
    calm = {second: percentile(values, 50) <= bound for second, values in by_second.items()}
    last = max(by_second)
    for second in range(last + 1):
        span = range(second, min(second + windows, last + 1))
        if all(calm.get(s, True) for s in span) and any(s in calm for s in span):
            return float(second)
    return math.inf

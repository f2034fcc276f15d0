"""What chance alone costs: the latencies of a perfect server under the same arrivals."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from cutout_loadtest.stats import percentile


def ideal_p99_over_p50(arrivals: Sequence[float], servers: int, capacity: float) -> float:
    """p99 ÷ p50 of the latency where every request costs the same and nothing is lost; NaN without arrivals.

    arrivals: seconds, ascending. servers: how many requests are worked on at once, each for `servers` ÷ `capacity`
    seconds; those that wait are served in their order (Kendall's G/D/c). capacity: requests a second.
    """
    work = servers / capacity
    free = [0.0] * servers
    latencies = []
    for arrival in arrivals:
        done = max(heapq.heappop(free), arrival) + work
        heapq.heappush(free, done)
        latencies.append(done - arrival)
    return percentile(latencies, 99) / percentile(latencies, 50) if latencies else float("nan")

"""How many times less processor time one way takes than another."""

from __future__ import annotations

import time
from collections.abc import Callable


def speedup(fast: Callable[[], object], slow: Callable[[], object], repeats: int = 2) -> float:
    """CPU time of `slow` over that of `fast`, all threads of this process counted; the least of interleaved runs.

    Processor time and not wall time, so that other processes of the machine hardly count. `fast` runs once before,
    since its first run pays for caches that `slow` would not notice.
    """
    fast()
    pairs = [(_cpu_s(fast), _cpu_s(slow)) for _ in range(repeats)]
    return min(b for _, b in pairs) / min(a for a, _ in pairs)


def _cpu_s(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin

"""A bounded closed loop: N callers, each with one request in flight, until a fixed number of requests is done.

It answers "how many images a second does this machine do"; it cannot answer "how long do callers wait at a given
rate", because its callers slow down with the server (coordinated omission).
"""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from cutout_client import Client, CutoutClientError, Retry


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a run saw. Latencies in milliseconds, of the successful requests; `errors` by exception class."""

    requests: int
    succeeded: int
    seconds: float
    images_per_s: float
    p50_ms: float
    p95_ms: float
    errors: dict[str, int]

    def __str__(self) -> str:
        text = f"{self.images_per_s:.1f} images/s, p50 {self.p50_ms:.0f} ms, p95 {self.p95_ms:.0f} ms"
        return f"{text}, errors {self.errors}" if self.errors else text


def run_closed_loop(url: str, images: Sequence[bytes], *, requests: int, concurrency: int) -> LoadReport:
    """Sends `requests` images, round robin, with `concurrency` callers; nothing is retried.

    Raises ValueError where there is no image, or a number is below 1.
    """
    if not images or requests < 1 or concurrency < 1:
        raise ValueError("a load needs an image, a request and a caller")
    numbers = itertools.count()
    lock = threading.Lock()
    latencies: list[float] = []
    errors: Counter[str] = Counter()

    def caller() -> None:
        with Client(url, retry=Retry(attempts=1)) as client:
            while (number := next(numbers)) < requests:
                started = time.perf_counter()
                try:
                    client.remove_background(images[number % len(images)])
                except CutoutClientError as error:
                    with lock:
                        errors[type(error).__name__] += 1
                else:
                    with lock:
                        latencies.append((time.perf_counter() - started) * 1000)

    started = time.perf_counter()
    with ThreadPoolExecutor(concurrency) as pool:
        for future in [pool.submit(caller) for _ in range(concurrency)]:
            future.result()
    seconds = time.perf_counter() - started
    return LoadReport(
        requests=requests,
        succeeded=len(latencies),
        seconds=seconds,
        images_per_s=len(latencies) / seconds,
        p50_ms=percentile(latencies, 50),
        p95_ms=percentile(latencies, 95),
        errors=dict(errors),
    )


def percentile(values: Sequence[float], percent: int) -> float:
    """The inclusive percentile, 1..99; NaN without values."""
    if not values:
        return float("nan")
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]

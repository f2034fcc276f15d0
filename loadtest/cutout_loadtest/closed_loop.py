"""A bounded closed loop: N callers, each with one request in flight.

It answers "how many images a second does this machine do"; it cannot answer "how long do callers wait at a given
rate", because its callers slow down with the server (coordinated omission): that is `open_loop`.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from cutout_loadtest.senders import open_sender
from cutout_loadtest.shot import Outcome, Sender, Shot, cutout_shot
from cutout_loadtest.stats import percentile, steady_rate


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a run saw. images_per_s: successes while all callers were at work (`stats.steady_rate`). latencies_ms: of
    all successful requests. errors: by status."""

    requests: int
    images_per_s: float
    latencies_ms: list[float]
    bytes_out: int
    errors: dict[str, int]

    @property
    def succeeded(self) -> int:
        return len(self.latencies_ms)

    @property
    def p50_ms(self) -> float:
        return percentile(self.latencies_ms, 50)

    @property
    def p95_ms(self) -> float:
        return percentile(self.latencies_ms, 95)

    def __str__(self) -> str:
        text = f"{self.images_per_s:.1f} images/s, p50 {self.p50_ms:.0f} ms, p95 {self.p95_ms:.0f} ms"
        return f"{text}, errors {self.errors}" if self.errors else text


async def closed_loop(
    sender: Sender, shots: Sequence[Shot], *, concurrency: int, requests: int = 0, seconds: float = 0.0
) -> LoadReport:
    """Sends shots round robin until `requests` are begun and `seconds` have passed, whichever is later.

    Nothing is retried. Raises ValueError where there is no shot, no caller or no end.
    """
    if not shots or concurrency < 1 or (requests < 1 and seconds <= 0):
        raise ValueError("a load needs an image, a request and a caller")
    numbers = itertools.count()
    outcomes: list[Outcome] = []
    closed: list[float] = []
    started = time.perf_counter()

    async def caller() -> None:
        while (number := next(numbers)) < requests or time.perf_counter() - started < seconds:
            outcomes.append(await sender.send(shots[number % len(shots)]))
        closed.append(time.perf_counter() - started)

    await asyncio.gather(*(caller() for _ in range(concurrency)))
    good = [outcome for outcome in outcomes if outcome.status == "ok"]
    exchanges = [(outcome.done - outcome.sent, outcome.done - started) for outcome in outcomes]
    rate = steady_rate(exchanges, concurrency, closed[0])
    return LoadReport(
        len(outcomes),
        rate * len(good) / max(1, len(outcomes)),
        [(outcome.done - outcome.sent) * 1000 for outcome in good],
        sum(outcome.bytes_out for outcome in good),
        dict(Counter(outcome.status for outcome in outcomes if outcome.status != "ok")),
    )


def run_closed_loop(
    url: str, images: Sequence[bytes | Shot], *, requests: int, concurrency: int, api_key: str | None = None
) -> LoadReport:
    """`closed_loop` with image files or shots, for callers without an event loop. api_key: sent with the files; a shot
    has its own. Raises ValueError as it does, and where the key cannot be sent."""
    shots = [i if isinstance(i, Shot) else cutout_shot("file", i, math.nan, {}, api_key) for i in images]

    async def run() -> LoadReport:
        sender = open_sender(url)
        try:
            return await closed_loop(sender, shots, concurrency=concurrency, requests=requests)
        finally:
            await sender.close()

    return asyncio.run(run())

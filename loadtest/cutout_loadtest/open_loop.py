"""The open loop: every request leaves at its intended instant, whatever became of those before it.

Latency is counted from the intended start, so what a request waits in this process, because the machine is busy, is in
the figure too, and a server that stalls cannot hide the requests that would have come meanwhile (coordinated omission:
G. Tene, "How NOT to Measure Latency", 2015).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from cutout_loadtest.schedule import Arrival
from cutout_loadtest.shot import CROWDED, OK, Outcome, Sender, Shot

#: Requests that may be open at once; what comes above it is counted as an error of the generator, never delayed.
MAX_OPEN = 2000


@dataclass(slots=True)
class Sample:
    """One request of the schedule. Times in seconds from the run's beginning."""

    phase: int
    kind: str
    intended: float
    sent: float
    done: float
    first_byte: float
    status: str
    bytes_out: int
    timings_ms: dict[str, float]

    @property
    def ok(self) -> bool:
        return self.status == OK

    @property
    def latency_ms(self) -> float:
        """From the intended start to the last byte."""
        return (self.done - self.intended) * 1000

    @property
    def lag_ms(self) -> float:
        """What the generator itself was late."""
        return (self.sent - self.intended) * 1000


class OpenLoop:
    """One run. `samples` grows while it runs, in the order of completion; `open_requests` is the number in flight.

    seed: of the choice among `shots`, each equally likely.
    """

    def __init__(self, sender: Sender, shots: Sequence[Shot], schedule: Sequence[Arrival], seed: int) -> None:
        self._sender = sender
        generator = random.Random(seed)
        self._plan = [(arrival, generator.choice(shots)) for arrival in schedule]
        self.samples: list[Sample] = []
        self.open_requests = 0
        self.origin = 0.0

    async def run(self) -> list[Sample]:
        """Sends everything and waits for the last answer; the sender's timeout bounds that."""
        tasks: set[asyncio.Task[None]] = set()
        self.origin = time.perf_counter()
        for arrival, shot in self._plan:
            wait = self.origin + arrival.at - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            elif len(tasks) % 64 == 63:
                await asyncio.sleep(0)  # a late generator still reads answers
            task = asyncio.create_task(self._one(arrival, shot))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        return self.samples

    async def _one(self, arrival: Arrival, shot: Shot) -> None:
        if self.open_requests >= MAX_OPEN:
            now = time.perf_counter()
            self._record(arrival, shot, Outcome(CROWDED, now, now, now))
            return
        self.open_requests += 1
        try:
            outcome = await self._sender.send(shot)
        finally:
            self.open_requests -= 1
        self._record(arrival, shot, outcome)

    def _record(self, arrival: Arrival, shot: Shot, outcome: Outcome) -> None:
        self.samples.append(
            Sample(
                arrival.phase,
                shot.kind,
                arrival.at,
                outcome.sent - self.origin,
                outcome.done - self.origin,
                outcome.first_byte - self.origin,
                outcome.status,
                outcome.bytes_out,
                outcome.timings_ms,
            )
        )

"""One run from the address to the report's object, with progress on stderr."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from cutout_loadtest.closed_loop import closed_loop
from cutout_loadtest.monitor import Monitor
from cutout_loadtest.open_loop import OpenLoop
from cutout_loadtest.provenance import about
from cutout_loadtest.report import Json, build_report
from cutout_loadtest.scenarios import phases as scenario_phases
from cutout_loadtest.schedule import Phase, arrivals
from cutout_loadtest.senders import open_sender
from cutout_loadtest.shot import Sender, Shot
from cutout_loadtest.slo import Slo
from cutout_loadtest.stats import percentile

#: Closed loops find the capacity: of how many callers the first and the last, seconds of each, and the gain below which
#: doubling the callers ends; before them, some requests warm the server up.
_FIRST_CALLERS, _LAST_CALLERS, _PROBE_S, _GAIN, _WARM_UP = 4, 512, 15.0, 1.1, 16


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. capacity: images a second, None to measure it first. pids: the server's, where they are here."""

    scenario: str
    url: str
    process: str
    seed: int
    seconds: float
    capacity: float | None
    deadline_s: float
    p99_target_ms: float
    pids: tuple[int, ...]


async def run_plan(plan: Plan, shots: Sequence[Shot], slos: Sequence[Slo]) -> Json:
    """Runs it. Raises RuntimeError where the server answers nothing well."""
    origin = about()
    sender = open_sender(plan.url)
    try:
        warm = await closed_loop(sender, shots, concurrency=2, requests=_WARM_UP)
        if not warm.succeeded:
            raise RuntimeError(f"{plan.url} answers nothing well: {warm.errors}")
        capacity = plan.capacity
        if capacity is None:
            capacity = await _capacity(sender, shots)
        phases = scenario_phases(plan.scenario, capacity, plan.seconds)
        loop = OpenLoop(sender, shots, arrivals(phases, plan.process, plan.seed), plan.seed)
        _say(f"{plan.scenario}: {sum(p.seconds for p in phases):.0f} s, capacity {capacity:.2f} images/s")
        gc.freeze()  # what is loaded by now is never searched again while time is taken
        with Monitor(list(plan.pids)) as monitor:
            progress = asyncio.create_task(_progress(loop, phases, monitor))
            try:
                samples = await loop.run()
            finally:
                progress.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await progress
    finally:
        await sender.close()
    setup: Json = {
        **origin,
        "scenario": plan.scenario,
        "url": plan.url,
        "protocol": plan.url.partition(":")[0],
        "arrivals": plan.process,
        "seed": plan.seed,
        "capacity": capacity,
        "capacity_from": "given"
        if plan.capacity
        else f"the best of closed loops of {_FIRST_CALLERS}, then twice as many callers",
        "deadline_s": plan.deadline_s,
        "p99_target_ms": plan.p99_target_ms,
        "mix": _mix(shots),
    }
    return build_report(setup, phases, samples, monitor.watch, slos)


def _mix(shots: Sequence[Shot]) -> Json:
    """Share, size and options of each kind."""
    counts = Counter(shot.kind for shot in shots)
    return {
        shot.kind: {"share": counts[shot.kind] / len(shots), "megapixels": shot.megapixels, **shot.options}
        for shot in shots
    }


async def _capacity(sender: Sender, shots: Sequence[Shot]) -> float:
    """Images a second at the best number of callers."""
    best, callers = 0.0, _FIRST_CALLERS
    while callers <= _LAST_CALLERS:
        rate = (await closed_loop(sender, shots, concurrency=callers, seconds=_PROBE_S)).images_per_s
        _say(f"capacity: {callers} callers get {rate:.2f} images/s")
        if rate < _GAIN * best:
            return max(best, rate)
        best, callers = rate, 2 * callers
    return best


async def _progress(loop: OpenLoop, phases: Sequence[Phase], monitor: Monitor) -> None:
    """A line a second on a terminal, one every five seconds elsewhere."""
    live = sys.stderr.isatty()
    seen = 0
    while True:
        await asyncio.sleep(1.0 if live else 5.0)
        now, fresh = time.perf_counter() - loop.origin, loop.samples[seen:]
        seen += len(fresh)
        left, name = now, phases[-1].name
        for phase in phases:
            if left < phase.seconds:
                name = f"{phase.name} at {phase.rate:.2f}/s"
                break
            left -= phase.seconds
        p50 = percentile([s.latency_ms for s in fresh if s.ok], 50)
        bad = sum(not s.ok for s in loop.samples)
        memory = f", {monitor.watch.pss_mb[-1]:.0f} MB" if monitor.watch.pss_mb else ""
        line = f"{now:6.0f} s  {name}: done {seen}, failed {bad}, open {loop.open_requests}, p50 {p50:.0f} ms{memory}"
        print(f"\r\x1b[K{line}" if live else line, end="" if live else "\n", file=sys.stderr, flush=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

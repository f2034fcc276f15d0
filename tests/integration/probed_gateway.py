"""`python -m tests.integration.probed_gateway LAGS [FLAGS]`: a gateway whose event loop is watched.

A task that only this module starts sleeps for `PERIOD_S` again and again. How late it wakes is how long something
kept the loop from turning; at the end LAGS gets one number a line, milliseconds. The time that the thread was ready and
other processes had the cores is taken off (schedstat of proc(5)), so that a busy machine does not look like a blocked
loop.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import uvloop
from pydantic_settings import CliApp

from cutout_gateway.logs import configure_logging
from cutout_gateway.server import Server
from cutout_gateway.settings import Settings

PERIOD_S = 0.005
_SCHEDSTAT = Path("/proc/thread-self/schedstat")


def waited_for_a_core_s() -> float:
    """Seconds that the calling thread has stood in a run queue; 0 on a kernel that does not tell."""
    try:
        return int(_SCHEDSTAT.read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


async def watch(lags_ms: list[float]) -> None:
    """Appends the loop's lag, ms, until cancelled."""
    while True:
        begin, waited = time.perf_counter(), waited_for_a_core_s()
        await asyncio.sleep(PERIOD_S)
        late = time.perf_counter() - begin - PERIOD_S
        lags_ms.append(max(0.0, late - (waited_for_a_core_s() - waited)) * 1000)


async def serve(settings: Settings) -> list[float]:
    """Serves until stopped, and returns the lags."""
    lags_ms: list[float] = []
    watcher = asyncio.create_task(watch(lags_ms))
    await Server(settings).run()
    watcher.cancel()
    return lags_ms


if __name__ == "__main__":
    chosen = CliApp.run(Settings, cli_args=sys.argv[2:])
    configure_logging(chosen.log_level, chosen.log_format)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        lags = runner.run(serve(chosen))
    Path(sys.argv[1]).write_text("\n".join(map(str, lags)))

"""How readiness changes, told in the log: from "loading the models" to "ready", and when it is lost."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from cutout_gateway.triton import Readiness

log = logging.getLogger("cutout.gateway")

#: How long the models may take to load before the log says what they are waiting for, seconds.
_SLOW_START_S = 30.0


class ReadinessLog:
    """Told every probe's result; logs the changes. clock: seconds, for tests."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._told: Readiness | None = None
        self._was_ready = False
        self._loading = True
        log.info("loading the models")

    def tell(self, readiness: Readiness) -> None:
        """Takes the newest probe. While the models load for the first time, that nothing answers yet is no news."""
        now = self._clock()
        if readiness == self._told or (self._loading and not readiness.ready and now - self._since < _SLOW_START_S):
            return
        self._told = readiness
        if readiness.ready:
            self._tell_ready(readiness, now - self._since)
            self._loading = False
        elif self._loading:
            log.warning("still not ready after %.0f s: %s", now - self._since, readiness.reason)
        else:
            self._since = now if self._was_ready else self._since
            log.warning("not ready: %s", readiness.reason)
        self._was_ready = readiness.ready

    def _tell_ready(self, readiness: Readiness, waited_s: float) -> None:
        after, fields = "", {}
        if not self._was_ready:
            after, fields = f" after {waited_s:.1f} s", {"ms": round(waited_s * 1000, 1)}
        served = ", ".join(quality for quality, ready in readiness.qualities.items() if ready)
        others = "".join(f"; {quality}: {reason}" for quality, reason in readiness.reasons.items())
        log.info("ready%s: %s%s", after, served, others, extra={"fields": fields})

"""Watches process trees in a thread of its own: memory, CPU, and what the rest of the machine does meanwhile."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType

from cutout_loadtest import procfs


@dataclass(slots=True)
class Watch:
    """What was seen. times: seconds from the beginning; pss_mb: of the watched tree, one a time.

    cpu_s: the watched tree's; own_cpu_s: this process's; foreign_cores: cores that everybody else used on average.
    """

    times: list[float] = field(default_factory=list)
    pss_mb: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cpu_s: float = 0.0
    own_cpu_s: float = 0.0
    foreign_cores: float = 0.0
    processes: int = 0


class Monitor:
    """A context manager around the work to be watched; `watch` is complete when it is left.

    pids: roots of the watched trees (none: only this process and the machine). known: further trees that belong to the
    run, whose CPU time is not foreign.
    """

    def __init__(self, pids: list[int], *, known: list[int] | None = None, interval_s: float = 1.0) -> None:
        self._roots, self._known, self._interval_s = pids, known or [], interval_s
        self.watch = Watch()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="monitor", daemon=True)

    def __enter__(self) -> Monitor:
        self._pids = self._tree(self._roots)
        self._cpu = procfs.cpu_s(self._pids)
        self._others = procfs.cpu_s(self._tree(self._known))
        self._own, self._busy, self._begin = time.process_time(), procfs.busy_s(), time.perf_counter()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        watch = self.watch
        watch.seconds = time.perf_counter() - self._begin
        busy = procfs.busy_s() - self._busy
        watch.own_cpu_s = time.process_time() - self._own
        self._pids |= self._tree(self._roots)
        watch.cpu_s = procfs.cpu_s(self._pids) - self._cpu
        watch.processes = len(self._pids)
        others = procfs.cpu_s(self._tree(self._known)) - self._others
        watch.foreign_cores = max(0.0, busy - watch.cpu_s - watch.own_cpu_s - others) / watch.seconds
        self._stop.set()
        self._thread.join()

    @staticmethod
    def _tree(roots: list[int]) -> set[int]:
        return set().union(*(procfs.tree(root) for root in roots)) - {os.getpid()}

    def _sample(self) -> None:
        while True:
            self._pids = self._pids | self._tree(self._roots)
            if self._pids:
                self.watch.times.append(time.perf_counter() - self._begin)
                self.watch.pss_mb.append(procfs.pss_mb(self._pids))
            if self._stop.wait(self._interval_s):
                return

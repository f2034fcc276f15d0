"""Keeps one Triton server running: starts it through its guardian, forwards its log, restarts it with back-off."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cutout_gateway.embedded import guardian
from cutout_gateway.embedded.log_lines import LogForwarder
from cutout_gateway.embedded.run_directory import RUN_VARIABLE, RunDirectory, remove_remains
from cutout_gateway.embedded.stub_watch import StubWatch

log = logging.getLogger("cutout.triton")

#: How long the guardian may take beyond Triton's own grace before it is killed itself, seconds.
_GUARDIAN_SLACK_S = 12.0
#: Triton's grace where the gateway vanished or asked for a restart: nobody waits for its answers any more.
_SHORT_GRACE_S = 2.0
#: A stub that ends together with Triton is no event of its own: what is waited to tell the two apart, seconds.
_STUB_PATIENCE_S = 0.3


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start: the command line and the environment; the run's marker is added to it."""

    command: list[str]
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds before a restart: `first_s`, doubled up to `longest_s`; begins anew after `healthy_s` of running."""

    first_s: float = 0.5
    longest_s: float = 10.0
    healthy_s: float = 60.0

    def delay(self, failures: int) -> float:
        """The pause before the next start after that many failures in a row (at least one)."""
        return float(min(self.longest_s, self.first_s * 2 ** min(failures - 1, 30)))


class TritonSupervisor:
    """Owner of at most one guardian, and so of one Triton, at a time; used from one event loop.

    launch: makes the command of each start (it may take new ports). on_exit: told the exit status of every Triton
    that ended unasked, before the pause; negative where the guardian itself was killed by that signal.
    """

    def __init__(
        self,
        launch: Callable[[], Launch],
        run: RunDirectory,
        *,
        on_exit: Callable[[int], None] | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._launch = launch
        self._run = run
        self._on_exit = on_exit
        self._backoff = backoff or Backoff()
        self._guardian: subprocess.Popen[bytes] | None = None
        self._lines = LogForwarder(log, self._see)
        self._stubs: StubWatch | None = None
        self._task: asyncio.Task[None] | None = None
        self._ending = self._stopping = False
        self.restarts = 0

    @property
    def alive(self) -> bool:
        """True while Triton's process runs and was not told to end. Whether its models are ready is not known here."""
        return self._guardian is not None and not self._ending

    @property
    def last_lines(self) -> list[str]:
        """The last lines that Triton wrote."""
        return self._lines.last

    async def start(self) -> None:
        """Starts Triton and watches over it from now on. Raises OSError where it cannot be started at all."""
        self._spawn()
        self._task = asyncio.get_running_loop().create_task(self._watch(), name="triton-supervisor")

    async def stop(self, grace_s: float = 10.0) -> None:
        """Ends Triton: SIGTERM, `grace_s` for requests in flight, then SIGKILL to whatever is left of it."""
        self._stopping = True
        if self._task is None:
            return
        if self._guardian is None:
            self._task.cancel()
        else:
            self._order_stop(grace_s)
        _, late = await asyncio.wait([self._task], timeout=grace_s + _GUARDIAN_SLACK_S)
        if late:
            log.error("the guardian did not end; killed")
            assert self._guardian is not None
            self._guardian.kill()
            await asyncio.wait([self._task])
        self._task = None

    def restart(self, reason: str) -> None:
        """Ends Triton as if it had died, for a server that runs but does not serve; the back-off applies."""
        if self.alive and not self._stopping:
            log.error("Triton is restarted: %s", reason)
            self._order_stop(_SHORT_GRACE_S)

    async def _watch(self) -> None:
        failures = 0
        while True:
            started = time.monotonic()
            status = await self._attend()
            if self._stopping:
                return
            failures = 1 if time.monotonic() - started >= self._backoff.healthy_s else failures + 1
            pause = self._backoff.delay(failures)
            log.error("Triton ended (status %d), starts again in %.1f s; its last lines:", status, pause)
            for line in self.last_lines[-15:]:
                log.error("  %s", line)
            if self._on_exit is not None:
                self._on_exit(status)
            await self._start_again(pause)

    async def _start_again(self, pause: float) -> None:
        while self._guardian is None:
            await asyncio.sleep(pause)
            self.restarts += 1
            try:
                self._spawn()
            except OSError as error:  # no file descriptor or process left
                pause = self._backoff.longest_s
                log.error("Triton cannot be started (%s), next try in %.1f s", error, pause)

    def _spawn(self) -> None:
        launch = self._launch()
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", guardian.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert process.stdin is not None
        order = {
            "command": launch.command,
            "env": {**launch.env, RUN_VARIABLE: self._run.name},
            "prefix": self._run.name,
            "marker": self._run.marker,
            "grace_s": _SHORT_GRACE_S,
            "folder": str(self._run.path),
        }
        with contextlib.suppress(BrokenPipeError):  # a guardian that died at once is seen as ended
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.flush()
        self._guardian, self._ending = process, False

    async def _attend(self) -> int:
        """Forwards Triton's log until the guardian ended; its status, once nothing of the run is left."""
        process = self._guardian
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        loop = asyncio.get_running_loop()
        output, handle = process.stdout.fileno(), await self._handle(process)
        os.set_blocking(output, False)
        ended = asyncio.Event()

        def stub_died(model: str) -> None:
            loop.call_later(_STUB_PATIENCE_S, self._stub_died, process, model)

        self._stubs = StubWatch(self._run.marker, stub_died)
        loop.add_reader(output, self._read, output)
        loop.add_reader(handle, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(handle)
            os.close(handle)
            self._read(output)
            loop.remove_reader(output)
            self._stubs.close()
            process.stdout.close()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        status = process.wait()
        await asyncio.to_thread(remove_remains, self._run.name)
        self._guardian = None
        return status

    async def _handle(self, process: subprocess.Popen[bytes]) -> int:
        """A pidfd of the guardian; waits while this process has no file descriptor left."""
        while True:
            try:
                return os.pidfd_open(process.pid)
            except OSError as error:
                log.error("the guardian cannot be watched yet: %s", error.strerror)
                await asyncio.sleep(self._backoff.first_s)

    def _stub_died(self, process: subprocess.Popen[bytes], model: str) -> None:
        if process.poll() is None:
            self.restart(f"the Python stub of model {model} died, which Triton does not mend")

    def _see(self, line: str) -> None:
        if self._stubs is not None:
            self._stubs.see(line)

    def _read(self, output: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(output, 65536):
                self._lines.feed(chunk)
            asyncio.get_running_loop().remove_reader(output)

    def _order_stop(self, grace_s: float) -> None:
        assert self._guardian is not None
        assert self._guardian.stdin is not None
        self._ending = True
        with contextlib.suppress(OSError, ValueError):  # already gone: nothing to order
            self._guardian.stdin.write(f"stop {grace_s}\n".encode())
            self._guardian.stdin.flush()

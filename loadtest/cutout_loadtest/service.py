"""A gateway with its embedded Triton as a process of this machine, for runs that are given no address."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_START_TIMEOUT_S, _STOP_TIMEOUT_S = 300.0, 30.0


@dataclass(frozen=True, slots=True)
class Service:
    """Where it listens, and its first process."""

    http: str
    grpc: str
    pid: int


@contextlib.contextmanager
def running_service(settings: Mapping[str, str] | None = None) -> Iterator[Service]:
    """Starts it on free loopback ports with the environment and, above it, `settings`; stops it at the end.

    SIGTERM for this process ends the service too. Raises RuntimeError with the end of its log where it does not become
    ready.
    """
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="cutout-loadtest-") as folder:
        ready_file, log_file = Path(folder) / "ready.json", Path(folder) / "service.log"
        command = [sys.executable, "-m", "cutout_gateway", "--http-port", "0", "--grpc-port", "0"]
        environment = {**os.environ, **(settings or {})}
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                [*command, "--ready-file", str(ready_file)], stdout=log, stderr=log, env=environment
            )
        try:
            end = time.monotonic() + _START_TIMEOUT_S
            while not ready_file.exists():
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"the service did not start; its log ends:\n{log_file.read_text()[-2000:]}")
                time.sleep(0.05)
            ports = json.loads(ready_file.read_text())
            http, grpc = f"http://127.0.0.1:{ports['http_port']}", f"grpc://127.0.0.1:{ports['grpc_port']}"
            yield Service(http, grpc, process.pid)
        finally:
            stop(process)
            signal.signal(signal.SIGTERM, before)


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, a bounded wait, SIGKILL."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

"""A gateway as its own process, the way users run it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass
class GatewayProcess:
    """A running `python -m cutout_gateway`."""

    process: subprocess.Popen[bytes]
    http_port: int
    grpc_port: int
    log_file: Path

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def stop(self, timeout_s: float = 30.0) -> int:
        """SIGTERM, then the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout_s)
        finally:
            self.process.kill()
            self.process.wait()


def start_gateway(
    folder: Path, *flags: str, ready_timeout_s: float = 60.0, program: Sequence[str] = ("-m", "cutout_gateway")
) -> GatewayProcess:
    """Starts a gateway on free ports and waits until it is ready. Raises RuntimeError with its log otherwise.

    program: what Python runs, if not the gateway as users do.
    """
    ready_file, log_file = folder / "ready.json", folder / "gateway.log"
    command = [sys.executable, *program, "--http-port", "0", "--grpc-port", "0"]
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [*command, "--ready-file", str(ready_file), *flags],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={key: value for key, value in os.environ.items() if key != "PYTHONWARNINGS"},
        )
    end = time.monotonic() + ready_timeout_s
    while time.monotonic() < end and process.poll() is None:
        if ready_file.exists():
            ports = json.loads(ready_file.read_text())
            return GatewayProcess(process, ports["http_port"], ports["grpc_port"], log_file)
        time.sleep(0.02)
    process.kill()
    process.wait()
    raise RuntimeError(f"the gateway did not become ready:\n{log_file.read_text()}")


@contextlib.contextmanager
def running_gateway(folder: Path, *flags: str) -> Iterator[GatewayProcess]:
    """A gateway with its embedded Triton; stopped at the end, whatever happened, unless the test did it."""
    gateway = start_gateway(folder, *flags, ready_timeout_s=120)
    try:
        yield gateway
    finally:
        gateway.stop()

"""The service as processes of this machine: one that is started for the run, or the one behind an address."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cutout_loadtest import procfs

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


def listening_here(url: str) -> int | None:
    """The process that listens for `url`; None where its host is another machine, or where no process is seen.

    Raises ValueError where the URL's port is no port.
    """
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return procfs.listener(port) if parts.hostname and is_here(parts.hostname) else None


def is_here(host: str) -> bool:
    """Whether every address of `host` is this machine's own; False where it has none."""
    try:
        addresses = socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM)
    except OSError:
        return False
    return all(_is_own(family, address) for family, _, _, _, address in addresses)


def _is_own(family: int, address: tuple[Any, ...]) -> bool:
    """A socket can be bound to a machine's own addresses alone."""
    if ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback:
        return True
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind(address)
    except OSError:
        return False
    return True


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, a bounded wait, SIGKILL."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

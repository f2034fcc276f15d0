"""The systems under test: each is started once, told which cell to run, and ended with its process tree."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import uvloop

from cutout_client import Client
from cutout_core.contract.paths import cache_root, engines_root
from cutout_core.contract.tensors import MATTING, SEGMENTATION, SEGMENTATION_HIGH
from cutout_loadtest.bench.plan import CUTOUT, CUTOUT_HIGH, LIBRARY, SERVER, STAGE_WORKERS, STAGES, Cell
from cutout_loadtest.closed_loop import LoadReport, closed_loop
from cutout_loadtest.senders import open_sender
from cutout_loadtest.service import running_service, stop
from cutout_loadtest.shot import Shot, cutout_shot, post
from cutout_loadtest.stats import steady_rate

_BUILD = [sys.executable, "-m", "cutout_build.bench"]
#: Longest wait for one answer of the slowest system, and for a system's start, seconds.
_TIMEOUT_S, _START_S = 300.0, 300.0


class System(Protocol):
    """pids: roots of its process trees. measure: runs a cell's load, at least `images` long."""

    pids: list[int]

    def measure(self, cell: Cell, file: Path, images: int, seconds: float) -> LoadReport: ...


class CutoutServer:
    """Our gateway with its embedded Triton, over HTTP."""

    def __init__(self, url: str, pid: int) -> None:
        self._url, self.pids = url, [pid]

    def qualities(self) -> list[str]:
        """Those that are installed and ready."""
        with Client(self._url) as client:
            ready = client.info()["qualities"]
        return [quality for quality in ("fast", "standard", "high") if ready.get(quality)]

    def measure(self, cell: Cell, file: Path, images: int, seconds: float) -> LoadReport:
        options = {"quality": cell.quality, "output": cell.output}
        shot = cutout_shot(str(cell), file.read_bytes(), 0.0, options)
        return _load(self._url, shot, cell.concurrency, images, seconds)


class RembgServer:
    """rembg's server, over HTTP, with the network that ours uses too."""

    def __init__(self, url: str, pid: int) -> None:
        self._url, self.pids = url, [pid]

    def measure(self, cell: Cell, file: Path, images: int, seconds: float) -> LoadReport:
        boundary = secrets.token_hex(16)
        field = 'Content-Disposition: form-data; name="{}"'
        head = f"--{boundary}\r\n{field.format('model')}\r\n\r\nu2netp\r\n--{boundary}\r\n"
        head += f'{field.format("file")}; filename="photo"\r\nContent-Type: application/octet-stream\r\n\r\n'
        body = head.encode() + file.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        request = post("/api/remove", body, f"multipart/form-data; boundary={boundary}")
        return _load(self._url, Shot(str(cell), 0.0, {}, request), cell.concurrency, images, seconds)


class Workers:
    """Processes that speak the protocol of `cutout_build.bench.worker`; the load is shared among them."""

    def __init__(self, processes: list[subprocess.Popen[str]], threads: bool) -> None:
        self._processes, self._threads = processes, threads
        self.pids = [process.pid for process in processes]

    def measure(self, cell: Cell, file: Path, images: int, seconds: float) -> LoadReport:
        threads = cell.concurrency if self._threads else 1
        share = -(-images // len(self._processes))
        request = {"file": str(file), "images": share, "seconds": seconds, "threads": threads}
        line = json.dumps(request | {"quality": cell.quality, "output": cell.output})
        with ThreadPoolExecutor(len(self._processes)) as pool:
            answers = [json.loads(raw) for raw in pool.map(lambda process: _ask(process, line), self._processes)]
        latencies = [1000 * took for answer in answers for took, _ in answer["exchanges"]]
        rate = sum(steady_rate(answer["exchanges"], threads, answer["closed"]) for answer in answers)
        return LoadReport(len(latencies), rate, latencies, sum(answer["bytes"] for answer in answers), {})


@contextlib.contextmanager
def started(names: set[str], high: bool) -> Iterator[dict[str, System]]:
    """Starts the named systems by `Cell.server`, and ends them. Raises RuntimeError where one does not start.

    high: ours a second time, with quality high where it is installed. The first one never has it, so that its memory is
    that of the engines which everybody serves.
    """
    with contextlib.ExitStack() as stack:
        systems: dict[str, System] = {}
        if names & {SERVER, LIBRARY} and subprocess.run([*_BUILD, "prepare"], stdin=subprocess.DEVNULL).returncode:
            raise RuntimeError("the peer cannot be set up; its message is above (--systems leaves it out)")
        if CUTOUT in names:
            usual = stack.enter_context(usual_engines())
            service = stack.enter_context(running_service({"CUTOUT_CACHE": str(usual)}))
            systems[CUTOUT] = CutoutServer(service.http, service.pid)
        if CUTOUT in names and high and (engines_root() / SEGMENTATION_HIGH.name).is_dir():
            service = stack.enter_context(running_service())
            systems[CUTOUT_HIGH] = CutoutServer(service.http, service.pid)
        if STAGES in names:
            systems[STAGES] = stack.enter_context(_workers("stages", STAGE_WORKERS, threads=False))
        if LIBRARY in names:
            systems[LIBRARY] = stack.enter_context(_workers("rembg-library", 1, threads=True))
        if SERVER in names:
            systems[SERVER] = stack.enter_context(_rembg_server())
        yield systems


@contextlib.contextmanager
def usual_engines() -> Iterator[Path]:
    """A cache folder like this machine's, but without the engine of quality high."""
    with tempfile.TemporaryDirectory(prefix="cutout-bench-") as folder:
        engines = Path(folder) / "engines"
        engines.mkdir()
        for name in (SEGMENTATION.name, MATTING.name):
            (engines / name).symlink_to(engines_root() / name)
        (cache_root() / "compiled").mkdir(parents=True, exist_ok=True)
        (Path(folder) / "compiled").symlink_to(cache_root() / "compiled")
        yield Path(folder)


@contextlib.contextmanager
def _rembg_server() -> Iterator[RembgServer]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([*_BUILD, "rembg-server", "--port", str(port)], stdin=subprocess.DEVNULL)
    try:
        end = time.monotonic() + _START_S
        while True:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("rembg's server did not start; its message is above")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield RembgServer(f"http://127.0.0.1:{port}", process.pid)
    finally:
        stop(process)


@contextlib.contextmanager
def _workers(name: str, count: int, *, threads: bool) -> Iterator[Workers]:
    processes = [
        subprocess.Popen(
            [*_BUILD, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
        )
        for _ in range(count)
    ]
    try:
        for process in processes:
            _read(process)
        yield Workers(processes, threads)
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
            process.communicate()


def _ask(process: subprocess.Popen[str], line: str) -> str:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return _read(process)


def _read(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"a worker ended with status {process.wait()}; its message is above")
    return line


def _load(url: str, shot: Shot, concurrency: int, images: int, seconds: float) -> LoadReport:
    async def run() -> LoadReport:
        sender = open_sender(url, _TIMEOUT_S)
        try:
            return await closed_loop(sender, [shot], concurrency=concurrency, requests=images, seconds=seconds)
        finally:
            await sender.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())

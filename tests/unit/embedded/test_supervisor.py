"""Starting, ending, dying: the supervisor and its guardian around a small program that stands for Triton.

It has what matters here: a "stub" as its child, in a group of its own where told so, and a shared-memory region.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cutout_gateway.embedded.guardian import SHARED_MEMORY, open_marked
from cutout_gateway.embedded.run_directory import RunDirectory
from cutout_gateway.embedded.supervisor import Backoff, Launch, TritonSupervisor

SERVER = """
import os, signal, subprocess, sys, time
name, folder = os.environ["CUTOUT_TRITON_RUN"], sys.argv[1]
flags = sys.argv[2:]
open(f"/dev/shm/{name}-region", "w").close()
stub = [f"{folder}/triton_python_backend_stub", f"{folder}/models/toy/1/model.py"]
subprocess.Popen(stub, executable=sys.executable, start_new_session="stray" in flags)
if "stubborn" in flags:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("2026-01-01T00:00:00Z I 1 m.cc:1] \\"successfully loaded 'toy'\\"", flush=True)
print("2026-01-01T00:00:00Z I 1 g.cc:1] \\"Started GRPCInferenceService at 127.0.0.1:1\\"", flush=True)
time.sleep(0.05 if "short" in flags else 60)
"""

OWNER = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.unit.embedded.test_supervisor import supervised
async def main():
    async with supervised(Path(sys.argv[1])) as (supervisor, run):
        print(run.name, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


@asynccontextmanager
async def supervised(
    folder: Path, *flags: str, on_exit: Callable[[int], None] | None = None, backoff: Backoff | None = None
) -> AsyncIterator[tuple[TritonSupervisor, RunDirectory]]:
    stub = folder / "models" / "toy" / "1" / "model.py"
    stub.parent.mkdir(parents=True)
    stub.write_text("import time; time.sleep(60)")
    run = RunDirectory(folder / "runs")
    launch = Launch([sys.executable, "-c", SERVER, str(folder), *flags], {"PATH": os.defpath})
    supervisor = TritonSupervisor(lambda: launch, run, on_exit=on_exit, backoff=backoff or Backoff(0.05, 0.2))
    await supervisor.start()
    try:
        await until(lambda: "Started GRPC" in "".join(supervisor.last_lines))
        yield supervisor, run
    finally:
        await supervisor.stop(1.0)
        run.close()


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "took too long"
        await asyncio.sleep(0.01)


def processes(run_marker: str) -> dict[str, int]:
    """Process ids of the run: `server` and `stub`."""
    found = {}
    for pid, handle in open_marked(run_marker):
        os.close(handle)
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended in between
        found["stub" if b"triton_python_backend_stub\0" in line else "server"] = pid
    return found


def regions(run_name: str) -> list[Path]:
    return list(SHARED_MEMORY.glob(f"{run_name}*"))


def guardian_of(server: int) -> int:
    return int(Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[1])


async def test_stop_ends_everything_and_is_no_death(tmp_path: Path) -> None:
    deaths: list[int] = []
    async with supervised(tmp_path, on_exit=deaths.append) as (supervisor, run):
        assert supervisor.alive
        assert set(processes(run.marker)) == {"server", "stub"}
        await supervisor.stop(1.0)
        assert not supervisor.alive
        assert processes(run.marker) == {}
        assert regions(run.name) == []
        assert (supervisor.restarts, deaths) == (0, [])


async def test_regions_are_closed_to_other_users(tmp_path: Path) -> None:
    async with supervised(tmp_path) as (_, run):
        (region,) = regions(run.name)
        region.chmod(0o644)
        await until(lambda: region.stat().st_mode & 0o777 == 0o600)


async def test_a_server_that_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    async with supervised(tmp_path, "stubborn") as (supervisor, run):
        began = time.monotonic()
        await supervisor.stop(0.3)
        assert 0.3 <= time.monotonic() - began < 3
        assert processes(run.marker) == {}


@pytest.mark.parametrize("flag", ["plain", "stray"])
async def test_a_killed_server_is_started_again_without_its_leftovers(tmp_path: Path, flag: str) -> None:
    deaths: list[int] = []
    async with supervised(tmp_path, flag, on_exit=deaths.append) as (supervisor, run):
        before = processes(run.marker)
        os.kill(before["server"], signal.SIGKILL)
        await until(lambda: supervisor.restarts == 1 and len(processes(run.marker)) == 2)
        assert not set(before.values()) & set(processes(run.marker).values())
        assert deaths == [128 + signal.SIGKILL]
        assert len(regions(run.name)) == 1


async def test_a_killed_guardian_takes_everything_along(tmp_path: Path) -> None:
    deaths: list[int] = []
    async with supervised(tmp_path, on_exit=deaths.append) as (supervisor, run):
        before = processes(run.marker)
        os.kill(guardian_of(before["server"]), signal.SIGKILL)
        await until(lambda: supervisor.restarts == 1 and len(processes(run.marker)) == 2)
        assert not set(before.values()) & set(processes(run.marker).values())
        assert deaths == [-signal.SIGKILL]


async def test_a_killed_stub_restarts_the_server(tmp_path: Path) -> None:
    async with supervised(tmp_path) as (supervisor, run):
        before = processes(run.marker)
        os.kill(before["stub"], signal.SIGKILL)
        await until(lambda: supervisor.restarts == 1 and len(processes(run.marker)) == 2)
        assert not set(before.values()) & set(processes(run.marker).values())


async def test_restart_on_request_counts_as_one(tmp_path: Path) -> None:
    async with supervised(tmp_path) as (supervisor, run):
        before = processes(run.marker)
        supervisor.restart("its models do not answer")
        assert not supervisor.alive
        supervisor.restart("asked twice")
        await until(lambda: supervisor.alive and len(processes(run.marker)) == 2)
        assert supervisor.restarts == 1
        assert before["server"] not in processes(run.marker).values()


async def test_stop_during_the_pause_starts_nothing(tmp_path: Path) -> None:
    async with supervised(tmp_path, "short", backoff=Backoff(30, 30)) as (supervisor, run):
        await until(lambda: not supervisor.alive)
        began = time.monotonic()
        await supervisor.stop()
        assert time.monotonic() - began < 1
        assert (supervisor.restarts, processes(run.marker)) == (0, {})


def test_the_owners_sigkill_ends_everything(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[3])
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path), root], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner, owner.stdout:
        name = owner.stdout.readline().strip()
        marker = f"CUTOUT_TRITON_RUN={name}"
        assert set(processes(marker)) == {"server", "stub"}
        owner.kill()
    folder = tmp_path / "runs" / name
    asyncio.run(until(lambda: not processes(marker) and not regions(name) and not folder.exists(), 5))


def test_the_pause_doubles_up_to_its_bound() -> None:
    backoff = Backoff(first_s=0.5, longest_s=10)
    assert [backoff.delay(n) for n in (1, 2, 3, 4, 5, 6, 100)] == [0.5, 1, 2, 4, 8, 10, 10]

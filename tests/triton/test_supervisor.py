"""A real Triton that dies in every way: it comes back, and nothing of the dead one stays."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tritonclient.grpc as triton

from cutout_core.contract.engine import EngineManifest
from cutout_core.contract.paths import cache_root, engines_root
from cutout_core.contract.plan import PLAN_FACTS_NAME, PLAN_NAME
from cutout_gateway.embedded import Backoff, EmbeddedSettings
from cutout_gateway.embedded.guardian import SHARED_MEMORY, open_marked
from cutout_gateway.embedded.run_directory import RUN_VARIABLE, sweep
from cutout_gateway.stub_memory import StubMemory
from tests.triton.conftest import RunningTriton, wait_until_ready

pytestmark = [pytest.mark.triton, pytest.mark.slow]

OWNER = """
import asyncio
from cutout_gateway.embedded import EmbeddedSettings, EmbeddedTriton
async def main():
    embedded = EmbeddedTriton(EmbeddedSettings())
    await embedded.start()
    print(embedded.grpc_url, embedded.run_name, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""

#: The processes of a run, beside those of quality `high` where it is built.
FAMILY = {"tritonserver", "preprocess", "segmentation", "matting", "postprocess"}


def processes(run_name: str) -> dict[str, int]:
    """Process ids of a run: `tritonserver`, and each model's stub."""
    found = {}
    for pid, handle in open_marked(f"{RUN_VARIABLE}={run_name}"):
        os.close(handle)
        program, *arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        found[Path(arguments[0]).parts[-3] if "stub" in program else Path(program).name] = pid
    return found


def regions(run_name: str) -> list[Path]:
    return list(SHARED_MEMORY.glob(f"{run_name}*"))


def until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "took too long"
        time.sleep(0.05)


@pytest.fixture
def running() -> Iterator[RunningTriton]:
    """A Triton of one's own, to be killed."""
    server = RunningTriton(EmbeddedSettings(backoff=Backoff(first_s=0.1)))
    wait_until_ready(server.url)
    yield server
    server.stop()
    assert processes(server.embedded.run_name) == {}
    assert regions(server.embedded.run_name) == []


@pytest.fixture
def owner() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that owns a Triton, and the run's name."""
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url, run_name = process.stdout.readline().split()
        wait_until_ready(url)
        yield process, run_name
        process.kill()
    sweep(cache_root() / "runs")


@pytest.mark.parametrize("victim", ["tritonserver", "preprocess", "matting"])
def test_a_killed_process_of_triton_brings_a_new_triton(running: RunningTriton, victim: str) -> None:
    name = running.embedded.run_name
    before = processes(name)
    assert set(before) >= FAMILY
    assert {region.stat().st_mode & 0o777 for region in regions(name)} == {0o600}
    old_regions = set(regions(name))
    os.kill(before[victim], signal.SIGKILL)
    until(lambda: running.embedded.restarts == 1, 15)
    wait_until_ready(running.url)
    assert not set(before.values()) & set(processes(name).values())
    assert not old_regions & set(regions(name))


def test_the_stubs_have_the_memory_that_is_set() -> None:
    server = RunningTriton(EmbeddedSettings(stub_memory=StubMemory(initial=2 << 20, growth=3 << 20)))
    try:
        wait_until_ready(server.url)
        name = server.embedded.run_name
        stubs = {model: pid for model, pid in processes(name).items() if model != "tritonserver"}
        assert set(stubs) >= FAMILY - {"tritonserver"}
        for pid in stubs.values():
            _, _, region, *sizes = Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:5]
            assert sizes == [str(2 << 20), str(3 << 20)]
            assert (SHARED_MEMORY / region).stat().st_size == 2 << 20
    finally:
        server.stop()


def test_the_owners_sigkill_leaves_nothing(owner: tuple[subprocess.Popen[str], str]) -> None:
    process, name = owner
    assert set(processes(name)) >= FAMILY
    process.kill()
    process.wait()
    folder = cache_root() / "runs" / name
    until(lambda: not processes(name) and not regions(name) and not folder.exists(), 8)


def test_what_an_all_at_once_kill_leaves_is_swept_at_the_next_start(owner: tuple[subprocess.Popen[str], str]) -> None:
    process, name = owner
    server = processes(name)["tritonserver"]
    guardian = int(Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[1])
    for pid in (guardian, process.pid, server):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    until(lambda: "tritonserver" not in processes(name), 5)
    assert "preprocess" in processes(name), "Triton's stubs now end by themselves: the sweep is not needed any more"
    assert regions(name)
    assert name in sweep(cache_root() / "runs")
    until(lambda: not processes(name), 5)
    assert regions(name) == []


def test_a_profile_that_cannot_run_here_is_seen_from_outside(tmp_path: Path) -> None:
    """The profile gpu without a TensorRT backend: Triton lives, the engine and the ensemble are not ready."""
    for model in ("segmentation", "matting"):
        folder = tmp_path / model
        shutil.copytree(engines_root() / model, folder)
        (folder / PLAN_NAME).write_bytes(b"plan")
        facts = {
            "precision": "fp32",
            "graph_sha256": EngineManifest.read(folder).graph_sha256,
            "plan_sha256": hashlib.sha256(b"plan").hexdigest(),
        }
        (folder / PLAN_FACTS_NAME).write_text(json.dumps(facts))
    server = RunningTriton(EmbeddedSettings(profile="gpu", engines=tmp_path))
    try:
        wait_until_ready(server.url, "preprocess")
        client = triton.InferenceServerClient(server.url)
        assert server.embedded.alive
        assert not client.is_model_ready("segmentation")
        assert not client.is_model_ready("cutout_fast")
        reasons = {model.name: model.reason for model in client.get_model_repository_index().models}
        for model in ("segmentation", "matting"):  # the configuration is understood, the backend is not there
            assert "unable to find backend library for backend 'tensorrt'" in reasons[model]
        client.close()
    finally:
        server.stop()

"""Whose leftovers are removed by the sweep, and whose never."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from cutout_gateway.embedded import guardian, run_directory
from cutout_gateway.embedded.run_directory import (
    RUN_VARIABLE,
    Machine,
    RunDirectory,
    owner_is_dead,
    run_name,
    start_time,
    sweep,
)


@pytest.fixture(autouse=True)
def regions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for /dev/shm."""
    folder = tmp_path / "shm"
    folder.mkdir()
    monkeypatch.setattr(guardian, "SHARED_MEMORY", folder)
    monkeypatch.setattr(run_directory, "SHARED_MEMORY", folder)
    return folder


@pytest.fixture
def dead_name() -> str:
    """The name of a run whose owner has ended."""
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE) as owner:
        name = run_name(owner.pid)
        assert not owner_is_dead(name)
    return name


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"], env={})
    yield process
    process.kill()
    process.wait()


def marked_sleeper(name: str) -> subprocess.Popen[bytes]:
    """A process that bears the mark of the run `name`; the kernel shows its environment a moment after `exec`."""
    process = subprocess.Popen(["sleep", "60"], env={RUN_VARIABLE: name})
    environment = Path(f"/proc/{process.pid}/environ")
    deadline = time.monotonic() + 10
    while name.encode() not in environment.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return process


def test_what_a_dead_run_left_is_removed(tmp_path: Path, regions: Path, dead_name: str) -> None:
    (tmp_path / "runs" / dead_name).mkdir(parents=True)
    (regions / f"{dead_name}2519a168-5f7e").write_bytes(b"pixels")
    stub = marked_sleeper(dead_name)
    assert sweep(tmp_path / "runs") == [dead_name]
    assert list((tmp_path / "runs").iterdir()) == []
    assert list(regions.iterdir()) == []
    assert stub.wait(5) == -9


def test_regions_are_removed_although_the_folder_is_gone(tmp_path: Path, regions: Path, dead_name: str) -> None:
    (regions / f"{dead_name}2519a168").touch()
    assert sweep(tmp_path / "runs") == [dead_name]
    assert list(regions.iterdir()) == []


def test_a_live_run_is_left_alone(tmp_path: Path, regions: Path) -> None:
    run = RunDirectory(tmp_path / "runs")
    (regions / f"{run.name}2519a168").touch()
    stub = marked_sleeper(run.name)
    assert sweep(tmp_path / "runs") == []
    assert run.path.is_dir()
    assert len(list(regions.iterdir())) == 1
    assert stub.poll() is None
    run.close()
    assert stub.wait(5) == -9
    assert not run.path.exists()
    assert list(regions.iterdir()) == []


def test_a_reused_process_id_is_not_taken_for_the_owner() -> None:
    name = run_name(os.getpid())
    earlier = name.replace(f"-{start_time(os.getpid())}-", "-1-")
    assert not owner_is_dead(name)
    assert owner_is_dead(earlier)


@pytest.mark.parametrize("name", ["cutout-other", "cutout-0-1-2-3", "triton_python_backend_shm_region_1", "sem.x"])
def test_foreign_names_are_left_alone(tmp_path: Path, regions: Path, name: str) -> None:
    (regions / name).touch()
    (tmp_path / "runs" / name).mkdir(parents=True)
    assert sweep(tmp_path / "runs") == []
    assert (regions / name).exists()
    assert (tmp_path / "runs" / name).exists()


def test_other_machines_and_namespaces_are_left_alone(tmp_path: Path, regions: Path, dead_name: str) -> None:
    foreign = re.sub(r"^cutout-\w{8}", "cutout-00000000", dead_name)
    folder = tmp_path / "runs" / foreign
    folder.mkdir(parents=True)
    (regions / f"{foreign}2519a168").touch()
    for machine in (
        replace(Machine.current(), host="elsewhere", boot="another"),
        replace(Machine.current(), namespace="pid:[1]"),
    ):
        (folder / "state.json").write_text(json.dumps(asdict(machine)))
        assert sweep(tmp_path / "runs") == []
        assert folder.exists()
    assert len(list(regions.iterdir())) == 1


def test_a_folder_of_an_earlier_boot_is_removed(tmp_path: Path, dead_name: str) -> None:
    name = re.sub(r"^cutout-\w{8}", "cutout-00000000", dead_name)
    folder = tmp_path / "runs" / name
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(json.dumps(asdict(replace(Machine.current(), boot="earlier"))))
    assert sweep(tmp_path / "runs") == [name]
    assert not folder.exists()


def test_only_marked_processes_are_killed(sleeper: subprocess.Popen[bytes]) -> None:
    marked = subprocess.Popen(["sleep", "60"], env={RUN_VARIABLE: "cutout-test-marked"})
    longer = subprocess.Popen(["sleep", "60"], env={RUN_VARIABLE: "cutout-test-marked-too"})
    assert guardian.kill_marked(f"{RUN_VARIABLE}=cutout-test-marked") == 1
    assert marked.wait(5) == -9
    assert sleeper.poll() is None
    assert longer.poll() is None
    longer.kill()
    longer.wait()


def test_two_runs_of_one_process_have_different_names() -> None:
    assert run_name(os.getpid()) != run_name(os.getpid())

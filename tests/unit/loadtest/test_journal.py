"""The benchmark's journal: what it goes on from, and what makes it another run's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from cutout_loadtest.bench import setting as setting_module
from cutout_loadtest.bench.measure import Journal, make_inputs, measure
from cutout_loadtest.bench.plan import INPUTS, SERVER, Cell
from cutout_loadtest.bench.setting import setting
from cutout_loadtest.closed_loop import LoadReport
from cutout_loadtest.provenance import Checkout


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    file = tmp_path / "photo.png"
    Image.new("RGB", (8, 6), "red").save(file)
    return file


@pytest.fixture
def key(tmp_path: Path, photo: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The key of a setting that differs from the usual one in what is given."""
    monkeypatch.setenv("CUTOUT_CACHE", str(tmp_path / "cache"))
    engine = tmp_path / "cache" / "engines" / "matting"
    engine.mkdir(parents=True)

    def made(seconds: float = 5.0, code: Checkout | None = None, cpu: str = "one", **environment: str) -> str:
        monkeypatch.setattr(setting_module, "checkout", lambda: code or Checkout("abc", ""))
        monkeypatch.setattr(setting_module, "cpu", lambda: {"model name": cpu})
        for name in ("model.json", "certificate.json"):
            (engine / name).write_text(environment.pop(name.partition(".")[0], "{}"))
        return setting(photo, seconds, {"HOME": "/home/somebody", "CUTOUT_THREADS": "2", **environment})

    return made


def test_whatever_changes_a_result_changes_the_key(key: Callable[..., str], photo: Path) -> None:
    usual = key()
    keys = [
        usual,
        key(seconds=1.0),
        key(code=Checkout("def", "")),
        key(code=Checkout("abc", "0123")),
        key(cpu="another"),
        key(model='{"graphs": {}}'),
        key(certificate="[]"),
        key(CUTOUT_THREADS="4"),
        key(CUTOUT_PRECISION="int8"),
    ]
    assert key(HOME="/elsewhere") == usual
    assert key(CUTOUT_API_KEY="secret") == usual
    photo.write_bytes(photo.read_bytes() + b"more")
    keys.append(key())
    assert len(set(keys)) == len(keys)


def test_inputs_are_those_of_the_photo_and_not_of_its_name(tmp_path: Path, photo: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "photo-4-MP-jpeg").write_bytes(b"of another photo")
    first = make_inputs(photo, work)
    assert set(first) == set(INPUTS)
    before = {name: file.read_bytes() for name, file in first.items()}
    Image.new("RGB", (8, 6), "blue").save(photo)
    second = make_inputs(photo, work)
    assert not set(first.values()) & set(second.values())
    assert all(file.read_bytes() != before[name] for name, file in second.items())
    assert {name: file.read_bytes() for name, file in first.items()} == before
    for file in second.values():
        file.write_bytes(b"kept")
    assert make_inputs(photo, work) == second
    assert {file.read_bytes() for file in second.values()} == {b"kept"}


class Counting:
    """A system whose every load is one image in 10 ms."""

    def __init__(self, pid: int) -> None:
        self.pids = [pid]
        self.loads = 0

    def measure(self, cell: Cell, file: Path, images: int, seconds: float) -> LoadReport:
        self.loads += 1
        return LoadReport(1, 100.0, [10.0], 1000, {})


@pytest.fixture
def system() -> Iterator[Counting]:
    process = subprocess.Popen(["sleep", "60"])
    yield Counting(process.pid)
    process.kill()
    process.wait()


def test_what_comes_from_the_journal_is_told(
    tmp_path: Path, system: Counting, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = [Cell(SERVER, "", "4 MP jpeg", "png", callers) for callers in (1, 4, 8)]
    files = {"4 MP jpeg": tmp_path / "unread"}
    journal = Journal(tmp_path, "key")
    measure({SERVER: system}, plan[:1], files, journal, repeats=2, seconds=0.0)
    assert "from the journal" not in capsys.readouterr().err
    os.utime(journal.path, (0, 0))
    assert len(measure({SERVER: system}, plan, files, journal, repeats=2, seconds=0.0)) == 6
    assert "2 of 6 cells from the journal of 1970-01-01 00:00:00 UTC\n" in capsys.readouterr().err
    assert system.loads == 2 * 6  # each once to warm up, none of them twice

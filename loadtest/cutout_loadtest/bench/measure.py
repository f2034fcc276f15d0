"""Runs cells, repeat by repeat, and keeps every result on disk, so that an interrupted run goes on where it was."""

from __future__ import annotations

import contextlib
import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cutout_loadtest.bench.plan import INPUTS, Cell
from cutout_loadtest.bench.quiet import calibrate
from cutout_loadtest.bench.setting import file_hash
from cutout_loadtest.bench.systems import System
from cutout_loadtest.mix import photo_file
from cutout_loadtest.monitor import Monitor
from cutout_loadtest.provenance import instant

_PSS_INTERVAL_S = 0.5


@dataclass(frozen=True, slots=True)
class Result:
    """One cell in one repeat. core_ms: CPU time of all its processes for each image. bytes_out: of one result."""

    cell: Cell
    repeat: int
    images: int
    images_per_s: float
    latencies_ms: list[float]
    core_ms: float
    pss_mb: float
    bytes_out: float
    errors: dict[str, int]
    generator_cores: float
    foreign_cores: float
    calibration_ms: float


class Journal:
    """Results of one setting (see `setting`), a line each, in `folder`."""

    def __init__(self, folder: Path, key: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"bench-{key}.jsonl"

    def read(self) -> list[Result]:
        if not self.path.is_file():
            return []
        entries = []
        for line in self.path.read_text().splitlines():
            with contextlib.suppress(ValueError):  # empty, or cut off where a run was killed
                entries.append(json.loads(line))
        return [Result(**{**entry, "cell": Cell(**entry["cell"])}) for entry in entries]

    def add(self, result: Result) -> None:
        with self.path.open("a") as file:
            file.write("\n" + json.dumps(asdict(result)) + "\n")


def make_inputs(photo: Path, folder: Path) -> dict[str, Path]:
    """The input files by name, made from one photo where they are missing. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{photo.stem}-{file_hash(photo)[:12]}"
    files = {name: folder / f"{stem}-{name.replace(' ', '-')}" for name in INPUTS}
    for name, file in files.items():
        if not file.is_file():
            megapixels, encoding = INPUTS[name]
            file.write_bytes(photo_file(photo, megapixels, encoding))
    return files


def measure(
    systems: dict[str, System],
    cells: Sequence[Cell],
    files: dict[str, Path],
    journal: Journal,
    *,
    repeats: int,
    seconds: float,
) -> list[Result]:
    """Runs what the journal lacks; returns all of it. One repeat runs every cell, in blocks of equal inputs whose order
    and whose cells' order are drawn anew, so that drift of the machine meets every system alike."""
    done = {(result.cell, result.repeat) for result in journal.read()}
    runs = {(cell, repeat) for cell in cells for repeat in range(repeats)}
    todo = len(runs - done)
    if todo < len(runs):
        date = instant(journal.path.stat().st_mtime)
        print(f"{len(runs) - todo} of {len(runs)} cells from the journal of {date}", file=sys.stderr, flush=True)
    began = time.monotonic()
    count = 0
    known = [pid for system in systems.values() for pid in system.pids]
    for repeat in range(repeats):
        calibration = calibrate()
        for cell in _order(cells, repeat):
            if (cell, repeat) in done:
                continue
            journal.add(_one(systems[cell.server], cell, files[cell.input], repeat, seconds, calibration, known))
            count += 1
            left = (time.monotonic() - began) / count * (todo - count)
            last = journal.read()[-1]
            print(
                f"{count}/{todo}  {cell}: {last.images_per_s:.2f} images/s, {last.core_ms:.0f} core-ms, "
                f"{last.pss_mb:.0f} MB   ({left / 60:.0f} min left)",
                file=sys.stderr,
                flush=True,
            )
    wanted = set(cells)
    return [result for result in journal.read() if result.cell in wanted and result.repeat < repeats]


def _order(cells: Sequence[Cell], repeat: int) -> list[Cell]:
    generator = random.Random(repeat)
    blocks = [[cell for cell in cells if cell.input == name] for name in INPUTS]
    return [cell for block in blocks for cell in generator.sample(block, len(block))]


def _one(
    system: System, cell: Cell, file: Path, repeat: int, seconds: float, calibration_ms: float, known: list[int]
) -> Result:
    system.measure(cell, file, 1, 0.0)  # compiled, cached, connected
    others = [pid for pid in known if pid not in system.pids]
    with Monitor(system.pids, known=others, interval_s=_PSS_INTERVAL_S) as monitor:
        load = system.measure(cell, file, max(3, 3 * cell.concurrency), seconds)
    watch = monitor.watch
    images = max(1, load.succeeded)
    return Result(
        cell=cell,
        repeat=repeat,
        images=load.succeeded,
        images_per_s=load.images_per_s,
        latencies_ms=[round(latency, 2) for latency in load.latencies_ms],
        core_ms=watch.cpu_s * 1000 / images,
        pss_mb=max(watch.pss_mb),
        bytes_out=load.bytes_out / images,
        errors=load.errors,
        generator_cores=watch.own_cpu_s / watch.seconds,
        foreign_cores=watch.foreign_cores,
        calibration_ms=calibration_ms,
    )

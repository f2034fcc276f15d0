"""What is measured: the cells of the benchmark's table, in the order in which they run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CUTOUT, STAGES, SERVER, LIBRARY = "cutout", "cutout in process", "rembg server", "rembg library"
SYSTEMS = (CUTOUT, STAGES, SERVER, LIBRARY)
#: `Cell.server` of ours where quality high is loaded.
CUTOUT_HIGH = "cutout, high"

#: Inputs by name: 10⁶ pixels and encoding. 512 px: 512 × 512.
INPUTS: dict[str, tuple[float, str]] = {
    "512 px jpeg": (0.262144, "jpeg"),
    "4 MP jpeg": (4.0, "jpeg"),
    "12 MP jpeg": (12.0, "jpeg"),
    "4 MP png": (4.0, "png"),
    "4 MP webp": (4.0, "webp"),
}
JPEGS = ("512 px jpeg", "4 MP jpeg", "12 MP jpeg")
#: The input of the rows that differ in output or in encoding alone, and their callers.
_COMMON, _COMMON_CALLERS = "4 MP jpeg", 4

#: Workers of the in-process rate, and callers of the peer's library.
STAGE_WORKERS, LIBRARY_THREADS = 2, 4


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of the table. quality: empty for the peer, which has none. concurrency: callers, or workers."""

    system: str
    quality: str
    input: str
    output: str
    concurrency: int

    @property
    def server(self) -> str:
        """The name under which its system is started: that of ours with quality high is one of its own."""
        return CUTOUT_HIGH if (self.system, self.quality) == (CUTOUT, "high") else self.system

    def __str__(self) -> str:
        return f"{self.system} {self.quality} · {self.input} → {self.output} · {self.concurrency}".replace("  ", " ")


def cells(
    qualities: Sequence[str], concurrency: Sequence[int] = (1, 4, 8), systems: Sequence[str] = SYSTEMS
) -> list[Cell]:
    """All cells, the same input's beside each other, so that what is compared runs within minutes."""
    rows: list[Cell] = []
    for name in JPEGS:
        for callers in concurrency:
            rows += [Cell(CUTOUT, q, name, "png", callers) for q in qualities]
            rows.append(Cell(SERVER, "", name, "png", callers))
        rows += [Cell(STAGES, q, name, "png", STAGE_WORKERS) for q in qualities]
        rows += [Cell(LIBRARY, "", name, "png", threads) for threads in (1, LIBRARY_THREADS)]
    for output in ("webp", "jpeg"):
        rows += [Cell(CUTOUT, q, _COMMON, output, _COMMON_CALLERS) for q in qualities]
    for name in INPUTS:
        if name not in JPEGS:
            rows += [Cell(CUTOUT, q, name, "png", _COMMON_CALLERS) for q in qualities]
            rows.append(Cell(SERVER, "", name, "png", _COMMON_CALLERS))
    return [row for row in rows if row.system in systems]


def quick_cells(qualities: Sequence[str]) -> list[Cell]:
    """A few cells of every system: whether all of it works, not how fast it is."""
    small = JPEGS[0]
    rows = [Cell(CUTOUT, q, small, "png", callers) for q in qualities if q != "high" for callers in (1, 4)]
    rows += [Cell(STAGES, "fast", small, "png", STAGE_WORKERS), Cell(SERVER, "", small, "png", 1)]
    return [*rows, Cell(LIBRARY, "", small, "png", 1), Cell(CUTOUT, "fast", "4 MP jpeg", "jpeg", 4)]

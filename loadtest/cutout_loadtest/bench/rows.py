"""Results to the rows of the table: medians over the repeats, and ratios to the peer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from cutout_loadtest.bench.measure import Result
from cutout_loadtest.bench.plan import CUTOUT, SERVER, STAGES, Cell
from cutout_loadtest.stats import percentile

#: Keys that every row has.
KEYS = (
    "system",
    "quality",
    "input",
    "output",
    "concurrency",
    "images_per_s",
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "core_ms",
    "pss_mb",
    "ratio_vs_peer",
)

Row = dict[str, Any]


def make_rows(results: Sequence[Result], plan: Sequence[Cell]) -> list[Row]:
    """One row for each cell of the plan that has results, in the plan's order. Percentiles are of all repeats' images
    together; rate, core-ms and bytes medians of the repeats; memory the highest.

    spread: (largest - smallest) / median of the rate. ratio_vs_peer: rate over that of the peer's server at its best
    concurrency with the same input, None without one. share_of_in_process: rate over that of the stages alone.
    """
    by_cell: dict[Cell, list[Result]] = defaultdict(list)
    for result in results:
        by_cell[result.cell].append(result)
    rows = [_row(cell, own) for cell in plan if (own := by_cell.get(cell))]
    for row in rows:
        peer = best([r for r in rows if r["system"] == SERVER and r["input"] == row["input"]])
        row["ratio_vs_peer"] = row["images_per_s"] / peer["images_per_s"] if peer and peer["images_per_s"] else None
        row["share_of_in_process"] = None
        if row["system"] == CUTOUT:
            alone = best([r for r in rows if r["system"] == STAGES and _alike(r, row)])
            row["share_of_in_process"] = row["images_per_s"] / alone["images_per_s"] if alone else None
    return rows


def best(rows: Sequence[Row]) -> Row | None:
    """The row with the highest rate; None without rows."""
    return max(rows, key=lambda row: row["images_per_s"], default=None)


def label(row: Row) -> str:
    """The row's cell in words."""
    return str(Cell(*(row[key] for key in ("system", "quality", "input", "output", "concurrency"))))


def _alike(one: Row, other: Row) -> bool:
    return all(one[key] == other[key] for key in ("quality", "input", "output"))


def _row(cell: Cell, results: Sequence[Result]) -> Row:
    rates = [result.images_per_s for result in results]
    rate = percentile(rates, 50)
    latencies = [latency for result in results for latency in result.latencies_ms]
    return {
        "system": cell.system,
        "quality": cell.quality,
        "input": cell.input,
        "output": cell.output,
        "concurrency": cell.concurrency,
        "images_per_s": rate,
        "p50_ms": percentile(latencies, 50),
        "p95_ms": percentile(latencies, 95),
        "p99_ms": percentile(latencies, 99),
        "core_ms": percentile([result.core_ms for result in results], 50),
        "pss_mb": max(result.pss_mb for result in results),
        "ratio_vs_peer": None,
        "bytes_out": percentile([result.bytes_out for result in results], 50),
        "spread": (max(rates) - min(rates)) / rate if rate else None,
        "repeats": len(results),
        "images": sum(result.images for result in results),
        "errors": sum(sum(result.errors.values()) for result in results),
        "generator_cores": percentile([result.generator_cores for result in results], 50),
        "foreign_cores": max(result.foreign_cores for result in results),
    }

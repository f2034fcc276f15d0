"""The benchmark's report: JSON rows, a page of Markdown, and plots."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Sequence
from pathlib import Path

from cutout_loadtest.bench.plan import CUTOUT, JPEGS, LIBRARY, SERVER, STAGES
from cutout_loadtest.bench.quiet import MARK, MAX_FOREIGN_CORES, is_noisy
from cutout_loadtest.bench.rows import Row, best, label
from cutout_loadtest.bench.targets import Verdict, largest_memory
from cutout_loadtest.charts import bar_chart
from cutout_loadtest.report import Json, clean


def write_bench(
    rows: Sequence[Row], verdicts: Sequence[Verdict], notes: Sequence[str], origin: Json, folder: Path
) -> Path:
    """Writes bench.json (the rows, each with the keys of `origin`), bench.md and the plots into `folder`; returns the
    page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.json").write_text(json.dumps(clean([{**row, **origin} for row in rows]), indent=1) + "\n")
    plots = {
        "bench_rate.svg": bar_chart("Images a second, each at its best concurrency", "images/s", _best_rates(rows)),
        "bench_cores.svg": bar_chart("Core time of an image", "core-ms", _core_ms(rows)),
    }
    for name, svg in plots.items():
        (folder / name).write_text(svg)
    page = folder / "bench.md"
    page.write_text(markdown(rows, verdicts, notes, origin, list(plots)))
    return page


def markdown(
    rows: Sequence[Row], verdicts: Sequence[Verdict], notes: Sequence[str], origin: Json, plots: Sequence[str] = ()
) -> str:
    """The page. notes: warnings and what else the reader must know. origin: as of `provenance.about`."""
    repeats = max((row["repeats"] for row in rows), default=0)
    lines = [
        "# Speed beside rembg",
        "",
        f"{origin['began']}, commit {origin['commit']}; {origin['cores']} cores ({origin['cpu']}), "
        f"{platform.system()}, Python {platform.python_version()}; {repeats} interleaved repeats; a "
        "closed loop of N callers over HTTP, or N workers in process. Rate and core-ms are medians of "
        "the repeats (± half the spread), percentiles are of all images, memory is the highest PSS of all "
        "processes of the system. `× peer`: rate against rembg's server at its best concurrency with the same input. "
        "Written by `make bench`.",
        "",
        *(f"> **Warning.** {note}\n" for note in notes),
        *(f"![{plot}]({plot})" for plot in plots),
        "",
        "## Targets",
        "",
        "| target | quality | bound | measured | |",
        "|---|---|---|---|---|",
    ]
    words = {True: "reached", False: "**missed**", None: "not measured"}
    for verdict in verdicts:
        target = verdict.target
        sense = "≥" if target.at_least else "≤"
        value = "–" if verdict.value is None else f"{verdict.value:.2f}"
        lines.append(
            f"| {target.text} | {target.quality} | {sense} {target.bound:g} | {value} | {words[verdict.reached]} |"
        )
    lines += [
        "",
        *_largest(rows),
        "## All rows",
        "",
        "| system | quality | input | output | N | images/s | p50 ms | p95 ms | p99 ms | core-ms | MB | KB out "
        "| × peer | share of in-process | errors |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [_line(row) for row in rows]
    if any(is_noisy(row["foreign_cores"]) for row in rows):
        lines += ["", f"{MARK} In a repeat of this row other processes used more than {MAX_FOREIGN_CORES:g} cores."]
    return "\n".join(lines) + "\n"


def _largest(rows: Sequence[Row]) -> list[str]:
    row = largest_memory(rows)
    if row is None:
        return []
    return [
        f"Most memory in any row of the service: {row['pss_mb'] / 1000:.2f} GB ({label(row)}). The targets on memory "
        "read 12 MP with 8 callers alone.",
        "",
    ]


def _line(row: Row) -> str:
    mark = f" {MARK}" if is_noisy(row["foreign_cores"]) else ""
    spread = f" ± {row['spread'] / 2:.0%}" if row["spread"] is not None and row["repeats"] > 1 else ""
    ratio = "–" if row["ratio_vs_peer"] is None else f"{row['ratio_vs_peer']:.2f}"
    share = "–" if row["share_of_in_process"] is None else f"{row['share_of_in_process']:.0%}"
    return (
        f"| {row['system']} | {row['quality'] or '–'} | {row['input']} | {row['output']} | {row['concurrency']} | "
        f"{row['images_per_s']:.2f}{spread}{mark} | {row['p50_ms']:.0f} | {row['p95_ms']:.0f} | {row['p99_ms']:.0f} | "
        f"{row['core_ms']:.0f} | {row['pss_mb']:.0f} | {row['bytes_out'] / 1000:.0f} | {ratio} | {share} | "
        f"{row['errors']} |"
    )


def _best_rates(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    return _groups(rows, "images_per_s")


def _core_ms(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    return _groups(rows, "core_ms")


def _groups(rows: Sequence[Row], key: str) -> dict[str, dict[str, float]]:
    """The figure of each system's fastest row, by input."""
    groups: dict[str, dict[str, float]] = {}
    for name in JPEGS:
        bars: dict[str, float] = {}
        for system in (CUTOUT, STAGES, SERVER, LIBRARY):
            for quality in ("fast", "standard", "high", ""):
                row = best([r for r in rows if _is(r, system, quality, name)])
                if row and math.isfinite(row[key]):
                    bars[f"{system} {quality}".strip()] = row[key]
        if bars:
            groups[name] = bars
    return groups


def _is(row: Row, system: str, quality: str, name: str) -> bool:
    return bool(
        row["system"] == system and row["quality"] == quality and row["input"] == name and row["output"] == "png"
    )

"""The benchmark as `quality.json` (all figures) and `quality.md` (tables and targets)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cutout_build.certificate.certify import cpu_name
from cutout_build.quality.benchmark import Results
from cutout_build.quality.cases import SETS
from cutout_build.quality.chart import band_chart
from cutout_build.quality.methods import END_TO_END, GIVEN
from cutout_build.quality.metrics import Scores
from cutout_build.quality.stamps import package_versions
from cutout_build.quality.targets import Target, targets
from cutout_build.quality.timing import TimeRow

_HEADER = ("SAD", "MSE", "MAE", "Grad", "band", "IoU")
_FORMATS = {"sad": ".2f", "mse": ".2f", "mae": ".2f", "grad": ".4f", "band": ".1f", "iou": ".4f"}

_INTRODUCTION = """Means over the pictures of a set, test split. SAD, MSE (×10³), MAE (×10³), Grad and band (×10³):
less is better; IoU: more. **stamps**: photographic cut-outs over wallpaper photographs, 0.5–4 MP. **hair** (hair and
fur), **hard** (hard edges) and **mixed** (feathers, leaves, glass, defocus, motion): procedural subjects with exact
alpha at native resolution over photographs, 1–1.6 MP. *Given the true coarse mask*: the truth above 0.5 at 320²,
blurred and enlarged, stands in for the segmentation. Closed form is pymatting's with the trimap that rembg makes;
rembg runs with u2netp and the same weights as ours, since its own default network is in no package registry. The
guided filter has the best of 12 settings. Of ours all networks run in fp32, which is what the targets are judged by;
the rows with *int8* are what CPUs with VNNI or AMX are served by default, what these leave in floats in fp32, computed
by the one named at the end."""


@dataclass(frozen=True, slots=True)
class Context:
    """What was run: the command, the graphs' SHA-256, and the precision of what was timed."""

    command: str
    graphs: dict[str, str]
    timed: str


def write_benchmark(folder: Path, images: Path, results: Results, times: Sequence[TimeRow], context: Context) -> Path:
    """Writes `quality.json` and `quality.md` into `folder` and a chart of each set into `images`; the page's path."""
    aims = targets(results, times)
    folder.mkdir(parents=True, exist_ok=True)
    images.mkdir(parents=True, exist_ok=True)
    data = {
        "command": context.command,
        "graphs_sha256": context.graphs,
        "openvino": version("openvino"),
        "packages": package_versions(),
        "machine": cpu_name(),
        **asdict(results),
        "timed": context.timed,
        "times": [asdict(row) for row in times],
        "targets": [{**asdict(aim), "reached": aim.reached} for aim in aims],
    }
    (folder / "quality.json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for name in SETS:
        rows = [row for row in results.rows if row.set == name]
        if rows:
            chart = band_chart(rows, f"{name}: mean error in the edge band × 10³ ({rows[0].count} pictures)")
            (images / f"quality_{name}.svg").write_text(chart, encoding="utf-8")
    page = folder / "quality.md"
    page.write_text("\n".join(_page(data, results, times, aims)) + "\n", encoding="utf-8")
    return page


def _page(data: dict[str, Any], results: Results, times: Sequence[TimeRow], aims: Sequence[Target]) -> Iterator[str]:
    yield from ("# Quality: the benchmark", "", f"`{data['command']}`", "", _INTRODUCTION, "")
    yield "Graphs: " + ", ".join(f"{name} {sha[:12]}" for name, sha in data["graphs_sha256"].items()) + "."
    reached = sum(aim.reached for aim in aims)
    yield from ("", f"## Targets: {reached} of {len(aims)} reached", "")
    yield from _table(
        ["target", "measured", "at most", ""],
        [[a.name, f"{a.measured:.3f}", f"{a.bound:.3f}", "reached" if a.reached else "**not reached**"] for a in aims],
    )
    for setting in (END_TO_END, GIVEN):
        yield from (f"## Methods, {setting}", "")
        for name in SETS:
            rows = [row for row in results.rows if (row.set, row.setting) == (name, setting)]
            if rows:
                yield from (f"### {name} ({rows[0].count} pictures)", "")
                yield from _table(
                    ["method", *_HEADER, "median band"],
                    [[row.method, *_figures(row.scores), f"{row.median_band:.1f}"] for row in rows],
                )
    yield from ("## Modes of `standard`", "")
    yield from _table(
        ["set", "setting", "mode", *_HEADER],
        [[row.set, row.setting, row.mode, *_figures(row.scores)] for row in results.modes],
    )
    if results.colors:
        yield from ("## Foreground colours, given the true alpha", "")
        yield "Mean |ΔRGB| (0..255) against the known foreground where alpha is between 0.05 and 0.95."
        yield ""
        yield from _table(
            ["set", "method", "error"], [[row.set, row.method, f"{row.error:.2f}"] for row in results.colors]
        )
    if times:
        yield from (
            "## Seconds per image",
            "",
            f"Medians, the methods in turns, on {data['machine']}; ours as the CPU is served: {data['timed']}.",
            "",
        )
        sizes = sorted({row.megapixels for row in times})
        seconds = {(row.megapixels, row.method): row.seconds for row in times}
        yield from _table(
            ["method", *(f"{size:.1f} MP" for size in sizes)],
            [
                [method, *(f"{seconds[size, method]:.3f}" for size in sizes)]
                for method in dict.fromkeys(row.method for row in times)
            ],
        )


def _figures(scores: Scores) -> list[str]:
    return [format(getattr(scores, name), digits) for name, digits in _FORMATS.items()]


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    rule = ["---"] * len(header)
    return [*("| " + " | ".join(row) + " |" for row in (header, rule, *rows)), ""]

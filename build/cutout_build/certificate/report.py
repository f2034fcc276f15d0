"""`reports/engines.json`, a list of rows, and `engines.md`, the same to read."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cutout_build.bring_certificate import REPORT_NAME

Row = dict[str, Any]

#: Columns that rows of an earlier version lack.
_SPEEDS = ("speedup_b4", "speedup_b8", "rate_2_streams", "speedup_vs_bf16")


def write_report(folder: Path, rows: Sequence[Row], order: Sequence[str]) -> Path:
    """Puts the rows in the place of those of the same engines and keeps the others; the page's path.

    order: the catalogue's engines. Rows of an engine that it does not name come last.
    """
    path = folder / REPORT_NAME
    fresh = {row["engine"] for row in rows}
    kept = [row for row in json.loads(path.read_text("utf-8")) if row["engine"] not in fresh] if path.is_file() else []
    places = {name: place for place, name in enumerate(order)}
    merged = sorted([*kept, *rows], key=lambda row: places.get(row["engine"], len(places)))
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(merged, indent=1, ensure_ascii=False) + "\n", "utf-8")
    page = folder / "engines.md"
    page.write_text(_page(merged, os.path.relpath("docs/engines.md", folder)), "utf-8")
    return page


def _page(rows: Sequence[Row], guide: str) -> str:
    """guide: where the page explains itself, from the page's folder."""
    lines = [
        "# Certificates of the engines",
        "",
        f"Written by `make engines`; how to read it: [docs/engines.md]({guide}#certificates). Times are "
        "CPU time on one thread; rates, images a second in two streams, are wall time. A dash: not timed, because this "
        "CPU would emulate the arithmetic, or because the row is an emulation (onnxruntime). The contact sheets of the "
        "worst pictures (photo, fp32, the precision, ten times their difference) go to `out/engines/` (`--sheets`) and "
        "are not committed.",
    ]
    for engine in dict.fromkeys(row["engine"] for row in rows):
        mine = [row for row in rows if row["engine"] == engine]
        lines += ["", f"## {engine}", "", _about(mine), "", *_bounds(mine), *_table(mine), "", *_reasons(mine)]
    return "\n".join(lines) + "\n"


def _about(rows: Sequence[Row]) -> str:
    row = rows[0]
    sources = dict.fromkeys((row["source"], row["source_sha256"][:12]) for row in rows)
    told = "; ".join(f"{source} (`{sha256}`)" for source, sha256 in sources)
    return (
        f"Serves `{row['model']}`; {row['gmac']:.1f} GMAC an image; {row['license']}; from {told}. "
        f"{row['pictures']} pictures. CPU: {row['cpu']}; {row['tools']}."
    )


def _bounds(rows: Sequence[Row]) -> list[str]:
    """The catalogue's bounds by precision; fp32's against the published graph. An earlier version's rows have none."""
    bounds = {row["precision"]: row.get("bounds", {}) for row in rows}
    told = [f"{name} {', '.join(f'`{key}` {value:g}' for key, value in b.items())}" for name, b in bounds.items() if b]
    return [f"Bounds: {'; '.join(told)}.", ""] if told else []


def _table(rows: Sequence[Row]) -> list[str]:
    header = (
        "precision", "runtime, arithmetic", "graph", "MB", "MAE", "IoU", "band error", "band loss", "IoU loss", "ms",
        "× fp32", "4 a run", "8 a run", "2 streams", "× bf16", "verdict",
    )  # fmt: skip
    lines = [header, ("---",) * len(header)]
    for row in rows:
        verdict = "certified" if row["certified"] else "**failed**"
        lines.append(
            (
                row["precision"],
                f"{row['runtime']}, {row['arithmetic']}",
                f"`{row['graph_sha256'][:12]}`",
                f"{row['bytes'] / 1e6:.1f}",
                _number(row["mae"], ".5f"),
                _number(row["iou"], ".4f"),
                _number(row["band_error"], ".4f"),
                _number(row["gt_band_loss"], "+.2%"),
                _number(row["gt_iou_loss"], "+.2%"),
                _number(row["ms_b1"], ".0f"),
                _number(row["speedup_vs_fp32"], ".2f"),
                *(_number(row.get(key), ".2f") for key in _SPEEDS),
                f"{verdict}, served" if row["served"] else verdict,
            )
        )
    return [f"| {' | '.join(line)} |" for line in lines]


def _reasons(rows: Sequence[Row]) -> list[str]:
    lines = []
    for row in rows:
        line = f"- {row['precision']} ({row['runtime']}, {row['arithmetic']}): {row['reason']}"
        if row["worst"] and row["precision"] != "fp32":
            worst = ", ".join(f"{picture['name']} {picture['mae']:.4f}" for picture in row["worst"])
            line += f" Worst: {worst}" + (f" (`{row['sheet']}`)." if row.get("sheet") else ".")
        lines.append(line)
    return lines


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)

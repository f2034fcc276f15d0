"""`reports/engines.json`, a list of rows, and `engines.md`, the same to read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cutout_build.bring_certificate import REPORT_NAME

Row = dict[str, Any]


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
    page.write_text(_page(merged), "utf-8")
    return page


def _page(rows: Sequence[Row]) -> str:
    lines = [
        "# Certificates of the engines",
        "",
        "Written by `make engines`; how to read it: [docs/engines.md](../docs/engines.md#certificates). Times are "
        "CPU time on one thread. A dash: not run on this CPU, which has no instructions for it.",
    ]
    for engine in dict.fromkeys(row["engine"] for row in rows):
        mine = [row for row in rows if row["engine"] == engine]
        lines += ["", f"## {engine}", "", _about(mine[0]), "", *_table(mine), "", *_reasons(mine)]
    return "\n".join(lines) + "\n"


def _about(row: Row) -> str:
    return (
        f"Serves `{row['model']}`; {row['gmac']:.1f} GMAC an image; {row['license']}; from {row['source']} "
        f"(`{row['source_sha256'][:12]}`). {row['pictures']} pictures. CPU: {row['cpu']}; {row['tools']}."
    )


def _table(rows: Sequence[Row]) -> list[str]:
    header = (
        "precision", "runtime, arithmetic", "graph", "MB", "MAE", "IoU", "band loss", "IoU loss", "ms", "× fp32",
        "4 a run", "8 a run", "verdict",
    )  # fmt: skip
    lines = [header, ("---",) * len(header)]
    base = rows[0]
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
                _number(row["gt_band_loss"], "+.2%"),
                _number(row["gt_iou_loss"], "+.2%"),
                _number(row["ms_b1"], ".0f"),
                _number(row["speedup_vs_fp32"], ".2f"),
                *(_number(_ratio(base[key], row[key]), ".2f") for key in ("ms_b4", "ms_b8")),
                f"{verdict}, served" if row["served"] else verdict,
            )
        )
    return [f"| {' | '.join(line)} |" for line in lines]


def _reasons(rows: Sequence[Row]) -> list[str]:
    lines = []
    for row in rows:
        worst = row["worst"][0] if row["worst"] else None
        tail = f" Worst: {worst['name']}, {worst['mae']:.4f}." if worst and row["precision"] != "fp32" else ""
        lines.append(f"- {row['precision']} ({row['runtime']}, {row['arithmetic']}): {row['reason']}{tail}")
    return lines


def _ratio(base: float | None, mine: float | None) -> float | None:
    return base / mine if base and mine else None


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)

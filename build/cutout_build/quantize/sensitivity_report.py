"""`reports/sensitivity.json`, a list of engines, and `sensitivity.md`, the same to read."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cutout_build.certificate.certify import cpu_name
from cutout_build.quantize.sensitivity import Sensitivity
from cutout_core.contract.certificate import CPU_RUNTIME
from cutout_core.contract.engine import EngineManifest

REPORT_NAME = "sensitivity.json"

Entry = dict[str, Any]


def entry(manifest: EngineManifest, found: Sensitivity, pictures: int, *, in_band: bool) -> Entry:
    """One engine's part of the JSON."""
    return {
        "engine": manifest.engine,
        "graph_sha256": manifest.graph_sha256,
        "counted": "edge band" if in_band else "whole picture",
        "pictures": pictures,
        "cpu": cpu_name(),
        "tools": f"{CPU_RUNTIME} {version(CPU_RUNTIME)}",
        "mae_int8": found.kept[0].mae,
        "bytes_fp32": found.bytes_fp32,
        "ms_fp32": round(found.ms_fp32, 1),
        "layers": [
            {
                **{name: value for name, value in asdict(cost.layer).items() if name != "output"},
                "mae_alone": cost.mae_alone,
                "mae_without": cost.mae_without,
            }
            for cost in found.layers
        ],
        "kept": [
            {"layers": kept.layers, "mae": kept.mae, "bytes": kept.bytes, "ms": round(kept.ms, 1)}
            for kept in found.kept
        ],
    }


def write_report(folder: Path, fresh: Entry) -> Path:
    """Puts the engine in the place of the same one, or at the end; the page's path."""
    path = folder / REPORT_NAME
    entries: list[Entry] = json.loads(path.read_text("utf-8")) if path.is_file() else []
    names = [known["engine"] for known in entries]
    if fresh["engine"] in names:
        entries[names.index(fresh["engine"])] = fresh
    else:
        entries.append(fresh)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n", "utf-8")
    page = path.with_suffix(".md")
    page.write_text(_page(entries), "utf-8")
    return page


def _page(entries: list[Entry]) -> str:
    lines = [
        "# What INT8 costs, layer by layer",
        "",
        "Written by `make sensitivity`; what it showed: [docs/engines.md](../docs/engines.md#int8-layer-by-layer). "
        "Mean abs(Δ) of the mask or alpha from fp32, in OpenVINO, on composites of the training split that calibration "
        "did not draw. *Alone*: only this convolution, its weights and what it reads, in INT8. *Left out*: all in INT8 "
        "but this one. The last tables show the costliest left out together, and what that takes: CPU time on one "
        "thread, which on a busy machine is easily 10 % off.",
    ]
    for row in entries:
        lines += ["", f"## {row['engine']}", "", _about(row), "", *_layers(row), "", *_kept(row)]
    return "\n".join(lines) + "\n"


def _about(row: Entry) -> str:
    return (
        f"{len(row['layers'])} quantized convolutions; all of them in INT8: {row['mae_int8']:.5f} ({row['counted']}, "
        f"{row['pictures']} pictures). CPU: {row['cpu']}; {row['tools']}; graph `{row['graph_sha256'][:12]}`."
    )


def _layers(row: Entry) -> list[str]:
    listed = [layer for layer in row["layers"] if layer["mae_without"] is not None]
    rest = row["layers"][len(listed) :]
    lines = ["| layer | what it is | share of GMAC | alone | left out |", "|---|---|---|---|---|"]
    total = sum(layer["gmac"] for layer in row["layers"])
    for layer in listed:
        what = f"{layer['kernel']}×{layer['kernel']}, {layer['inputs']} → {layer['outputs']} at {layer['side']}²"
        lines.append(
            f"| `{layer['name']}` | {what} | {layer['gmac'] / total:.1%} | {layer['mae_alone']:.5f} "
            f"| {layer['mae_without']:.5f} |"
        )
    if rest:
        worst = max(layer["mae_alone"] for layer in rest)
        lines.append(f"| {len(rest)} more | | | at most {worst:.5f} | |")
    return lines


def _kept(row: Entry) -> list[str]:
    lines = [
        "| in float | mean abs(Δ) | MB | ms of CPU time | × fp32 |",
        "|---|---|---|---|---|",
        f"| everything (fp32) | 0 | {row['bytes_fp32'] / 1e6:.2f} | {row['ms_fp32']:.0f} | 1.00 |",
    ]
    for kept in row["kept"]:
        count = len(kept["layers"])
        name = {0: "what is never quantized", 1: "and the worst layer"}.get(count, f"and the {count} worst")
        lines.append(
            f"| {name} | {kept['mae']:.5f} | {kept['bytes'] / 1e6:.2f} | {kept['ms']:.0f} "
            f"| {row['ms_fp32'] / kept['ms']:.2f} |"
        )
    return lines

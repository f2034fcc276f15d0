"""The measurements as `precision.json` (figures) and `precision.md` (short tables)."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cutout_build.quality.measure import HARMLESS, Measured, Verdict, is_harmless, losses
from cutout_build.quality.metrics import Scores
from cutout_build.quality.stamps import package_versions
from cutout_core.contract.engine import EngineManifest

COMMAND = "python -m cutout_build.quality report"
WORST = 5


def write_report(
    folder: Path, manifest: EngineManifest, results: list[Measured], verdicts: list[Verdict], arguments: dict[str, int]
) -> Path:
    """Writes `precision.json` and `precision.md` into `folder`, which is made; the latter's path."""
    folder.mkdir(parents=True, exist_ok=True)
    data = _data(manifest, results, verdicts, arguments)
    (folder / "precision.json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    page = folder / "precision.md"
    page.write_text(_page(data), encoding="utf-8")
    return page


def _data(
    manifest: EngineManifest, results: list[Measured], verdicts: list[Verdict], arguments: dict[str, int]
) -> dict[str, Any]:
    rows = losses(results)
    worst = sorted(results, key=lambda r: r.bf16.iou - r.recipes["served"].iou)[:WORST]
    kinds: dict[tuple[str, bool], list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        kinds[verdict.kind, verdict.has_subject].append(verdict)
    return {
        "command": COMMAND + "".join(f" --{name} {value}" for name, value in arguments.items()),
        "engine": manifest.engine,
        "graph_sha256": manifest.graph_sha256,
        "openvino": version("openvino"),
        "packages": package_versions(),
        "composites": len(results),
        "recipes": {
            name: asdict(Scores.mean([result.recipes[name] for result in results])) for name in results[0].recipes
        },
        "bf16": [asdict(row) for row in rows],
        "bf16_harmless": is_harmless(rows),
        "bf16_worst": [
            {
                "name": r.name,
                "iou": [r.recipes["served"].iou, r.bf16.iou],
                "band": [r.recipes["served"].band, r.bf16.band],
            }
            for r in worst
        ],
        "scenes": [
            {
                "kind": kind,
                "has_subject": subject,
                "count": len(group),
                "right": sum(v.found == subject for v in group),
                "wrong": [v.name for v in group if v.found != subject],
            }
            for (kind, subject), group in kinds.items()
        ],
    }


def _page(data: dict[str, Any]) -> str:
    harmless = "harmless" if data["bf16_harmless"] else "not harmless"
    empty = [row for row in data["scenes"] if not row["has_subject"]]
    full = [row for row in data["scenes"] if row["has_subject"]]
    return "\n".join(
        [
            "# Segmentation: recipe, precision, no-subject rule",
            "",
            f"`{data['command']}` — engine {data['engine']}, graph {data['graph_sha256'][:12]}, "
            f"OpenVINO {data['openvino']}, "
            + ", ".join(f"{name} {number}" for name, number in data["packages"].items())
            + ".",
            "",
            f"Ground truth: {data['composites']} composites of photographic stamps over wallpaper photographs, half "
            "from each split (the weights have seen neither). SAD, MSE, MAE, Grad and band: less is better; IoU: "
            "more.",
            "",
            "## How the photo becomes the network's input",
            "",
            *_table(
                ["recipe", "SAD", "MSE", "MAE", "Grad", "band", "IoU"],
                [
                    [name, *(f"{row[m]:.{digits}f}" for m, digits in _DIGITS.items())]
                    for name, row in data["recipes"].items()
                ],
            ),
            "",
            f"## bf16 against fp32: {harmless}",
            "",
            f"Harmless is a relative loss of at most {HARMLESS:.0%} of band error and of IoU, against ground truth.",
            "",
            *_table(
                ["metric", "fp32", "bf16", "loss", "± standard error"],
                [
                    [
                        row["metric"],
                        f"{row['fp32']:.4f}",
                        f"{row['bf16']:.4f}",
                        f"{row['relative']:+.2%}",
                        f"{row['error']:.2%}",
                    ]
                    for row in data["bf16"]
                ],
            ),
            "",
            "Worst losses of IoU:",
            "",
            *_table(
                ["composite", "IoU fp32 → bf16", "band fp32 → bf16"],
                [
                    [
                        row["name"],
                        f"{row['iou'][0]:.3f} → {row['iou'][1]:.3f}",
                        f"{row['band'][0]:.1f} → {row['band'][1]:.1f}",
                    ]
                    for row in data["bf16_worst"]
                ],
            ),
            "",
            "## The no-subject rule",
            "",
            f"{_sum(empty, 'right')} of {_sum(empty, 'count')} scenes without a subject give an empty alpha; "
            f"{_sum(full, 'count') - _sum(full, 'right')} of {_sum(full, 'count')} with one do.",
            "",
            *_table(
                ["scenes", "subject", "number", "told right", "told wrong"],
                [
                    [
                        row["kind"],
                        "yes" if row["has_subject"] else "no",
                        str(row["count"]),
                        str(row["right"]),
                        ", ".join(row["wrong"]) or "–",
                    ]
                    for row in data["scenes"]
                ],
            ),
            "",
        ]
    )


_DIGITS = {"sad": 2, "mse": 2, "mae": 2, "grad": 3, "band": 1, "iou": 4}


def _sum(rows: list[dict[str, Any]], key: str) -> int:
    return sum(row[key] for row in rows)


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    rule = ["---"] * len(header)
    return ["| " + " | ".join(row) + " |" for row in (header, rule, *rows)]

"""What the gate found, as `gate.json` and `gate.md`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from cutout_build.gpu.gate import CAPABILITIES, REQUIREMENTS, Verdict


def write_gate(folder: Path, verdicts: Sequence[Verdict]) -> Path:
    """Writes both files into `folder` and returns the second one's path."""
    folder.mkdir(parents=True, exist_ok=True)
    packages = [line for line in REQUIREMENTS.read_text().splitlines() if line and not line.startswith("#")]
    rows = [asdict(verdict) for verdict in verdicts]
    report = {"packages": packages, "compute_capabilities": CAPABILITIES, "graphs": rows}
    (folder / "gate.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    path = folder / "gate.md"
    path.write_text(_page(verdicts, packages), encoding="utf-8")
    return path


def _page(verdicts: Sequence[Verdict], packages: Sequence[str]) -> str:
    targets = ", ".join(f"{capability / 10:.1f}" for capability in CAPABILITIES)
    lines = [
        "# The gate without a GPU",
        "",
        "Written by `make gate`. Every graph was parsed and built, strongly typed, by the CPU-side builder of",
        f"TensorRT-RTX (`{'`, `'.join(packages)}`) for SM {targets}, for the rows a run that the",
        "catalogue names. It tells that TensorRT's parser knows every node and type. It does not tell that a plan of",
        "TensorRT is right or fast: only a run on a GPU does. SM 9.0 (H100, H200) is not among this builder's targets.",
        "",
        "| engine | precision | rows (fewest, best, most) | verdict | layers | plan, MB | Q/DQ: quantized of all |",
        "|---|---|---|---|---|---|---|",
    ]
    for verdict in verdicts:
        found = verdict.placement
        share = f"{found['quantized']} of {found['convolutions']}" if found else "none"
        size = f"{verdict.plan_bytes / 1e6:.1f}" if verdict.plan_bytes else "–"
        lines.append(
            f"| {verdict.engine} | {verdict.precision} | {', '.join(map(str, verdict.batch))} | {verdict.status} "
            f"| {verdict.layers} | {size} | {share} |"
        )
    troubled = [verdict for verdict in verdicts if verdict.reasons]
    for verdict in troubled:
        lines += ["", f"{verdict.engine} {verdict.precision}, {verdict.status}:", ""]
        lines += [f"- {reason}" for reason in verdict.reasons]
    lines += [
        "",
        "`refused`: a graph with Q/DQ that parses, whose Q/DQ placement passes our own check and whose engine builds",
        "without Q/DQ, but which this builder does not take.",
    ]
    return "\n".join(lines) + "\n"

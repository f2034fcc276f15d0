"""The certificate of one engine: every precision that is built, by every way to run it."""

from __future__ import annotations

import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cutout_build.build_engine import Built
from cutout_build.catalogue import Engine
from cutout_build.certificate.cases import Case, certificate_cases
from cutout_build.certificate.runs import WAYS, Array, Way, answers, capabilities, native, times
from cutout_build.certificate.sheet import write_sheet
from cutout_build.certificate.verdict import Losses, judge, losses
from cutout_core.contract.certificate import CPU_RUNTIME, CertificateRow, choose
from cutout_core.contract.engine import graph_name
from cutout_core.contract.tensors import MATTING

#: What was lost, whether the bounds allow it, and why.
Verdict = tuple[Losses, bool, str]

#: Rows a run at which latency is taken, and how many of the worst pictures are named and shown.
BATCHES, WORST = (1, 4, 8), 5


def certify(engine: Engine, built: Built, count: int, sheets: Path, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """The rows of `reports/engines.json` for `engine`, on `count` composites; contact sheets go to the folder `sheets`.

    Raises BuildError where pictures cannot be had.
    """
    say(f"certifying {engine.name} ...")
    cases = certificate_cases(engine, count)
    ways = [way for way in WAYS if way.precision in built.manifest.graphs]
    graphs = {way: built.folder / graph_name(way.precision) for way in ways}
    hashes = built.manifest.graphs
    reference = answers(graphs[ways[0]], hashes["fp32"], ways[0], cases, say)
    measured = times({way: graphs[way] for way in ways if native(way)}, cases[0].inputs, BATCHES, say)
    rows = []
    for way in ways:
        row = _facts(engine, built, way, graphs[way], measured, ways[0])
        try:
            found = answers(graphs[way], hashes[way.precision], way, cases, say)
            lost, certified, reason = _judged(engine, built, way, cases, found, reference)
        except (RuntimeError, ValueError) as error:
            row |= _failed(error)
        else:
            if way.runtime == CPU_RUNTIME and not native(way):
                reason += " Emulated: this CPU has no instructions for it."
            row |= _figures(lost) | {"certified": certified, "reason": reason}
            if way.precision != "fp32":
                name = f"{engine.name}_{way.precision}_{way.hint or 'rounded'}.png"
                write_sheet(sheets / name, cases, reference, found, lost.worst[:WORST])
        rows.append(row)
    return _with_choice(rows, built)


def _judged(engine: Engine, built: Built, way: Way, cases: list[Case], found: Array, reference: Array) -> Verdict:
    lost = losses(cases, found, reference, in_band=engine.model == MATTING.name)
    if way.precision == "fp32":
        worst = max(photo["max"] for run in built.report["comparisons"] for photo in run["photos"])
        return lost, True, f"Equal to the published graph: max |Δ| {worst:.0e} on real photos."
    return lost, *judge(lost, engine.precision(way.precision))


def _failed(error: Exception) -> dict[str, Any]:
    nothing = dict.fromkeys(("mae", "iou", "gt_band_loss", "gt_iou_loss", "band_error"))
    reason = f"It does not run: {str(error).strip().splitlines()[-1]}."
    return nothing | {"pictures": 0, "worst": [], "certified": False, "reason": reason}


def _figures(lost: Losses) -> dict[str, Any]:
    return {
        "mae": lost.mae,
        "iou": lost.iou,
        "gt_band_loss": lost.gt_band_loss,
        "gt_iou_loss": lost.gt_iou_loss,
        "band_error": lost.band_error,
        "pictures": len(lost.cases),
        "worst": [{"name": case.name, "mae": case.mae, "iou": case.iou} for case in lost.worst[:WORST]],
    }


def _facts(
    engine: Engine, built: Built, way: Way, graph: Path, measured: dict[Way, dict[int, float]], fp32: Way
) -> dict[str, Any]:
    mine, base = measured.get(way, {}), measured[fp32]
    return {
        "engine": engine.name,
        "model": engine.model,
        "precision": way.precision,
        "runtime": way.runtime,
        "arithmetic": way.arithmetic,
        "hint": way.hint,
        "graph_sha256": built.manifest.graphs[way.precision],
        "bytes": graph.stat().st_size,
        "gmac": built.report["graph"]["gmac"],
        **{f"ms_b{batch}": mine.get(batch) for batch in BATCHES},
        "speedup_vs_fp32": base[1] / mine[1] if mine else None,
        "timing": "CPU time on one thread"
        if mine
        else "not run on this CPU: it has no instructions for this arithmetic",
        "license": engine.license.spdx,
        "cpu": cpu_name(),
        "tools": ", ".join(f"{name} {version(name)}" for name in ("openvino", "onnxruntime", "onnx")),
        "source": built.manifest.source,
        "source_sha256": built.manifest.source_sha256,
    }


def cpu_name() -> str:
    """The CPU's own name and how many cores there are."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    name = names[0].partition(":")[2].strip() if names else platform.machine()
    flags = [flag for flag in ("amx_int8", "amx_bf16", "avx512_bf16", "avx512_vnni") if flag in _flags()]
    return f"{name}, {len(names)} cores, {', '.join(flags) or 'no AVX-512'}"


def _flags() -> set[str]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return set(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), []))


def _with_choice(rows: list[dict[str, Any]], built: Built) -> list[dict[str, Any]]:
    """`served`: the row that the embedded default takes on this CPU."""
    certificate = [CertificateRow.from_json(row) for row in rows]
    choice = choose("auto", built.manifest, certificate, capabilities())
    for row, entry in zip(rows, certificate, strict=True):
        row["served"] = entry == choice.row
    return rows

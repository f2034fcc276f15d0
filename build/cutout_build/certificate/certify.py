"""The certificate of one engine: every precision that is built, by every way to run it."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cutout_build.build_engine import Built
from cutout_build.catalogue import Engine
from cutout_build.certificate.cases import Case, certificate_cases
from cutout_build.certificate.runs import WAYS, Array, Speed, Way, answers, capabilities, native, speeds
from cutout_build.certificate.sheet import write_sheet
from cutout_build.certificate.verdict import Losses, judge, losses
from cutout_core.contract.certificate import CPU_RUNTIME, CertificateRow, choose
from cutout_core.contract.cpu import CPUINFO, described_cores
from cutout_core.contract.engine import graph_name
from cutout_core.contract.tensors import MATTING

#: What was lost, whether the bounds allow it, and why.
Verdict = tuple[Losses, bool, str]

#: Rows a run at which latency is taken, and how many of the worst pictures are named and shown.
BATCHES, WORST = (1, 4, 8), 5

_FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8")


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
    measured = speeds({way: graphs[way] for way in ways if native(way)}, cases[0].inputs, BATCHES, say)
    rows = []
    for way in ways:
        row = _facts(engine, built, way, graphs[way]) | _speed(way, measured)
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
                row["sheet"] = f"{engine.name}_{way.precision}_{way.hint or 'rounded'}.png"
                write_sheet(sheets / row["sheet"], cases, reference, found, lost.worst[:WORST])
        rows.append(row)
    return _with_choice(rows, built)


def _judged(engine: Engine, built: Built, way: Way, cases: list[Case], found: Array, reference: Array) -> Verdict:
    lost = losses(cases, found, reference, in_band=engine.model == MATTING.name)
    if way.precision == "fp32":
        worst = max(photo["max"] for run in built.report["comparisons"] for photo in run["photos"])
        return lost, True, f"Equal to the published graph: max |Δ| {worst:.0e} on real photos."
    sizes = [(built.folder / graph_name(precision)).stat().st_size for precision in (way.precision, "fp32")]
    return lost, *judge(lost, engine.precision(way.precision), sizes[0] / sizes[1])


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


def _facts(engine: Engine, built: Built, way: Way, graph: Path) -> dict[str, Any]:
    source, sha256 = _source(engine, built, way.precision)
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
        "bounds": _bounds(engine, way.precision),
        "license": engine.license.spdx,
        "cpu": cpu_name(),
        "tools": ", ".join(f"{name} {version(name)}" for name in ("openvino", "onnxruntime", "onnx")),
        "source": source,
        "source_sha256": sha256,
        "sheet": None,
    }


def _source(engine: Engine, built: Built, precision: str) -> tuple[str, str]:
    """Where the weights of a precision come from, in words, and their SHA-256: a quantized graph has its own file."""
    quantized = engine.precision(precision).graph if precision != "fp32" else None
    if quantized is None:
        return built.manifest.source, built.manifest.source_sha256
    return f"{quantized.source}, quantized from {built.manifest.source}", quantized.sha256


def _bounds(engine: Engine, precision: str) -> dict[str, float]:
    """What the catalogue demands: of fp32 against the published graph, of the others against fp32 and ground truth."""
    if precision == "fp32":
        return asdict(engine.check)
    bounds = engine.precision(precision)
    demanded = {"mae": bounds.mae, "gt_loss": bounds.gt_loss}
    return demanded if bounds.bytes is None else demanded | {"bytes": bounds.bytes}


def _speed(way: Way, measured: dict[Way, Speed]) -> dict[str, Any]:
    """Times and rate of one way, relative to fp32's, and the rate to bf16's; None where there is nothing to compare."""
    mine = measured.get(way, Speed({}, None))
    fp32, bf16 = (next((s for w, s in measured.items() if w.precision == name), None) for name in ("fp32", "bf16"))
    ratios = {
        batch: fp32.ms[batch] / mine.ms[batch] if fp32 is not None and batch in mine.ms else None for batch in BATCHES
    }
    timing = "CPU time on one thread, rate in wall time"
    if not mine.ms:
        timing = "not timed: " + (
            "this CPU has no instructions for this arithmetic and emulates it"
            if way.runtime == CPU_RUNTIME
            else "an emulation of what tensor cores compute"
        )
    return {
        **{f"ms_b{batch}": mine.ms.get(batch) for batch in BATCHES},
        "speedup_vs_fp32": ratios[1],
        **{f"speedup_b{batch}": ratios[batch] for batch in BATCHES[1:]},
        "rate_2_streams": mine.rate,
        "speedup_vs_bf16": mine.rate / bf16.rate if mine.rate and bf16 is not None and bf16.rate else None,
        "timing": timing,
    }


def cpu_name(cpuinfo: Path = CPUINFO) -> str:
    """The CPU's own name, its cores, and which of the instructions it has that matter to an inference."""
    cores = [core for core in described_cores(cpuinfo) if "model name" in core]
    name, flags = (cores[0]["model name"], cores[0].get("flags", "").split()) if cores else (platform.machine(), [])
    return f"{name}, {len(cores)} cores, {', '.join(flag for flag in _FLAGS if flag in flags) or 'no AVX2'}"


def _with_choice(rows: list[dict[str, Any]], built: Built) -> list[dict[str, Any]]:
    """`served`: the row that the embedded default takes on this CPU."""
    certificate = [CertificateRow.from_json(row) for row in rows]
    choice = choose("auto", built.manifest, certificate, capabilities())
    for row, entry in zip(rows, certificate, strict=True):
        row["served"] = entry == choice.row
    return rows

"""The certificate beside a built engine: what the build proved and `make engines` measured of these bytes."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cutout_core.contract.certificate import (
    CERTIFICATE_NAME,
    CPU_RUNTIME,
    CertificateRow,
    read_certificate,
    write_certificate,
)
from cutout_core.contract.engine import EngineManifest

REPORT_NAME = "engines.json"


def committed_report() -> Path:
    """The report of the installed wheel, or `reports/engines.json` of a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / REPORT_NAME
    return installed if installed.exists() else package.parents[1] / "reports" / REPORT_NAME


def bring_certificate(
    manifest: EngineManifest, folder: Path, report: dict[str, Any], measured: Path | None = None
) -> tuple[CertificateRow, ...]:
    """Writes `certificate.json` into the engine's folder where it would change, and gives its rows.

    A measured row counts only for the graph whose hash it has, and one of OpenVINO only for the version that measured,
    as what it makes of an INT8 graph differs between versions: rows of `measured` (the committed report), else those
    that were in the folder. Where none is about fp32, the build's own check is its certificate, because it stops
    a build whose graph differs from the published one. report: check.json.
    """
    rows = [*_rows(measured or committed_report()), *_rows(folder / CERTIFICATE_NAME)]
    kept: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        known = row["engine"] == manifest.engine and manifest.graphs.get(row["precision"]) == row["graph_sha256"]
        if known and (row["runtime"] != CPU_RUNTIME or _openvino() in str(row.get("tools")).split(", ")):
            kept.setdefault((row["precision"], row["runtime"], row["hint"]), row)
    kept.setdefault(("fp32", CPU_RUNTIME, "f32"), _checked(manifest, report))
    rows = list(kept.values())
    if rows != _rows(folder / CERTIFICATE_NAME):
        write_certificate(folder, rows)
    return read_certificate(folder)


def _openvino() -> str:
    """The installed OpenVINO, as a row's `tools` names it."""
    return f"{CPU_RUNTIME} {version(CPU_RUNTIME)}"


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file; none where it is missing or damaged, which costs their certificates alone."""
    try:
        rows = json.loads(path.read_text("utf-8"))
        for row in rows:
            CertificateRow.from_json(row)
    except (OSError, ValueError, TypeError):
        return []
    return list(rows)


def _checked(manifest: EngineManifest, report: dict[str, Any]) -> dict[str, Any]:
    photos = [photo for run in report["comparisons"] if run["runtime"] == CPU_RUNTIME for photo in run["photos"]]
    return {
        "engine": manifest.engine,
        "precision": "fp32",
        "runtime": CPU_RUNTIME,
        "arithmetic": "fp32",
        "hint": "f32",
        "graph_sha256": manifest.graph_sha256,
        "certified": True,
        "mae": 0.0,
        "speedup_vs_fp32": 1.0,
        "reason": f"Equal to the published graph: max |Δ| {max(photo['max'] for photo in photos):.0e} on real photos.",
    }


def certified(folder: Path) -> tuple[str, ...]:
    """The precisions of a built engine that its certificate lets be served."""
    return tuple(
        dict.fromkeys(r.precision for r in read_certificate(folder) if r.certified and r.runtime == CPU_RUNTIME)
    )

"""`make gpu-check`: every graph as a plan on the GPU at hand, beside its certificate, into `reports/gpu.json`.

Builds the plans, runs the check photographs, measures 1, 8 and 16 rows a run. Without a GPU or without TensorRT the
report says "not run" and why, the exit status is 2, and a report that was measured earlier stays.
"""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from cutout_build.catalogue import Catalogue
from cutout_build.check_photos import network_inputs
from cutout_build.errors import BuildError
from cutout_build.gpu.cuda import Cuda
from cutout_build.gpu.execute import PlanRunner
from cutout_build.gpu.graphs import Graph, built_graphs, file_sha256
from cutout_build.gpu.peaks import Work, roofline_share
from cutout_build.gpu.plan import PLAN_NAME, Machine, PlanFacts, build_plan, find_machine, misfit
from cutout_build.photos import PHOTOS, photo
from cutout_core.contract.engine import GRAPH_NAME
from cutout_core.contract.paths import cache_root

BATCHES = (1, 8, 16)
#: Largest allowed mean |Δ| of mask or alpha (0..1) from fp32 on a CPU, mean of the photographs.
MAE_BOUNDS = {"fp32": 0.004, "fp16": 0.004, "int8": 0.01}

Inputs = Mapping[str, NDArray[Any]]


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where every plan is within its bound, 1 where one is not, 2 where nothing was run."""
    parser = argparse.ArgumentParser(description="Build, check and measure the TensorRT plans on this machine's GPU.")
    parser.add_argument("--out", type=Path, default=Path("reports/gpu.json"), metavar="FILE")
    parser.add_argument("--certificate", type=Path, default=Path("reports/engines.json"), metavar="FILE")
    options = parser.parse_args(arguments)
    try:
        machine = find_machine()
    except BuildError as error:
        print(f"not run: {error}")
        write_unless_measured(options.out, {"status": "not run", "reason": str(error), "plans": []})
        return 2
    certificate = json.loads(options.certificate.read_text()) if options.certificate.is_file() else []
    rows = [check(graph, machine, certificate) for graph in built_graphs()]
    report = {"status": "measured", "gpu": asdict(machine.gpu), "tensorrt": machine.tensorrt, "plans": rows}
    write(options.out, report)
    for row in rows:
        print(json.dumps(row))
    return int(not all(row["passed"] for row in rows))


def check(graph: Graph, machine: Machine, certificate: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One row of the report. A graph that TensorRT refuses is a row too."""
    row: dict[str, Any] = {"engine": graph.engine, "precision": graph.precision, "graph_sha256": graph.sha256}
    try:
        facts = plan_of(graph, machine)
    except BuildError as error:
        return row | {"passed": False, "reason": str(error)}
    inputs = photo_inputs(graph)
    reference = on_cpu(graph.path.parent / GRAPH_NAME, inputs)
    plan = (plan_folder(graph) / PLAN_NAME).read_bytes()
    runner = PlanRunner(machine.module, plan, Cuda(), max(BATCHES), version_compatible=facts.version_compatible)
    try:
        found = compare(runner.run(inputs), reference)
        work = Work(gmac_of(graph), graph.path.stat().st_size, runner.all_row_bytes)
        latencies = [runner.measure(repeated(inputs, batch)) for batch in BATCHES]
    finally:
        runner.close()
    gpu, precision = machine.gpu.name, graph.precision
    measured = [
        asdict(entry) | {"roofline_share": roofline_share(gpu, precision, work, entry.batch, entry.median_ms / 1000)}
        for entry in latencies
    ]
    return (
        row
        | found
        | {
            "bound": MAE_BOUNDS[precision],
            "passed": found["mae"] <= MAE_BOUNDS[precision],
            "certificate": certified_rows(certificate, graph),
            "latencies": measured,
            "plan": asdict(facts),
        }
    )


def plan_of(graph: Graph, machine: Machine) -> PlanFacts:
    """The plan of a graph for this machine, kept apart from those that are served."""
    folder = plan_folder(graph)
    try:
        facts = PlanFacts.read(folder)
        if not misfit(facts, machine, [graph]) and file_sha256(folder / PLAN_NAME) == facts.plan_sha256:
            return facts
    except (BuildError, OSError):
        pass  # none yet
    return build_plan(graph, folder, machine, version_compatible=False)


def plan_folder(graph: Graph) -> Path:
    """Where the check keeps a graph's plan."""
    return cache_root() / "gpu-check" / f"{graph.engine}-{graph.precision}"


def compare(answers: NDArray[np.float32], reference: NDArray[np.float32]) -> dict[str, float]:
    """mae: mean |Δ| of all. iou: lowest intersection over union at 0.5 of a photograph, 1 where both are empty."""
    unions = ((answers > 0.5) | (reference > 0.5)).sum(axis=(1, 2, 3))
    shared = ((answers > 0.5) & (reference > 0.5)).sum(axis=(1, 2, 3))
    iou = np.where(unions > 0, shared / np.maximum(unions, 1), 1.0)
    return {"mae": float(np.abs(answers - reference).mean()), "iou": float(iou.min())}


def certified_rows(certificate: Sequence[dict[str, Any]], graph: Graph) -> list[dict[str, Any]]:
    """What the certificate says of the same engine and precision on other runtimes."""
    keys = ("runtime", "arithmetic", "mae", "iou", "gt_band_loss", "gt_iou_loss", "certified", "served")
    same = [row for row in certificate if (row["engine"], row["precision"]) == (graph.engine, graph.precision)]
    return [{key: row.get(key) for key in keys} for row in same]


def photo_inputs(graph: Graph) -> Inputs:
    """The check photographs as the network's inputs, [N, ...] each."""
    photos = {entry.name: photo(entry.name) for entry in PHOTOS.values() if entry.subject}
    rows = list(network_inputs(photos, Catalogue.load().engine(graph.engine)).values())
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def repeated(inputs: Inputs, batch: int) -> Inputs:
    """`batch` rows, the given ones over and over."""
    return {name: np.resize(value, (batch, *value.shape[1:])) for name, value in inputs.items()}


def on_cpu(graph: Path, inputs: Inputs) -> NDArray[np.float32]:
    """What the engine's fp32 graph gives in ONNX Runtime."""
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    answer: NDArray[np.float32] = session.run(None, dict(inputs))[0]
    return answer


def gmac_of(graph: Graph) -> float:
    """10^9 multiply-adds a row, as the build counted them."""
    return float(json.loads((graph.path.parent / "check.json").read_text())["graph"]["gmac"])


def write_unless_measured(path: Path, report: dict[str, Any]) -> None:
    """Keeps a report that was measured on a GPU."""
    if path.is_file() and json.loads(path.read_text()).get("status") == "measured":
        print(f"{path} holds an earlier measurement and stays as it is")
        return
    write(path, report)


def write(path: Path, report: dict[str, Any]) -> None:
    """As indented JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

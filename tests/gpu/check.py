"""`make gpu-check`: every graph as a plan on the GPU at hand, held against its certificate, into `reports/gpu.json`.

Builds the plans, measures what they lose on the certificate's pictures, and times 1, 8 and 16 rows a run. A plan that
cannot be built, loaded or judged is a row with the reason. Without a GPU or without TensorRT the report says "not run"
and why, the exit status is 2, and a report that was measured earlier stays.
"""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cutout_build.catalogue import Catalogue
from cutout_build.certificate.commands import COUNT
from cutout_build.errors import BuildError
from cutout_build.gpu.cuda import Cuda
from cutout_build.gpu.execute import PlanRunner
from cutout_build.gpu.graphs import Graph, built_graphs, file_sha256
from cutout_build.gpu.peaks import Work, roofline_share
from cutout_build.gpu.plan import Machine, PlanFacts, build_plan, find_machine, misfit
from cutout_core.contract.paths import cache_root
from cutout_core.contract.plan import PLAN_NAME
from tests.gpu.accuracy import Row, Yardstick

BATCHES = (1, 8, 16)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where every plan is within its bounds, 1 where one is not, 2 where nothing was run."""
    parser = argparse.ArgumentParser(description="Build, check and measure the TensorRT plans on this machine's GPU.")
    parser.add_argument("--out", type=Path, default=Path("reports/gpu.json"), metavar="FILE")
    parser.add_argument("--certificate", type=Path, default=Path("reports/engines.json"), metavar="FILE")
    parser.add_argument("--catalogue", type=Path, metavar="FILE", help="that the engines were built from, if your own")
    parser.add_argument("--count", type=int, default=COUNT, metavar="N", help=f"composites (default: {COUNT})")
    options = parser.parse_args(arguments)
    try:
        catalogue = Catalogue.load(options.catalogue)
        machine, graphs = find_machine(), built_graphs()
    except BuildError as error:
        print(f"not run: {error}")
        write_unless_measured(options.out, {"status": "not run", "reason": str(error), "plans": []})
        return 2
    certificate = json.loads(options.certificate.read_text()) if options.certificate.is_file() else []
    check = Check(machine, catalogue, certificate, options.count)
    report: Row = {"status": "measured", "gpu": asdict(machine.gpu), "tensorrt": machine.tensorrt, "plans": []}
    for graph in graphs:
        row = check.row(graph)
        report["plans"].append(row)
        write(options.out, report)
        print(json.dumps(row))
    return int(not all(row["passed"] for row in report["plans"]))


class Check:
    """Makes the rows of the report; the pictures of an engine are made once for all its graphs."""

    def __init__(self, machine: Machine, catalogue: Catalogue, certificate: Sequence[Row], count: int) -> None:
        self._machine, self._catalogue, self._certificate, self._count = machine, catalogue, certificate, count
        self._yardsticks: dict[str, Yardstick] = {}

    def row(self, graph: Graph) -> Row:
        """One graph. Whatever goes wrong is its `reason`, beside what was measured until then."""
        row: Row = {"engine": graph.engine, "precision": graph.precision, "graph_sha256": graph.sha256, "passed": False}
        try:
            facts = plan_of(graph, self._machine)
            row["plan"] = asdict(facts)
            plan = (plan_folder(graph) / PLAN_NAME).read_bytes()
            most, compatible = facts.batch[-1], facts.version_compatible
            runner = PlanRunner(self._machine.module, plan, Cuda(), most, version_compatible=compatible)
            try:
                row["latencies"] = latencies(graph, self._machine.gpu.name, runner, most)
                row |= self._yardstick(graph).judge(graph, runner, most, self._certificate)
            finally:
                runner.close()
        except Exception as error:  # of whatever library: the other graphs have no part in it
            row["reason"] = f"{type(error).__name__}: {error}"
        return row

    def _yardstick(self, graph: Graph) -> Yardstick:
        if graph.engine not in self._yardsticks:
            self._yardsticks[graph.engine] = Yardstick.make(graph, self._catalogue, self._count)
        return self._yardsticks[graph.engine]


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


def latencies(graph: Graph, gpu: str, runner: PlanRunner, most_rows: int) -> list[dict[str, Any]]:
    """Time, rate and share of the roofline for each of BATCHES that the plan takes, on noise."""
    work = Work(gmac_of(graph), graph.path.stat().st_size, runner.all_row_bytes)
    found: list[dict[str, Any]] = []
    for batch in BATCHES:
        if batch <= most_rows:
            entry = runner.measure(runner.noise(batch))
            share = roofline_share(gpu, graph.precision, work, batch, entry.median_ms / 1000)
            found.append(asdict(entry) | {"roofline_share": share})
    return found


def gmac_of(graph: Graph) -> float:
    """10^9 multiply-adds a row, as the build counted them."""
    return float(json.loads((graph.path.parent / "check.json").read_text())["graph"]["gmac"])


def write_unless_measured(path: Path, report: Row) -> None:
    """Keeps a report that was measured on a GPU."""
    if path.is_file() and json.loads(path.read_text()).get("status") == "measured":
        print(f"{path} holds an earlier measurement and stays as it is")
        return
    write(path, report)


def write(path: Path, report: Row) -> None:
    """As indented JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

"""What a plan loses: the certificate's own pictures, measures and bounds, and the certificate's rows beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cutout_build.catalogue import Catalogue, Engine, Precision
from cutout_build.certificate.cases import Case, certificate_cases
from cutout_build.certificate.runs import WAYS, answers
from cutout_build.certificate.verdict import judge, losses
from cutout_build.errors import BuildError
from cutout_build.gpu.execute import PlanRunner
from cutout_build.gpu.graphs import Graph, file_sha256
from cutout_core.contract.engine import GRAPH_NAME
from cutout_core.contract.tensors import MATTING

Row = dict[str, Any]

#: Of what is compared with the certificate, the key of the catalogue's bound on it.
COMPARED = {"mae": "mae", "gt_band_loss": "gt_loss", "gt_iou_loss": "gt_loss"}


@dataclass(frozen=True, slots=True, eq=False)
class Yardstick:
    """What the plans of an engine are held against. reference: [N, 1, 512, 512], of its fp32 graph in OpenVINO."""

    engine: Engine
    cases: Sequence[Case]
    reference: NDArray[np.float32]

    @classmethod
    def make(cls, graph: Graph, catalogue: Catalogue, count: int) -> Yardstick:
        """For the engine of `graph`, on `count` composites. Raises BuildError where the catalogue does not have it, or
        pictures cannot be had."""
        engine = catalogue.engine(graph.engine)
        cases = certificate_cases(engine, count)
        fp32 = graph.path.with_name(GRAPH_NAME)
        return cls(engine, cases, answers(fp32, file_sha256(fp32), WAYS[0], cases, lambda line: None))

    def judge(self, graph: Graph, runner: PlanRunner, most_rows: int, certificate: Sequence[Row]) -> Row:
        """`passed`, `reason`, what was lost, and the certificate's rows about this graph with the differences."""
        found = np.concatenate(
            [
                runner.run(_stacked([case.inputs for case in self.cases[start : start + most_rows]]))
                for start in range(0, len(self.cases), most_rows)
            ]
        )
        lost = losses(self.cases, found, self.reference, in_band=self.engine.model == MATTING.name)
        bounds = bounds_of(self.engine, graph.precision)
        passed, reason = judge(lost, bounds)
        figures = {name: getattr(lost, name) for name in ("mae", "iou", "gt_band_loss", "gt_iou_loss", "band_error")}
        return {
            "passed": passed,
            "reason": reason,
            **figures,
            "pictures": len(lost.cases),
            "worst": asdict(lost.worst[0]),
            "bounds": {"mae": bounds.mae, "gt_loss": bounds.gt_loss},
            "certificate": [compared(row, figures, bounds) for row in certificate if _is_about(row, graph)],
        }


def bounds_of(engine: Engine, precision: str) -> Precision:
    """The catalogue's. TensorRT computes fp32 in TF32, which keeps as many bits as fp16 and so has its bounds."""
    try:
        return engine.precision("fp16" if precision == "fp32" else precision)
    except BuildError as error:
        raise BuildError(f"There is no bound for {precision}: {error}") from error


def compared(row: Row, figures: Mapping[str, float], bounds: Precision) -> Row:
    """A certificate's row. differences: the plan's figure less the row's. agrees: whether none is larger than what the
    catalogue allows as a loss; None where the row has no figures."""
    kept = {key: row.get(key) for key in ("runtime", "arithmetic", "certified", "pictures", *COMPARED)}
    if any(row.get(name) is None for name in COMPARED):
        return kept | {"differences": None, "agrees": None}
    differences = {name: figures[name] - row[name] for name in COMPARED}
    agrees = all(abs(differences[name]) <= getattr(bounds, bound) for name, bound in COMPARED.items())
    return kept | {"differences": differences, "agrees": agrees}


def _is_about(row: Row, graph: Graph) -> bool:
    own = (graph.engine, graph.precision, graph.sha256)
    return (row.get("engine"), row.get("precision"), row.get("graph_sha256")) == own


def _stacked(rows: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

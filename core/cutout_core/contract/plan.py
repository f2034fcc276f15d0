"""The TensorRT plan beside an engine's graphs, and whether the certificate of its graph lets it be served.

`cutout_build` writes `model.plan` and `plan.json`; the launcher reads what it needs of the latter.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cutout_core.contract.certificate import CertificateRow, Choice, PrecisionError
from cutout_core.contract.engine import EngineManifest

PLAN_NAME = "model.plan"
PLAN_FACTS_NAME = "plan.json"
_BUILD = "`python -m cutout_build plans`"


@dataclass(frozen=True, slots=True)
class ServedPlan:
    """graph_sha256: of the graph it was built from. plan_sha256: of the plan. uncertified: whether whoever built it
    asked for a graph that had no certificate, and so accepts a warning in every response.
    """

    precision: str
    graph_sha256: str
    plan_sha256: str
    uncertified: bool

    @classmethod
    def read(cls, folder: Path) -> ServedPlan:
        """What `plan.json` says. Raises PrecisionError with the command that builds the plan."""
        try:
            data = json.loads((folder / PLAN_FACTS_NAME).read_text("utf-8"))
            precision, graph, plan = (str(data[name]) for name in ("precision", "graph_sha256", "plan_sha256"))
        except FileNotFoundError:
            raise PrecisionError(f"The engine {folder.name!r} has no plan: run {_BUILD}.") from None
        except (ValueError, KeyError, TypeError) as error:
            raise PrecisionError(f"{folder / PLAN_FACTS_NAME} cannot be read: run {_BUILD}.") from error
        return cls(precision, graph, plan, data.get("uncertified") is True)


def graph_verdict(precision: str, graph_sha256: str, rows: Sequence[CertificateRow]) -> CertificateRow | None:
    """What the certificate says of a graph whichever runtime it was measured in: a row that failed, else the one
    farthest from fp32; None where the graph is in no row.
    """
    own = [row for row in rows if (row.precision, row.graph_sha256) == (precision, graph_sha256)]
    return max(own, key=lambda row: (not row.certified, row.mae or 0.0), default=None)


def choose_plan(plan: ServedPlan, manifest: EngineManifest, rows: Sequence[CertificateRow]) -> Choice:
    """The plan as what is served, with the verdict on its graph. Raises PrecisionError where it may not be."""
    if manifest.graphs.get(plan.precision) != plan.graph_sha256:
        raise PrecisionError(
            f"The plan of {manifest.engine} was built from another {plan.precision} graph than the one that is there: "
            f"run {_BUILD}."
        )
    row = graph_verdict(plan.precision, plan.graph_sha256, rows)
    if row is not None:
        row = replace(row, reason=f"Its graph, by {row.runtime} ({row.arithmetic}): {row.reason}")
    choice = Choice(plan.precision, "", row)
    if not choice.certified and not plan.uncertified:
        why = "Its graph is in no certificate; `make models` brings those that are known."
        if row is not None:
            why = row.reason
        raise PrecisionError(
            f"The plan of {manifest.engine} is not certified in {plan.precision}. {why} Run {_BUILD}; with "
            f"`--precision {plan.precision} --uncertified` it is served with a warning in every response."
        )
    return choice

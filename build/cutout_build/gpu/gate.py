"""The gate: every graph that TensorRT would be given goes through TensorRT-RTX's builder, which needs no GPU.

It shares parser, network API and strong typing with TensorRT and builds for GPUs that are not there. It is not
TensorRT: its list of GPUs ends where TensorRT's goes on (no SM 9.0), and a plan of TensorRT is proved by a GPU alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import onnx

from cutout_build.environment import environment_python
from cutout_build.errors import BuildError
from cutout_build.gpu import builder, gate_worker, qdq
from cutout_build.gpu.graphs import Graph, file_sha256
from cutout_core.contract.paths import cache_root

REQUIREMENTS = Path(__file__).parents[2] / "gate-requirements.txt"
CAPABILITIES = (80, 86, 89, 120)

#: How long all graphs together may take, seconds.
TIMEOUT_S = 3600.0

_PACKAGES = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says about one graph.

    batch: rows of the plan: fewest, tuned for, most.
    status: "passed"; "failed"; or "refused": a graph with Q/DQ that parses, whose placement is right and whose engine
    builds without Q/DQ, but which this builder does not take. reasons: why, with the node's name.
    layers, plan_bytes: of the network and the built plan. placement: of a graph with Q/DQ, else None.
    """

    engine: str
    model: str
    precision: str
    graph_sha256: str
    batch: tuple[int, int, int]
    status: str
    reasons: tuple[str, ...] = ()
    layers: int = 0
    plan_bytes: int = 0
    seconds: float = 0.0
    placement: dict[str, Any] | None = field(default=None)


def gate(graphs: Sequence[Graph], *, force: bool = False, say: Callable[[str], None] = print) -> tuple[Verdict, ...]:
    """A verdict for each graph, in order. What was found for a graph is kept under its hash, unless `force`.

    Raises BuildError where the builder cannot be installed or run: the gate is then not passed.
    """
    answers = {graph.sha256: _cached(graph) for graph in graphs if not force}
    missing = [graph for graph in graphs if answers.get(graph.sha256) is None]
    if missing:
        say(f"TensorRT-RTX parses and builds {', '.join(graph.title for graph in missing)} ...")
        for batch in dict.fromkeys(graph.batch for graph in missing):
            alike = [graph for graph in missing if graph.batch == batch]
            for graph, answer in zip(alike, _ask(alike, batch), strict=True):
                answers[graph.sha256] = answer
                _cache_path(graph).parent.mkdir(parents=True, exist_ok=True)
                _cache_path(graph).write_text(json.dumps(answer) + "\n", encoding="utf-8")
    plain = {graph.engine for graph in graphs if graph.precision == "fp32" and _is_clean(answers[graph.sha256] or {})}
    return tuple(_verdict(graph, answers[graph.sha256] or {}, graph.engine in plain) for graph in graphs)


def _verdict(graph: Graph, answer: dict[str, Any], builds_plain: bool) -> Verdict:
    model = onnx.load(graph.path)
    placement = qdq.check_placement(model) if qdq.has_qdq(model) else None
    faults = list(placement.faults) if placement else []
    if graph.precision == "int8" and placement is None:
        faults.append("the graph is called int8 and has no Q/DQ node")
    if answer["parse_error"]:
        faults.insert(0, f"not parsed: {answer['parse_error']}")
    refusals = [f"not built for SM {target}: {reason}" for target, reason in answer["build_errors"].items()]
    status = "passed"
    if faults or (refusals and (placement is None or not builds_plain)):
        status = "failed"
    elif refusals:
        status = "refused"
    return Verdict(
        engine=graph.engine,
        model=graph.model,
        precision=graph.precision,
        graph_sha256=graph.sha256,
        batch=graph.batch,
        status=status,
        reasons=(*faults, *refusals),
        layers=answer["layers"],
        plan_bytes=answer["plan_bytes"],
        seconds=answer["seconds"],
        placement=asdict(placement) if placement else None,
    )


def _is_clean(answer: dict[str, Any]) -> bool:
    return not answer.get("parse_error", "none") and not answer.get("build_errors")


def _ask(graphs: Sequence[Graph], batch: tuple[int, int, int]) -> list[dict[str, Any]]:
    python, environment = gate_environment()
    request = {
        "graphs": [str(graph.path) for graph in graphs],
        "compute_capabilities": CAPABILITIES,
        "batch": batch,
    }
    try:
        done = subprocess.run(
            [str(python), "-m", gate_worker.__name__],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            env=environment,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise BuildError(f"TensorRT-RTX had not finished after {TIMEOUT_S:.0f} s.") from None
    lines = done.stdout.splitlines()
    if done.returncode or len(lines) != len(graphs):
        graph = graphs[min(len(lines), len(graphs) - 1)]
        raise BuildError(
            f"TensorRT-RTX ended with status {done.returncode} at {graph.title}: {done.stderr.strip()[-500:]}"
        )
    return [json.loads(line) for line in lines]


def gate_environment() -> tuple[Path, dict[str, str]]:
    """The Python that has TensorRT-RTX, and the environment variables that let it find the libraries and this package.

    Raises BuildError where it cannot be installed.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise BuildError("The gate runs on Linux on x86-64 only: TensorRT-RTX has wheels for no other machine of ours.")
    python = environment_python("gate", REQUIREMENTS)
    (packages,) = python.parents[1].glob("lib/python3.*/site-packages")
    libraries = (packages / "tensorrt_rtx_libs", packages / "nvidia" / "cu13" / "lib")
    variables = {"LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)), "PYTHONPATH": str(_PACKAGES)}
    return python, {**os.environ, **variables}


def _cached(graph: Graph) -> dict[str, Any] | None:
    try:
        answer: dict[str, Any] = json.loads(_cache_path(graph).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return answer


def _cache_path(graph: Graph) -> Path:
    """By everything that decides the answer: graph, packages, our code, targets, rows."""
    parts = [graph.sha256, *(file_sha256(Path(str(part.__file__))) for part in (builder, gate_worker))]
    parts += [file_sha256(REQUIREMENTS), repr(CAPABILITIES), repr(graph.batch)]
    return cache_root() / "gate-answers" / f"{hashlib.sha256(' '.join(parts).encode()).hexdigest()}.json"

"""TensorRT plans: one for each engine, for the GPU and the TensorRT of this machine, its facts beside it.

A plan runs on the kind of GPU and with the TensorRT that built it, so it is built where it is served: in production by
the one-shot service of `deploy/`, in the image that serves.
"""

from __future__ import annotations

import importlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cutout_build.errors import BuildError
from cutout_build.gpu.builder import Builder, PlanOptions, RefusedError
from cutout_build.gpu.cuda import Cuda, Gpu
from cutout_build.gpu.graphs import Graph, built_graphs, file_sha256
from cutout_core.contract.paths import cache_root, engines_root
from cutout_core.contract.plan import PLAN_FACTS_NAME, PLAN_NAME

REBUILD = "python -m cutout_build plans"

#: What a plan takes where several precisions are certified: the order in which tensor cores are faster. It is not
#: measured on the GPU at hand; `make gpu-check` does that.
_FASTEST_FIRST = ("int8", "fp16", "fp32")
_CERTIFICATE_NAME = "certificate.json"


@dataclass(frozen=True, slots=True)
class Machine:
    """What a plan depends on. tensorrt: its version, as 11.2.1.2. module: the library itself."""

    gpu: Gpu
    tensorrt: str
    module: Any


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """What `plan.json` says. graph_sha256: of the graph it was built from. plan_sha256: of the plan itself.

    batch: fewest, optimal and most rows. built: time in UTC, ISO 8601. seconds: that the build took. uncertified: the
    graph was in no certificate, or failed it, and the plan was asked for all the same.
    """

    engine: str
    model: str
    precision: str
    graph_sha256: str
    plan_sha256: str
    gpu: str
    compute_capability: int
    driver: str
    tensorrt: str
    version_compatible: bool
    batch: tuple[int, int, int]
    layers: int
    bytes: int
    built: str
    seconds: float
    uncertified: bool = False

    @classmethod
    def read(cls, folder: Path) -> PlanFacts:
        """Reads `plan.json`. Raises BuildError with the command that builds the plan."""
        try:
            data = json.loads((folder / PLAN_FACTS_NAME).read_text(encoding="utf-8"))
            return cls(**data | {"batch": tuple(data["batch"])})
        except FileNotFoundError:
            raise BuildError(f"There is no plan of {folder.name}: run `{REBUILD}`.") from None
        except (ValueError, KeyError, TypeError) as error:
            raise BuildError(f"{folder / PLAN_FACTS_NAME} cannot be read: run `{REBUILD}`.") from error


def find_machine() -> Machine:
    """The GPU and TensorRT of this machine. Raises BuildError with one sentence where either is missing."""
    gpu = Cuda().gpu
    library = _library()
    return Machine(gpu, str(library.__version__), library)


def build_plans(
    precision: str | None = None,
    *,
    uncertified: bool = False,
    version_compatible: bool = False,
    force: bool = False,
    machine: Machine | None = None,
    say: Callable[[str], None] = print,
) -> tuple[PlanFacts, ...]:
    """Builds `model.plan` and `plan.json` of every engine in the cache; does nothing where they fit, unless `force`.

    precision: of all engines; None takes int8, fp16 or fp32 of each, the first that is certified. uncertified: what
    `precision` names needs no certificate; every response then carries a warning. Raises BuildError.
    """
    machine = machine or find_machine()
    plans: list[PlanFacts] = []
    for graph in choose(built_graphs(), precision, uncertified=uncertified):
        folder = graph.path.parent
        facts = None if force else _fitting(folder, graph, machine, version_compatible)
        if facts is None:
            say(f"building the plan of {graph.title} for {machine.gpu.name}; this takes minutes ...")
            facts = build_plan(graph, folder, machine, version_compatible=version_compatible)
            say(f"{graph.title}: {facts.bytes / 1e6:.1f} MB in {facts.seconds:.0f} s")
        else:
            say(f"the plan of {graph.title} fits")
            if facts.uncertified == is_certified(graph):  # the graph was judged since
                facts = replace(facts, uncertified=not facts.uncertified)
                _write_facts(folder, facts)
        plans.append(facts)
    return tuple(plans)


def build_plan(graph: Graph, folder: Path, machine: Machine, *, version_compatible: bool) -> PlanFacts:
    """Writes one plan and its facts into `folder`. Raises BuildError with TensorRT's reason and the node's name."""
    timings = cache_root() / "timings" / f"{machine.tensorrt}-sm{machine.gpu.compute_capability}.cache"
    known = timings.read_bytes() if timings.is_file() else b""
    options = PlanOptions(timing_cache=known, version_compatible=version_compatible)
    began = time.monotonic()
    try:
        builder = Builder(machine.module, graph.path)
        plan, learnt = builder.build(options)
    except RefusedError as error:
        raise BuildError(f"TensorRT {machine.tensorrt} refused {graph.title}: {error}") from error
    seconds = time.monotonic() - began
    timings.parent.mkdir(parents=True, exist_ok=True)
    _replace(timings, learnt)
    folder.mkdir(parents=True, exist_ok=True)
    # The facts go first and come back last, so that no plan ever stands beside another one's facts.
    (folder / PLAN_FACTS_NAME).unlink(missing_ok=True)
    _replace(folder / PLAN_NAME, plan)
    facts = PlanFacts(
        engine=graph.engine,
        model=graph.model,
        precision=graph.precision,
        graph_sha256=graph.sha256,
        plan_sha256=file_sha256(folder / PLAN_NAME),
        gpu=machine.gpu.name,
        compute_capability=machine.gpu.compute_capability,
        driver=machine.gpu.driver,
        tensorrt=machine.tensorrt,
        version_compatible=version_compatible,
        batch=options.batch,
        layers=builder.layers,
        bytes=len(plan),
        built=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        seconds=round(seconds, 1),
        uncertified=not is_certified(graph),
    )
    _write_facts(folder, facts)
    return facts


def check_plans(machine: Machine | None = None, say: Callable[[str], None] = print) -> None:
    """Says that the plan of every engine in the cache fits this machine and its graph.

    Raises BuildError naming what does not fit and the command that rebuilds it.
    """
    machine = machine or find_machine()
    graphs = built_graphs()
    for model in dict.fromkeys(graph.model for graph in graphs):
        facts = PlanFacts.read(engines_root() / model)
        wrong = misfit(facts, machine, [graph for graph in graphs if graph.model == model])
        plan = engines_root() / model / PLAN_NAME
        if not wrong and (not plan.is_file() or file_sha256(plan) != facts.plan_sha256):
            wrong = "the plan is missing or damaged"
        if wrong:
            raise BuildError(f"The plan of {model} cannot be served: {wrong}. Rebuild it: `{REBUILD}`.")
        say(f"the plan of {facts.engine} {facts.precision} fits")


def misfit(facts: PlanFacts, machine: Machine, graphs: Sequence[Graph]) -> str:
    """Why a plan may not be used on `machine` for one of `graphs`; empty where it may."""
    if facts.graph_sha256 not in {graph.sha256 for graph in graphs if graph.precision == facts.precision}:
        return f"it was built from another {facts.precision} graph than the one that is there"
    gpu = machine.gpu
    if (facts.gpu, facts.compute_capability) != (gpu.name, gpu.compute_capability):
        return f"it was built for {facts.gpu}, and this is {gpu.name}"
    if facts.tensorrt != machine.tensorrt and not (
        facts.version_compatible and _is_later_minor(facts.tensorrt, machine.tensorrt)
    ):
        return f"it was built by TensorRT {facts.tensorrt}, and this is {machine.tensorrt}"
    return ""


def choose(graphs: Sequence[Graph], precision: str | None, *, uncertified: bool = False) -> list[Graph]:
    """One graph for each model: that of `precision`, or the first of int8, fp16 and fp32 that is certified.

    uncertified: that of `precision` needs no certificate. Raises BuildError where an engine has no graph of that
    precision, or no certified one.
    """
    chosen: list[Graph] = []
    for model in dict.fromkeys(graph.model for graph in graphs):
        own = {graph.precision: graph for graph in graphs if graph.model == model}
        wanted = (precision,) if precision else _FASTEST_FIRST
        usable = [own[name] for name in wanted if name in own and (uncertified or is_certified(own[name]))]
        if not usable:
            known = ", ".join(name for name in own if is_certified(own[name])) or "none"
            raise BuildError(f"{model} has no certified graph in {' or '.join(wanted)}; certified are: {known}.")
        chosen.append(usable[0])
    return chosen


def is_certified(graph: Graph) -> bool:
    """Whether the certificate beside the engine passes this very graph. fp32, which the build itself proves, always."""
    if graph.precision == "fp32":
        return True
    try:
        rows = json.loads((graph.path.parent / _CERTIFICATE_NAME).read_text(encoding="utf-8"))
        return any(
            row["precision"] == graph.precision and row["graph_sha256"] == graph.sha256 and row["certified"] is True
            for row in rows
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _library() -> Any:
    """`tensorrt`, or the bindings alone, which find the libraries of the system."""
    reasons: list[str] = []
    for name in ("tensorrt", "tensorrt_bindings"):
        try:
            return importlib.import_module(name)
        except ImportError as error:
            reasons.append(str(error))
    raise BuildError(f"TensorRT's Python package is not installed: {'; '.join(reasons)}.")


def _fitting(folder: Path, graph: Graph, machine: Machine, version_compatible: bool) -> PlanFacts | None:
    try:
        facts = PlanFacts.read(folder)
    except BuildError:
        return None
    plan = folder / PLAN_NAME
    whole = plan.is_file() and file_sha256(plan) == facts.plan_sha256
    fits = not misfit(facts, machine, [graph]) and facts.version_compatible == version_compatible
    return facts if whole and fits else None


def _is_later_minor(built: str, running: str) -> bool:
    first, second = ([int(part) for part in version.split(".")[:2]] for version in (built, running))
    return first[0] == second[0] and first[1] <= second[1]


def _write_facts(folder: Path, facts: PlanFacts) -> None:
    _replace(folder / PLAN_FACTS_NAME, (json.dumps(asdict(facts), indent=2) + "\n").encode())


def _replace(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    os.replace(part, path)

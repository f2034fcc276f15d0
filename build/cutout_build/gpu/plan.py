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
from cutout_core.contract.certificate import read_certificate
from cutout_core.contract.paths import cache_root, engines_root
from cutout_core.contract.plan import PLAN_FACTS_NAME, PLAN_NAME, graph_verdict

REBUILD = "python -m cutout_build plans"

#: Environment variable with the command that builds the plans where it is another one, as in a container.
REBUILD_VARIABLE = "CUTOUT_PLANS_COMMAND"

#: What a plan takes where several precisions are certified: the order in which tensor cores are faster. It is not
#: measured on the GPU at hand; `make gpu-check` does that.
_FASTEST_FIRST = ("int8", "fp16", "fp32")


@dataclass(frozen=True, slots=True)
class Machine:
    """What a plan depends on. tensorrt: its version, as 11.2.1.2. module: the library itself."""

    gpu: Gpu
    tensorrt: str
    module: Any


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """What `plan.json` says. graph_sha256: of the graph it was built from. plan_sha256: of the plan itself.

    asked: the precision that was asked for, "auto" for the first certified one of int8, fp16 and fp32.
    batch: fewest, optimal and most rows. built: time in UTC, ISO 8601. seconds: that the build took. uncertified: the
    graph was in no certificate, or failed it, and the plan was asked for all the same.
    """

    engine: str
    model: str
    precision: str
    asked: str
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
            raise BuildError(f"There is no plan of {folder.name}: run `{rebuild()}`.") from None
        except (ValueError, KeyError, TypeError) as error:
            raise BuildError(f"{folder / PLAN_FACTS_NAME} cannot be read: run `{rebuild()}`.") from error


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
    asked = precision or "auto"
    for graph in choose(built_graphs(), precision, uncertified=uncertified):
        folder = graph.path.parent
        facts = None if force else _fitting(folder, graph, machine, version_compatible)
        if facts is None:
            say(f"building the plan of {graph.title} for {machine.gpu.name}; this takes minutes ...")
            facts = build_plan(graph, folder, machine, asked=asked, version_compatible=version_compatible)
            say(f"{graph.title}: {facts.bytes / 1e6:.1f} MB in {facts.seconds:.0f} s")
        else:
            facts = replace(facts, asked=asked, uncertified=not is_certified(graph))  # judged, perhaps, since
            _write_facts(folder, facts)
            say(f"the plan of {graph.title} fits")
        plans.append(facts)
    return tuple(plans)


def build_plan(
    graph: Graph, folder: Path, machine: Machine, *, asked: str = "auto", version_compatible: bool
) -> PlanFacts:
    """Writes one plan and its facts into `folder`. Raises BuildError with TensorRT's reason and the node's name."""
    timings = cache_root() / "timings" / f"{machine.tensorrt}-sm{machine.gpu.compute_capability}.cache"
    known = timings.read_bytes() if timings.is_file() else b""
    options = PlanOptions(graph.batch, timing_cache=known, version_compatible=version_compatible)
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
        asked=asked,
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
    """Says that the plan of every engine in the cache fits this machine and its graph, which is still certified, or was
    asked for all the same.

    Raises BuildError naming what does not fit and the command that rebuilds it.
    """
    machine = machine or find_machine()
    graphs = built_graphs()
    for model in dict.fromkeys(graph.model for graph in graphs):
        facts = PlanFacts.read(engines_root() / model)
        own = [graph for graph in graphs if graph.model == model]
        wrong, command = misfit(facts, machine, own), rebuild(facts)
        plan = engines_root() / model / PLAN_NAME
        if not wrong and (not plan.is_file() or file_sha256(plan) != facts.plan_sha256):
            wrong = "the plan is missing or damaged"
        if not wrong and not facts.uncertified:
            wrong = why_uncertified(next(graph for graph in own if graph.precision == facts.precision))
            # Not for what was asked for, which would be refused: for the fastest that is certified.
            command = rebuild(replace(facts, asked="auto")) if wrong else command
        if wrong:
            raise BuildError(f"The plan of {model} cannot be served: {wrong.rstrip('.')}. Rebuild it: `{command}`.")
        say(f"the plan of {facts.engine} {facts.precision} fits")


def misfit(facts: PlanFacts, machine: Machine, graphs: Sequence[Graph]) -> str:
    """Why a plan may not be used on `machine` for one of `graphs`; empty where it may."""
    graph = next((graph for graph in graphs if graph.precision == facts.precision), None)
    if graph is None or graph.sha256 != facts.graph_sha256:
        return f"it was built from another {facts.precision} graph than the one that is there"
    if facts.batch != graph.batch:
        return f"it was built for {facts.batch} rows a run (fewest, tuned for, most), and {graph.batch} are due"
    gpu = machine.gpu
    if (facts.gpu, facts.compute_capability) != (gpu.name, gpu.compute_capability):
        return f"it was built for {facts.gpu}, and this is {gpu.name}"
    if facts.tensorrt != machine.tensorrt and not (
        facts.version_compatible and _is_later_minor(facts.tensorrt, machine.tensorrt)
    ):
        return f"it was built by TensorRT {facts.tensorrt}, and this is {machine.tensorrt}"
    return ""


def rebuild(facts: PlanFacts | None = None) -> str:
    """The command that builds the plans anew, as that of `facts` was built, if there is one.

    A container says how it is called from outside, where its settings are, in CUTOUT_PLANS_COMMAND.
    """
    command = os.environ.get(REBUILD_VARIABLE, REBUILD)
    if command != REBUILD or facts is None:
        return command
    flags = [f"--precision {facts.asked}"] if facts.asked != "auto" else []
    flags += ["--uncertified"] * facts.uncertified + ["--version-compatible"] * facts.version_compatible
    return " ".join([command, *flags])


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
    """Whether the certificate beside the engine passes this very graph in every runtime and arithmetic that it was
    measured in. fp32, which the build itself proves, always."""
    return not why_uncertified(graph)


def why_uncertified(graph: Graph) -> str:
    """Why `is_certified` says no, with the failing row's own reason; empty where it says yes."""
    if graph.precision == "fp32":
        return ""
    try:
        rows = read_certificate(graph.path.parent)
    except (OSError, ValueError) as error:
        return f"its graph is not certified: {error}"
    row = graph_verdict(graph.precision, graph.sha256, rows)
    if row is None:
        return f"its {graph.precision} graph is in no certificate"
    if row.certified:
        return ""
    return f"its {graph.precision} graph failed in {row.runtime} ({row.arithmetic}): {row.reason}"


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

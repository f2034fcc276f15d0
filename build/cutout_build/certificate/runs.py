"""The ways to run a graph that certificates speak of: answers, kept on disk, and times."""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
from numpy.typing import NDArray

from cutout_build.certificate.cases import Case
from cutout_build.half_arithmetic import rounded
from cutout_build.quality.cache import cached
from cutout_build.reference import Inputs
from cutout_core.contract.certificate import CPU_RUNTIME, HINT_NEEDS
from cutout_core.contract.cpu import native_precisions
from cutout_core.serving.fixed_batch import compile_fixed

Array = NDArray[np.float32]
Runner = Callable[[Inputs], Array]

#: Runs of which a time is the median, for batches of one and for larger ones, and the seconds an image over which
#: larger batches are left out.
_ROUNDS, _PATIENCE_S = (5, 2), 2.0


@dataclass(frozen=True, slots=True)
class Way:
    """One way to run a precision's graph. hint: OpenVINO's inference precision, empty for another runtime."""

    precision: str
    runtime: str
    hint: str
    arithmetic: str


#: Of each precision, in the order of the report.
WAYS = (
    Way("fp32", CPU_RUNTIME, "f32", "fp32"),
    Way("bf16", CPU_RUNTIME, "bf16", "bf16"),
    Way("fp16", CPU_RUNTIME, "f32", "fp32, weights rounded to fp16"),
    Way("fp16", "onnxruntime", "", "fp16 with fp32 accumulators (every tensor rounded)"),
    Way("int8", CPU_RUNTIME, "f32", "int8, the rest fp32"),
    Way("int8", CPU_RUNTIME, "bf16", "int8, the rest bf16"),
)


def capabilities() -> frozenset[str]:
    """What this CPU runs with instructions of its own ("fp32", "bf16", "fp16"), as OpenVINO reports it, and "int8"."""
    return native_precisions(openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def native(way: Way) -> bool:
    """Whether this CPU runs it at the speed that it is meant for; else it is emulated and not timed."""
    return way.runtime == CPU_RUNTIME and HINT_NEEDS[way.hint] in capabilities()


def answers(graph: Path, sha256: str, way: Way, cases: Sequence[Case], say: Callable[[str], None]) -> Array:
    """[N, 1, 512, 512], one run a case; from disk where the same bytes answered the same inputs before."""
    kind = f"{way.runtime}-{version(way.runtime)}-{way.hint or 'rounded'}-fixed-{sha256[:16]}"
    run: Runner | None = None
    found: list[Array] = []
    for index, case in enumerate(cases):

        def compute(case: Case = case, index: int = index) -> dict[str, NDArray[np.generic]]:
            nonlocal run
            run = run or open_graph(graph, way)
            say(f"  {way.precision}, {way.arithmetic}: {index + 1} of {len(cases)}")
            return {"answer": run(_batched(case.inputs, 1))}

        found.append(cached(kind, case.key, compute)["answer"].astype(np.float32))
    return np.concatenate(found)


def open_graph(graph: Path, way: Way, threads: int = 0, rows: int = 1) -> Runner:
    """The graph compiled as it is served, for `rows` a run; inputs with their batch axis in, the output out.

    threads: 0 takes one per core.

    Raises RuntimeError where it cannot run.
    """
    if way.runtime == "onnxruntime":
        return _onnxruntime(graph)
    properties = {"INFERENCE_PRECISION_HINT": way.hint, "INFERENCE_NUM_THREADS": threads}
    compiled = compile_fixed(openvino.Core(), graph, rows, properties)

    def run(inputs: Inputs) -> Array:
        return np.array(compiled(inputs)[0])

    return run


def _onnxruntime(graph: Path) -> Runner:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    model = rounded(onnx.load(graph)).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])

    def run(inputs: Inputs) -> Array:
        answer: Array = session.run(None, inputs)[0]
        return answer

    return run


def times(
    graphs: dict[Way, Path], inputs: Inputs, batches: Sequence[int], say: Callable[[str], None]
) -> dict[Way, dict[int, float]]:
    """Milliseconds of CPU time a run on one thread, by way and batch size; medians, the ways in turns.

    CPU time leaves out what other programs take meanwhile. Batches over one are left out where a single image of the
    slowest takes over two seconds.
    """
    found: dict[Way, dict[int, float]] = {way: {} for way in graphs}
    for batch in batches:
        if any(row.get(1, 0.0) > _PATIENCE_S * 1000 for row in found.values()):
            break
        runners = {way: open_graph(graph, way, threads=1, rows=batch) for way, graph in graphs.items()}
        rows = _batched(inputs, batch)
        taken: dict[Way, list[float]] = {way: [] for way in graphs}
        for turn in range(1 + _ROUNDS[batch > 1]):
            for way, run in runners.items():
                start = time.process_time()
                run(rows)
                if turn:  # the first is for warming up
                    taken[way].append((time.process_time() - start) * 1000)
        for way, values in taken.items():
            found[way][batch] = float(np.median(values))
        say(f"  timed {batch} a run")
    return found


def _batched(inputs: Inputs, batch: int) -> Inputs:
    return {name: np.repeat(value[None], batch, axis=0) for name, value in inputs.items()}

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
from cutout_core.serving.fixed_batch import ANSWERS, compile_fixed

Array = NDArray[np.float32]
Runner = Callable[[Inputs], Array]

#: Runs of which a time is the median, for batches of one and for larger ones, and the seconds an image over which
#: the ways are run one after another in larger batches, once each, and rates are left out.
_ROUNDS, _PATIENCE_S = (5, 2), 2.0

#: Streams of a rate, images a turn, and turns after the one for warming up.
_STREAMS, _IMAGES, _TURNS = 2, 8, 3


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


@dataclass(frozen=True, slots=True)
class Speed:
    """ms: milliseconds of CPU time a run on one thread, by rows a run. rate: images a second in two streams."""

    ms: dict[int, float]
    rate: float | None


def capabilities() -> frozenset[str]:
    """What this CPU runs with instructions of its own ("fp32", "bf16", "fp16"), as OpenVINO reports it, and "int8"."""
    return native_precisions(openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def native(way: Way) -> bool:
    """Whether this CPU runs it at the speed that it is meant for; else it is emulated and not timed."""
    return way.runtime == CPU_RUNTIME and HINT_NEEDS[way.hint] in capabilities()


def answers(graph: Path, sha256: str, way: Way, cases: Sequence[Case], say: Callable[[str], None]) -> Array:
    """[N, 1, 512, 512], one run a case; from disk where the same bytes answered the same inputs before."""
    kind = f"{way.runtime}-{version(way.runtime)}-{way.hint or 'rounded'}-{ANSWERS}-{sha256[:16]}"
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


def speeds(
    graphs: dict[Way, Path], inputs: Inputs, batches: Sequence[int], say: Callable[[str], None]
) -> dict[Way, Speed]:
    """`times` and `rates` of every way. Rates are left out where an image of the slowest takes over two seconds."""
    measured = times(graphs, inputs, batches, say)
    found = {} if _too_slow(measured) else rates(graphs, inputs, say)
    return {way: Speed(measured[way], found.get(way)) for way in graphs}


def rates(graphs: dict[Way, Path], inputs: Inputs, say: Callable[[str], None]) -> dict[Way, float]:
    """Images a second in two streams of OpenVINO, which share the cores, one image a run: as a loaded server works.

    Wall time: the highest rate of three turns, because other programs only ever slow it down; the ways in turns.
    """
    row = _batched(inputs, 1)
    queues = {}
    for way, graph in graphs.items():
        properties = {"INFERENCE_PRECISION_HINT": way.hint, "NUM_STREAMS": _STREAMS}
        queues[way] = openvino.AsyncInferQueue(compile_fixed(openvino.Core(), graph, 1, properties), _STREAMS)
    found = dict.fromkeys(graphs, 0.0)
    for turn in range(1 + _TURNS):
        for way, queue in queues.items():
            start = time.perf_counter()
            for _ in range(_IMAGES):
                queue.start_async(row)
            queue.wait_all()
            if turn:  # the first is for warming up
                found[way] = max(found[way], _IMAGES / (time.perf_counter() - start))
    say(f"  timed {_STREAMS} streams")
    return found


def times(
    graphs: dict[Way, Path], inputs: Inputs, batches: Sequence[int], say: Callable[[str], None]
) -> dict[Way, dict[int, float]]:
    """Milliseconds of CPU time a run on one thread, by way and batch size; medians, the ways in turns.

    CPU time leaves out what other programs take meanwhile. Where a single image of the slowest takes over two seconds,
    batches over one are run once, a way at a time: together they would need tens of gigabytes.
    """
    found: dict[Way, dict[int, float]] = {way: {} for way in graphs}
    for batch in batches:
        slow, rows = _too_slow(found), _batched(inputs, batch)
        rounds = 1 if slow else _ROUNDS[batch > 1]
        for some in [{way: graph} for way, graph in graphs.items()] if slow else [graphs]:
            for way, taken in _timed(some, rows, batch, rounds).items():
                found[way][batch] = float(np.median(taken))
        say(f"  timed {batch} a run")
    return found


def _timed(graphs: dict[Way, Path], rows: Inputs, batch: int, rounds: int) -> dict[Way, list[float]]:
    """Milliseconds of CPU time of each of `rounds` runs on one thread, after one for warming up, the ways in turns."""
    runners = {way: open_graph(graph, way, threads=1, rows=batch) for way, graph in graphs.items()}
    taken: dict[Way, list[float]] = {way: [] for way in graphs}
    for turn in range(1 + rounds):
        for way, run in runners.items():
            start = time.process_time()
            run(rows)
            if turn:
                taken[way].append((time.process_time() - start) * 1000)
    return taken


def _too_slow(measured: dict[Way, dict[int, float]]) -> bool:
    return any(row.get(1, 0.0) > _PATIENCE_S * 1000 for row in measured.values())


def _batched(inputs: Inputs, batch: int) -> Inputs:
    return {name: np.repeat(value[None], batch, axis=0) for name, value in inputs.items()}

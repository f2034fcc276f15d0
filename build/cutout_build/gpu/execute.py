"""A plan on the GPU: its answers, and its time a run as a CUDA graph, which is how Triton runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cutout_build.errors import BuildError
from cutout_build.gpu.cuda import Cuda

_WARM_UP = 20


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of one run on the GPU, without transfers. rate: rows a second at the median."""

    batch: int
    median_ms: float
    p99_ms: float
    rate: float


class PlanRunner:
    """One plan, loaded. Inputs and outputs stay allocated for `most_rows` rows. Raises BuildError."""

    def __init__(self, trt: Any, plan: bytes, cuda: Cuda, most_rows: int, *, version_compatible: bool = False) -> None:
        self._trt, self._cuda = trt, cuda
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        self._runtime.engine_host_code_allowed = version_compatible
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise BuildError("TensorRT cannot load the plan: it was built by another version or for another GPU.")
        self._context = self._engine.create_execution_context()
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        self._inputs = [name for name in names if self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        (self._output,) = [name for name in names if name not in self._inputs]
        self._pointers: dict[str, int] = {}
        for name in names:
            self._pointers[name] = cuda.allocate(most_rows * self.row_bytes(name))
            self._context.set_tensor_address(name, self._pointers[name])

    def row_bytes(self, name: str) -> int:
        """Bytes of one row of a tensor."""
        return int(np.prod(self._row_shape(name))) * self._kind(name).itemsize

    @property
    def all_row_bytes(self) -> int:
        """Bytes of one row of all inputs and outputs."""
        return sum(self.row_bytes(name) for name in self._pointers)

    def noise(self, rows: int) -> dict[str, NDArray[Any]]:
        """Inputs of `rows` rows: integers over the whole range of their type, floats in 0..1."""
        random = np.random.default_rng(0)
        inputs: dict[str, NDArray[Any]] = {}
        for name in self._inputs:
            kind, shape = self._kind(name), (rows, *self._row_shape(name))
            if kind.kind == "f":
                inputs[name] = random.random(shape, np.float32).astype(kind)
            else:
                inputs[name] = random.integers(0, np.iinfo(kind).max, shape, kind, endpoint=True)
        return inputs

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """The output [N, ...] for inputs [N, ...] by name."""
        rows = self._load(inputs)
        self._enqueue()
        return self._cuda.download(self._pointers[self._output], (rows, *self._row_shape(self._output)))

    def measure(self, inputs: Mapping[str, NDArray[Any]], runs: int = 200) -> Latency:
        """Times `runs` replays of a CUDA graph of one run with these inputs."""
        rows = self._load(inputs)
        for _ in range(_WARM_UP):
            self._enqueue()
        self._cuda.wait()
        self._cuda.begin_capture()
        self._enqueue()
        graph = self._cuda.end_capture()
        events = [self._cuda.event() for _ in range(runs + 1)]
        self._cuda.record(events[0])
        for event in events[1:]:
            self._cuda.launch(graph)
            self._cuda.record(event)
        self._cuda.wait()
        times = [self._cuda.elapsed_ms(start, end) for start, end in pairwise(events)]
        median = float(np.median(times))
        return Latency(rows, median, float(np.percentile(times, 99)), 1000 * rows / median)

    def close(self) -> None:
        """Gives the memory back."""
        for pointer in self._pointers.values():
            self._cuda.free(pointer)
        self._pointers.clear()

    def _row_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._engine.get_tensor_shape(name))[1:]

    def _kind(self, name: str) -> np.dtype[Any]:
        return np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name)))

    def _load(self, inputs: Mapping[str, NDArray[Any]]) -> int:
        if set(inputs) != set(self._inputs):
            raise BuildError(f"The plan takes {', '.join(self._inputs)}, not {', '.join(inputs)}.")
        for name, value in inputs.items():
            self._context.set_input_shape(name, value.shape)
            self._cuda.upload(self._pointers[name], np.ascontiguousarray(value))
        return len(next(iter(inputs.values())))

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._cuda.stream):
            raise BuildError("TensorRT could not start the plan.")

"""A graph through the ONNX parser and the builder of TensorRT 10, TensorRT 11 or TensorRT-RTX 1: the same API.

The module of the library is an argument (`trt`), because the gate runs this file with TensorRT-RTX in an environment
of its own, where nothing but the standard library is installed, and `plan.py` runs it with TensorRT. What differs
between the versions is in `_network_flags` alone: TensorRT 11 knows strongly typed networks only and may drop the flag
that TensorRT 10 wants for them, and neither has a switch that would change a precision which the graph writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class RefusedError(Exception):
    """The library refused a graph. `stage`: "parse" or "build"."""

    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(reason)
        self.stage = stage


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """batch: fewest rows of a run, the number the plan is tuned for, most rows. compute_capabilities: GPUs to build
    for, as 89 for SM 8.9; empty for the one at hand (TensorRT has no other choice). timing_cache: of an earlier build.
    version_compatible: the plan may run on later minor versions, for some speed; the runtime must be told too.
    """

    batch: tuple[int, int, int] = (1, 8, 16)
    compute_capabilities: tuple[int, ...] = ()
    timing_cache: bytes = b""
    version_compatible: bool = False


class Builder:
    """One graph, parsed. `layers`: of the network. Raises RefusedError with the node's name, kind and the reason."""

    def __init__(self, trt: Any, graph: Path) -> None:
        self._trt = trt
        self._logger = _logger(trt)
        self._builder = trt.Builder(self._logger)
        self._network = self._builder.create_network(_network_flags(trt))
        parser = trt.OnnxParser(self._network, self._logger)
        if not parser.parse_from_file(str(graph)):
            errors = [parser.get_error(index) for index in range(parser.num_errors)]
            raise RefusedError("parse", "; ".join(map(_parser_error, errors)) or "the parser gave no reason")

    @property
    def layers(self) -> int:
        """Layers of the network as it was parsed."""
        return int(self._network.num_layers)

    def build(self, options: PlanOptions) -> tuple[bytes, bytes]:
        """The plan, and the timing cache after it. Raises RefusedError with what the library logged."""
        trt = self._trt
        config = self._builder.create_builder_config()
        if options.compute_capabilities:
            config.num_compute_capabilities = len(options.compute_capabilities)
            for index, capability in enumerate(options.compute_capabilities):
                config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{capability}"), index)
        if options.version_compatible:
            config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        cache = config.create_timing_cache(options.timing_cache)
        config.set_timing_cache(cache, False)
        config.add_optimization_profile(self._profile(options.batch))
        self._logger.lines.clear()
        plan = self._builder.build_serialized_network(self._network, config)
        if plan is None:
            raise RefusedError("build", "; ".join(self._logger.lines) or "the builder gave no reason")
        timings = config.get_timing_cache()
        return bytes(plan), bytes(timings.serialize()) if timings is not None else b""

    def _profile(self, batch: Sequence[int]) -> Any:
        profile = self._builder.create_optimization_profile()
        for index in range(self._network.num_inputs):
            tensor = self._network.get_input(index)
            dims = tuple(tensor.shape)[1:]
            profile.set_shape(tensor.name, *((rows, *dims) for rows in batch))
        return profile


def _network_flags(trt: Any) -> int:
    """Strongly typed: every precision is the graph's own."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _parser_error(error: Any) -> str:
    reason = " ".join(str(error.desc()).split())
    return f"{error.node_operator()} {error.node_name()!r}: {reason}"


def _logger(trt: Any) -> Any:
    """A logger of the library's own kind that keeps errors in `lines` and prints nothing."""

    class Collector(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                self.lines.append(" ".join(message.split()))

    return Collector()

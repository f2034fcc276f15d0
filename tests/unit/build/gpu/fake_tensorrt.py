"""The smallest TensorRT and CUDA driver that plans and their check can be tested with.

A "plan" is the graph's bytes; running it answers with the mean of the input, as [N, 1, 2, 2].
"""

from __future__ import annotations

import ctypes
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

SHAPES = {"IMAGE": (-1, 1, 2, 2), "MASK": (-1, 1, 2, 2)}


class FakeDriver:
    """Memory is numpy's; every call succeeds. `gpus`: how many there are."""

    def __init__(self, gpus: int = 1) -> None:
        self.gpus = gpus
        self.memory: dict[int, np.ndarray] = {}
        self.launches = 0

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: 0  # streams, events, contexts and captures

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = self.gpus
        return 0

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> int:  # noqa: N802
        name.value = b"Tesla T4"
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> int:  # noqa: N802
        value._obj.value = {75: 7, 76: 5}[attribute]
        return 0

    def cuMemAlloc_v2(self, pointer: Any, size: Any) -> int:  # noqa: N802
        block = np.zeros(size.value, np.uint8)
        pointer._obj.value = block.ctypes.data
        self.memory[block.ctypes.data] = block
        return 0

    def cuMemcpyHtoD_v2(self, pointer: Any, source: Any, size: Any) -> int:  # noqa: N802
        ctypes.memmove(pointer.value, source.value, size.value)
        return 0

    def cuMemcpyDtoH_v2(self, target: Any, pointer: Any, size: Any) -> int:  # noqa: N802
        ctypes.memmove(target.value, pointer.value, size.value)
        return 0

    def cuMemFree_v2(self, pointer: Any) -> int:  # noqa: N802
        del self.memory[pointer.value]
        return 0

    def cuGraphLaunch(self, graph: Any, stream: Any) -> int:  # noqa: N802
        self.launches += 1
        return 0

    def cuEventElapsedTime(self, elapsed: Any, start: Any, end: Any) -> int:  # noqa: N802
        elapsed._obj.value = 2.0
        return 0


class _Severity(IntEnum):
    ERROR = 1


class _Context:
    def __init__(self) -> None:
        self.pointers: dict[str, int] = {}
        self.shape: tuple[int, ...] = ()

    def set_tensor_address(self, name: str, pointer: int) -> None:
        self.pointers[name] = pointer

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def execute_async_v3(self, stream: int) -> bool:
        size = int(np.prod(self.shape))
        image, mask = (
            np.ctypeslib.as_array((ctypes.c_float * size).from_address(self.pointers[name])) for name in SHAPES
        )
        mask[:] = image.reshape(self.shape).mean(axis=(1, 2, 3)).repeat(size // self.shape[0])
        return True


def fake_tensorrt(version: int = 11, refuse: str = "") -> Any:
    """The module. version 11 has no STRONGLY_TYPED flag. refuse: what the builder logs when it fails."""
    trt = SimpleNamespace(__version__=f"{version}.2.1.2", networks=[], timing_caches=[])
    flags = {"STRONGLY_TYPED": 1} if version == 10 else {}
    trt.NetworkDefinitionCreationFlag = SimpleNamespace(**flags)
    trt.BuilderFlag = SimpleNamespace(VERSION_COMPATIBLE="vc")
    trt.TensorIOMode = SimpleNamespace(INPUT="in", OUTPUT="out")
    trt.nptype = lambda kind: np.float32
    trt.ILogger = type("ILogger", (), {"Severity": _Severity, "__init__": lambda self: None})
    trt.Logger = lambda severity: None
    trt.Logger.ERROR = _Severity.ERROR

    class Network(SimpleNamespace):
        num_layers, num_inputs = 3, 1

        def get_input(self, index: int) -> Any:
            return SimpleNamespace(name="IMAGE", shape=SHAPES["IMAGE"])

    class OnnxParser:
        def __init__(self, network: Any, logger: Any) -> None:
            self.network = network

        def parse_from_file(self, path: str) -> bool:
            self.network.graph = Path(path).read_bytes()
            return True

    class Builder:
        def __init__(self, logger: Any) -> None:
            self.logger = logger

        def create_network(self, flags: int) -> Any:
            trt.networks.append(flags)
            return Network()

        def create_builder_config(self) -> Any:
            config = SimpleNamespace(flags=[], profiles=[])
            config.set_flag = config.flags.append
            config.add_optimization_profile = config.profiles.append
            config.create_timing_cache = lambda known: trt.timing_caches.append(known) or "cache"
            config.set_timing_cache = lambda cache, ignore: None
            config.get_timing_cache = lambda: SimpleNamespace(serialize=lambda: b"timings")
            trt.config = config
            return config

        def create_optimization_profile(self) -> Any:
            profile = SimpleNamespace(shapes={})
            profile.set_shape = lambda name, *shapes: profile.shapes.update({name: shapes})
            return profile

        def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
            if refuse:
                self.logger.log(_Severity.ERROR, refuse)
                return None
            return bytes(network.graph)

    class Runtime:
        def __init__(self, logger: Any) -> None:
            self.engine_host_code_allowed = False

        def deserialize_cuda_engine(self, plan: bytes) -> Any:
            return SimpleNamespace(
                num_io_tensors=2,
                get_tensor_name=lambda index: list(SHAPES)[index],
                get_tensor_mode=lambda name: "in" if name == "IMAGE" else "out",
                get_tensor_dtype=lambda name: "float",
                get_tensor_shape=lambda name: SHAPES[name],
                create_execution_context=_Context,
            )

    trt.OnnxParser, trt.Builder, trt.Runtime = OnnxParser, Builder, Runtime
    return trt

"""The few functions of the CUDA driver that a measurement needs, by ctypes: no package of Python's has to match it.

Signatures: CUDA Driver API, "Device Management", "Memory Management", "Stream Management", "Graph Management".
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_char, c_float, c_int, c_size_t, c_uint64, c_void_p
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cutout_build.errors import BuildError

_COMPUTE_CAPABILITY = (75, 76)
_NON_BLOCKING = 1
_CAPTURE_RELAXED = 2


@dataclass(frozen=True, slots=True)
class Gpu:
    """The first GPU. compute_capability: 89 for SM 8.9. memory: bytes. driver: CUDA version of the driver, as 13.0."""

    name: str
    compute_capability: int
    memory: int
    driver: str


class NoGpuError(BuildError):
    """There is none that could be used; the text is a sentence."""


class Cuda:
    """The first GPU, made current. One object a process.

    Raises NoGpuError where there is no driver or no GPU. Every other failure of the driver is a BuildError.
    """

    def __init__(self, library: Any = None) -> None:
        self._driver = library or _library()
        if self._driver.cuInit(0):
            raise NoGpuError("There is no NVIDIA GPU on this machine: its driver starts none.")
        count = c_int()
        self._call("cuDeviceGetCount", byref(count))
        if count.value == 0:
            raise NoGpuError("There is no NVIDIA GPU on this machine: its driver lists none.")
        device = c_int()
        self._call("cuDeviceGet", byref(device), 0)
        self.gpu = self._describe(device)
        context = c_void_p()
        self._call("cuDevicePrimaryCtxRetain", byref(context), device)
        self._call("cuCtxSetCurrent", context)
        stream = c_void_p()
        self._call("cuStreamCreate", byref(stream), _NON_BLOCKING)
        self._stream = stream

    @property
    def stream(self) -> int:
        """Handle of the one stream."""
        return int(self._stream.value or 0)

    def allocate(self, size: int) -> int:
        """Address of `size` bytes of the GPU's memory."""
        pointer = c_uint64()
        self._call("cuMemAlloc_v2", byref(pointer), c_size_t(size))
        return pointer.value

    def free(self, pointer: int) -> None:
        """Gives back what `allocate` gave."""
        self._call("cuMemFree_v2", c_uint64(pointer))

    def upload(self, pointer: int, array: NDArray[Any]) -> None:
        """Copies a C-contiguous array to the GPU, and waits."""
        self._call("cuMemcpyHtoD_v2", c_uint64(pointer), c_void_p(array.ctypes.data), c_size_t(array.nbytes))

    def download(self, pointer: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """An fp32 array from the GPU, after everything in the stream."""
        self.wait()
        array = np.empty(shape, np.float32)
        self._call("cuMemcpyDtoH_v2", c_void_p(array.ctypes.data), c_uint64(pointer), c_size_t(array.nbytes))
        return array

    def wait(self) -> None:
        """Until the stream is empty."""
        self._call("cuStreamSynchronize", self._stream)

    def begin_capture(self) -> None:
        """From here on the stream records into a graph instead of running."""
        self._call("cuStreamBeginCapture_v2", self._stream, c_int(_CAPTURE_RELAXED))

    def end_capture(self) -> c_void_p:
        """What was recorded, ready for `launch`."""
        graph, executable = c_void_p(), c_void_p()
        self._call("cuStreamEndCapture", self._stream, byref(graph))
        self._call("cuGraphInstantiateWithFlags", byref(executable), graph, c_uint64(0))
        return executable

    def launch(self, executable: c_void_p) -> None:
        """Puts a recorded graph into the stream."""
        self._call("cuGraphLaunch", executable, self._stream)

    def event(self) -> c_void_p:
        """A new event for `record`."""
        event = c_void_p()
        self._call("cuEventCreate", byref(event), 0)
        return event

    def record(self, event: c_void_p) -> None:
        """The event happens when the stream gets there."""
        self._call("cuEventRecord", event, self._stream)

    def elapsed_ms(self, start: c_void_p, end: c_void_p) -> float:
        """Milliseconds between two events that have happened."""
        elapsed = c_float()
        self._call("cuEventElapsedTime", byref(elapsed), start, end)
        return elapsed.value

    def _describe(self, device: c_int) -> Gpu:
        name = (c_char * 256)()
        self._call("cuDeviceGetName", name, 256, device)
        major, minor = c_int(), c_int()
        for value, attribute in zip((major, minor), _COMPUTE_CAPABILITY, strict=True):
            self._call("cuDeviceGetAttribute", byref(value), attribute, device)
        memory = c_size_t()
        self._call("cuDeviceTotalMem_v2", byref(memory), device)
        version = c_int()
        self._call("cuDriverGetVersion", byref(version))
        driver = f"{version.value // 1000}.{version.value % 1000 // 10}"
        return Gpu(name.value.decode(), 10 * major.value + minor.value, memory.value, driver)

    def _call(self, function: str, *arguments: Any) -> None:
        status = getattr(self._driver, function)(*arguments)
        if status:
            raise BuildError(f"The CUDA driver's {function} failed with status {status}.")


def _library() -> Any:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise NoGpuError("There is no NVIDIA GPU on this machine: libcuda.so.1, its driver, is missing.") from None

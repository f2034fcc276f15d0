"""A small KServe v2 server that stands in for Triton where a test is about the gateway and not about pixels."""

from __future__ import annotations

import mmap
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from cutout_core.contract import Box, RowError, RowMeta, Violation
from cutout_core.contract.errors import ErrorCode
from cutout_core.contract.tensors import ENSEMBLES, MODELS

#: What the fake answers as RESULT of every good row.
RESULT = b"\x89PNG\r\n\x1a\n-fake-result"

#: What it says when it fails, which no caller may see.
FAILURE = "/secret/path: Traceback (most recent call last)"


def unpack(raw: bytes | memoryview) -> list[bytes]:
    """The elements of a BYTES tensor."""
    values, offset = [], 0
    while offset < len(raw):
        (length,) = struct.unpack_from("<I", raw, offset)
        values.append(bytes(raw[offset + 4 : offset + 4 + length]))
        offset += 4 + length
    return values


def pack(values: list[bytes]) -> bytes:
    """A BYTES tensor."""
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


class FakeTriton(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Answers every row after `delay_s`, or its ensemble's own of `delays`; the attributes make it misbehave.

    `images` holds every image that it was sent, in order of arrival. `regions` holds the shared memory that is
    registered, mapped as a Triton on the same host does, `placed` names the region of each input that came in one, and
    `stored` that of each output that went into one; one that does not fit is refused as Triton does it.
    """

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.delays: dict[str, float] = {}
        self.result = RESULT
        self.backend = "python"
        self.models_ready = True
        self.absent: set[str] = set()
        self.not_ready: set[str] = set()
        self.backends: dict[str, str] = {}
        self.fail_with: grpc.StatusCode | None = None
        self.failure = FAILURE
        self.row_error: RowError | None = None
        self.batches: list[int] = []
        self.ensembles: list[str] = []
        self.options: list[bytes] = []
        self.backgrounds: list[list[bytes] | None] = []
        self.violations: list[Violation] = []
        self.images: list[bytes] = []
        self.regions: dict[str, mmap.mmap] = {}
        self.placed: list[str] = []
        self.stored: list[str] = []
        self.subject: Box | None = Box(1, 2, 3, 4)
        self.warnings: list[str] = []
        self.cancelled = threading.Event()
        self._server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.max_receive_message_length", -1)])
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def stop(self) -> None:
        self._server.stop(0).wait()

    def wait_for_images(self, count: int, seconds: float = 10.0) -> None:
        """Returns once `count` images have arrived. Raises TimeoutError."""
        end = time.monotonic() + seconds
        while len(self.images) < count:
            if time.monotonic() > end:
                raise TimeoutError(f"{len(self.images)} of {count} images arrived")
            time.sleep(0.01)

    def reset(self) -> None:
        """Back to good behaviour."""
        self.delay_s, self.result, self.backend, self.models_ready = 0.0, RESULT, "python", True
        self.fail_with, self.failure, self.row_error = None, FAILURE, None
        self.absent, self.not_ready, self.backends, self.delays = set(), set(), {}, {}
        self.batches.clear()
        self.ensembles.clear()
        self.options.clear()
        self.backgrounds.clear()
        self.images.clear()
        self.placed.clear()
        self.stored.clear()
        self.violations, self.subject, self.warnings = [], Box(1, 2, 3, 4), []
        self.cancelled.clear()

    def ServerMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return pb.ServerMetadataResponse(name="fake", version="0.0")

    def ModelReady(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return pb.ModelReadyResponse(ready=self.models_ready and request.name not in self.absent | self.not_ready)

    def RepositoryIndex(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return pb.RepositoryIndexResponse(
            models=[pb.RepositoryIndexResponse.ModelIndex(name=name) for name in MODELS if name not in self.absent]
        )

    def ModelConfig(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        answer = pb.ModelConfigResponse()
        answer.config.name, answer.config.backend = request.name, self.backends.get(request.name, self.backend)
        answer.config.parameters["precision"].string_value = "fp32"
        return answer

    def SystemSharedMemoryRegister(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        path = Path("/dev/shm", request.key.removeprefix("/"))
        if not path.is_file():
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"Unable to open shared memory region: '{request.key}'")
        with path.open("r+b") as file:
            self.regions[request.name] = mmap.mmap(file.fileno(), request.byte_size)
        return pb.SystemSharedMemoryRegisterResponse()

    def SystemSharedMemoryUnregister(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.regions.pop(request.name, None)
        return pb.SystemSharedMemoryUnregisterResponse()

    def SystemSharedMemoryStatus(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        answer = pb.SystemSharedMemoryStatusResponse()
        for name in self.regions:
            answer.regions[name].name = name
        return answer

    def ModelInfer(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        context.add_callback(lambda: None if context.code() else self.cancelled.set())
        inputs = self._inputs(request, context)
        images, options = inputs["IMAGE"], inputs["OPTIONS"]
        self.backgrounds.append(inputs.get("BACKGROUND"))
        self.batches.append(len(images))
        self.ensembles.append(request.model_name)
        self.options.extend(options)
        self.images.extend(images)
        end = time.monotonic() + self.delays.get(request.model_name, self.delay_s)
        while time.monotonic() < end and context.is_active():
            time.sleep(0.005)
        if self.fail_with is not None:
            context.abort(self.fail_with, self.failure)
        response = pb.ModelInferResponse(model_name=request.model_name)
        metas, results = [], []
        for _ in images:
            meta = RowMeta(source_format="jpeg", source_width=96, source_height=64, width=96, height=64)
            meta.quality = next(quality for quality, name in ENSEMBLES.items() if name == request.model_name)
            if meta.quality != "fast":
                meta.mode, meta.mode_certainty = "portrait", 0.75
            meta.confidence = 0.9375
            meta.violations = self.violations
            meta.error, meta.subject, meta.coverage = self.row_error, self.subject, 0.25
            meta.warnings = list(self.warnings)
            meta.timings_ms = {"preprocess": 1.0, "engines": 2.0, "postprocess": 3.0, "encode": 1.5}
            metas.append(meta.to_json())
            results.append(b"" if self.row_error else self.result)
        in_regions = {output.name: output for output in request.outputs if "shared_memory_region" in output.parameters}
        for name, values in (("RESULT", results), ("META", metas)):
            response.outputs.add(name=name, datatype="BYTES", shape=[len(values), 1])
            if name in in_regions:
                self._store(in_regions[name], pack(values), context)
            response.raw_output_contents.append(b"" if name in in_regions else pack(values))
        return response

    def _store(self, output: Any, tensor: bytes, context: grpc.ServicerContext) -> None:
        name = output.parameters["shared_memory_region"].string_param
        size = output.parameters["shared_memory_byte_size"].int64_param
        if name not in self.regions:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"Unable to find shared memory region: '{name}'")
        if len(tensor) > size:
            text = f"shared memory size specified with the request for output '{output.name}' ({size} bytes) should be "
            context.abort(grpc.StatusCode.INTERNAL, f"{text}at least {len(tensor)} bytes to hold the results")
        self.regions[name][: len(tensor)] = tensor
        self.stored.append(name)

    def _inputs(self, request: Any, context: grpc.ServicerContext) -> dict[str, list[bytes]]:
        """The elements of each input, wherever they are; those in shared memory are not among the raw contents."""
        contents, inputs = iter(request.raw_input_contents), {}
        for tensor in request.inputs:
            if "shared_memory_region" not in tensor.parameters:
                inputs[tensor.name] = unpack(next(contents))
                continue
            name = tensor.parameters["shared_memory_region"].string_param
            if name not in self.regions:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"Unable to find shared memory region: '{name}'")
            size = tensor.parameters["shared_memory_byte_size"].int64_param
            inputs[tensor.name] = unpack(memoryview(self.regions[name])[:size])
            self.placed.append(name)
        return inputs


INTERNAL_ROW = RowError(ErrorCode.INTERNAL, "A defect of the server; the request id is in its log.")

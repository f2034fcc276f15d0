"""KServe v2 over gRPC: `inference.GRPCInferenceService`. Messages are admitted, then forwarded as they are.

The service: `grpc_service.proto` of https://github.com/kserve/open-inference-protocol with Triton's extensions.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import grpc

from cutout_core.contract import CutoutError, ErrorCode
from cutout_gateway.grpc_messages import abort, only_message
from cutout_gateway.kserve_access import KserveAccess
from cutout_gateway.kserve_admission import OVERHEAD, InferCall, KserveAdmission
from cutout_gateway.kserve_upstream import first_part
from cutout_gateway.kserve_wire import InferMessage, read_infer, stream_error, stream_response
from cutout_gateway.metrics import OK
from cutout_gateway.requests import clean_request_id
from cutout_gateway.settings import Settings
from cutout_gateway.triton import KSERVE, TritonClient

PROTOCOL = "kserve_grpc"

#: Largest question about a model or the server, bytes, and the longest wait for its answer, seconds.
_QUESTION_BYTES = 64 * 1024
_QUESTION_S = 10.0
#: Questions that are answered at once.
_MAX_QUESTIONS = 64

#: Messages of one stream that are worked on at once; the next one is read when the oldest of them is answered.
_STREAM_AHEAD = 8

_QUESTIONS = ("ServerMetadata", "ModelMetadata", "ModelConfig", "ModelStatistics", "RepositoryIndex")
_CONTROL = (
    "RepositoryModelLoad",
    "RepositoryModelUnload",
    "SystemSharedMemoryStatus",
    "SystemSharedMemoryRegister",
    "SystemSharedMemoryUnregister",
    "CudaSharedMemoryStatus",
    "CudaSharedMemoryRegister",
    "CudaSharedMemoryUnregister",
    "TraceSetting",
    "LogSettings",
)

_OUTCOMES = {
    grpc.StatusCode.CANCELLED: ErrorCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED: ErrorCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.NOT_FOUND: ErrorCode.NOT_FOUND,
    grpc.StatusCode.UNAVAILABLE: ErrorCode.MODEL_UNAVAILABLE,
    grpc.StatusCode.INTERNAL: ErrorCode.INTERNAL,
}

Context: TypeAlias = grpc.aio.ServicerContext
Messages = AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class GrpcAnswer:
    """Triton's answer: a serialized message, or the status and text of a refusal."""

    message: bytes = b""
    status: grpc.StatusCode = grpc.StatusCode.OK
    details: str = ""

    @property
    def size(self) -> int:
        return len(self.message)

    @property
    def outcome(self) -> str:
        """OK, or the code of the error table that is nearest to the status."""
        if self.status is grpc.StatusCode.OK:
            return OK
        return _OUTCOMES.get(self.status, ErrorCode.MALFORMED_REQUEST).value


@dataclass(frozen=True, slots=True)
class _Call:
    """One RPC, whose messages are bytes: its metadata with names in lower case, and its id."""

    context: Context
    headers: Mapping[str, str]
    request_id: str
    limit_s: float


_Method = Callable[[_Call], Awaitable[GrpcAnswer]]


class KserveGrpc:
    """The service's methods, as one handler for a gRPC server."""

    def __init__(
        self, admission: KserveAdmission, access: KserveAccess, triton: TritonClient, settings: Settings
    ) -> None:
        self._admission = admission
        self._service = admission.service
        self._access = access
        self._triton = triton
        self._settings = settings
        self._questions = 0

    def handler(self) -> grpc.GenericRpcHandler:
        """The handler; without serializers, so that messages pass as bytes.

        Unary methods are served as streams of one message, which is the same on the wire, because only so can a call be
        refused, and its message waited for with a limit, before the bytes have arrived.
        """
        unary: dict[str, _Method] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ModelInfer": self._model_infer,
        }
        unary |= {name: self._question(name) for name in _QUESTIONS}
        unary |= {name: self._control(name) for name in _CONTROL}
        methods = {name: grpc.stream_unary_rpc_method_handler(self._served(method)) for name, method in unary.items()}
        methods["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(self._model_stream_infer)
        return grpc.method_handlers_generic_handler(KSERVE, methods)

    def _served(self, method: _Method) -> Callable[[Messages, Context], Awaitable[bytes]]:
        """`method` as gRPC calls it: errors of the table and refusals of Triton become the call's status."""

        async def serve(messages: Messages, context: Context) -> bytes:
            call = self._call(context)
            try:
                answer = await method(call)
            except CutoutError as error:
                await abort(context, error, call.request_id)
                raise  # not reached: abort raises
            if answer.status is not grpc.StatusCode.OK:
                await context.abort(answer.status, answer.details)
            return answer.message

        return serve

    def _call(self, context: Context) -> _Call:
        headers = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        remaining = context.time_remaining()
        limit_s = self._settings.timeout_s if remaining is None else min(remaining, self._settings.max_timeout_s)
        return _Call(context, headers, clean_request_id(headers.get("x-request-id")), limit_s)

    async def _server_live(self, call: _Call) -> GrpcAnswer:
        return _YES

    async def _server_ready(self, call: _Call) -> GrpcAnswer:
        return _YES if self._service.ready else _NO

    async def _model_ready(self, call: _Call) -> GrpcAnswer:
        return _NO if self._service.draining else await self._question("ModelReady")(call)

    def _question(self, method: str) -> _Method:
        """Metadata and statistics: no permit, so that a busy server still answers, but little time and few bytes."""

        async def ask(call: _Call) -> GrpcAnswer:
            with self._counted(call):
                self._access.authorize(call.headers)
                if self._questions >= _MAX_QUESTIONS:
                    raise CutoutError(ErrorCode.OVERLOADED, retry_after_s=1.0)
                self._questions += 1
                try:
                    message = await only_message(call.context, _QUESTION_S)
                    if len(message) > _QUESTION_BYTES:
                        limit = f"The message is larger than {_QUESTION_BYTES} bytes."
                        raise CutoutError(ErrorCode.TOO_MANY_BYTES, limit)
                    return await self._send(method, message, _QUESTION_S)
                finally:
                    self._questions -= 1

        return ask

    def _control(self, method: str) -> _Method:
        async def control(call: _Call) -> GrpcAnswer:
            with self._counted(call):
                self._access.authorize(call.headers)
                self._access.check_control(call.headers, method)
                message = await only_message(call.context, self._settings.upload_timeout_s)
                return await self._send(method, message, self._settings.max_timeout_s)

        return control

    async def _model_infer(self, call: _Call) -> GrpcAnswer:
        received = time.monotonic()
        with self._counted(call):
            self._access.authorize(call.headers).check()
            with self._service.admission.upload() as weight:
                message = await only_message(call.context, self._settings.upload_timeout_s)
                weight.add(size=len(message))
                infer = self._read_infer(message)
            self._access.check_infer(call.headers, infer.facts)
        return await self._infer(call, message, infer, received)

    async def _model_stream_infer(self, messages: Messages, context: Context) -> AsyncIterator[bytes]:
        """Each message is admitted and answered like a single call, in order; an error is an answer, not the end."""
        call = self._call(context)
        try:
            with self._counted(call):
                self._access.authorize(call.headers)
        except CutoutError as error:
            await abort(context, error, call.request_id)
        answers: asyncio.Queue[asyncio.Task[bytes] | None] = asyncio.Queue(_STREAM_AHEAD)
        started: set[asyncio.Task[bytes]] = set()

        async def read() -> None:
            async for message in messages:
                task = asyncio.create_task(self._stream_answer(call, message))
                started.add(task)
                task.add_done_callback(started.discard)
                await answers.put(task)
            await answers.put(None)

        reader = asyncio.create_task(read())
        try:
            while (task := await answers.get()) is not None:
                yield await task
        finally:
            for left in (reader, *started):
                left.cancel()
            await asyncio.gather(reader, *started, return_exceptions=True)

    async def _stream_answer(self, call: _Call, message: bytes) -> bytes:
        received, call_id = time.monotonic(), ""
        try:
            with self._counted(call):
                infer = self._read_infer(message)
                call_id = infer.id
                self._access.check_infer(call.headers, infer.facts)
            answer = await self._infer(call, message, infer, received)
        except CutoutError as error:
            return stream_error(error.message, call_id)
        if answer.status is not grpc.StatusCode.OK:
            return stream_error(answer.details, call_id)
        return stream_response(answer.message)

    def _read_infer(self, message: bytes) -> InferMessage:
        """What admission needs of a request. Raises `CutoutError` TOO_MANY_BYTES or MALFORMED_REQUEST."""
        if len(message) > self._settings.max_bytes + OVERHEAD:
            limit = f"The message is larger than {self._settings.max_bytes + OVERHEAD} bytes."
            raise CutoutError(ErrorCode.TOO_MANY_BYTES, limit)
        return read_infer(message)

    async def _infer(self, call: _Call, message: bytes, infer: InferMessage, received: float) -> GrpcAnswer:
        admitted = InferCall(
            PROTOCOL,
            call.request_id,
            infer.model,
            len(message),
            infer.facts,
            received,
            received + call.limit_s,
            self._access.authorize(call.headers),
        )
        return await self._admission.infer(admitted, lambda left_s: self._send("ModelInfer", message, left_s))

    @contextlib.contextmanager
    def _counted(self, call: _Call) -> Iterator[None]:
        """Counts what is refused before it becomes an `InferCall`, which counts itself."""
        try:
            yield
        except CutoutError as error:
            self._service.refused(PROTOCOL, call.request_id, error)
            raise

    async def _send(self, method: str, message: bytes, timeout_s: float) -> GrpcAnswer:
        """Triton's answer. Raises `CutoutError` MODEL_UNAVAILABLE where Triton cannot be reached."""
        try:
            return GrpcAnswer(await self._triton.forward(method, message, timeout_s))
        except grpc.aio.AioRpcError as error:
            status, details = error.code(), error.details() or ""
            if status is grpc.StatusCode.UNAVAILABLE and not self._triton.connected:
                raise CutoutError(ErrorCode.MODEL_UNAVAILABLE, retry_after_s=2.0) from None
            if status is grpc.StatusCode.INTERNAL:
                details = first_part(details)
            return GrpcAnswer(status=status, details=details)


#: ServerLiveResponse, ServerReadyResponse and ModelReadyResponse have one field, a bool with number 1.
_YES, _NO = GrpcAnswer(b"\x08\x01"), GrpcAnswer(b"")

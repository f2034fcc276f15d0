"""gRPC without input or output: methods, messages, channel options and the translation of failed calls.

The contract's messages are used without generated stubs: a method is its path and two functions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import grpc

from cutout_client._config import Timeout
from cutout_client._endpoint import Endpoint
from cutout_client._exceptions import (
    ConnectError,
    CutoutClientError,
    Overloaded,
    ProtocolError,
    ServiceError,
    TimeoutError_,
    TooLarge,
    TransportError,
    UnsupportedOperation,
    WrongProtocol,
    exception_type,
)
from cutout_client._messages import CutoutResult, Operation, Reply, Request
from cutout_core.contract import Box, cutout_pb2

#: Largest request, bytes: twice the server's default limit of an image and a picture for the background.
MAX_SEND_BYTES = 128 * 1024 * 1024
#: Largest answer, bytes: 64 megapixels of RGBA that no compression made smaller, twice.
MAX_RECEIVE_BYTES = 512 * 1024 * 1024

#: Path of the stream of many images.
STREAM_PATH = "/cutout.v1.BackgroundRemoval/RemoveBackgrounds"

#: grpc.health.v1: HealthCheckRequest of the whole server, and HealthCheckResponse with status SERVING, encoded.
_HEALTH_OF_SERVER = b""
_SERVING = b"\x08\x01"


#: How gRPC says that the answer is none of HTTP/2, and that there was no connection at all.
_UNREADABLE = re.compile("Failed parsing HTTP/2|http1.x server")
_NO_CONNECTION = re.compile("failed to connect|errors resolving|DNS resolution failed", re.IGNORECASE)
_NO_GRPC = (
    "no gRPC is spoken there: an HTTP port is given as http://host:port; the gRPC port is 8081 unless it was set "
    "otherwise"
)


@dataclass(frozen=True, slots=True)
class Method:
    """One unary method: its path and how its messages are written and read."""

    path: str
    encode: Callable[[Request], bytes]
    decode: Callable[[bytes], Reply]


class FailedCall(Protocol):
    """What `grpc.RpcError` and `grpc.aio.AioRpcError` have in common."""

    def code(self) -> grpc.StatusCode: ...
    def details(self) -> str | None: ...
    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None: ...


def method_of(operation: Operation) -> Method:
    """Raises `UnsupportedOperation` for what only HTTP offers."""
    if operation not in _METHODS:
        raise UnsupportedOperation(f"{operation.value} is served over HTTP only: use the server's http:// address")
    return _METHODS[operation]


def channel_options(endpoint: Endpoint, timeout: Timeout) -> list[tuple[str, int]]:
    """Message sizes, connections of the channel's own, and a server that comes back is soon found again."""
    options = [
        ("grpc.max_send_message_length", MAX_SEND_BYTES),
        ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        ("grpc.enable_http_proxy", 0 if endpoint.is_loopback else 1),
    ]
    if timeout.connect is not None:
        options.append(("grpc.min_reconnect_backoff_ms", max(100, math.ceil(timeout.connect * 1000))))
    return options


def key_metadata(endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
    """The metadata of every call: the API key, where there is one."""
    return (("x-api-key", endpoint.api_key),) if endpoint.api_key else ()


def error_of(failed: FailedCall, request: Request) -> CutoutClientError:
    """The exception for a failed call: the server's own where its metadata names a code, else the transport's."""
    metadata = dict(failed.trailing_metadata() or ())
    code = _text(metadata.get("cutout-error-code"))
    details = failed.details() or failed.code().name
    if code is None:
        return _transport_error(failed.code(), details, request)
    retry_after_s = _seconds(_text(metadata.get("cutout-retry-after-ms")))
    raised = exception_type(code)(
        details,
        code=code,
        field=_text(metadata.get("cutout-error-field")),
        request_id=_text(metadata.get("cutout-request-id")) or request.request_id,
        retry_after_s=retry_after_s,
        retryable=retry_after_s is not None,
    )
    raised.grpc_status = failed.code().name
    return raised


def _transport_error(status: grpc.StatusCode, details: str, request: Request) -> CutoutClientError:
    request_id = request.request_id or None
    if status is grpc.StatusCode.UNAVAILABLE and _UNREADABLE.search(details):
        return WrongProtocol(_NO_GRPC)
    if status is grpc.StatusCode.UNAVAILABLE:
        arrived = not _NO_CONNECTION.match(details)
        gone = ConnectError(details, request_id=request_id if arrived else None)
        gone.arrived = arrived
        return gone
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TimeoutError_("no answer within the call's total time", request_id=request_id)
    if status is grpc.StatusCode.CANCELLED:
        return TransportError(f"the call was cancelled: {details}", request_id=request_id)
    if status is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details:
        # Without a code of Cutout's it comes from gRPC itself, whose limit is on the size of a message.
        too_large = TooLarge(details, code="too_many_bytes", request_id=request_id)
        too_large.grpc_status = status.name
        return too_large
    if status is grpc.StatusCode.RESOURCE_EXHAUSTED:  # gRPC's own limit on the calls of one server
        overloaded = Overloaded(details, code="overloaded", request_id=request_id)
        overloaded.grpc_status = status.name
        return overloaded
    if status is grpc.StatusCode.INTERNAL and "Internal error from Core" in details:
        # gRPC's own words, in place of UNAVAILABLE, where the connection breaks while a stream's call starts.
        return ConnectError(details, request_id=request_id)
    return ProtocolError(f"{status.name} ({details}): this is not the answer of a Cutout server", request_id=request_id)


def encode_item(name: str, request: Request, timeout_s: float | None) -> bytes:
    """A stream's message for `request`, to be answered under `name`."""
    timeout_ms = 0 if timeout_s is None else min(max(1, math.floor(timeout_s * 1000)), 2**32 - 1)
    item = cutout_pb2.RemoveBackgroundsRequest(id=name, request=_cutout_message(request), timeout_ms=timeout_ms)
    return item.SerializeToString()


def decode_item(raw: bytes) -> tuple[str, CutoutResult | ServiceError]:
    """The name of a stream's item and what became of it."""
    answer = cutout_pb2.RemoveBackgroundsResponse.FromString(raw)
    if answer.WhichOneof("outcome") == "result":
        return answer.id, _result(answer.result)
    error = answer.error
    return answer.id, exception_type(error.code)(
        error.message,
        code=error.code,
        field=error.field or None,
        request_id=error.request_id or None,
        retry_after_s=error.retry_after_ms / 1000 if error.HasField("retry_after_ms") else None,
        retryable=error.retryable,
    )


def _encode_cutout(request: Request) -> bytes:
    return _cutout_message(request).SerializeToString()


def _cutout_message(request: Request) -> cutout_pb2.RemoveBackgroundRequest:
    return cutout_pb2.RemoveBackgroundRequest(
        image=request.image,
        options=dict(request.options),
        request_id=request.request_id,
        background_image=request.background,
    )


def _decode_cutout(raw: bytes) -> Reply:
    return _result(cutout_pb2.RemoveBackgroundResponse.FromString(raw))


def _result(answer: cutout_pb2.RemoveBackgroundResponse) -> CutoutResult:
    meta = answer.meta
    box = meta.subject
    return CutoutResult(
        data=answer.result,
        content_type=answer.content_type,
        width=meta.width,
        height=meta.height,
        source_width=meta.source_width,
        source_height=meta.source_height,
        source_format=meta.source_format,
        subject=Box(box.left, box.top, box.width, box.height) if meta.HasField("subject") else None,
        coverage=meta.coverage,
        warnings=tuple(meta.warnings),
        timings_ms=dict(meta.timings_ms),
        request_id=meta.request_id,
        quality=meta.quality,
        mode=meta.mode,
        confidence=meta.confidence if meta.HasField("confidence") else None,
        violations=tuple(violation.rule for violation in meta.violations),
    )


_METHODS = {
    Operation.REMOVE_BACKGROUND: Method(
        "/cutout.v1.BackgroundRemoval/RemoveBackground", _encode_cutout, _decode_cutout
    ),
    Operation.READY: Method("/grpc.health.v1.Health/Check", lambda _: _HEALTH_OF_SERVER, lambda raw: raw == _SERVING),
}


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else None


def _seconds(milliseconds: str | None) -> float | None:
    return int(milliseconds) / 1000 if milliseconds and milliseconds.isdecimal() else None

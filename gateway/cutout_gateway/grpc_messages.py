"""Between gRPC's messages and the service's: requests, replies and errors, for the single call and the stream."""

from __future__ import annotations

import asyncio

import grpc
from google.protobuf.message import DecodeError

from cutout_core.contract import CutoutError, ErrorCode
from cutout_core.contract import cutout_pb2 as pb
from cutout_gateway.access import Caller
from cutout_gateway.protobuf_wire import header
from cutout_gateway.requests import CutoutReply

# Fields of RemoveBackgroundResponse and of RemoveBackgroundsResponse.
_RESULT, _ITEM_RESULT = 1, 2


def decode(raw: bytes) -> pb.RemoveBackgroundRequest:
    """The single call's message. Raises `CutoutError` MALFORMED_REQUEST."""
    try:
        return pb.RemoveBackgroundRequest.FromString(raw)
    except DecodeError:
        raise _malformed() from None


def decode_item(raw: bytes) -> pb.RemoveBackgroundsRequest:
    """A stream's message. Raises `CutoutError` MALFORMED_REQUEST."""
    try:
        return pb.RemoveBackgroundsRequest.FromString(raw)
    except DecodeError:
        raise _malformed() from None


async def only_message(context: grpc.aio.ServicerContext, limit_s: float) -> bytes:
    """The message of a unary call that is served as a stream. Raises `CutoutError` REQUEST_TIMEOUT or
    MALFORMED_REQUEST.

    Not by the iterator that gRPC gives a handler: that holds on to the message until the call ends.
    """
    try:
        async with asyncio.timeout(limit_s):
            message: bytes = await context.read()
    except TimeoutError:
        raise CutoutError(ErrorCode.REQUEST_TIMEOUT, f"The message did not arrive within {limit_s:g} s.") from None
    if message is grpc.aio.EOF:
        raise CutoutError(ErrorCode.MALFORMED_REQUEST, "The call has no message.")
    return message


def serialized(reply: CutoutReply) -> bytes:
    """The single call's `RemoveBackgroundResponse`."""
    return b"".join(_parts(reply))


def serialized_item(item_id: str, reply: CutoutReply) -> bytes:
    """A stream's `RemoveBackgroundsResponse` that carries a finished cut-out."""
    parts = _parts(reply)
    start = pb.RemoveBackgroundsResponse(id=item_id).SerializeToString()
    return b"".join((start, header(_ITEM_RESULT, sum(map(len, parts))), *parts))


def _parts(reply: CutoutReply) -> tuple[bytes, bytes, bytes]:
    """A serialized `RemoveBackgroundResponse`, with the result as it is."""
    meta = reply.meta
    rest = pb.RemoveBackgroundResponse(
        content_type=reply.options.content_type,
        meta=pb.Meta(
            request_id=reply.request_id,
            source_width=meta.source_width,
            source_height=meta.source_height,
            source_format=meta.source_format,
            width=meta.width,
            height=meta.height,
            coverage=meta.coverage,
            warnings=meta.warnings,
            timings_ms=meta.timings_ms,
            quality=meta.quality,
            mode=meta.mode,
            mode_certainty=meta.mode_certainty,
            confidence=meta.confidence,
            violations=[pb.Violation(rule=v.rule.value, message=v.message) for v in meta.violations],
        ),
    )
    if meta.subject is not None:
        box = meta.subject
        rest.meta.subject.CopyFrom(pb.Box(left=box.left, top=box.top, width=box.width, height=box.height))
    return header(_RESULT, len(reply.result)), reply.result, rest.SerializeToString()


def item_error(error: CutoutError, request_id: str) -> pb.ItemError:
    """The answer to an item that has no result."""
    return pb.ItemError(
        code=error.code.value,
        message=error.message,
        field=error.field,
        retryable=error.row.retryable,
        retry_after_ms=_retry_after_ms(error),
        request_id=request_id,
    )


def rate_metadata(caller: Caller | None) -> tuple[tuple[str, str], ...]:
    """The caller's budget, under the names of the HTTP headers."""
    return tuple((name.lower(), value) for name, value in (caller.rate_headers() if caller else {}).items())


async def abort(
    context: grpc.aio.ServicerContext, error: CutoutError, request_id: str, caller: Caller | None = None
) -> None:
    """Ends the call with the error's status, its details in the trailing metadata; raises."""
    metadata = [("cutout-error-code", error.code.value), ("cutout-request-id", request_id), *rate_metadata(caller)]
    if error.field is not None:
        metadata.append(("cutout-error-field", _printable(error.field)))
    if error.retry_after_s is not None:
        metadata.append(("cutout-retry-after-ms", str(_retry_after_ms(error))))
    await context.abort(grpc.StatusCode[error.row.grpc_status], error.message, tuple(metadata))


def _retry_after_ms(error: CutoutError) -> int | None:
    return None if error.retry_after_s is None else round(error.retry_after_s * 1000)


def _malformed() -> CutoutError:
    return CutoutError(ErrorCode.MALFORMED_REQUEST, "The message cannot be decoded.")


def _printable(text: str) -> str:
    """What gRPC metadata may hold (gRPC over HTTP/2, Custom-Metadata: printable ASCII)."""
    return "".join(character if " " <= character <= "~" else "?" for character in text)

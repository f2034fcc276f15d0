"""The gRPC edge: `cutout.v1.BackgroundRemoval`, health (grpc.health.v1) and reflection. No logic of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from cutout_core.contract import CutoutError, ErrorCode
from cutout_core.contract import cutout_pb2 as pb
from cutout_gateway.requests import CutoutReply, CutoutRequest, clean_request_id
from cutout_gateway.service import CutoutService
from cutout_gateway.settings import Settings

SERVICE = "cutout.v1.BackgroundRemoval"
PROTOCOL = "grpc"

#: What a message may hold beside the image, bytes.
_MESSAGE_OVERHEAD = 1024 * 1024

#: Calls beyond uploads and work in flight that are still answered: health watches, and refusals themselves.
_SPARE_RPCS = 1000


class GrpcApi:
    """The gRPC server; `health` is switched by the readiness watch. more: handlers of further services, by name."""

    def __init__(
        self, service: CutoutService, settings: Settings, more: Mapping[str, grpc.GenericRpcHandler] | None = None
    ) -> None:
        self._service = service
        self._settings = settings
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            options=[
                # One byte too many still reaches our own check and its clear error; far too many is cut by gRPC.
                ("grpc.max_receive_message_length", settings.max_bytes + _MESSAGE_OVERHEAD),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
            ],
            maximum_concurrent_rpcs=settings.max_in_flight + settings.max_uploads + _SPARE_RPCS,
        )
        # The method is unary. It is served as a stream of one message, which is the same on the wire, because only so
        # can a call be refused, and its message waited for with a limit, before the bytes have arrived.
        handler = grpc.stream_unary_rpc_method_handler(
            self._remove_background, response_serializer=pb.RemoveBackgroundResponse.SerializeToString
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, {"RemoveBackground": handler}),)
        )
        self._server.add_generic_rpc_handlers(tuple((more or {}).values()))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (SERVICE, *(more or {}), health.SERVICE_NAME, reflection.SERVICE_NAME), self._server
        )

    async def start(self) -> int:
        """Starts to listen; returns the port. Raises RuntimeError where the address is taken."""
        host = self._settings.grpc_host
        address = f"[{host}]:{self._settings.grpc_port}" if ":" in host else f"{host}:{self._settings.grpc_port}"
        try:
            port: int = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise RuntimeError(f"gRPC cannot listen on {address} (is it in use?); set CUTOUT_GRPC_PORT") from error
        await self.set_serving(False)
        await self._server.start()
        return port

    async def stop(self, grace_s: float) -> None:
        """Stops accepting; calls in flight may finish within `grace_s` seconds."""
        await self._server.stop(grace_s)

    async def set_serving(self, serving: bool) -> None:
        """Sets the health of the server ("") and of the service."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", SERVICE):
            await self._health.set(name, status)

    async def _remove_background(
        self, messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext
    ) -> pb.RemoveBackgroundResponse:
        received = time.monotonic()
        request_id = clean_request_id(None)
        counted = False
        try:
            message = await self._read(messages)
            request_id = clean_request_id(message.request_id)
            remaining = context.time_remaining()
            timeout_s = self._settings.timeout_s if remaining is None else min(remaining, self._settings.max_timeout_s)
            request = CutoutRequest(
                message.image, dict(message.options), request_id, PROTOCOL, received + timeout_s, received
            )
            counted = True
            reply = await self._service.cutout(request)
        except CutoutError as error:
            if not counted:
                self._service.refused(PROTOCOL, request_id, error)
            await _abort(context, error, request_id)
            raise  # not reached: abort raises
        return _message(reply)

    async def _read(self, messages: AsyncIterator[bytes]) -> pb.RemoveBackgroundRequest:
        """The call's one message. Raises `CutoutError`, of OVERLOADED before anything is read."""
        limit_s = self._settings.upload_timeout_s
        with self._service.admission.upload() as weight:
            try:
                async with asyncio.timeout(limit_s):
                    raw = await anext(messages)
            except TimeoutError:
                raise CutoutError(
                    ErrorCode.REQUEST_TIMEOUT, f"The message did not arrive within {limit_s:g} s."
                ) from None
            except StopAsyncIteration:
                raise CutoutError(ErrorCode.MALFORMED_REQUEST, "The call has no message.") from None
            weight.add(size=len(raw))
            try:
                return pb.RemoveBackgroundRequest.FromString(raw)
            except DecodeError:
                raise CutoutError(ErrorCode.MALFORMED_REQUEST, "The message cannot be decoded.") from None


async def _abort(context: grpc.aio.ServicerContext, error: CutoutError, request_id: str) -> None:
    metadata = [("cutout-error-code", error.code.value), ("cutout-request-id", request_id)]
    if error.field is not None:
        metadata.append(("cutout-error-field", _printable(error.field)))
    if error.retry_after_s is not None:
        metadata.append(("cutout-retry-after-ms", str(round(error.retry_after_s * 1000))))
    await context.abort(grpc.StatusCode[error.row.grpc_status], error.message, tuple(metadata))


def _printable(text: str) -> str:
    """What gRPC metadata may hold (gRPC over HTTP/2, Custom-Metadata: printable ASCII)."""
    return "".join(character if " " <= character <= "~" else "?" for character in text)


def _message(reply: CutoutReply) -> pb.RemoveBackgroundResponse:
    meta = reply.meta
    message = pb.RemoveBackgroundResponse(
        result=reply.result,
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
        ),
    )
    if meta.subject is not None:
        box = meta.subject
        message.meta.subject.CopyFrom(pb.Box(left=box.left, top=box.top, width=box.width, height=box.height))
    return message

"""The gRPC edge: `cutout.v1.BackgroundRemoval`, health (grpc.health.v1) and reflection. No logic of its own."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from cutout_core.contract import CutoutError
from cutout_core.contract import cutout_pb2 as pb
from cutout_gateway.access import Caller
from cutout_gateway.grpc_messages import abort, decode, only_message, rate_metadata, serialized
from cutout_gateway.grpc_stream import StreamApi
from cutout_gateway.requests import CutoutRequest, clean_request_id
from cutout_gateway.service import CutoutService
from cutout_gateway.settings import Settings

SERVICE = "cutout.v1.BackgroundRemoval"
PROTOCOL = "grpc"

#: What a message may hold beside the image and the picture for the background, bytes.
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
                ("grpc.max_receive_message_length", 2 * settings.max_bytes + _MESSAGE_OVERHEAD),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
                # A caller that is gone without a word is noticed even while it has nothing to send or to read.
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.keepalive_timeout_ms", 20_000),
            ],
            maximum_concurrent_rpcs=settings.max_in_flight + settings.max_uploads + _SPARE_RPCS,
        )
        # The method is unary. It is served as a stream of one message, which is the same on the wire, because only so
        # can a call be refused, and its message waited for with a limit, before the bytes have arrived.
        handler = grpc.stream_unary_rpc_method_handler(self._remove_background)
        stream = grpc.stream_stream_rpc_method_handler(StreamApi(service, settings).remove_backgrounds)
        methods = {"RemoveBackground": handler, "RemoveBackgrounds": stream}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
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

    async def _remove_background(self, messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> bytes:
        received = time.monotonic()
        request_id = clean_request_id(None)
        counted = False
        caller: Caller | None = None
        try:
            caller = self._service.access.authorize(dict(context.invocation_metadata() or ()))
            caller.check()
            message = await self._read(context)
            request_id = clean_request_id(message.request_id)
            remaining = context.time_remaining()
            timeout_s = self._settings.timeout_s if remaining is None else min(remaining, self._settings.max_timeout_s)
            request = CutoutRequest(
                message.image,
                dict(message.options),
                request_id,
                PROTOCOL,
                received + timeout_s,
                received,
                message.background_image,
                caller=caller,
            )
            counted = True
            del message  # it has a copy of the image, and the work may take long
            reply = await self._service.cutout(request)
        except CutoutError as error:
            if not counted:
                self._service.refused(PROTOCOL, request_id, error)
            await abort(context, error, request_id, caller)
            raise  # not reached: abort raises
        context.set_trailing_metadata(rate_metadata(caller))
        return serialized(reply)

    async def _read(self, context: grpc.aio.ServicerContext) -> pb.RemoveBackgroundRequest:
        """The call's one message. Raises `CutoutError`, of OVERLOADED before anything is read."""
        with self._service.admission.upload() as weight:
            raw = await only_message(context, self._settings.upload_timeout_s)
            weight.add(size=len(raw))
            return decode(raw)

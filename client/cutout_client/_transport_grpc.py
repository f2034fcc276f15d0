"""gRPC with grpcio. Certificates of `grpcs://` come from gRPC's own roots or GRPC_DEFAULT_SSL_ROOTS_FILE_PATH."""

from __future__ import annotations

import grpc

from cutout_client._config import Timeout
from cutout_client._endpoint import Endpoint
from cutout_client._grpc_wire import channel_options, error_of, key_metadata, method_of
from cutout_client._messages import Reply, Request


class GRPCTransport:
    """Blocking gRPC over one channel."""

    def __init__(self, endpoint: Endpoint, timeout: Timeout) -> None:
        options = channel_options(endpoint, timeout)
        self.metadata = key_metadata(endpoint)
        if endpoint.secure:
            self._channel = grpc.secure_channel(endpoint.target, grpc.ssl_channel_credentials(), options)
        else:
            self._channel = grpc.insecure_channel(endpoint.target, options)

    def send(self, request: Request, timeout_s: float | None) -> Reply:
        method = method_of(request.operation)
        call = self._channel.unary_unary(
            method.path, request_serializer=method.encode, response_deserializer=method.decode
        )
        try:
            reply: Reply = call(request, timeout=timeout_s, metadata=self.metadata)
        except grpc.RpcError as error:
            raise error_of(error, request) from error
        return reply

    def close(self) -> None:
        self._channel.close()


class AsyncGRPCTransport:
    """asyncio gRPC. The channel belongs to the event loop of the first call, so it is opened there."""

    def __init__(self, endpoint: Endpoint, timeout: Timeout) -> None:
        self._endpoint = endpoint
        self.metadata = key_metadata(endpoint)
        self._options = channel_options(endpoint, timeout)
        self._channel: grpc.aio.Channel | None = None

    async def send(self, request: Request, timeout_s: float | None) -> Reply:
        method = method_of(request.operation)
        call = self.channel().unary_unary(
            method.path, request_serializer=method.encode, response_deserializer=method.decode
        )
        try:
            reply: Reply = await call(request, timeout=timeout_s, metadata=self.metadata)
        except grpc.aio.AioRpcError as error:
            raise error_of(error, request) from error
        return reply

    async def aclose(self) -> None:
        if self._channel is not None:
            await self._channel.close()

    def channel(self) -> grpc.aio.Channel:
        """The channel, opened by the first call."""
        if self._channel is None:
            endpoint = self._endpoint
            if endpoint.secure:
                credentials = grpc.ssl_channel_credentials()
                self._channel = grpc.aio.secure_channel(endpoint.target, credentials, self._options)
            else:
                self._channel = grpc.aio.insecure_channel(endpoint.target, self._options)
        return self._channel

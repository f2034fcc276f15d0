"""gRPC with grpc.aio: messages are encoded before the run, and of an answer only META is read."""

from __future__ import annotations

import itertools
import time
from urllib.parse import urlsplit

import grpc

from cutout_core.contract import cutout_pb2
from cutout_loadtest.shot import CONNECTION, OK, TIMEOUT, Outcome, Shot

_METHOD = "/cutout.v1.BackgroundRemoval/RemoveBackground"
#: Connections; calls take them in turn, so that one TCP window does not bound the load.
_CHANNELS = 4
_OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
]
#: Statuses of calls that gRPC itself failed, without a code of the service.
_TRANSPORT = {grpc.StatusCode.DEADLINE_EXCEEDED: TIMEOUT, grpc.StatusCode.UNAVAILABLE: CONNECTION}


class GrpcSender:
    """Made inside the event loop. Raises ValueError where `url` is no grpc://host:port. timeout_s: of one call."""

    def __init__(self, url: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        if parts.scheme != "grpc" or not parts.hostname or not parts.port or parts.path.strip("/"):
            raise ValueError(f"{url!r} is no grpc://host:port")
        self._timeout_s = timeout_s
        self._channels = [grpc.aio.insecure_channel(parts.netloc, _OPTIONS) for _ in range(_CHANNELS)]
        self._calls = itertools.cycle([channel.unary_unary(_METHOD) for channel in self._channels])

    async def send(self, shot: Shot) -> Outcome:
        outcome = Outcome(sent=time.perf_counter())
        try:
            raw = await next(self._calls)(shot.grpc, timeout=self._timeout_s, metadata=shot.metadata)
            outcome.done = outcome.first_byte = time.perf_counter()
            answer = cutout_pb2.RemoveBackgroundResponse.FromString(raw)
            outcome.bytes_out, outcome.server = len(answer.result), dict(answer.meta.timings_ms)
            outcome.status = OK
        except grpc.aio.AioRpcError as error:
            outcome.done = outcome.first_byte = time.perf_counter()
            metadata = dict(error.trailing_metadata() or ())
            transport = _TRANSPORT.get(error.code(), f"grpc_{error.code().name.lower()}")
            outcome.status = str(metadata.get("cutout-error-code", transport))
        return outcome

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()

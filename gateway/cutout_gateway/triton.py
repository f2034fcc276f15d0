"""The only place that talks to Triton: KServe v2 over gRPC (https://github.com/kserve/open-inference-protocol).

Messages are built from tritonclient's generated protocol classes, on a `grpc.aio` channel of our own: that gives the
deadline and the cancellation of the call.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from cutout_core.contract import CutoutError, ErrorCode, RowMeta
from cutout_core.contract.tensors import ENGINES, ENSEMBLES, PROFILE_BACKENDS, QUALITY_ENGINES
from cutout_gateway.batcher import Row, RowResult
from cutout_gateway.infer_messages import META, RESULT, read_outputs, request_message
from cutout_gateway.result_rooms import ResultRooms
from cutout_gateway.shared_memory import Placed, Regions

log = logging.getLogger("cutout.gateway.triton")

#: The gRPC service of KServe v2.
KSERVE = "inference.GRPCInferenceService"

_UNLIMITED = -1
_CHANNEL_OPTIONS = [
    ("grpc.max_send_message_length", _UNLIMITED),
    ("grpc.max_receive_message_length", _UNLIMITED),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),  # gRPC would send even loopback through a proxy of the environment
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]

#: Longest wait for an answer to a readiness or metadata question, seconds.
_PROBE_TIMEOUT_S = 2.0

#: Batches in a row without an answer after which Triton is asked with an image of our own, and how long it may take.
_SUSPECT_AFTER = 3
_ANSWER_TIMEOUT_S = 20.0
_NO_ANSWER = (ErrorCode.DEADLINE_EXCEEDED, ErrorCode.MODEL_UNAVAILABLE)

#: What Triton says of a region that nobody registered, as after its restart.
_UNKNOWN_REGION = "Unable to find shared memory region"

_FAILED = "Its models failed to load, or load again: the log tells."

#: What installs a quality.
_INSTALL = {quality: "make models HIGH=1" if quality == "high" else "make models" for quality in ENSEMBLES}

#: A white PNG of one pixel.
_TINY_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4//8/AAX+Av4N70a4AAAAAElFTkSuQmCC"
)


@dataclass(frozen=True, slots=True)
class Readiness:
    """Served now: `qualities` maps quality to ready, `reason` is one sentence where something is not.

    absent: qualities whose models Triton does not have at all, which is how it was set up and no fault.
    faults: what is wrong with a quality, one sentence each, where more is known than `reason`.
    """

    qualities: dict[str, bool] = field(default_factory=dict)
    reason: str = "Triton has not answered yet."
    absent: frozenset[str] = frozenset()
    faults: dict[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """True where at least one quality can be served."""
        return any(self.qualities.values())

    @property
    def not_installed(self) -> list[str]:
        """The qualities that are missing because nobody installed them, in the order of `ENSEMBLES`."""
        return [quality for quality in ENSEMBLES if quality in self.absent and quality not in self.faults]

    @property
    def reasons(self) -> dict[str, str]:
        """Each quality that is not ready, and one sentence why, with the remedy where it is known."""
        known = {quality: f"Not installed: `{_INSTALL[quality]}` and a restart add it." for quality in self.absent}
        known |= self.faults
        return {q: known.get(q, self.reason) for q in ENSEMBLES if not self.qualities.get(q, False)}


class TritonClient:
    """One Triton server, reached over gRPC at `url` (host:port); `profile` is what its engines should run.

    shared_memory, result_memory: bytes of shared memory for images on their way to a Triton on this host, and for
    results on their way back; 0: gRPC takes them all.
    """

    def __init__(self, url: str, profile: str, shared_memory: int = 0, result_memory: int = 0) -> None:
        self._profile = profile
        self._unanswered: Counter[str] = Counter()
        self._channel = grpc.aio.insecure_channel(url, options=_CHANNEL_OPTIONS)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._infer = self._channel.unary_unary(f"/{KSERVE}/ModelInfer")  # without serializers: bytes in and out
        self._regions = Regions(self._stub, shared_memory)
        self._rooms = ResultRooms(self._stub, result_memory)

    async def close(self) -> None:
        """Closes the channel; calls in flight are cancelled."""
        await self._regions.close()
        await self._rooms.close()
        await self._channel.close()

    async def infer(self, ensemble: str, rows: Sequence[Row], deadline: float) -> list[RowResult]:
        """Runs one batch: `IMAGE` and `OPTIONS` BYTES [N,1] in, `RESULT` and `META` BYTES [N,1] out.

        `BACKGROUND` BYTES [N,1] goes along where some row has one; rows without get an empty element.

        Raises `CutoutError` DEADLINE_EXCEEDED, OVERLOADED, MODEL_UNAVAILABLE or INTERNAL. Cancelling the task
        cancels the RPC.
        """
        if deadline <= time.monotonic():
            raise CutoutError(ErrorCode.DEADLINE_EXCEEDED)
        try:
            outputs = await self._outputs(ensemble, rows, deadline)
            self._rooms.learn(rows, outputs[RESULT])
            self._unanswered[ensemble] = 0
            pairs = zip(outputs[RESULT], outputs[META], strict=True)
            return [RowResult(result, RowMeta.from_json(meta)) for result, meta in pairs]
        except grpc.aio.AioRpcError as error:
            translated = _translate(error)
            self._unanswered[ensemble] = self._unanswered[ensemble] + 1 if translated.code in _NO_ANSWER else 0
            raise translated from None
        except asyncio.CancelledError:
            self._unanswered[ensemble] += 1
            raise
        except (KeyError, ValueError) as error:
            self._unanswered[ensemble] = 0
            log.error("ensemble %s gave an unusable answer: %s: %s", ensemble, type(error).__name__, error)
            raise CutoutError(ErrorCode.INTERNAL) from error

    async def _outputs(
        self, ensemble: str, rows: Sequence[Row], deadline: float, *, in_room: bool = True, attempts: int = 3
    ) -> dict[str, list[bytes]]:
        """Sends the rows and returns the elements of the answer. Images and, `in_room`, results go through shared
        memory where there is some; what goes wrong with that is tried again."""
        images = room = None
        answered = True
        try:
            images = await self._regions.place([row.image for row in rows])
            room = await self._rooms.reserve(rows) if in_room else None
            remaining = max(0.001, deadline - time.monotonic())
            message = request_message(ensemble, rows, remaining, images, room)
            answered = False
            response: bytes = await self._infer(message, timeout=remaining)
            answered = True
            outputs = read_outputs(response)
            if room is not None:
                outputs[RESULT] = await self._rooms.read(room, len(rows))
            return outputs
        except grpc.aio.AioRpcError as error:
            details = error.details() or ""
            if attempts == 1:
                raise
            if room is not None and self._rooms.was_too_small(rows, details):
                log.info("a result did not fit into its shared memory: its batch is worked again")
                answered, in_room = True, False
            elif (images or room) and _UNKNOWN_REGION in details:
                self._forget_regions(images, room)
            else:
                raise
        finally:
            if images is not None:
                self._regions.release(images.region, answered=answered)
            if room is not None:
                self._rooms.release(room, answered=answered)
        return await self._outputs(ensemble, rows, deadline, in_room=in_room, attempts=attempts - 1)

    def _forget_regions(self, images: Placed | None, room: Placed | None) -> None:
        """Drops the pools whose regions Triton does not know, unless another batch found that out before."""
        known = (images is None or self._regions.holds(images.region)) and (
            room is None or self._rooms.holds(room.region)
        )
        if known:
            log.info("Triton has forgotten its shared memory; it is registered anew")
            self._regions.forget()
            self._rooms.forget()

    @property
    def connected(self) -> bool:
        """Whether there is a connection to Triton, so that a status is Triton's own."""
        return self._channel.get_state() is grpc.ChannelConnectivity.READY

    async def forward(self, method: str, message: bytes, timeout_s: float) -> bytes:
        """Sends a serialized message of KServe v2 to a unary `method` and returns the serialized answer.

        Raises `grpc.aio.AioRpcError` with Triton's own status, or with UNAVAILABLE or DEADLINE_EXCEEDED of gRPC's.
        """
        call = self._channel.unary_unary(f"/{KSERVE}/{method}")
        answer: bytes = await call(message, timeout=timeout_s)
        return answer

    def suspect(self, ensemble: str) -> bool:
        """Whether several batches in a row got no answer at all: one of the ensemble's steps may hang."""
        return self._unanswered[ensemble] >= _SUSPECT_AFTER

    async def answers(self, ensemble: str) -> bool:
        """Sends a tiny image of our own and tells whether the models say anything to it."""
        row = Row(_TINY_PNG, b"", 1, time.monotonic() + _ANSWER_TIMEOUT_S)
        try:
            await self.infer(ensemble, [row], row.deadline)
        except CutoutError as error:
            return error.code not in _NO_ANSWER
        return True

    async def readiness(self) -> Readiness:
        """Asks which ensembles are ready and whether their engines run on the profile's backend."""
        try:
            qualities, reasons = {}, []
            faults: dict[str, str] = {}
            for quality, ensemble in ENSEMBLES.items():
                answer = await self._stub.ModelReady(pb.ModelReadyRequest(name=ensemble), timeout=_PROBE_TIMEOUT_S)
                qualities[quality] = bool(answer.ready)
            absent = frozenset() if all(qualities.values()) else await self._absent()
            missing = [quality for quality, ready in qualities.items() if not ready and quality not in absent]
            if not any(qualities.values()):
                return Readiness(qualities, "Triton's models are not loaded.", absent)
            if missing:
                reasons.append(f"Not ready: {', '.join(missing)}.")
                faults |= dict.fromkeys(missing, _FAILED)
            used = {engine for quality, ready in qualities.items() if ready for engine in QUALITY_ENGINES[quality]}
            expected = PROFILE_BACKENDS[self._profile]
            for engine in sorted(used):
                backend = await self._backend(engine)
                if backend != expected:
                    reasons.append(f"{engine} runs on backend {backend!r}; profile {self._profile} means {expected!r}.")
                    users = [quality for quality, engines in QUALITY_ENGINES.items() if engine in engines]
                    qualities |= dict.fromkeys(users, False)
                    faults |= {quality: reasons[-1] for quality in users if quality not in absent}
        except grpc.aio.AioRpcError as error:
            return Readiness(reason=f"Triton does not answer ({error.code().name}).")
        return Readiness(qualities, " ".join(reasons), absent, faults)

    async def _absent(self) -> frozenset[str]:
        """The qualities whose ensemble is not in Triton's repository."""
        request = pb.RepositoryIndexRequest()
        index = await self._stub.RepositoryIndex(request, timeout=_PROBE_TIMEOUT_S)
        known = {model.name for model in index.models}
        return frozenset(quality for quality, ensemble in ENSEMBLES.items() if ensemble not in known)

    async def server_version(self) -> str:
        """Triton's own version, empty where it does not answer."""
        try:
            metadata = await self._stub.ServerMetadata(pb.ServerMetadataRequest(), timeout=_PROBE_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return ""
        return str(metadata.version)

    async def engine_parameters(self) -> dict[str, dict[str, str]]:
        """The parameters (engine, precision ...) that each engine's configuration reports."""
        found = {}
        for engine in ENGINES:
            try:
                answer = await self._stub.ModelConfig(pb.ModelConfigRequest(name=engine), timeout=_PROBE_TIMEOUT_S)
            except grpc.aio.AioRpcError:
                continue
            found[engine] = {key: value.string_value for key, value in sorted(answer.config.parameters.items())}
        return found

    async def _backend(self, model: str) -> str:
        answer = await self._stub.ModelConfig(pb.ModelConfigRequest(name=model), timeout=_PROBE_TIMEOUT_S)
        config = answer.config
        return str(config.backend or config.platform.removesuffix("_plan"))


def _translate(error: grpc.aio.AioRpcError) -> CutoutError:
    """Triton's status as an error of the table; its message goes to the log, never to a caller."""
    status, details = error.code(), error.details() or ""
    if status is grpc.StatusCode.DEADLINE_EXCEEDED or "timeout expired" in details.lower():
        return CutoutError(ErrorCode.DEADLINE_EXCEEDED)
    log.warning("Triton refused a batch: %s: %s", status.name, details[:500])
    gone = status in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.CANCELLED)
    if gone or "is not healthy" in details:  # the second: a Python step's process died
        return CutoutError(ErrorCode.MODEL_UNAVAILABLE, retry_after_s=2.0)
    if status is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return CutoutError(ErrorCode.OVERLOADED, retry_after_s=1.0)
    return CutoutError(ErrorCode.INTERNAL)

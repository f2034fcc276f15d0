"""A raw KServe v2 inference past the gateway's own batcher: the same permits, deadlines, draining and metrics.

Triton's dynamic batchers merge these calls with each other and with the gateway's own batches.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from cutout_core.contract import CutoutError, ErrorCode
from cutout_core.contract.tensors import ENSEMBLES, MODELS
from cutout_gateway.access import Caller
from cutout_gateway.kserve_facts import InferFacts
from cutout_gateway.logs import log_request
from cutout_gateway.metrics import OK
from cutout_gateway.service import CutoutService

log = logging.getLogger("cutout.gateway.kserve")

#: What an inference request may hold beside tensors of `max_bytes`.
OVERHEAD = 1024 * 1024

_QUALITY_OF = {ensemble: quality for quality, ensemble in ENSEMBLES.items()}


class Answer(Protocol):
    """What Triton said. `outcome`: OK or a code of the error table; `size`: bytes of the answer."""

    @property
    def outcome(self) -> str: ...

    @property
    def size(self) -> int: ...


_A = TypeVar("_A", bound=Answer)


@dataclass(frozen=True, slots=True)
class InferCall:
    """One inference request. size: bytes of the request. received, deadline: time.monotonic() seconds."""

    protocol: str
    request_id: str
    model: str
    size: int
    facts: InferFacts
    received: float
    deadline: float
    caller: Caller


class KserveAdmission:
    """Lets inference requests through to Triton, of both protocols."""

    def __init__(self, service: CutoutService, max_timeout_s: float) -> None:
        self._service = service
        self._max_timeout_s = max_timeout_s
        self._in_flight: set[asyncio.Task[object]] = set()
        self._closed = False

    @property
    def service(self) -> CutoutService:
        """The service whose admission, readiness and metrics are shared."""
        return self._service

    def close(self) -> None:
        """Cancels what is in flight; its callers get SHUTTING_DOWN."""
        self._closed = True
        for task in self._in_flight:
            task.cancel()

    async def infer(self, call: InferCall, forward: Callable[[float], Awaitable[_A]]) -> _A:
        """Runs `forward` (it is told the seconds that are left) under a permit, and counts it.

        Raises `CutoutError` OVERLOADED, SHUTTING_DOWN, DEADLINE_EXCEEDED or what `forward` raises. Cancelling the
        caller, or the deadline, cancels `forward`.
        """
        outcome, size, pixels, detail = ErrorCode.INTERNAL.value, 0, 0, ""
        try:
            with self._service.admission.permit(call.size) as weight:
                async with asyncio.timeout(max(0.0, self._deadline(call) - time.monotonic())):
                    pixels = await asyncio.to_thread(call.facts.pixels, self._service.limits)
                    weight.add(pixels=pixels)
                    call.caller.charge(pixels)
                    answer = await self._run(forward(self._deadline(call) - time.monotonic()))
            outcome, size = answer.outcome, answer.size
            return answer
        except TimeoutError:
            outcome = ErrorCode.DEADLINE_EXCEEDED.value
            raise CutoutError(ErrorCode.DEADLINE_EXCEEDED) from None
        except CutoutError as error:
            outcome, detail = error.row.metric_label, error.message
            raise
        except asyncio.CancelledError:
            outcome = ErrorCode.CANCELLED.value
            raise
        finally:
            self._count(call, outcome, size, pixels)
            log_request(
                log,
                call.request_id,
                call.protocol,
                outcome,
                detail=detail,
                model=_label(call.model),
                bytes_in=call.size,
                bytes_out=size,
                ms=round((time.monotonic() - call.received) * 1000, 1),
                key=call.caller.name,
            )

    def _deadline(self, call: InferCall) -> float:
        named = call.facts.timeout_s
        return call.deadline if named is None else call.received + min(named, self._max_timeout_s)

    async def _run(self, work: Awaitable[_A]) -> _A:
        task = asyncio.ensure_future(work)
        self._in_flight.add(task)
        if self._closed:
            task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            if self._closed:
                raise CutoutError(ErrorCode.SHUTTING_DOWN, retry_after_s=1.0) from None
            raise
        finally:
            self._in_flight.discard(task)

    def _count(self, call: InferCall, outcome: str, size: int, pixels: int) -> None:
        metrics = self._service.metrics
        metrics.requests.labels(call.protocol, outcome, _QUALITY_OF.get(call.model, "none"), "none").inc()
        if outcome == OK:
            metrics.kserve.labels(call.protocol, _label(call.model)).observe(time.monotonic() - call.received)
            metrics.bytes.labels("in").inc(call.size)
            metrics.bytes.labels("out").inc(size)
            metrics.pixels.inc(pixels)


def _label(model: str) -> str:
    """A label and a log have a closed set of models."""
    return model if model in MODELS else "other"

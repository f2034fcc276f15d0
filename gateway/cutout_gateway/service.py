"""One image through the gateway: options, admission, header, batch, row; clock and metrics around it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import TypeVar

from cutout_core.contract import CutoutError, ErrorCode, Limits, Options, ResultWarning
from cutout_core.contract.tensors import ENSEMBLES
from cutout_core.imaging.background import read_background_header
from cutout_core.imaging.frame import check_frame
from cutout_core.imaging.header import ImageHeader, read_header
from cutout_gateway.access import Access
from cutout_gateway.admission import Admission
from cutout_gateway.batcher import Batcher, Row
from cutout_gateway.logs import log_request
from cutout_gateway.metrics import OK, Metrics
from cutout_gateway.requests import CutoutReply, CutoutRequest
from cutout_gateway.triton import Readiness

log = logging.getLogger("cutout.gateway")

_T = TypeVar("_T")

_KNOWN_WARNINGS = frozenset(warning.value for warning in ResultWarning)


class CutoutService:
    """What both protocol edges call; knows neither HTTP nor gRPC."""

    def __init__(
        self, limits: Limits, admission: Admission, batcher: Batcher, metrics: Metrics, access: Access
    ) -> None:
        self.limits = limits
        self.access = access
        self.admission = admission
        self.metrics = metrics
        self.readiness = Readiness()
        self._batcher = batcher
        self._draining = False
        metrics.in_flight.set_function(lambda: admission.requests)
        metrics.in_flight_limit.set_function(lambda: admission.limit)
        metrics.uploads.set_function(lambda: admission.uploads)
        metrics.queue.set_function(lambda: batcher.waiting)

    @property
    def ready(self) -> bool:
        """Whether new requests would be served."""
        return self.readiness.ready and not self._draining

    @property
    def draining(self) -> bool:
        """Whether the server is stopping and takes no new request."""
        return self._draining

    def set_readiness(self, readiness: Readiness) -> None:
        """Takes the newest probe of Triton."""
        self.readiness = readiness
        for quality in ENSEMBLES:
            self.metrics.ready.labels(quality).set(readiness.qualities.get(quality, False))

    async def cutout(self, request: CutoutRequest) -> CutoutReply:
        """Cuts one image out. Raises `CutoutError`; any other exception becomes INTERNAL and is logged."""
        options: Options | None = None
        outcome = OK
        reply: CutoutReply | None = None
        detail = ""
        try:
            options = Options.parse(request.options, background_image=bool(request.background))
            reply = await self._admitted(request, options)
        except CutoutError as error:
            outcome, detail = error.row.metric_label, error.message
            raise
        except asyncio.CancelledError:
            outcome = ErrorCode.CANCELLED.value
            raise
        except Exception:
            outcome = ErrorCode.INTERNAL.value
            log.exception("request %s failed", request.request_id, extra={"fields": {"request_id": request.request_id}})
            raise CutoutError(ErrorCode.INTERNAL) from None
        finally:
            self._count(request.protocol, outcome, options)
            _log_request(request, outcome, detail, reply)
        return reply

    def refused(self, protocol: str, request_id: str, error: CutoutError) -> None:
        """Counts and logs a request that never became a `CutoutRequest`; the edges call it."""
        self._count(protocol, error.row.metric_label, None)
        log_request(log, request_id, protocol, error.row.metric_label, detail=error.message)

    def _count(self, protocol: str, outcome: str, options: Options | None) -> None:
        labels = (options.quality, options.output) if options else ("none", "none")
        self.metrics.requests.labels(protocol, outcome, *labels).inc()

    async def drain(self, grace_s: float) -> None:
        """Refuses new requests and waits, at most `grace_s` seconds, for those in flight.

        Cancelling it ends the wait; what is in flight then gets SHUTTING_DOWN.
        """
        self._draining = True
        self.admission.close()
        try:
            async with asyncio.timeout(grace_s):
                await self.admission.wait_idle()
        except TimeoutError:
            log.warning("%d requests did not finish within %.0f s", self.admission.requests, grace_s)
        finally:
            await self._batcher.close()

    async def _admitted(self, request: CutoutRequest, options: Options) -> CutoutReply:
        size, bulk = len(request.image) + len(request.background), request.wait_until is not None
        with contextlib.ExitStack() as stack:
            weight = await self._when_free(request, lambda: stack.enter_context(self.admission.permit(size, bulk=bulk)))
            header = await self._inspect(read_header, request.image, request.deadline)
            pixels = header.width * header.height
            load = max(pixels, check_frame(options, header.width, header.height, self.limits))
            if request.background:
                behind = await self._inspect(read_background_header, request.background, request.deadline)
                load += behind.width * behind.height
            await self._when_free(request, lambda: weight.add(pixels=load))
            self._check_quality(options.quality)
            request.caller.charge(pixels)
            row = Row(request.image, options.to_json(), load, request.deadline, request.background)
            result, queued_s = await self._batcher.submit(options.ensemble, row)
        meta = result.meta
        if meta.error is not None:
            raise meta.error.to_exception()
        meta.timings_ms["queue"] = queued_s * 1000
        meta.timings_ms["total"] = (time.monotonic() - request.received) * 1000
        self.metrics.image_done(options.quality, meta.timings_ms)
        self.metrics.bytes.labels("in").inc(size)
        self.metrics.bytes.labels("out").inc(len(result.result))
        self.metrics.pixels.inc(pixels)
        for warning in _KNOWN_WARNINGS.intersection(meta.warnings):
            self.metrics.warnings.labels(warning).inc()
        return CutoutReply(result.result, options, meta, request.request_id)

    async def _when_free(self, request: CutoutRequest, take: Callable[[], _T]) -> _T:
        """What `take` gets from admission; an item of a stream waits for room where there is none, for a bounded time.

        Raises `CutoutError` as `take` does.
        """
        try:
            return take()
        except CutoutError as error:
            if error.code is not ErrorCode.OVERLOADED or request.wait_until is None:
                raise
        with self.admission.waiting():
            while True:
                remaining = request.wait_until - time.monotonic()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, remaining)):
                        await self.admission.freed()
                try:
                    return take()
                except CutoutError as error:
                    if error.code is not ErrorCode.OVERLOADED or remaining <= 0:
                        raise

    def _check_quality(self, quality: str) -> None:
        """Raises `CutoutError` QUALITY_NOT_INSTALLED or MODEL_UNAVAILABLE where the quality cannot be served now."""
        if self.readiness.qualities.get(quality, False):
            return
        if quality in self.readiness.absent:
            others = ", ".join(name for name, ready in self.readiness.qualities.items() if ready)
            raise CutoutError(
                ErrorCode.QUALITY_NOT_INSTALLED,
                f"This server was set up without the models of quality {quality!r}; it serves {others or 'none yet'}. "
                "Its operator can add them with `make models HIGH=1` and a restart.",
                field="quality",
            )
        raise CutoutError(ErrorCode.MODEL_UNAVAILABLE, retry_after_s=2.0)

    async def _inspect(
        self, read: Callable[[bytes, Limits], ImageHeader], image: bytes, deadline: float
    ) -> ImageHeader:
        """An image's header; off the event loop, as a hostile TIFF may take its time."""
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                return await asyncio.to_thread(read, image, self.limits)
        except TimeoutError:
            raise CutoutError(ErrorCode.DEADLINE_EXCEEDED) from None


def _log_request(request: CutoutRequest, outcome: str, detail: str, reply: CutoutReply | None) -> None:
    log_request(
        log,
        request.request_id,
        request.protocol,
        outcome,
        detail=detail,
        bytes_in=len(request.image),
        bytes_out=len(reply.result) if reply else 0,
        ms=round((time.monotonic() - request.received) * 1000, 1),
        key=request.caller.name,
    )

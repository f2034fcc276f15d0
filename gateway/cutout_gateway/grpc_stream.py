"""`RemoveBackgrounds`: many images over one call, answered in the order in which they are finished.

A stream is read only as fast as it is worked on: not while its bounded number of items is unanswered and not while the
server is full; what a caller sends beyond that waits on its own side of the connection. An item that was read just
before the server filled up waits for a place for a bounded time and is then refused. Nothing is kept for a stream but
its items in work: when the caller leaves, they are cancelled; when the server stops, they are finished.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc

from cutout_core.contract import CutoutError, ErrorCode
from cutout_core.contract import cutout_pb2 as pb
from cutout_gateway.access import Caller
from cutout_gateway.grpc_messages import abort, decode_item, item_error, serialized_item
from cutout_gateway.requests import CutoutRequest, clean_request_id
from cutout_gateway.service import CutoutService
from cutout_gateway.settings import Settings

#: Value of the label `protocol` of items.
PROTOCOL = "grpc_stream"

log = logging.getLogger("cutout.gateway")


class StreamApi:
    """The method's behaviour; one for all streams of a server, which it bounds in number."""

    def __init__(self, service: CutoutService, settings: Settings) -> None:
        self._service = service
        self._settings = settings
        self._open = 0
        service.metrics.streams.set_function(lambda: self._open)

    async def remove_backgrounds(self, messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> None:
        """Serves one stream until its caller has sent all and got all, or leaves, or the server stops."""
        stream_id = clean_request_id(None)
        try:
            caller = self._admitted(context)
        except CutoutError as refusal:
            self._service.refused(PROTOCOL, stream_id, refusal)
            await abort(context, refusal, stream_id)
            raise  # not reached: abort raises
        self._open += 1
        try:
            error = await _Stream(self._service, self._settings, context, caller).run()
        finally:
            self._open -= 1
        if error is not None:
            fields = {"request_id": stream_id, "code": error.code.value}
            log.info("stream %s ended: %s", stream_id, error, extra={"fields": fields})
            await abort(context, error, stream_id)

    def _admitted(self, context: grpc.aio.ServicerContext) -> Caller:
        """Who opens the stream. Raises `CutoutError` where it is not let in."""
        caller = self._service.access.authorize(dict(context.invocation_metadata() or ()))
        caller.check()
        admission = self._service.admission
        if admission.closed.is_set():
            raise CutoutError(ErrorCode.SHUTTING_DOWN, retry_after_s=1.0)
        if self._open >= self._settings.max_streams:
            raise CutoutError(
                ErrorCode.OVERLOADED, "Too many streams are open.", retry_after_s=admission.retry_after_s()
            )
        return caller


@dataclass(slots=True)
class _Item:
    id: str
    request: CutoutRequest


class _Stream:
    def __init__(
        self,
        service: CutoutService,
        settings: Settings,
        context: grpc.aio.ServicerContext,
        caller: Caller,
    ) -> None:
        self._caller = caller
        self._service = service
        self._settings = settings
        self._context = context
        self._items: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(settings.max_stream_items)
        self._writing = asyncio.Lock()
        self._failed: asyncio.Future[CutoutError] = asyncio.get_running_loop().create_future()

    async def run(self) -> CutoutError | None:
        """Returns when every item that was read is answered; with the error that the stream is to end with, if any."""
        reader = asyncio.create_task(self._read())
        closing = asyncio.create_task(self._service.admission.closed.wait())
        try:
            await _first(reader, closing, self._failed)
            complete = reader.done()
            if complete:
                reader.result()
            reader.cancel()
            while self._items and not self._failed.done():
                await _first(*self._items, self._failed)
            if self._failed.done():
                return self._failed.result()
            return None if complete else CutoutError(ErrorCode.SHUTTING_DOWN, retry_after_s=1.0)
        finally:
            tasks = (reader, closing, *self._items)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._failed.cancel()

    async def _read(self) -> None:
        """Starts one task for each message, no faster than there are places for them."""
        admission = self._service.admission
        while True:
            await self._places.acquire()
            while not admission.has_room() and not admission.closed.is_set():
                await admission.freed()
            raw = await self._context.read()
            if raw is grpc.aio.EOF:
                return
            message = self._decode(raw)
            del raw  # before the image is copied out of the message
            task = asyncio.create_task(self._item(message))
            self._items.add(task)
            task.add_done_callback(self._item_done)
            del message, task  # an idle stream holds on to nothing

    def _item_done(self, task: asyncio.Task[None]) -> None:
        self._items.discard(task)
        self._places.release()
        if not task.cancelled() and (error := task.exception()) is not None and not self._failed.done():
            self._failed.set_result(error if isinstance(error, CutoutError) else CutoutError(ErrorCode.INTERNAL))

    async def _item(self, message: pb.RemoveBackgroundsRequest | bytes) -> None:
        """Works on one message, or takes its answer, and sends that. Raises only what ends the stream."""
        item = message if isinstance(message, bytes) else self._item_of(message)
        del message  # it has a copy of the image
        raw = item if isinstance(item, bytes) else await self._answer(item)
        del item  # a caller that reads slowly keeps its answer here, not its photo too
        async with self._writing:
            try:
                async with asyncio.timeout(self._settings.send_timeout_s):
                    await self._context.write(raw)
            except TimeoutError:
                raise CutoutError(
                    ErrorCode.CANCELLED, f"No answer was read for {self._settings.send_timeout_s:g} s."
                ) from None

    async def _answer(self, item: _Item) -> bytes:
        try:
            reply = await self._service.cutout(item.request)
        except CutoutError as error:
            return _serialized_error(item.id, error, item.request.request_id)
        return serialized_item(item.id, reply)

    def _decode(self, raw: bytes) -> pb.RemoveBackgroundsRequest | bytes:
        """The message, or the answer to one that cannot be decoded."""
        try:
            return decode_item(raw)
        except CutoutError as error:
            request_id = clean_request_id(None)
            self._service.refused(PROTOCOL, request_id, error)
            return _serialized_error("", error, request_id)

    def _item_of(self, message: pb.RemoveBackgroundsRequest) -> _Item:
        """What the message asks for."""
        received = time.monotonic()
        deadline = received + self._timeout_s(message)
        request = CutoutRequest(
            message.request.image,
            dict(message.request.options),
            clean_request_id(message.request.request_id),
            PROTOCOL,
            deadline,
            received,
            message.request.background_image,
            min(deadline, received + self._settings.stream_wait_s),
            caller=self._caller,
        )
        return _Item(message.id, request)

    def _timeout_s(self, message: pb.RemoveBackgroundsRequest) -> float:
        """The item's own time or the default, within the server's bound and the whole call's deadline."""
        settings = self._settings
        own = message.timeout_ms / 1000 if message.timeout_ms else settings.timeout_s
        remaining = self._context.time_remaining()
        return min(own, settings.max_timeout_s, settings.max_timeout_s if remaining is None else remaining)


def _serialized_error(item_id: str, error: CutoutError, request_id: str) -> bytes:
    answer: bytes = pb.RemoveBackgroundsResponse(id=item_id, error=item_error(error, request_id)).SerializeToString()
    return answer


async def _first(*futures: asyncio.Future[Any]) -> None:
    """Returns as soon as one of them is done."""
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)

"""Cut-outs over gRPC's stream `RemoveBackgrounds`: a transport like the others, whose requests share one call.

The stream is opened by the first request and again by the first one after it broke. A broken stream fails every request
that it has not answered with a retryable error, so that the clients' own retries are the reconnecting.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from dataclasses import dataclass

import grpc

from cutout_client._exceptions import ConnectError, CutoutClientError, TimeoutError_, TooLarge
from cutout_client._grpc_wire import MAX_SEND_BYTES, STREAM_PATH, decode_item, encode_item, error_of
from cutout_client._messages import Operation, Reply, Request
from cutout_client._transport_grpc import AsyncGRPCTransport

#: How gRPC says that a message is beyond the server's limit, and what that is.
_LARGER = re.compile(r"larger than max(?: \(\d+ vs\.? (\d+)\))?")


class AsyncGRPCStreamTransport:
    """Sends cut-outs over one stream of `unary`'s channel, everything else as `unary` does. Not shared by event loops.

    When the server works on as many items as it takes from a stream, further requests wait here.
    close_channel: whether `aclose` closes the channel too.
    """

    def __init__(self, unary: AsyncGRPCTransport, *, close_channel: bool = False) -> None:
        self._unary = unary
        self._close_channel = close_channel
        self._stream: _Stream | None = None
        self._max_bytes = MAX_SEND_BYTES

    async def send(self, request: Request, timeout_s: float | None) -> Reply:
        if request.operation is not Operation.REMOVE_BACKGROUND:
            return await self._unary.send(request, timeout_s)
        if self._stream is None or self._stream.ended:
            if self._stream is not None:
                self._max_bytes = min(self._max_bytes, self._stream.max_bytes)
            self._stream = _Stream(
                self._unary.channel().stream_stream(STREAM_PATH)(metadata=self._unary.metadata), self._max_bytes
            )
        return await self._stream.send(request, timeout_s)

    async def aclose(self) -> None:
        """Ends the stream; the server drops what it has not answered."""
        if self._stream is not None:
            await self._stream.aclose()
        if self._close_channel:
            await self._unary.aclose()


@dataclass(slots=True, eq=False)
class _Pending:
    request: Request
    future: asyncio.Future[Reply]
    deadline: float | None

    @property
    def size(self) -> int:
        return len(self.request.image)


class _Stream:
    """One call. Requests are written by one task, since cancelling a write would cancel the whole call."""

    def __init__(self, call: grpc.aio.StreamStreamCall, max_bytes: int) -> None:
        self.ended = False
        self.max_bytes = max_bytes
        self._call = call
        self._names = itertools.count()
        self._pending: dict[str, _Pending] = {}
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._tasks = (asyncio.create_task(self._write()), asyncio.create_task(self._read()))

    async def send(self, request: Request, timeout_s: float | None) -> Reply:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        name = str(next(self._names))
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._pending[name] = _Pending(request, future, deadline)
        self._queue.put_nowait(name)
        try:
            return await asyncio.wait_for(future, timeout_s)
        except asyncio.TimeoutError as error:
            raise TimeoutError_("no answer within the call's total time") from error
        finally:
            self._pending.pop(name, None)

    async def aclose(self) -> None:
        self.ended = True
        self._call.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for pending in self._pending.values():
            _fail(pending, ConnectError("the stream was closed"))

    async def _write(self) -> None:
        while True:
            name = await self._queue.get()
            pending = self._pending.get(name)
            if pending is None:
                continue  # its caller has left meanwhile
            remaining_s = None if pending.deadline is None else pending.deadline - time.monotonic()
            message = encode_item(name, pending.request, remaining_s)
            if len(message) > self.max_bytes:
                _fail(pending, _too_large(pending, self.max_bytes))
                continue
            try:
                await self._call.write(message)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                return  # the reader learns why
            del message

    async def _read(self) -> None:
        failed: grpc.aio.AioRpcError | None = None
        try:
            while (raw := await self._call.read()) is not grpc.aio.EOF:
                self._answer(raw)
                del raw
        except grpc.aio.AioRpcError as error:
            failed = error
        self.ended = True
        self._tasks[0].cancel()
        self._fail_all(failed)

    def _answer(self, raw: bytes) -> None:
        name, outcome = decode_item(raw)
        pending = self._pending.get(name)
        if pending is None or pending.future.done():
            return
        if isinstance(outcome, CutoutClientError):
            _fail(pending, outcome)
        else:
            pending.future.set_result(outcome)

    def _fail_all(self, failed: grpc.aio.AioRpcError | None) -> None:
        """Every request without an answer fails: retryably, but for the one message that the server would not take."""
        largest: _Pending | None = None
        too_large = _LARGER.search(failed.details() or "") if failed is not None else None
        if too_large:
            largest = max(self._pending.values(), key=lambda pending: pending.size, default=None)
            self.max_bytes = int(too_large.group(1) or self.max_bytes)
        for pending in self._pending.values():
            if pending is largest:
                _fail(pending, _too_large(pending, self.max_bytes))
            elif failed is None or too_large:
                _fail(
                    pending, ConnectError("the stream ended before the answer", request_id=pending.request.request_id)
                )
            else:
                _fail(pending, error_of(failed, pending.request))


def _fail(pending: _Pending, error: CutoutClientError) -> None:
    if not pending.future.done():
        pending.future.set_exception(error)


def _too_large(pending: _Pending, limit: int) -> TooLarge:
    return TooLarge(
        f"The message is larger than the server's {limit} bytes.",
        code="too_many_bytes",
        request_id=pending.request.request_id or None,
    )

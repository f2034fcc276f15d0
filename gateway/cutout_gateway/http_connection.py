"""The caller's connection: deadlines it names, answers it must read, and noticing that it left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from cutout_core.contract import CutoutError, ErrorCode
from cutout_gateway.settings import Settings

log = logging.getLogger("cutout.gateway.http")

_T = TypeVar("_T")

#: Where a request's state has the function that closes its connection at once (`HttpProtocol`).
ABORT = "abort"


class Bounded(Response):
    """A response that gives up on a caller who does not read it, and drops what it still had to send.

    uvicorn waits for the caller before a message, never after one: so an empty one follows the whole body.
    """

    def __init__(self, response: Response, timeout_s: float) -> None:
        self._response = response
        self._timeout_s = timeout_s
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_wait(message: Message) -> None:
            if message.get("body"):
                await send({**message, "more_body": True})
                message = {**message, "body": b""}
            await send(message)

        try:
            async with asyncio.timeout(self._timeout_s):
                await self._response(scope, receive, send_and_wait)
        except TimeoutError:
            log.warning("a caller did not read its answer within %g s", self._timeout_s)
            if abort := scope.get("state", {}).get(ABORT):
                abort()


async def unless_disconnected(request: Request, work: Awaitable[_T]) -> _T:
    """Awaits `work`, and cancels it when the caller hangs up first."""

    async def disconnected() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(disconnected())
    try:
        await asyncio.wait((task, watcher), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        watcher.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def timeout_of(request: Request, settings: Settings) -> float:
    """Seconds that the request may take: X-Cutout-Timeout-Ms, or the default. Raises `CutoutError` INVALID_OPTION."""
    text = request.headers.get("x-cutout-timeout-ms")
    if text is None:
        return settings.timeout_s
    if not text.isascii() or not text.isdigit() or int(text[:12]) < 1:
        raise CutoutError(
            ErrorCode.INVALID_OPTION,
            "X-Cutout-Timeout-Ms takes whole milliseconds from 1.",
            field="X-Cutout-Timeout-Ms",
        )
    return min(int(text[:12]) / 1000, settings.max_timeout_s)

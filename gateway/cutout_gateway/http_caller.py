"""The caller at the other end of an HTTP connection: its deadline, its leaving, its not reading."""

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

#: Bytes of an answer that are handed to uvicorn at once.
_PIECE = 256 * 1024


class BoundedResponse(Response):
    """A response that gives up on a caller who does not read it.

    The body is handed over in pieces: uvicorn waits for the caller between two messages, never within one.
    """

    def __init__(self, response: Response, timeout_s: float) -> None:
        self._response = response
        self._timeout_s = timeout_s
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_pieces(message: Message) -> None:
            body = message.get("body", b"")
            for start in range(_PIECE, len(body), _PIECE):
                await send({**message, "body": body[start - _PIECE : start], "more_body": True})
            await send({**message, "body": body[(len(body) - 1) // _PIECE * _PIECE :]} if body else message)

        try:
            async with asyncio.timeout(self._timeout_s):
                await self._response(scope, receive, send_in_pieces)
        except TimeoutError:
            log.warning("a caller did not read its answer within %g s", self._timeout_s)


async def unless_disconnected(request: Request, work: Awaitable[_T]) -> _T:
    """Awaits `work`, and cancels it when the caller hangs up first, which raises `ClientDisconnect`."""

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


def timeout_s(request: Request, settings: Settings) -> float:
    """Seconds that the request may take, by X-Cutout-Timeout-Ms or the default. Raises `CutoutError` INVALID_OPTION."""
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

"""API keys over HTTP: the call that every endpoint with work behind it makes, and the rate headers of its answer."""

from __future__ import annotations

from fastapi import Security
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cutout_gateway.access import Access, Caller

#: For a route's `dependencies`: names both headers in OpenAPI, which gives /docs its Authorize button. Checks nothing.
DOCUMENTED_KEYS = [
    Security(APIKeyHeader(name="X-Api-Key", scheme_name="ApiKey", auto_error=False)),
    Security(HTTPBearer(scheme_name="Bearer", auto_error=False)),
]


def authorize_request(request: Request, access: Access, *, admin: bool = False, spends: bool = True) -> Caller:
    """`Access.authorize` for this request; the answer will tell the caller's budget.

    spends: whether the call costs megapixels, so that a caller without any left is refused before the body is read.
    Raises `CutoutError` MISSING_KEY, INVALID_KEY, FORBIDDEN or RATE_LIMITED.
    """
    caller = access.authorize(request.headers, admin=admin)
    request.state.caller = caller
    if spends:
        caller.check()
    return caller


class RateLimitHeaders:
    """ASGI middleware: adds the `X-RateLimit-` headers to every answer, refusals included, to a caller with a rate."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def send_with_headers(message: Message) -> None:
            caller = state.get("caller")
            if message["type"] == "http.response.start" and caller is not None:
                MutableHeaders(scope=message).update(caller.rate_headers())
            await send(message)

        await self._app(scope, receive, send_with_headers)

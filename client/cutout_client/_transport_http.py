"""HTTP/1.1 with httpx. Certificates come from the system's settings (`SSL_CERT_FILE`), proxies from `HTTP_PROXY` and
its kin, except for addresses of this machine.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx

from cutout_client._config import Timeout
from cutout_client._endpoint import Endpoint
from cutout_client._exceptions import ConnectError, ProtocolError, TimeoutError_, TransportError, WrongProtocol
from cutout_client._http_wire import HttpAnswer, decode, encode
from cutout_client._messages import Reply, Request

#: Uploads are cut into pieces of this size, bytes, so that the deadline is looked at in between.
_PIECE = 256 * 1024
#: Idle connections are dropped before a server does (5 s is a common default), seconds.
_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=3.0)
_LATE = "no answer within the call's total time"
#: How h11 says that an answer's first bytes are none of HTTP/1.1, as the frames of HTTP/2 (RFC 9113) are not.
_UNREADABLE = re.compile("illegal (request|status) line")
_NO_HTTP = (
    "no HTTP/1.1 is spoken there: a gRPC port is given as grpc://host:port, one with TLS as https://; the HTTP port is "
    "8080 unless it was set otherwise"
)


class HTTPTransport:
    """Blocking HTTP. The total time holds over every phase; a server that trickles is cut off between its pieces."""

    def __init__(self, endpoint: Endpoint, timeout: Timeout) -> None:
        self._connect_s = timeout.connect
        transport = httpx.HTTPTransport(verify=endpoint.secure, limits=_LIMITS) if endpoint.is_loopback else None
        self._http = httpx.Client(base_url=endpoint.url, headers=_key_of(endpoint), limits=_LIMITS, transport=transport)

    def send(self, request: Request, timeout_s: float | None) -> Reply:
        call = encode(request, timeout_s)
        limits = _PhaseLimits(self._connect_s, timeout_s)
        message = self._http.build_request(
            call.method,
            call.path,
            params=dict(call.params),
            headers=dict(call.headers),
            content=_pieces(call.body, limits) if call.body else None,
            extensions={"timeout": limits},
        )
        try:
            response = self._http.send(message, stream=True)
            try:
                body = b"".join(_pieces_of(response, limits))
            finally:
                response.close()
        except httpx.HTTPError as error:
            raise _translate(error, limits.late) from error
        return decode(request, HttpAnswer(response.status_code, response.headers, body))

    def close(self) -> None:
        self._http.close()


class AsyncHTTPTransport:
    """asyncio HTTP."""

    def __init__(self, endpoint: Endpoint, timeout: Timeout) -> None:
        transport = httpx.AsyncHTTPTransport(verify=endpoint.secure, limits=_LIMITS) if endpoint.is_loopback else None
        self._http = httpx.AsyncClient(
            base_url=endpoint.url,
            headers=_key_of(endpoint),
            limits=_LIMITS,
            transport=transport,
            timeout=httpx.Timeout(None, connect=timeout.connect),
        )

    async def send(self, request: Request, timeout_s: float | None) -> Reply:
        call = encode(request, timeout_s)
        exchange = self._http.request(
            call.method,
            call.path,
            params=dict(call.params),
            headers=dict(call.headers),
            content=call.body or None,
        )
        try:
            response = await asyncio.wait_for(exchange, timeout_s)
        except asyncio.TimeoutError as error:
            raise TimeoutError_(_LATE) from error
        except httpx.HTTPError as error:
            raise _translate(error, late=False) from error
        return decode(request, HttpAnswer(response.status_code, response.headers, response.content))

    async def aclose(self) -> None:
        await self._http.aclose()


def _key_of(endpoint: Endpoint) -> dict[str, str]:
    return {"X-Api-Key": endpoint.api_key} if endpoint.api_key else {}


class _PhaseLimits(dict[str, float | None]):
    """httpx's time-outs by phase ("connect", "read", ...), each worth what is left of the total when it begins."""

    def __init__(self, connect_s: float | None, total_s: float | None) -> None:
        super().__init__()
        self._connect_s = connect_s
        self._deadline = None if total_s is None else time.monotonic() + total_s

    @property
    def late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def get(self, phase: str, default: Any = None) -> Any:
        remaining = default if self._deadline is None else max(self._deadline - time.monotonic(), 0.001)
        if phase == "connect" and self._connect_s is not None:
            return self._connect_s if remaining is None else min(self._connect_s, remaining)
        return remaining

    def check(self) -> None:
        if self.late:
            raise TimeoutError_(_LATE)


def _pieces(body: bytes, limits: _PhaseLimits) -> Iterator[bytes]:
    view = memoryview(body)
    for start in range(0, len(body), _PIECE):
        limits.check()
        yield bytes(view[start : start + _PIECE])


def _pieces_of(response: httpx.Response, limits: _PhaseLimits) -> Iterator[bytes]:
    for piece in response.iter_bytes():
        limits.check()
        yield piece


def _translate(error: httpx.HTTPError, late: bool) -> TransportError:
    reason = str(error) or type(error).__name__
    translated: TransportError
    if isinstance(error, httpx.ConnectTimeout) and not late:
        translated = ConnectError("the server did not accept the connection in time")
    elif isinstance(error, httpx.TimeoutException):
        return TimeoutError_(_LATE)
    elif isinstance(error, httpx.RemoteProtocolError) and _UNREADABLE.match(reason):
        return WrongProtocol(_NO_HTTP)
    elif isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError | httpx.ProxyError):
        translated = ConnectError(reason)
    elif isinstance(error, httpx.DecodingError):
        return ProtocolError(f"the answer's content encoding is broken: {reason}")
    else:
        translated = TransportError(reason)
    translated.arrived = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
    return translated

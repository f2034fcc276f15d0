"""Triton's HTTP endpoint, for KServe v2 over HTTP: bytes there and bytes back, nothing decoded."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from cutout_core.contract import CutoutError, ErrorCode
from cutout_gateway.metrics import OK

log = logging.getLogger("cutout.gateway.triton")

#: What of a request goes to Triton, and what of its answer goes to the caller.
_REQUEST_HEADERS = ("content-type", "inference-header-content-length", "accept-encoding")
_ANSWER_HEADERS = ("content-type", "content-encoding", "inference-header-content-length")

_OUTCOMES = {
    404: ErrorCode.NOT_FOUND,
    499: ErrorCode.CANCELLED,
    500: ErrorCode.INTERNAL,
    503: ErrorCode.MODEL_UNAVAILABLE,
    504: ErrorCode.DEADLINE_EXCEEDED,
}


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """Triton's answer; the body is as it came, compressed where the caller asked for it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def size(self) -> int:
        return len(self.body)

    @property
    def outcome(self) -> str:
        """OK, or the code of the error table that is nearest to the status."""
        return OK if self.status < 400 else _OUTCOMES.get(self.status, ErrorCode.MALFORMED_REQUEST).value


class TritonHttp:
    """One Triton's HTTP endpoint at `url` (host:port); None where it is not known. At most `connections` at once."""

    def __init__(self, url: str | None, connections: int) -> None:
        self._url = url
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._client = httpx.AsyncClient(limits=limits, timeout=None, trust_env=False)

    async def close(self) -> None:
        """Closes the connections; calls in flight fail."""
        await self._client.aclose()

    async def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """Sends a request for as long as the caller lets it. Cancelling it closes its connection, so Triton drops it.

        Raises `CutoutError` NOT_FOUND where the endpoint is not known, MODEL_UNAVAILABLE where it does not answer.
        """
        if self._url is None:
            raise CutoutError(
                ErrorCode.NOT_FOUND,
                "KServe v2 is served over gRPC only: the operator can set CUTOUT_TRITON_HTTP_URL.",
            )
        request = self._client.build_request(method, f"http://{self._url}{path}", content=body)
        del request.headers["accept-encoding"]  # httpx would offer what it can decode itself
        for name in _REQUEST_HEADERS:
            if name in headers:
                request.headers[name] = headers[name]
        try:
            response = await self._client.send(request, stream=True)
            try:
                raw = b"".join([piece async for piece in response.aiter_raw()])
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            log.warning("Triton's HTTP endpoint does not answer: %r", error)
            raise CutoutError(ErrorCode.MODEL_UNAVAILABLE, retry_after_s=2.0) from None
        kept = {name: response.headers[name] for name in _ANSWER_HEADERS if name in response.headers}
        if response.status_code == 500:
            kept, raw = _without_traceback(kept, raw)
        return HttpAnswer(response.status_code, kept, raw)


def _without_traceback(headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
    try:
        message = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return headers, body
    return headers, json.dumps({"error": first_part(str(message))}).encode()


def first_part(message: str) -> str:
    """Triton's message without the Python stack that its Python backend appends; the whole goes to the log."""
    short = message.partition("\n\nAt:\n")[0].partition("Traceback (most recent call last)")[0].rstrip()
    if short != message:
        log.warning("Triton failed: %s", message[:2000])
    return short

"""Transports without a server, for the tests of those who use the clients.

    def handler(request: Request) -> Reply:
        if not request.image.startswith(b"\\xff\\xd8"):
            raise InvalidImage("The bytes are not an image.", code="not_an_image")
        return CutoutResult(data=b"...", content_type="image/png", width=4, height=3, source_width=4, source_height=3)

    transport = MockTransport(handler)
    with Client(transport=transport) as client:
        client.remove_background(photo)
    assert transport.requests[0].options == {}

Retries and time-outs are the clients' own, so a handler that raises `Overloaded` is called again.
"""

from __future__ import annotations

from collections.abc import Callable

from cutout_client._messages import Reply, Request


class MockTransport:
    """Answers by a function and keeps what was asked in `requests`, one entry for each attempt."""

    def __init__(self, handler: Callable[[Request], Reply]) -> None:
        self.requests: list[Request] = []
        self._handler = handler

    def send(self, request: Request, timeout_s: float | None) -> Reply:
        self.requests.append(request)
        return self._handler(request)

    def close(self) -> None:
        """There is nothing to close."""


class AsyncMockTransport:
    """`MockTransport` for `AsyncClient`."""

    def __init__(self, handler: Callable[[Request], Reply]) -> None:
        self._mock = MockTransport(handler)
        self.requests = self._mock.requests

    async def send(self, request: Request, timeout_s: float | None) -> Reply:
        return self._mock.send(request, timeout_s)

    async def aclose(self) -> None:
        """There is nothing to close."""

"""The one seam of the clients: a transport sends one request once. Retries and arguments are the clients'."""

from __future__ import annotations

from typing import Protocol

from cutout_client._messages import Reply, Request


class Transport(Protocol):
    """Sends requests, from any number of threads at a time."""

    def send(self, request: Request, timeout_s: float | None) -> Reply:
        """Sends once and returns the answer within `timeout_s`. Raises `CutoutClientError`."""

    def close(self) -> None:
        """Closes every connection."""


class AsyncTransport(Protocol):
    """Sends requests in one event loop; cancelling a `send` drops the request at the server."""

    async def send(self, request: Request, timeout_s: float | None) -> Reply:
        """Sends once and returns the answer within `timeout_s`. Raises `CutoutClientError`."""

    async def aclose(self) -> None:
        """Closes every connection."""

"""HTTP/1.1 on bare asyncio: a write for the request, and an answer whose body is counted and thrown away.

A general client copies every answer together, which on a machine that also runs the server is paid for by the server.
Only answers with Content-Length are read, as the service and its peer send them.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import cast
from urllib.parse import urlsplit

from cutout_loadtest.shot import CONNECTION, OK, PROTOCOL, TIMEOUT, Outcome, Shot

#: Bytes that one read may bring. The buffer is shared by all connections: what it holds is used before the next read.
_BUFFER = memoryview(bytearray(256 * 1024))
#: Longest head of an answer, and longest body of an error that is kept for its code; bytes.
_MAX_HEAD, _MAX_ERROR = 64 * 1024, 64 * 1024


class HttpSender:
    """Keeps idle connections and opens as many as are needed. Raises ValueError where `url` is no http(s):// address.

    timeout_s: of one request, from its first byte.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise ValueError(f"{url!r} is no http://host:port")
        self._host, self._tls = parts.hostname, parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        self._timeout_s = timeout_s
        self._idle: list[_Connection] = []

    async def send(self, shot: Shot) -> Outcome:
        outcome = Outcome(sent=time.perf_counter())
        connection: _Connection | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                connection = await self._connection()
                await connection.exchange(shot.http, outcome)
        except TimeoutError:
            outcome.status = TIMEOUT
        except OSError:
            outcome.status = CONNECTION
        outcome.done = time.perf_counter()
        if connection is not None:
            if connection.reusable:
                self._idle.append(connection)
            else:
                connection.close()
        return outcome

    async def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable:
                return connection
            connection.close()
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(_Connection, self._host, self._port, ssl=self._tls or None)
        return made


class _Connection(asyncio.BufferedProtocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._alive = True
        self._answered: asyncio.Future[None] | None = None
        self._outcome = Outcome()
        self._head = bytearray()
        self._rest: int | None = None
        self._error = bytearray()
        self._keep = True

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent."""
        return self._alive and self._keep and self._answered is None

    async def exchange(self, request: bytes, outcome: Outcome) -> None:
        """Sends a request and reads its answer into `outcome`. Raises OSError where the connection breaks."""
        assert self._transport is not None
        self._outcome, self._rest = outcome, None
        self._head.clear()
        self._error.clear()
        self._answered = asyncio.get_running_loop().create_future()
        outcome.sent = time.perf_counter()
        self._transport.write(request)
        await self._answered
        self._answered = None
        if self._transport.get_write_buffer_size():
            self._keep = False  # answered before all was sent: the rest must not reach the next request

    def close(self) -> None:
        self._alive = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class

    def connection_lost(self, exc: Exception | None) -> None:
        self._alive = False
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(ConnectionResetError("closed before the answer was complete"))

    def get_buffer(self, sizehint: int) -> memoryview:
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        if self._answered is None or self._answered.done():
            self._keep = False  # bytes that nobody asked for
            return
        data = _BUFFER[:nbytes]
        if self._rest is None:
            data = self._read_head(data)
        if self._rest is not None:
            self._read_body(data)

    def _read_head(self, data: memoryview) -> memoryview:
        """Takes the head's part of `data`; returns what lies behind the head."""
        if not self._head:
            self._outcome.first_byte = time.perf_counter()
        before = len(self._head)
        self._head += data[:_MAX_HEAD]
        end = self._head.find(b"\r\n\r\n", max(0, before - 3))
        if end < 0:
            if len(self._head) > _MAX_HEAD:
                self._finish(PROTOCOL)
            return data[:0]
        lines = bytes(self._head[:end]).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        length, status = headers.get("content-length", ""), lines[0].split(" ")[1:2]
        if not length.isdigit() or not status:
            self._finish(PROTOCOL)
            return data[:0]
        self._rest = self._outcome.bytes_out = int(length)
        self._keep = headers.get("connection", "").lower() != "close" and lines[0].startswith("HTTP/1.1")
        self._outcome.status = OK if status[0] == "200" else f"http_{status[0]}"
        self._outcome.server = headers.get("server-timing", "")
        return data[end + 4 - before :]

    def _read_body(self, data: memoryview) -> None:
        assert self._rest is not None
        self._rest -= len(data)
        if self._outcome.status != OK and len(self._error) < _MAX_ERROR:
            self._error += data
        if self._rest <= 0:
            self._finish(self._outcome.status if self._outcome.status == OK else self._code())

    def _code(self) -> str:
        """The error table's code, or the bare status where the body names none."""
        try:
            return str(json.loads(self._error)["error"]["code"])
        except (ValueError, KeyError, TypeError):
            return self._outcome.status

    def _finish(self, status: str) -> None:
        assert self._answered is not None
        self._outcome.status = status
        self._keep = self._keep and status != PROTOCOL
        self._answered.set_result(None)

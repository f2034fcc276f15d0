"""uvicorn's HTTP/1.1 protocol with the error table's answer to what is no HTTP, and a bound on silent connections."""

from __future__ import annotations

import asyncio
import json

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from cutout_core.contract import ErrorCode
from cutout_gateway.http_connection import ABORT
from cutout_gateway.http_errors import error_body
from cutout_gateway.requests import clean_request_id


class HttpProtocol(H11Protocol):
    """h11, not httptools: it bounds the headers (64 KiB), and keeps the body of a client that offers HTTP/2."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, ABORT: transport.abort}
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def send_400_response(self, msg: str) -> None:
        """Answers bytes that are no HTTP request, and closes."""
        request_id = clean_request_id(None)
        self.logger.info("request %s http malformed_request (%s)", request_id, msg)
        body = json.dumps(error_body(ErrorCode.MALFORMED_REQUEST, msg, None, request_id)).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", request_id.encode()),
            (b"connection", b"close"),
        ]
        events = (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage())
        for event in events:
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

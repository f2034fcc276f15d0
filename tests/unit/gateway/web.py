"""A web server on loopback, whose name, network and certificate a test gives to its `UrlFetcher` itself."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Handler = Callable[["Exchange"], None]


@dataclass
class Web:
    """What is served by path, and what was asked for: (path, headers)."""

    port: int = 0
    pages: dict[str, Handler] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    sni: list[str | None] = field(default_factory=list)

    def serve(self, path: str, body: bytes, status: int = 200, **headers: str) -> None:
        """Answers `path` with these; `Content-Length` is added."""

        def answer(exchange: Exchange) -> None:
            exchange.send_response(status)
            for name, value in {"Content_Length": str(len(body)), **headers}.items():
                exchange.send_header(name.replace("_", "-"), value)
            exchange.end_headers()
            exchange.wfile.write(body)

        self.pages[path] = answer

    def redirect(self, path: str, target: str, status: int = 302) -> None:
        self.serve(path, b"", status, Location=target)


class Exchange(BaseHTTPRequestHandler):
    """One request."""

    web: Web
    timeout = 5

    def log_message(self, format: str, *args: object) -> None:
        """The test's output stays clean."""

    def do_GET(self) -> None:
        self.web.asked.append((self.path, dict(self.headers.items())))
        self.web.pages[self.path](self)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that leaves in the middle is part of many tests; anything else is told as usual."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Server6(_Server):
    address_family = socket.AF_INET6


@contextmanager
def serve_web(certificate: tuple[str, str] | None = None, address: str = "127.0.0.1") -> Iterator[Web]:
    """A server on a free port of `address`; with TLS where `certificate` names the files of certificate and key."""
    web = Web()
    server = (_Server6 if ":" in address else _Server)((address, 0), type("Handler", (Exchange,), {"web": web}))
    web.port = server.server_address[1]
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        context.sni_callback = lambda _socket, name, _context: web.sni.append(name)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

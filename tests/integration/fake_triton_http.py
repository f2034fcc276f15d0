"""An HTTP endpoint that stands in for Triton's where a test is about what the gateway forwards."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class FakeTritonHttp:
    """Answers every request alike, after `delay_s`; `left` is set when a caller went away meanwhile."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b'{"outputs":[]}'
    delay_s: float = 0.0
    seen: list[Seen] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                length = int(self.headers.get("content-length", 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                fake.seen.append(Seen(self.command, self.path, headers, self.rfile.read(length)))
                end = time.monotonic() + fake.delay_s
                self.connection.setblocking(False)
                while time.monotonic() < end:
                    try:
                        gone = self.connection.recv(1) == b""
                    except BlockingIOError:
                        gone = False
                    if gone:
                        fake.left.set()
                        self.close_connection = True
                        return
                    time.sleep(0.005)
                self.connection.setblocking(True)
                self.send_response(fake.status)
                for name, value in {**fake.headers, "Content-Length": str(len(fake.body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(fake.body)

            do_GET = do_POST = answer  # noqa: N815

            def log_message(self, format: str, *arguments: object) -> None:
                """Nothing: the test tells what happened."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def reset(self) -> None:
        """Back to good behaviour."""
        self.status, self.headers, self.body, self.delay_s = 200, {}, b'{"outputs":[]}', 0.0
        self.seen.clear()
        self.left.clear()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

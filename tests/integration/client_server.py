"""A small server with Cutout's HTTP and gRPC surface that answers by script, to test the client against.

Written from the documented surface and not with the gateway's code, so that the client is not tested against
itself. Every answer is a success unless one is queued.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import grpc
from grpc_health.v1 import health_pb2

from cutout_core.contract import ERROR_TABLE, ErrorCode, cutout_pb2
from cutout_core.contract.options import CONTENT_TYPES

RESULT = b"\x89PNG\r\n\x1a\n the result"
TIMINGS = {"queue": 0.25, "engines": 12.5, "total": 20.0}
INFO: dict[str, object] = {"version": "0.1.0", "limits": {"max_bytes": 33554432}}


@dataclass(frozen=True)
class Answer:
    """One scripted answer: a success, or the error `code`, after `delay_s`.

    hang_up: the connection is closed without an answer. early: the error is sent before the body is read (HTTP).
    trickle_s: the pause between single bytes of the result (HTTP).
    """

    code: ErrorCode | str | None = None
    option: str | None = None
    retry_after_s: int | None = None
    delay_s: float = 0.0
    hang_up: bool = False
    early: bool = False
    trickle_s: float = 0.0
    warnings: tuple[str, ...] = ()
    confidence: float = 0.9375
    subject: bool = True

    @property
    def code_text(self) -> str:
        return self.code.value if isinstance(self.code, ErrorCode) else str(self.code)


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    image: bytes
    options: dict[str, str]
    request_id: str
    timeout_ms: float | None


@dataclass
class ScriptedServer:
    """What both protocols share: the queued answers, what was seen, and whether the server is ready."""

    url: str = ""
    ready: bool = True
    answers: deque[Answer] = field(default_factory=deque)
    seen: list[Seen] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)
    streams: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    counting: threading.Lock = field(default_factory=threading.Lock)
    stopping: threading.Event = field(default_factory=threading.Event)

    def note(self, seen: Seen) -> None:
        self.seen.append(seen)
        self.arrived.set()

    @contextmanager
    def one_in_flight(self) -> Iterator[None]:
        """Counts a request as long as it is open."""
        with self.counting:
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            yield
        finally:
            with self.counting:
                self.in_flight -= 1

    def pause(self, seconds: float) -> None:
        """Sleeps; the server's end cuts it short, so that a test may let a caller wait for very long."""
        self.stopping.wait(seconds)

    def next_answer(self) -> Answer:
        return self.answers.popleft() if self.answers else Answer()


@contextmanager
def serve_http() -> Iterator[ScriptedServer]:
    """The HTTP surface on a free loopback port."""
    script = ScriptedServer()
    handler = type("Handler", (_Handler,), {"script": script})
    server = _Server(("127.0.0.1", 0), handler)
    script.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield script
    finally:
        script.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that leaves is part of many tests; anything else is told as usual."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    script: ScriptedServer
    protocol_version = "HTTP/1.1"
    timeout = 5

    def log_message(self, format: str, *args: object) -> None:
        """The test's output stays clean."""

    def do_GET(self) -> None:
        if self.path == "/readyz":
            self._json(200 if self.script.ready else 503, {"ready": self.script.ready})
        elif self.path == "/info":
            self._json(200, INFO)
        else:
            self._json(404, _error_body(Answer(ErrorCode.NOT_FOUND), "id"))

    def do_POST(self) -> None:
        answer = self.script.next_answer()
        request_id = self.headers["X-Request-Id"]
        image = b"" if answer.early else self.rfile.read(int(self.headers["Content-Length"]))
        options = dict(parse_qsl(urlsplit(self.path).query))
        timeout = self.headers["X-Cutout-Timeout-Ms"]
        self.script.note(Seen(image, options, request_id, float(timeout) if timeout else None))
        with self.script.one_in_flight():
            self.script.pause(answer.delay_s)
        if answer.hang_up:
            self.close_connection = True
            return
        try:
            if answer.code is None:
                self._result(answer, options, request_id)
            else:
                self._error(answer, request_id)
        except (BrokenPipeError, ConnectionResetError):
            self.script.cancelled.set()

    def _result(self, answer: Answer, options: dict[str, str], request_id: str) -> None:
        headers = {
            "Content-Type": CONTENT_TYPES[options.get("output", "png")],
            "X-Request-Id": request_id,
            "X-Cutout-Width": "40",
            "X-Cutout-Height": "30",
            "X-Cutout-Source-Width": "80",
            "X-Cutout-Source-Height": "60",
            "X-Cutout-Source-Format": "jpeg",
            "X-Cutout-Quality": "standard",
            "X-Cutout-Mode": "portrait",
            "X-Cutout-Confidence": str(answer.confidence),
            "X-Cutout-Coverage": "0.2500",
            "Server-Timing": ", ".join(f"{name};dur={value:.2f}" for name, value in TIMINGS.items()),
        }
        if answer.subject:
            headers["X-Cutout-Subject"] = "1,2,30,20"
        if answer.warnings:
            headers["X-Cutout-Warnings"] = ",".join(answer.warnings)
        self._send(200, headers, RESULT, answer.trickle_s)

    def _error(self, answer: Answer, request_id: str) -> None:
        status = ERROR_TABLE[answer.code].http_status if isinstance(answer.code, ErrorCode) else 418
        headers = {"Content-Type": "application/json", "X-Request-Id": request_id}
        if answer.retry_after_s is not None:
            headers["Retry-After"] = str(answer.retry_after_s)
        if answer.early:
            headers["Connection"] = "close"
        self._send(status, headers, json.dumps(_error_body(answer, request_id)).encode())

    def _json(self, status: int, body: dict[str, object]) -> None:
        self._send(status, {"Content-Type": "application/json"}, json.dumps(body).encode())

    def _send(self, status: int, headers: dict[str, str], body: bytes, trickle_s: float = 0.0) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not trickle_s:
            self.wfile.write(body)
            return
        for byte in body:
            self.wfile.write(bytes((byte,)))
            self.script.pause(trickle_s)


def _error_body(answer: Answer, request_id: str) -> dict[str, object]:
    known = isinstance(answer.code, ErrorCode)
    return {
        "error": {
            "code": answer.code_text,
            "message": ERROR_TABLE[answer.code].meaning if isinstance(answer.code, ErrorCode) else "New.",
            "field": answer.option,
            "request_id": request_id,
            "retryable": ERROR_TABLE[ErrorCode(answer.code_text)].retryable if known else False,
        }
    }


@contextmanager
def serve_grpc(port: int = 0) -> Iterator[ScriptedServer]:
    """The gRPC surface on a loopback port, a free one by default."""
    script = ScriptedServer()
    options = (
        ("grpc.max_receive_message_length", 64 << 20),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),
    )
    server = grpc.server(ThreadPoolExecutor(8), options=options)
    methods = {
        "RemoveBackground": _unary(lambda raw, context: _remove_background(script, raw, context)),
        "RemoveBackgrounds": grpc.stream_stream_rpc_method_handler(
            lambda raws, context: _remove_backgrounds(script, raws, context)
        ),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("cutout.v1.BackgroundRemoval", methods),))
    health = {"Check": _unary(lambda raw, context: _health(script, raw))}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", health),))
    script.url = f"grpc://127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    server.start()
    try:
        yield script
    finally:
        script.stopping.set()
        server.stop(0).wait()


def _unary(behaviour: object) -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(behaviour)


def _health(script: ScriptedServer, raw: bytes) -> bytes:
    assert health_pb2.HealthCheckRequest.FromString(raw).service == ""
    states = health_pb2.HealthCheckResponse
    encoded: bytes = states(status=states.SERVING if script.ready else states.NOT_SERVING).SerializeToString()
    return encoded


def _remove_background(script: ScriptedServer, raw: bytes, context: grpc.ServicerContext) -> bytes:
    message = cutout_pb2.RemoveBackgroundRequest.FromString(raw)
    answer = script.next_answer()
    remaining = context.time_remaining()
    timeout_ms = remaining * 1000 if remaining is not None and remaining < 1e6 else None
    script.note(Seen(message.image, dict(message.options), message.request_id, timeout_ms))
    context.add_callback(lambda: None if context.code() is not None else script.cancelled.set())
    script.pause(answer.delay_s)
    if answer.hang_up:
        context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
    if answer.code is not None:
        _abort(context, answer, message.request_id)
    context.set_code(grpc.StatusCode.OK)
    encoded: bytes = _response(message, answer).SerializeToString()
    return encoded


def _remove_backgrounds(
    script: ScriptedServer, raws: Iterator[bytes], context: grpc.ServicerContext
) -> Iterator[bytes]:
    """One item after the other; `hang_up` ends the stream."""
    script.streams += 1
    for raw in raws:
        item = cutout_pb2.RemoveBackgroundsRequest.FromString(raw)
        message = item.request
        answer = script.next_answer()
        script.note(Seen(message.image, dict(message.options), message.request_id, item.timeout_ms or None))
        script.pause(answer.delay_s)
        if answer.hang_up:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        outcome = cutout_pb2.RemoveBackgroundsResponse(id=item.id)
        if answer.code is None:
            outcome.result.CopyFrom(_response(message, answer))
        else:
            known = isinstance(answer.code, ErrorCode)
            outcome.error.code, outcome.error.request_id = answer.code_text, message.request_id
            outcome.error.message = ERROR_TABLE[answer.code].meaning if known else "New."
            outcome.error.field = answer.option or ""
            if answer.retry_after_s is not None:
                outcome.error.retry_after_ms = answer.retry_after_s * 1000
        yield outcome.SerializeToString()


def _response(message: cutout_pb2.RemoveBackgroundRequest, answer: Answer) -> cutout_pb2.RemoveBackgroundResponse:
    meta = cutout_pb2.Meta(
        request_id=message.request_id,
        source_width=80,
        source_height=60,
        source_format="jpeg",
        width=40,
        height=30,
        subject=cutout_pb2.Box(left=1, top=2, width=30, height=20) if answer.subject else None,
        coverage=0.25,
        warnings=answer.warnings,
        timings_ms=TIMINGS,
        quality="standard",
        mode="portrait",
        confidence=answer.confidence,
    )
    content_type = CONTENT_TYPES[message.options.get("output", "png")]
    return cutout_pb2.RemoveBackgroundResponse(result=RESULT, content_type=content_type, meta=meta)


def _abort(context: grpc.ServicerContext, answer: Answer, request_id: str) -> None:
    known = isinstance(answer.code, ErrorCode)
    row = ERROR_TABLE[ErrorCode(answer.code_text)] if known else None
    metadata = [("cutout-error-code", answer.code_text), ("cutout-request-id", request_id)]
    if answer.option is not None:
        metadata.append(("cutout-error-field", answer.option))
    if answer.retry_after_s is not None:
        metadata.append(("cutout-retry-after-ms", str(answer.retry_after_s * 1000)))
    context.set_trailing_metadata(tuple(metadata))
    context.abort(grpc.StatusCode[row.grpc_status] if row else grpc.StatusCode.UNKNOWN, row.meaning if row else "New.")

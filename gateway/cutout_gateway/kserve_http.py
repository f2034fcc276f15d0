"""KServe v2 over HTTP at /v2: requests are admitted, then forwarded to Triton as they are.

Paths, bodies and errors: https://github.com/kserve/open-inference-protocol and Triton's HTTP/REST extensions. An error
is a status other than 200 and `{"error": string}`.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import zlib

from fastapi import FastAPI
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from cutout_core.contract import ERROR_TABLE, CutoutError, ErrorCode
from cutout_gateway.admission import Weight
from cutout_gateway.http_connection import Bounded, timeout_of, unless_disconnected
from cutout_gateway.kserve_access import KserveAccess
from cutout_gateway.kserve_admission import OVERHEAD, InferCall, KserveAdmission
from cutout_gateway.kserve_json import read_facts
from cutout_gateway.kserve_upstream import TritonHttp
from cutout_gateway.requests import clean_request_id
from cutout_gateway.settings import Settings

log = logging.getLogger("cutout.gateway.kserve")

PROTOCOL = "kserve_http"

#: Largest body of a question about a model or the server, bytes, and the longest wait for its answer, seconds.
_QUESTION_BYTES = 64 * 1024
_QUESTION_S = 10.0

_NAME = r"[\w~-][\w.~-]*"
_MODEL = rf"/v2/models/(?P<model>{_NAME})(?:/versions/\d+)?"
_INFER = re.compile(rf"{_MODEL}/infer", re.ASCII)
_MODEL_READY = re.compile(rf"{_MODEL}/ready", re.ASCII)
_QUESTIONS = {
    "GET": re.compile(rf"/v2|/v2/models/stats|{_MODEL}(?:/config|/stats)?", re.ASCII),
    "POST": re.compile(r"/v2/repository/index"),
}
_CONTROL = re.compile(
    rf"/v2/repository/models/{_NAME}/(?:load|unload)"
    rf"|/v2/(?:system|cuda)sharedmemory(?:/region/{_NAME})?/(?:status|register|unregister)"
    rf"|/v2(?:/models/{_NAME})?/trace/setting"
    r"|/v2/logging",
    re.ASCII,
)

#: Window bits of zlib for each Content-Encoding that Triton takes: gzip, and deflate, which is zlib's own format.
_WINDOW = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class KserveHttp:
    """The endpoints below /v2."""

    def __init__(
        self, admission: KserveAdmission, access: KserveAccess, triton: TritonHttp, settings: Settings
    ) -> None:
        self._admission = admission
        self._service = admission.service
        self._access = access
        self._triton = triton
        self._settings = settings
        self._max_body = settings.max_bytes + OVERHEAD

    def add_to(self, app: FastAPI) -> None:
        """Serves /v2 and everything below it."""
        methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
        for path in ("/v2", "/v2/{path:path}"):
            app.add_route(path, self._answer, methods=methods, include_in_schema=False)

    async def _answer(self, request: Request) -> Response:
        request_id = clean_request_id(request.headers.get("x-request-id"))
        request.state.counted = False
        try:
            response = await self._dispatch(request, request_id)
        except (CutoutError, ClientDisconnect) as raised:
            error = raised if isinstance(raised, CutoutError) else CutoutError(ErrorCode.CANCELLED)
            if not request.state.counted:
                self._service.refused(PROTOCOL, request_id, error)
            response = _refusal(error)
        except Exception as error:
            log.error("request %s failed", request_id, exc_info=error, extra={"fields": {"request_id": request_id}})
            response = _refusal(CutoutError(ErrorCode.INTERNAL))
        response.headers["X-Request-Id"] = request_id
        return Bounded(response, self._settings.send_timeout_s)

    async def _dispatch(self, request: Request, request_id: str) -> Response:
        path, method = request.url.path, request.method
        if path == "/v2/health/live" and method == "GET":
            return Response()
        if path == "/v2/health/ready" and method == "GET":
            return Response() if self._service.ready else _not_ready("The server is not ready.")
        self._access.authorize(request.headers)
        if _CONTROL.fullmatch(path):
            self._access.check_control(request.headers, f"{method} {path}")
            return await self._ask(request, self._max_body, self._settings.max_timeout_s)
        if method == "POST" and (infer := _INFER.fullmatch(path)):
            return await self._infer(request, infer["model"], request_id)
        if method == "GET" and _MODEL_READY.fullmatch(path):
            if self._service.draining:
                return _not_ready("The server is stopping.")
            return await self._ask(request, _QUESTION_BYTES, _QUESTION_S)
        if method in _QUESTIONS and _QUESTIONS[method].fullmatch(path):
            return await self._ask(request, _QUESTION_BYTES, _QUESTION_S)
        known = (_INFER, _MODEL_READY, *_QUESTIONS.values())
        wrong_method = path.startswith("/v2/health/") or any(pattern.fullmatch(path) for pattern in known)
        code = ErrorCode.METHOD_NOT_ALLOWED if wrong_method else ErrorCode.NOT_FOUND
        raise CutoutError(code, f"{ERROR_TABLE[code].meaning} KServe v2 as served here: docs/kserve.md.")

    async def _ask(self, request: Request, limit: int, limit_s: float) -> Response:
        """All but inferences: no permit, so that a busy server still answers, but few bytes and a time of their own."""
        body = await self._read(request, limit, None)
        try:
            async with asyncio.timeout(limit_s):
                answer = await self._triton.send(request.method, request.url.path, request.headers, body)
        except TimeoutError:
            raise CutoutError(ErrorCode.DEADLINE_EXCEEDED) from None
        return Response(answer.body, answer.status, answer.headers)

    async def _infer(self, request: Request, model: str, request_id: str) -> Response:
        received = time.monotonic()
        with self._service.admission.upload() as weight:
            body = await self._read(request, self._max_body, weight)
            header_length = _header_length(request)
            facts = await asyncio.to_thread(read_facts, body, header_length, model)
        self._access.check_infer(request.headers, facts)
        deadline = received + timeout_of(request, self._settings)
        caller = self._access.authorize(request.headers)
        caller.check()
        call = InferCall(PROTOCOL, request_id, model, len(body), facts, received, deadline, caller)
        work = self._admission.infer(
            call, lambda left_s: self._triton.send("POST", request.url.path, request.headers, body)
        )
        request.state.counted = True
        answer = await unless_disconnected(request, work)
        return Response(answer.body, answer.status, answer.headers)

    async def _read(self, request: Request, limit: int, weight: Weight | None) -> bytes:
        """The body, inflated. Raises `CutoutError` TOO_MANY_BYTES, REQUEST_TIMEOUT, MALFORMED_REQUEST, OVERLOADED."""
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in (*_WINDOW, "identity", ""):
            raise CutoutError(ErrorCode.MALFORMED_REQUEST, "Content-Encoding takes gzip or deflate.")
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            raise _too_many_bytes(limit)
        chunks, size = [], 0
        try:
            async with asyncio.timeout(self._settings.upload_timeout_s):
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > limit:
                        raise _too_many_bytes(limit)
                    if weight is not None:
                        weight.add(size=len(chunk))
                    chunks.append(chunk)
        except TimeoutError:
            limit_s = self._settings.upload_timeout_s
            raise CutoutError(ErrorCode.REQUEST_TIMEOUT, f"The body did not arrive within {limit_s:g} s.") from None
        body = b"".join(chunks)
        if encoding in _WINDOW:
            body = await asyncio.to_thread(_inflate, body, _WINDOW[encoding], limit)
            if weight is not None:
                weight.add(size=len(body))
        return body


def _inflate(body: bytes, window: int, limit: int) -> bytes:
    inflater = zlib.decompressobj(window)
    try:
        plain = inflater.decompress(body, limit + 1)
    except zlib.error:
        raise CutoutError(ErrorCode.MALFORMED_REQUEST, "The body is not compressed as it says.") from None
    if len(plain) > limit:
        raise _too_many_bytes(limit)
    if not inflater.eof:
        raise CutoutError(ErrorCode.MALFORMED_REQUEST, "The compressed body ends too early.")
    return plain


def _header_length(request: Request) -> int | None:
    """The request's Inference-Header-Content-Length. Raises `CutoutError` MALFORMED_REQUEST."""
    text = request.headers.get("inference-header-content-length")
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise CutoutError(
            ErrorCode.MALFORMED_REQUEST,
            "Inference-Header-Content-Length takes a number of bytes.",
            field="Inference-Header-Content-Length",
        )
    return int(text)


def _too_many_bytes(limit: int) -> CutoutError:
    return CutoutError(ErrorCode.TOO_MANY_BYTES, f"The body is larger than the limit of {limit} bytes.")


def _not_ready(reason: str) -> Response:
    return JSONResponse({"error": reason}, 503)


def _refusal(error: CutoutError) -> Response:
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    return JSONResponse({"error": error.message}, error.row.http_status, headers)

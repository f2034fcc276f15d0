"""The HTTP edge: reads bytes, builds the request object, writes body and headers. No logic of its own."""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from cutout_core.contract import ERROR_TABLE, CutoutError, ErrorCode
from cutout_gateway.http_access import DOCUMENTED_KEYS, RateLimitHeaders, authorize_request
from cutout_gateway.http_body import read_upload
from cutout_gateway.http_connection import Bounded, timeout_of, unless_disconnected
from cutout_gateway.http_docs import add_docs, cutout_operation
from cutout_gateway.http_errors import error_response
from cutout_gateway.http_page import add_page
from cutout_gateway.rembg_api import add_rembg
from cutout_gateway.removebg_api import PROTOCOL as REMOVEBG
from cutout_gateway.removebg_api import add_removebg, is_removebg, removebg_error
from cutout_gateway.requests import CutoutReply, CutoutRequest, clean_request_id
from cutout_gateway.service import CutoutService
from cutout_gateway.settings import Settings
from cutout_gateway.url_fetch import UrlFetcher

log = logging.getLogger("cutout.gateway.http")

PROTOCOL = "http"
#: The file fields of a form: the photo, and a picture for the background.
FILES = ("image", "background_image")

#: Timings that go into Server-Timing, in the order of the path.
_SERVER_TIMING = (
    "queue",
    "preprocess",
    "engines",
    "decode",
    "refine",
    "tiles",
    "cleanup",
    "decontaminate",
    "frame",
    "compose",
    "encode",
    "postprocess",
    "total",
)


def create_app(
    service: CutoutService,
    settings: Settings,
    info: Callable[[], Awaitable[dict[str, object]]],
    triton_metrics: Callable[[], Awaitable[bytes]],
    fetcher: UrlFetcher,
) -> FastAPI:
    """The ASGI application. `info` and `triton_metrics` answer /info and /metrics/triton; `fetcher` downloads URLs."""
    app = FastAPI(
        title="Cutout",
        description="Background removal: a photo goes in, a cut-out comes out.",
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_middleware(RateLimitHeaders)
    add_docs(app)
    add_page(app)
    _add_error_handlers(app, service)

    @app.post("/v1/cutouts", dependencies=DOCUMENTED_KEYS, **cutout_operation(settings.limits))
    async def cutouts(request: Request) -> Response:
        received = time.monotonic()
        request_id = clean_request_id(request.headers.get("x-request-id"))
        request.state.request_id = request_id
        caller = authorize_request(request, service.access)
        with service.admission.upload() as weight:
            upload = await read_upload(
                request, settings.max_bytes, settings.upload_timeout_s, weight, files=FILES, url_field="image_url"
            )
            image = upload.image
            if image is None:
                url = upload.options.pop("image_url")
                image = await unless_disconnected(request, fetcher.fetch(url, "image_url", weight))
        deadline = received + timeout_of(request, settings)
        wanted = CutoutRequest(
            image, upload.options, request_id, PROTOCOL, deadline, received, upload.background, caller=caller
        )
        work = service.cutout(wanted)
        request.state.counted = True
        reply = await unless_disconnected(request, work)
        response = _json_reply(reply) if _wants_json(request) else _bytes_reply(reply)
        return Bounded(response, settings.send_timeout_s)

    add_rembg(app, service, settings, fetcher)
    add_removebg(app, service, settings, fetcher)

    @app.head("/livez", include_in_schema=False)
    @app.get("/livez", summary="Whether the process is alive")
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    @app.head("/readyz", include_in_schema=False)
    @app.get("/readyz", summary="Whether requests would be served", responses={503: {"description": "Not ready."}})
    async def readyz() -> JSONResponse:
        state = service.readiness
        body = {
            "ready": service.ready,
            "qualities": state.qualities,
            "reason": state.reason,
            "not_installed": state.not_installed,
            "reasons": state.reasons,
        }
        return JSONResponse(body, 200 if service.ready else 503)

    @app.get("/info", summary="Limits, models, profile and versions")
    async def get_info() -> dict[str, object]:
        return await info()

    @app.get("/metrics", summary="Prometheus metrics of the gateway", response_class=Response)
    async def metrics() -> Response:
        return Response(service.metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/metrics/triton", summary="Prometheus metrics of Triton itself", response_class=Response)
    async def metrics_of_triton() -> Response:
        return Response(await triton_metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return app


def _wants_json(request: Request) -> bool:
    accepted = request.headers.get("accept", "").lower().replace(" ", "").split(",")
    return any(entry.startswith("application/json") and not entry.endswith(";q=0") for entry in accepted)


def _bytes_reply(reply: CutoutReply) -> Response:
    meta = reply.meta
    headers = {
        "X-Request-Id": reply.request_id,
        "X-Cutout-Width": str(meta.width),
        "X-Cutout-Height": str(meta.height),
        "X-Cutout-Source-Width": str(meta.source_width),
        "X-Cutout-Source-Height": str(meta.source_height),
        "X-Cutout-Source-Format": meta.source_format,
        "X-Cutout-Quality": meta.quality,
        "X-Cutout-Coverage": f"{meta.coverage:.4f}",
        "Server-Timing": ", ".join(
            f"{name};dur={meta.timings_ms[name]:.2f}" for name in _SERVER_TIMING if name in meta.timings_ms
        ),
    }
    if meta.mode:
        headers["X-Cutout-Mode"] = meta.mode
    if meta.confidence is not None:
        headers["X-Cutout-Confidence"] = f"{meta.confidence:.3f}"
    if meta.subject is not None:
        box = meta.subject
        headers["X-Cutout-Subject"] = f"{box.left},{box.top},{box.width},{box.height}"
    if meta.warnings:
        headers["X-Cutout-Warnings"] = ",".join(meta.warnings)
    if meta.violations:
        headers["X-Cutout-Violations"] = ",".join(violation.rule.value for violation in meta.violations)
    return Response(reply.result, media_type=reply.options.content_type, headers=headers)


def _json_reply(reply: CutoutReply) -> Response:
    meta = reply.meta
    body = {
        "result": base64.b64encode(reply.result).decode(),
        "content_type": reply.options.content_type,
        "meta": {
            "request_id": reply.request_id,
            "source_width": meta.source_width,
            "source_height": meta.source_height,
            "source_format": meta.source_format,
            "width": meta.width,
            "height": meta.height,
            "subject": asdict(meta.subject) if meta.subject else None,
            "coverage": meta.coverage,
            "mode": meta.mode or None,
            "mode_certainty": meta.mode_certainty,
            "confidence": meta.confidence,
            "warnings": meta.warnings,
            "timings_ms": meta.timings_ms,
            "quality": meta.quality,
            "violations": [{"rule": v.rule.value, "message": v.message} for v in meta.violations],
        },
    }
    return JSONResponse(body, headers={"X-Request-Id": reply.request_id})


def _add_error_handlers(app: FastAPI, service: CutoutService) -> None:
    def answer(request: Request, error: CutoutError, headers: Mapping[str, str] | None = None) -> Response:
        request_id = getattr(request.state, "request_id", None)
        if request_id is None:
            request_id = clean_request_id(request.headers.get("x-request-id"))
        theirs = is_removebg(request)
        if not getattr(request.state, "counted", False):
            service.refused(REMOVEBG if theirs else PROTOCOL, request_id, error)
        if theirs:
            return removebg_error(error, request_id, headers)
        return error_response(error, request_id, headers)

    @app.exception_handler(CutoutError)
    async def cutout_error(request: Request, error: CutoutError) -> Response:
        return answer(request, error)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        codes = {404: ErrorCode.NOT_FOUND, 405: ErrorCode.METHOD_NOT_ALLOWED}
        code = codes.get(error.status_code, ErrorCode.MALFORMED_REQUEST)
        hint = " See /docs." if code in codes.values() else ""
        headers = dict(error.headers or {})
        if code is ErrorCode.METHOD_NOT_ALLOWED:
            # Starlette tells those of the first route with the path, of which a path may have several.
            routes = [route for route in app.routes if isinstance(route, Route) and route.path == request.url.path]
            headers["Allow"] = ", ".join(sorted({method for route in routes for method in route.methods or ()}))
        return answer(request, CutoutError(code, ERROR_TABLE[code].meaning + hint), headers)

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return answer(request, CutoutError(ErrorCode.CANCELLED))

    @app.exception_handler(Exception)
    async def defect(request: Request, error: Exception) -> Response:
        log.error("defect while answering %s", request.url.path, exc_info=error)
        return answer(request, CutoutError(ErrorCode.INTERNAL))

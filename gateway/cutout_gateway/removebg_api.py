"""remove.bg's HTTP interface, version 1.0, for clients that change nothing but the server's address."""

from __future__ import annotations

import asyncio
import base64
import time
import uuid
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from cutout_core.contract import CutoutError, ResultWarning
from cutout_core.imaging.resize import result_size
from cutout_gateway.admission import Weight
from cutout_gateway.http_access import DOCUMENTED_KEYS, authorize_request
from cutout_gateway.http_body import Upload
from cutout_gateway.http_connection import Bounded, timeout_of, unless_disconnected
from cutout_gateway.http_errors import error_response
from cutout_gateway.removebg_body import Fields, read_fields, take_background, take_image
from cutout_gateway.removebg_docs import account_operation, improve_operation, removebg_operation
from cutout_gateway.removebg_errors import RemovebgError, to_removebg, unknown_foreground
from cutout_gateway.removebg_options import Wanted, check_improvement, prefers_json, to_wanted
from cutout_gateway.requests import CutoutReply, CutoutRequest, clean_request_id
from cutout_gateway.service import CutoutService
from cutout_gateway.settings import Settings
from cutout_gateway.url_fetch import UrlFetcher

PROTOCOL = "removebg"
_PREFIX = "/v1.0/"

#: There are no credits here: nothing is charged, and the account never runs low. Whole numbers, since a client parses
#: them so.
CREDITS_CHARGED, CREDITS = 0, 1_000_000

#: Headers of an answer that pages of other origins may read.
_EXPOSED = (
    "X-Credits-Charged, X-Width, X-Height, X-Max-Width, X-Max-Height, X-Type, X-Foreground-Top, X-Foreground-Left, "
    "X-Foreground-Width, X-Foreground-Height, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, "
    "Retry-After, X-Request-Id"
)
_CORS = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": _EXPOSED}
_PREFLIGHT = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": "X-Api-Key, Authorization, Content-Type, Accept, X-Request-Id, X-Cutout-Timeout-Ms",
    "Access-Control-Max-Age": "86400",
}


def add_removebg(app: FastAPI, service: CutoutService, settings: Settings, fetcher: UrlFetcher) -> None:
    """Adds the three endpoints. What they raise is answered by `removebg_error`."""

    async def read(request: Request, weight: Weight) -> Fields:
        return await read_fields(request, settings.max_bytes, settings.upload_timeout_s, weight)

    async def images(request: Request) -> tuple[Upload, Wanted]:
        """Both pictures, uploaded or downloaded, and what is wanted of them."""
        with service.admission.upload() as weight:
            fields = await read(request, weight)
            image, image_url = await asyncio.to_thread(take_image, fields, settings.max_bytes)
            background, background_url = take_background(fields, settings.max_bytes)
            wanted = to_wanted(
                fields.text,
                background=bool(background or background_url),
                quality=settings.removebg_quality,
                png_megapixels=settings.removebg_png_megapixels,
            )
            if image is None:
                image = await unless_disconnected(request, fetcher.fetch(image_url, "image_url", weight))
            if background_url:
                background = await unless_disconnected(request, fetcher.fetch(background_url, "bg_image_url", weight))
            return Upload(image, wanted.options, background), wanted

    @app.post(f"{_PREFIX}removebg", dependencies=DOCUMENTED_KEYS, **removebg_operation())
    async def removebg(request: Request) -> Response:
        received = time.monotonic()
        request.state.request_id = request_id = clean_request_id(request.headers.get("x-request-id"))
        caller = authorize_request(request, service.access)
        deadline = received + timeout_of(request, settings)
        upload, wanted = await images(request)
        job = CutoutRequest(
            upload.image or b"",
            upload.options,
            request_id,
            PROTOCOL,
            deadline,
            received,
            upload.background,
            caller=caller,
        )
        work = service.cutout(job)
        request.state.counted = True
        reply = await unless_disconnected(request, work)
        if ResultWarning.NO_SUBJECT.value in reply.meta.warnings:
            return _answer(unknown_foreground(), {"X-Request-Id": request_id})
        json = prefers_json(request.headers.get("accept", ""))
        response = _as_json(reply, wanted) if json else _as_bytes(reply, wanted)
        return Bounded(response, settings.send_timeout_s)

    @app.get(f"{_PREFIX}account", dependencies=DOCUMENTED_KEYS, **account_operation())
    async def account(request: Request) -> JSONResponse:
        authorize_request(request, service.access, spends=False)
        credits = {"total": CREDITS, "subscription": 0, "payg": 0, "enterprise": CREDITS}
        attributes = {"credits": credits, "api": {"free_calls": CREDITS, "sizes": "all"}}
        return JSONResponse({"data": {"attributes": attributes}}, headers=_CORS)

    @app.post(f"{_PREFIX}improve", dependencies=DOCUMENTED_KEYS, **improve_operation())
    async def improve(request: Request) -> JSONResponse:
        authorize_request(request, service.access, spends=False)
        with service.admission.upload() as weight:
            fields = await read(request, weight)
            await asyncio.to_thread(take_image, fields, settings.max_bytes)
        check_improvement(fields.text)
        return JSONResponse({"id": str(uuid.uuid4())}, headers=_CORS)

    for path in ("removebg", "account", "improve"):

        @app.options(f"{_PREFIX}{path}", include_in_schema=False)
        async def preflight() -> Response:
            return Response(status_code=204, headers=_PREFLIGHT)


def is_removebg(request: Request) -> bool:
    """Whether the request is one to remove.bg's interface, whose errors have a form of their own."""
    return request.url.path.startswith(_PREFIX)


def removebg_error(error: CutoutError, request_id: str, more_headers: Mapping[str, str] | None = None) -> Response:
    """The error in remove.bg's form, with the headers that it has everywhere."""
    ours = error_response(error, request_id, more_headers)
    headers = {name: value for name, value in ours.headers.items() if not name.startswith(("content-", "www-"))}
    return _answer(to_removebg(error), headers)


def _answer(error: RemovebgError, headers: Mapping[str, str]) -> JSONResponse:
    return JSONResponse(error.body(), error.status, headers={**headers, **_CORS})


def _headers(reply: CutoutReply, wanted: Wanted) -> dict[str, str]:
    meta = reply.meta
    max_width, max_height = result_size(meta.source_width, meta.source_height, wanted.max_megapixels)
    headers = {
        "X-Credits-Charged": str(CREDITS_CHARGED),
        "X-Width": str(meta.width),
        "X-Height": str(meta.height),
        "X-Max-Width": str(max(max_width, meta.width)),
        "X-Max-Height": str(max(max_height, meta.height)),
        "X-Request-Id": reply.request_id,
    }
    kind = wanted.x_type(meta.mode)
    if kind is not None:
        headers["X-Type"] = kind
    for name, value in _foreground(reply).items():
        headers[f"X-Foreground-{name.title()}"] = str(value)
    return headers | _CORS


def _foreground(reply: CutoutReply) -> dict[str, int]:
    """The subject's box in the result; without a subject the request has failed before."""
    box = reply.meta.subject
    return {"top": box.top, "left": box.left, "width": box.width, "height": box.height} if box else {}


def _as_bytes(reply: CutoutReply, wanted: Wanted) -> Response:
    return Response(reply.result, media_type=reply.options.content_type, headers=_headers(reply, wanted))


def _as_json(reply: CutoutReply, wanted: Wanted) -> Response:
    foreground = {f"foreground_{name}": value for name, value in _foreground(reply).items()}
    data = {"result_b64": base64.b64encode(reply.result).decode(), **foreground}
    return JSONResponse({"data": data}, headers=_headers(reply, wanted))

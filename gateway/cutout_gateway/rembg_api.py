"""rembg's HTTP interface: `GET` and `POST /api/remove`, for clients that change nothing but the server's address."""

from __future__ import annotations

import time
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from cutout_core.contract import CutoutError, ErrorCode
from cutout_gateway.http_access import DOCUMENTED_KEYS, authorize_request
from cutout_gateway.http_body import Upload, read_upload
from cutout_gateway.http_connection import Bounded, timeout_of, unless_disconnected
from cutout_gateway.http_errors import error_response
from cutout_gateway.rembg_options import DEFAULT_MODEL, MODELS, PARAMETERS, to_options
from cutout_gateway.requests import CutoutRequest, clean_request_id
from cutout_gateway.service import CutoutService
from cutout_gateway.settings import Settings
from cutout_gateway.url_fetch import UrlFetcher

PROTOCOL = "rembg"
_PATH = "/api/remove"

#: Errors that FastAPI's validation, which rembg leaves it to, answers with 422 and a list.
_VALIDATION = (ErrorCode.INVALID_OPTION, ErrorCode.UNKNOWN_OPTION, ErrorCode.MISSING_IMAGE, ErrorCode.EMPTY_BODY)


def add_rembg(app: FastAPI, service: CutoutService, settings: Settings, fetcher: UrlFetcher) -> None:
    """Adds the two endpoints."""

    async def read(request: Request) -> Upload:
        """The image, uploaded or downloaded, and rembg's parameters."""
        with service.admission.upload() as weight:
            if request.method == "POST":
                return await read_upload(
                    request, settings.max_bytes, settings.upload_timeout_s, weight, files=("file",)
                )
            options = dict(request.query_params)
            if len(options) < len(request.query_params.multi_items()):
                raise CutoutError(ErrorCode.INVALID_OPTION, "A parameter is given twice.", field="query")
            url = options.pop("url", "")
            if not url:
                raise CutoutError(ErrorCode.INVALID_OPTION, "'url' is missing.", field="url")
            return Upload(await unless_disconnected(request, fetcher.fetch(url, "url", weight)), options)

    async def remove(request: Request) -> Response:
        received = time.monotonic()
        request.state.request_id = request_id = clean_request_id(request.headers.get("x-request-id"))
        try:
            caller = authorize_request(request, service.access)
            deadline = received + timeout_of(request, settings)
            upload = await read(request)
            options = to_options(upload.options, service.readiness.absent)
            job = CutoutRequest(upload.image or b"", options, request_id, PROTOCOL, deadline, received, caller=caller)
            request.state.counted = True
            reply = await unless_disconnected(request, service.cutout(job))
        except CutoutError as error:
            if not getattr(request.state, "counted", False):
                service.refused(PROTOCOL, request_id, error)
            return _error(error, request)
        headers = {"X-Request-Id": request_id, "X-Cutout-Quality": reply.meta.quality}
        if reply.meta.warnings:
            headers["X-Cutout-Warnings"] = ",".join(reply.meta.warnings)
        response = Response(reply.result, media_type="image/png", headers=headers)
        return Bounded(response, settings.send_timeout_s)

    for method, summary in (("GET", "Remove the background of the image at a URL"), ("POST", "Remove from a file")):
        app.add_api_route(
            _PATH,
            remove,
            methods=[method],
            summary=f"rembg: {summary[0].lower()}{summary[1:]}",
            dependencies=DOCUMENTED_KEYS,
            operation_id=f"rembg_{method.lower()}",
            response_class=Response,
            responses=_RESPONSES,
            openapi_extra=_described(method),
        )


def _error(error: CutoutError, request: Request) -> Response:
    """The error in rembg's form: `{"detail": sentence}`, or FastAPI's list where a parameter is at fault."""
    ours = error_response(error, request.state.request_id)
    headers = {name: value for name, value in ours.headers.items() if not name.startswith("content-")}
    if error.code in _VALIDATION:
        location = "body" if request.method == "POST" else "query"
        detail = {"type": error.code.value, "loc": [location, error.field or "file"], "msg": error.message}
        return JSONResponse({"detail": [detail]}, 422, headers)
    # What is wrong with the file behind a URL is the URL's fault.
    status = 400 if error.field == "url" else error.row.http_status
    return JSONResponse({"detail": error.message}, status, headers)


def _described(method: str) -> dict[str, Any]:
    parameters: dict[str, dict[str, Any]] = {
        name: {"type": "string", "description": text} for name, text in PARAMETERS.items()
    }
    parameters["model"] |= {"enum": list(MODELS), "default": DEFAULT_MODEL}
    if method == "POST":
        file = {"type": "string", "format": "binary"}
        schema = {"type": "object", "required": ["file"], "properties": {"file": file} | parameters}
        query = {name: parameters[name] for name in ("bgc", "extras")}
        body = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}
    else:
        query, body = {"url": {"type": "string", "description": "URL of the image."}} | parameters, {}
    listed = [
        {"name": name, "in": "query", "required": name == "url", "schema": schema} for name, schema in query.items()
    ]
    return {"parameters": listed, **body}


_DETAIL = {"application/json": {"schema": {"type": "object", "required": ["detail"], "properties": {"detail": {}}}}}

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The PNG.", "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}},
    **{
        status: {"description": description, "content": _DETAIL}
        for status, description in (
            (400, "The URL cannot be downloaded, or the request cannot be parsed."),
            (401, "The API key is missing or unknown."),
            (408, "The body took too long to arrive."),
            (413, "More bytes or pixels than the limit."),
            (415, "The file is no image, or of a format that is not read."),
            (422, "A parameter is wrong, the file is missing, or the image is damaged."),
            (429, "Overloaded, or the key's rate is used up; see Retry-After."),
            (500, "A defect of the server."),
            (503, "The models are not ready."),
            (504, "The answer was not ready in time."),
        )
    },
}

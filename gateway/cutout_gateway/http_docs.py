"""/docs and the OpenAPI description; Swagger UI's files come from a package, so the page works without internet."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles
from swagger_ui_bundle import swagger_ui_path

from cutout_core.contract import ERROR_TABLE, OPTION_HELP, Limits
from cutout_core.contract.option_values import MAX_DPI, MAX_MAX_BYTES
from cutout_core.contract.options import ALPHA_KINDS, CHANNELS, CONTENT_TYPES, FLAGS, ICC_MODES, MODE_CHOICES, OUTPUTS
from cutout_core.contract.presets import PRESETS
from cutout_core.contract.tensors import DEFAULT_QUALITY, ENSEMBLES

_SCHEMAS: dict[str, dict[str, Any]] = {
    "quality": {"type": "string", "enum": list(ENSEMBLES), "default": DEFAULT_QUALITY},
    "mode": {"type": "string", "enum": list(MODE_CHOICES), "default": "auto"},
    "output": {"type": "string", "enum": list(OUTPUTS), "default": "png"},
    "background": {"type": "string", "default": "transparent", "examples": ["white", "#ff8800"]},
    "size": {"type": "number", "minimum": 0.0001, "maximum": 1000},
    "roi": {"type": "string", "default": "0% 0% 100% 100%", "examples": ["10% 0% 90% 100%", "40px 0px 900px 600px"]},
    "crop": {"type": "string", "enum": list(FLAGS), "default": "off"},
    "margin": {"type": "string", "default": "0px", "examples": ["30px", "10% 5%"]},
    "scale": {"type": "string", "default": "original", "examples": ["85%"]},
    "position": {"type": "string", "default": "original", "examples": ["center", "50% 100%"]},
    "canvas": {"type": "string", "default": "original", "examples": ["square", "2000x2000"]},
    "shadow": {"type": "string", "default": "none", "examples": ["soft", "soft 40%"]},
    "channels": {"type": "string", "enum": list(CHANNELS), "default": "rgba"},
    "alpha": {"type": "string", "enum": list(ALPHA_KINDS), "default": "straight"},
    "semitransparency": {"type": "string", "enum": list(FLAGS), "default": "on"},
    "max_bytes": {"type": "integer", "minimum": 1, "maximum": MAX_MAX_BYTES},
    "dpi": {"type": "integer", "minimum": 1, "maximum": MAX_DPI},
    "preset": {"type": "string", "enum": list(PRESETS)},
    "decontaminate": {"type": "string", "enum": list(FLAGS), "default": "on"},
    "cleanup": {"type": "string", "enum": list(FLAGS), "default": "on"},
    "icc": {"type": "string", "enum": list(ICC_MODES), "default": "keep"},
}

_IMAGE_URL = "URL of the photo, in the place of `image`; only where the server downloads from URLs."

#: Every header of a result that is an image, and what it tells.
RESULT_HEADERS = {
    "X-Request-Id": "The request's id, the caller's or a new one.",
    "X-Cutout-Width": "Width of the result, pixels.",
    "X-Cutout-Height": "Height of the result, pixels.",
    "X-Cutout-Source-Width": "Width of the upright photo, pixels.",
    "X-Cutout-Source-Height": "Height of the upright photo, pixels.",
    "X-Cutout-Source-Format": "Format of the photo, e.g. `jpeg`.",
    "X-Cutout-Quality": "The quality that ran: `fast`, `standard` or `high`.",
    "X-Cutout-Mode": "The matting's mode, the caller's or the automatic choice; absent without matting.",
    "X-Cutout-Confidence": "Probability that the cut-out shows the right thing, 0..1; absent where unknown.",
    "X-Cutout-Coverage": "Mean alpha of the result, 0..1.",
    "X-Cutout-Subject": "`left,top,width,height` of the subject in the result, pixels; absent without a subject.",
    "X-Cutout-Warnings": "Comma-separated warnings; absent without any.",
    "X-Cutout-Violations": "Comma-separated rules of the preset that the result violates; absent without any.",
    "Server-Timing": "Milliseconds by stage (W3C Server Timing).",
}

_ERROR_SCHEMA = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "field", "request_id", "retryable"],
            "properties": {
                "code": {"type": "string", "enum": [code.value for code in ERROR_TABLE]},
                "message": {"type": "string"},
                "field": {"type": ["string", "null"]},
                "request_id": {"type": "string"},
                "retryable": {"type": "boolean"},
            },
        }
    },
}

_JSON_RESULT = {
    "type": "object",
    "properties": {
        "result": {"type": "string", "contentEncoding": "base64"},
        "content_type": {"type": "string"},
        "meta": {"type": "object"},
    },
}


def add_docs(app: FastAPI) -> None:
    """Adds /docs."""
    app.mount("/docs/static", StaticFiles(directory=swagger_ui_path), name="swagger-ui")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="Cutout",
            swagger_js_url="/docs/static/swagger-ui-bundle.js",
            swagger_css_url="/docs/static/swagger-ui.css",
            swagger_favicon_url="/docs/static/favicon-32x32.png",
        )


def cutout_operation(limits: Limits) -> dict[str, Any]:
    """Keyword arguments that describe `POST /v1/cutouts` to FastAPI."""
    options = {name: schema | {"description": OPTION_HELP[name]} for name, schema in _SCHEMAS.items()}
    image = {"type": "string", "format": "binary"}
    options["image_url"] = {"type": "string", "description": _IMAGE_URL}
    return {
        "summary": "Remove the background of one photo",
        "description": (
            "Send the photo as multipart field `image` with the options as form fields, or as the raw body with the "
            "options in the query. A form may hold a picture for the background too, in the file field "
            f"`background_image`. Limits of each: {limits.max_bytes} bytes, {limits.max_pixels} pixels. The answer is "
            "the image itself, or JSON with base64 where `Accept` is `application/json`."
        ),
        "responses": _responses(),
        "openapi_extra": {
            "parameters": [
                {
                    "name": name,
                    "in": "query",
                    "required": False,
                    "schema": schema,
                    "description": OPTION_HELP[name],
                }
                for name, schema in _SCHEMAS.items()
            ]
            + [
                {
                    "name": "image_url",
                    "in": "query",
                    "required": False,
                    "schema": {"type": "string"},
                    "description": _IMAGE_URL,
                },
                {
                    "name": "X-Cutout-Timeout-Ms",
                    "in": "header",
                    "required": False,
                    "schema": {"type": "integer", "minimum": 1},
                    "description": "Deadline of this request, milliseconds from its arrival.",
                },
                {
                    "name": "X-Request-Id",
                    "in": "header",
                    "required": False,
                    "schema": {"type": "string", "maxLength": 128},
                    "description": "Your id of this request; it is echoed and logged.",
                },
            ],
            "requestBody": {
                "required": True,
                "content": {
                    "multipart/form-data": {
                        "schema": {
                            "type": "object",
                            "properties": {"image": image, "background_image": image} | options,
                        }
                    },
                    "application/octet-stream": {"schema": image},
                    "image/*": {"schema": image},
                },
            },
        },
    }


def _responses() -> dict[int | str, dict[str, Any]]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    responses: dict[int | str, dict[str, Any]] = {
        200: {
            "description": "The cut-out.",
            "content": {
                **dict.fromkeys(CONTENT_TYPES.values(), binary),
                "application/json": {"schema": _JSON_RESULT},
            },
            "headers": {
                name: {"description": text, "schema": {"type": "string"}} for name, text in RESULT_HEADERS.items()
            },
        }
    }
    for row in ERROR_TABLE.values():
        if row.http_status == 499 or row.http_status in (404, 405):
            continue
        line = f"`{row.code.value}`: {row.meaning}"
        known = responses.get(row.http_status)
        responses[row.http_status] = {
            "description": f"{known['description']} {line}" if known else line,
            "content": {"application/json": {"schema": _ERROR_SCHEMA}},
        }
    return responses

"""The OpenAPI description of remove.bg's interface."""

from __future__ import annotations

from typing import Any

from fastapi.responses import Response

from cutout_gateway.removebg_options import FIELDS, IMPROVE_FIELDS, SIZES, TYPES

_TAG = "remove.bg"

_SCHEMAS: dict[str, dict[str, Any]] = {
    "size": {"enum": [name.replace("mp", "MP") for name in SIZES], "default": "preview"},
    "type": {"enum": list(TYPES), "default": "auto"},
    "type_level": {"enum": ["none", "1", "2", "latest"], "default": "1"},
    "format": {"enum": ["auto", "png", "jpg", "webp", "zip"], "default": "auto"},
    "roi": {"default": "0% 0% 100% 100%", "examples": ["10% 0% 90% 100%"]},
    "crop": {"enum": ["true", "false"], "default": "false"},
    "crop_margin": {"default": "0", "examples": ["30px", "10% 5%"]},
    "scale": {"default": "original", "examples": ["80%"]},
    "position": {"default": "original", "examples": ["center", "50% 100%"]},
    "channels": {"enum": ["rgba", "alpha"], "default": "rgba"},
    "add_shadow": {"enum": ["true", "false"], "default": "false"},
    "shadow_type": {"enum": ["none", "drop", "auto"]},
    "shadow_opacity": {"examples": ["40"]},
    "semitransparency": {"enum": ["true", "false"], "default": "true"},
    "bg_color": {"examples": ["ffffff", "81d4fa77", "green"]},
}
_FILE = {"type": "string", "format": "binary"}
_TEXT_SOURCES = {
    "image_file_b64": {"type": "string", "description": "The image in base64; a `data:` prefix may precede it."},
    "image_url": {"type": "string", "description": "URL of the image; only where the server downloads from URLs."},
}
_FILE_SOURCE = {"image_file": _FILE | {"description": "The image."}}
_PIXELS = {"type": "integer", "minimum": 0}
_HEADERS: dict[str, tuple[str, str]] = {
    "X-Credits-Charged": ("integer", "Always 0: there are no credits here."),
    "X-Width": ("integer", "Width of the result, pixels."),
    "X-Height": ("integer", "Height of the result, pixels."),
    "X-Max-Width": ("integer", "Width of the result with `size=full`, uncropped."),
    "X-Max-Height": ("integer", "Height of the result with `size=full`, uncropped."),
    "X-Type": ("string", "What the subject is, by `type` or the automatic mode; absent with `type_level=none`."),
    **{
        f"X-Foreground-{name}": ("integer", f"{name} of the subject's box in the result, pixels.")
        for name in ("Top", "Left", "Width", "Height")
    },
    "X-Request-Id": ("string", "The request's id."),
}
_ERRORS = {
    "type": "object",
    "required": ["errors"],
    "properties": {
        "errors": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["title", "code"],
                "properties": {name: {"type": "string"} for name in ("title", "code", "detail")},
            },
        }
    },
}
_FAILURES = {
    400: ("A field or an image is wrong.", "invalid_roi", "Invalid roi"),
    403: ("The API key is missing or unknown.", "auth_failed", "API Key invalid"),
    408: ("The body took too long to arrive.", "request_timeout", "The request's bytes took too long to arrive"),
    429: ("The key's rate is used up, or too much is in flight.", "rate_limit_exceeded", "Rate limit exceeded"),
    500: ("A defect of the server.", "internal_error", "Internal server error"),
    503: ("The models are not ready.", "model_unavailable", "The models are not ready or failed"),
    504: ("The answer was not ready in time.", "deadline_exceeded", "The answer was not ready in time"),
}


def removebg_operation() -> dict[str, Any]:
    """Keyword arguments that describe `POST /v1.0/removebg` to FastAPI."""
    options = {name: {"type": "string", "description": FIELDS[name], **_SCHEMAS[name]} for name in FIELDS}
    options["bg_image_url"] = {"type": "string", "description": "URL of a picture for the background."}
    more_files = {"bg_image_file": _FILE | {"description": "A picture for the background."}}
    data = {
        "type": "object",
        "required": ["data"],
        "properties": {
            "data": {
                "type": "object",
                "required": ["result_b64"],
                "properties": {"result_b64": {"type": "string"}}
                | {f"foreground_{name}": _PIXELS for name in ("top", "left", "width", "height")},
            }
        },
    }
    images = {kind: {"schema": _FILE} for kind in ("image/png", "image/jpeg", "image/webp", "application/zip")}
    answer = {
        "description": "The result: raw bytes, or JSON where `Accept` prefers it.",
        "content": images | {"application/json": {"schema": data}},
        "headers": {name: {"description": text, "schema": {"type": kind}} for name, (kind, text) in _HEADERS.items()},
    }
    return {
        "summary": "remove.bg: remove the background of one photo",
        "description": "Exactly one of `image_file`, `image_file_b64` and `image_url`; at most one `bg_` field.",
        "tags": [_TAG],
        "operation_id": "removebg",
        "response_class": Response,
        "responses": {200: answer, **_failures()},
        "openapi_extra": {"requestBody": _body(options, more_files, {"size": "preview", "bg_color": "ffffff"})},
    }


def improve_operation() -> dict[str, Any]:
    """Keyword arguments that describe `POST /v1.0/improve` to FastAPI."""
    fields = {name: {"type": "string"} for name in IMPROVE_FIELDS}
    schema = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string", "format": "uuid"}}}
    example = {"id": "6a1b5c1e-8f0e-4c4e-9d0e-3f6d1f6f0a55"}
    return {
        "summary": "remove.bg: hand in a photo for improvement (nothing is kept)",
        "description": "The photo is read and dropped: this server stores no images.",
        "tags": [_TAG],
        "operation_id": "removebg_improve",
        "responses": {200: _json("Accepted, and dropped.", schema, example), **_failures()},
        "openapi_extra": {"requestBody": _body(fields, {}, {"image_filename": "photo.jpg", "tag": "shop"})},
    }


def account_operation() -> dict[str, Any]:
    """Keyword arguments that describe `GET /v1.0/account` to FastAPI."""
    credits = {"total": 1_000_000, "subscription": 0, "payg": 0, "enterprise": 1_000_000}
    example = {"data": {"attributes": {"credits": credits, "api": {"free_calls": 1_000_000, "sizes": "all"}}}}
    schema = {"type": "object", "required": ["data"], "properties": {"data": {"type": "object"}}}
    return {
        "summary": "remove.bg: the account",
        "description": "There are no credits here: the figures never change.",
        "tags": [_TAG],
        "operation_id": "removebg_account",
        "responses": {200: _json("The account.", schema, example), **_failures()},
    }


def _body(options: dict[str, Any], more_files: dict[str, Any], example: dict[str, str]) -> dict[str, Any]:
    text = _TEXT_SOURCES | options
    form = {"schema": {"type": "object", "properties": _FILE_SOURCE | more_files | text}}
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
    fields = {"schema": {"type": "object", "properties": text}, "example": {"image_file_b64": pixel, **example}}
    content = {"multipart/form-data": form, "application/x-www-form-urlencoded": fields, "application/json": fields}
    return {"required": True, "content": content}


def _failures() -> dict[int | str, dict[str, Any]]:
    return {
        status: _json(text, _ERRORS, {"errors": [{"title": title, "code": code, "detail": text}]})
        for status, (text, code, title) in _FAILURES.items()
    }


def _json(description: str, schema: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema, "example": example}}}

"""Reading what clients of remove.bg send: multipart or URL-encoded form, or JSON; under hard limits, in memory only."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from cutout_core.contract import CutoutError, ErrorCode
from cutout_gateway.admission import Weight
from cutout_gateway.http_body import FORM_OVERHEAD, MAX_FIELDS, InMemoryParser, bounded_body, too_many_bytes

#: The fields that name the image, and those that name a picture for the background.
SOURCES = ("image_file", "image_file_b64", "image_url")
BACKGROUNDS = ("bg_image_file", "bg_image_url")
_FILES = ("image_file", "bg_image_file")
#: `image_file_b64` may be a data URL (RFC 2397).
_DATA_URL = re.compile(r"\s*data:[^,]{0,200};base64,", re.ASCII)
_TYPES = "multipart/form-data, application/x-www-form-urlencoded or application/json"


@dataclass(slots=True)
class Fields:
    """A request's text fields and its files; nothing is checked but the form of the body."""

    text: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether the field is there and not empty: forms send empty fields for what was not filled in."""
        return bool(self.files.get(name) or self.text.get(name, "").strip())


class _Parser(InMemoryParser):
    """Takes `image_file` and `bg_image_file` for files even where the client gives no file name."""

    def on_headers_finished(self) -> None:
        part = self._current_part
        _, options = parse_options_header(part.content_disposition)
        if b"filename" not in options and options.get(b"name", b"").decode("latin-1") in _FILES:
            part.content_disposition = (part.content_disposition or b"") + b'; filename=""'
        super().on_headers_finished()


async def read_fields(request: Request, max_bytes: int, timeout_s: float, weight: Weight) -> Fields:
    """The fields of the body and of the query.

    max_bytes: of each image. Raises `CutoutError` TOO_MANY_BYTES, REQUEST_TIMEOUT, MALFORMED_REQUEST, INVALID_OPTION
    for a field given twice, MISSING_IMAGE for a body of another kind, OVERLOADED where `weight` cannot grow. A caller
    that leaves meanwhile raises `ClientDisconnect`.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    # Base64 makes four bytes of three, and a URL-encoded form three of a few of those; or there are two files.
    body = bounded_body(request, 2 * max_bytes + FORM_OVERHEAD, max_bytes, weight)
    try:
        async with asyncio.timeout(timeout_s):
            if kind == "multipart/form-data":
                fields = await _read_multipart(request, body, max_bytes)
            else:
                raw = b"".join([chunk async for chunk in body])
                fields = await asyncio.to_thread(_parse, kind, raw)
    except TimeoutError:
        raise CutoutError(ErrorCode.REQUEST_TIMEOUT, f"The body did not arrive within {timeout_s:g} s.") from None
    _add_all(fields, request.query_params.multi_items())
    return fields


def take_image(fields: Fields, max_bytes: int) -> tuple[bytes | None, str]:
    """The image that the fields hold, or else the URL that they name; takes the sources out of the fields.

    Raises `CutoutError` MISSING_IMAGE, TOO_MANY_BYTES, and INVALID_OPTION for field `image_file` where there are
    several sources, for `image_file_b64` where it is not base64.
    """
    given = [name for name in SOURCES if fields.has(name)]
    if not given:
        raise CutoutError(
            ErrorCode.MISSING_IMAGE,
            f"Please provide the source image in one of {', '.join(SOURCES)}.",
            field=SOURCES[0],
        )
    if len(given) > 1:
        raise _refuse("image_file", f"Please provide only one of {', '.join(given)}.")
    text = {name: fields.text.pop(name, "") for name in SOURCES}
    if given == ["image_url"]:
        return None, text["image_url"].strip()
    if given == ["image_file"]:
        image = fields.files.get("image_file", b"")
        if not image:
            raise CutoutError(
                ErrorCode.MISSING_IMAGE,
                "'image_file' is text: send it as a file in a multipart form, or as image_file_b64.",
                field="image_file",
            )
    else:
        image = _decoded(text["image_file_b64"])
    if len(image) > max_bytes:
        raise too_many_bytes(max_bytes, given[0])
    return image, ""


def take_background(fields: Fields, max_bytes: int) -> tuple[bytes, str]:
    """The picture for the background, empty for none, or else its URL; takes both out of the fields.

    Raises `CutoutError` TOO_MANY_BYTES, and INVALID_OPTION for field `bg_image_file` where there are several
    backgrounds or it is text.
    """
    given = [name for name in ("bg_color", *BACKGROUNDS) if fields.has(name)]
    if len(given) > 1:
        raise _refuse("bg_image_file", f"Please provide only one of {', '.join(given)}.")
    text = {name: fields.text.pop(name, "").strip() for name in BACKGROUNDS}
    file = fields.files.get("bg_image_file", b"")
    if text["bg_image_file"]:
        raise CutoutError(ErrorCode.NOT_AN_IMAGE, "'bg_image_file' is text, not a file.", field="bg_image_file")
    if len(file) > max_bytes:
        raise too_many_bytes(max_bytes, "bg_image_file")
    return file, text["bg_image_url"]


async def _read_multipart(request: Request, body: AsyncGenerator[bytes, None], max_bytes: int) -> Fields:
    fields = Fields()
    parser = _Parser(request.headers, body, max_files=len(_FILES), max_fields=MAX_FIELDS, max_part_size=2 * max_bytes)
    try:
        form = await parser.parse()
    except (UnicodeError, LookupError):
        raise CutoutError(ErrorCode.MALFORMED_REQUEST, "The form's charset cannot be decoded.") from None
    except MultiPartException as error:
        raise CutoutError(ErrorCode.MALFORMED_REQUEST, f"The form cannot be parsed: {error.message}") from None
    try:
        for name, value in form.multi_items():
            if not isinstance(value, UploadFile):
                _add_all(fields, [(name, value)])
            elif name not in _FILES:
                raise CutoutError(ErrorCode.UNKNOWN_OPTION, f"There is no file field {name[:40]!r}.", field=name[:40])
            elif name in fields.files:
                raise _twice(name)
            else:
                fields.files[name] = await value.read()
    finally:
        await form.close()
    return fields


def _parse(kind: str, raw: bytes) -> Fields:
    fields = Fields()
    if kind == "application/x-www-form-urlencoded":
        try:
            _add_all(fields, parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS))
        except ValueError:
            raise CutoutError(ErrorCode.MALFORMED_REQUEST, "The URL-encoded form cannot be parsed.") from None
    elif kind == "application/json":
        try:
            values = json.loads(raw)
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict) or len(values) > MAX_FIELDS:
            raise CutoutError(ErrorCode.MALFORMED_REQUEST, "The body is not a JSON object of fields.")
        _add_all(fields, [(name, _as_text(name, value)) for name, value in values.items() if value is not None])
    elif raw:
        raise CutoutError(ErrorCode.MISSING_IMAGE, f"Please send the fields as {_TYPES}.", field="image_file")
    return fields


def _as_text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return repr(value)
    raise _refuse(name[:40], f"{name[:40]!r} is neither text nor a number.")


def _add_all(fields: Fields, items: Iterable[tuple[str, str]]) -> None:
    for name, value in items:
        if name in fields.text:
            raise _twice(name)
        fields.text[name] = value


def _twice(name: str) -> CutoutError:
    return _refuse(name[:40], f"{name[:40]!r} is given twice.")


def _refuse(field: str, message: str) -> CutoutError:
    return CutoutError(ErrorCode.INVALID_OPTION, message, field=field)


def _decoded(text: str) -> bytes:
    """Base64 (RFC 4648), or URL-safe base64, with or without padding, line breaks and a `data:` prefix."""
    match = _DATA_URL.match(text)
    compact = re.sub(r"\s+", "", text[match.end() :] if match else text).replace("-", "+").replace("_", "/")
    bare = compact.rstrip("=")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except ValueError:
        raise _refuse("image_file_b64", "'image_file_b64' is not base64.") from None

"""Reading an HTTP body under hard limits, in memory only: uploads never touch the disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from cutout_core.contract import CutoutError, ErrorCode
from cutout_gateway.admission import Weight

#: What a multipart body may hold beside the image: boundaries, part headers, option fields; bytes.
_FORM_OVERHEAD = 64 * 1024
_MAX_FIELDS = 32


@dataclass(frozen=True, slots=True)
class Upload:
    """The image's bytes and the options that came with it. `image` is None where only a URL was given."""

    image: bytes | None
    options: dict[str, str] = field(default_factory=dict)


class _InMemoryParser(MultiPartParser):
    # Starlette spools parts above this size to a temporary file; the body is bounded while it streams in,
    # so no part can reach it.
    spool_max_size = 1 << 40


async def read_upload(
    request: Request, max_bytes: int, timeout_s: float, weight: Weight, *, field: str = "image", url_field: str = ""
) -> Upload:
    """Reads a raw image body or a multipart form with the file field `field`.

    url_field: the option that may name a URL in the image's place; exactly one of the two is taken. Options come from
    the query string and from the form's text fields; one given twice is refused. Raises `CutoutError`: TOO_MANY_BYTES
    (from Content-Length, or while reading), REQUEST_TIMEOUT, MISSING_IMAGE, MALFORMED_REQUEST, INVALID_OPTION,
    OVERLOADED where `weight` cannot grow by what arrives. A caller that leaves meanwhile raises `ClientDisconnect`.
    """
    is_form = request.headers.get("content-type", "").lower().startswith("multipart/form-data")
    limit = max_bytes + (_FORM_OVERHEAD if is_form else 0)
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_many_bytes(max_bytes)
    body = _bounded(request, limit, max_bytes, weight)
    try:
        async with asyncio.timeout(timeout_s):
            image: bytes | None
            if is_form:
                image, options = await _read_form(request, body, max_bytes, field)
            else:
                # Any other content type is the image itself: `curl --data-binary` declares a URL-encoded form.
                image, options = b"".join([chunk async for chunk in body]), {}
    except TimeoutError:
        raise CutoutError(ErrorCode.REQUEST_TIMEOUT, f"The body did not arrive within {timeout_s:g} s.") from None
    options = _merge(request, options)
    if url_field and url_field in options:
        if image:
            raise CutoutError(
                ErrorCode.INVALID_OPTION, f"Both {field!r} and {url_field!r} are given: send one.", field=url_field
            )
        image = None
    elif image is None:
        raise CutoutError(ErrorCode.MISSING_IMAGE, f"The form has no file field {field!r}.", field=field)
    return Upload(image, options)


def _too_many_bytes(max_bytes: int) -> CutoutError:
    """The error of a file above the limit."""
    return CutoutError(ErrorCode.TOO_MANY_BYTES, f"The file is larger than the limit of {max_bytes} bytes.")


async def _bounded(request: Request, limit: int, max_bytes: int, weight: Weight) -> AsyncGenerator[bytes, None]:
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > limit:
            raise _too_many_bytes(max_bytes)
        weight.add(size=len(chunk))
        yield chunk


async def _read_form(
    request: Request, body: AsyncGenerator[bytes, None], max_bytes: int, field: str
) -> tuple[bytes | None, dict[str, str]]:
    parser = _InMemoryParser(
        request.headers,
        body,
        max_files=1,
        max_fields=_MAX_FIELDS,
        max_part_size=4096,
    )
    try:
        form = await parser.parse()
    except (UnicodeError, LookupError):
        raise CutoutError(ErrorCode.MALFORMED_REQUEST, "The form's charset cannot be decoded.") from None
    except MultiPartException as error:
        if "Too many files" in error.message:
            raise CutoutError(ErrorCode.MISSING_IMAGE, "The form holds more than one file.", field=field) from None
        raise CutoutError(ErrorCode.MALFORMED_REQUEST, f"The form cannot be parsed: {error.message}") from None
    image: bytes | None = None
    options: dict[str, str] = {}
    try:
        for name, value in form.multi_items():
            if not isinstance(value, UploadFile):
                _add(options, name, value)
                continue
            if name != field:
                raise CutoutError(
                    ErrorCode.MISSING_IMAGE, f"The file is in field {name[:40]!r}, not in {field!r}.", field=field
                )
            image = await value.read()
    finally:
        await form.close()
    if image is None and field in options:
        raise CutoutError(
            ErrorCode.MISSING_IMAGE,
            f"The field {field!r} is text, not a file; with curl: -F {field}=@photo.jpg",
            field=field,
        )
    if image is not None and len(image) > max_bytes:
        raise _too_many_bytes(max_bytes)
    return image, options


def _merge(request: Request, options: dict[str, str]) -> dict[str, str]:
    for name, value in request.query_params.multi_items():
        _add(options, name, value)
    return options


def _add(options: dict[str, str], name: str, value: str) -> None:
    if name in options:
        raise CutoutError(ErrorCode.INVALID_OPTION, f"Option {name[:40]!r} is given twice.", field=name[:40])
    options[name] = value

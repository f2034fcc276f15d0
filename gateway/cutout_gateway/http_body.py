"""Reading an HTTP body under hard limits, in memory only: uploads never touch the disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field, replace

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from cutout_core.contract import CutoutError, ErrorCode
from cutout_gateway.admission import Weight

#: What a multipart body may hold beside the files: boundaries, part headers, option fields; bytes.
FORM_OVERHEAD = 64 * 1024
MAX_FIELDS = 32


@dataclass(frozen=True, slots=True)
class Upload:
    """The image's bytes, None where only a URL was given; the options; and the bytes of the picture for the background,
    empty for none."""

    image: bytes | None
    options: dict[str, str] = field(default_factory=dict)
    background: bytes = b""


class InMemoryParser(MultiPartParser):
    """A form's parser that writes nothing to the disk."""

    # Starlette spools parts above this size to a temporary file; the body is bounded while it streams in,
    # so no part can reach it.
    spool_max_size = 1 << 40


async def read_upload(
    request: Request,
    max_bytes: int,
    timeout_s: float,
    weight: Weight,
    *,
    files: tuple[str, ...],
    url_field: str = "",
) -> Upload:
    """Reads a raw image body or a multipart form with the file fields `files`: the image and, where the edge takes
    one, the picture for the background.

    url_field: the option that may name a URL in the image's place; exactly one of the two is taken. Options come from
    the query string and from the form's text fields; one given twice is refused. Raises `CutoutError`: TOO_MANY_BYTES
    (from Content-Length, or while reading), REQUEST_TIMEOUT, MISSING_IMAGE, MALFORMED_REQUEST, INVALID_OPTION,
    OVERLOADED where `weight` cannot grow by what arrives. A caller that leaves meanwhile raises `ClientDisconnect`.
    """
    is_form = request.headers.get("content-type", "").lower().startswith("multipart/form-data")
    limit = len(files) * max_bytes + FORM_OVERHEAD if is_form else max_bytes
    body = bounded_body(request, limit, max_bytes, weight)
    try:
        async with asyncio.timeout(timeout_s):
            if is_form:
                upload = await _read_form(request, body, max_bytes, files)
            else:
                # Any other content type is the image itself: `curl --data-binary` declares a URL-encoded form.
                upload = Upload(b"".join([chunk async for chunk in body]))
    except TimeoutError:
        raise CutoutError(ErrorCode.REQUEST_TIMEOUT, f"The body did not arrive within {timeout_s:g} s.") from None
    for name, value in request.query_params.multi_items():
        _add(upload.options, name, value)
    if url_field and url_field in upload.options:
        if upload.image:
            raise CutoutError(
                ErrorCode.INVALID_OPTION, f"Both {files[0]!r} and {url_field!r} are given: send one.", field=url_field
            )
        return replace(upload, image=None)
    if upload.image is None:
        raise CutoutError(ErrorCode.MISSING_IMAGE, f"The form has no file field {files[0]!r}.", field=files[0])
    return upload


def too_many_bytes(max_bytes: int, name: str | None = None) -> CutoutError:
    """The error of a file above the limit."""
    message = f"The file is larger than the limit of {max_bytes} bytes."
    return CutoutError(ErrorCode.TOO_MANY_BYTES, message, field=name)


async def bounded_body(request: Request, limit: int, max_bytes: int, weight: Weight) -> AsyncGenerator[bytes, None]:
    """The body as it comes; TOO_MANY_BYTES above `limit`, naming the limit `max_bytes` of one file."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise too_many_bytes(max_bytes)
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > limit:
            raise too_many_bytes(max_bytes)
        weight.add(size=len(chunk))
        yield chunk


async def _read_form(
    request: Request, body: AsyncGenerator[bytes, None], max_bytes: int, files: tuple[str, ...]
) -> Upload:
    parser = InMemoryParser(
        request.headers,
        body,
        max_files=len(files),
        max_fields=MAX_FIELDS,
        max_part_size=4096,
    )
    try:
        form = await parser.parse()
    except (UnicodeError, LookupError):
        raise CutoutError(ErrorCode.MALFORMED_REQUEST, "The form's charset cannot be decoded.") from None
    except MultiPartException as error:
        if "Too many files" in error.message:
            names = " and ".join(repr(name) for name in files)
            raise CutoutError(
                ErrorCode.MISSING_IMAGE, f"The form holds more files than {names}.", field=files[0]
            ) from None
        raise CutoutError(ErrorCode.MALFORMED_REQUEST, f"The form cannot be parsed: {error.message}") from None
    found: dict[str, bytes] = {}
    options: dict[str, str] = {}
    try:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                found[name] = await _read_file(name, value, found, files, max_bytes)
            else:
                _add(options, name, value)
    finally:
        await form.close()
    for index, name in enumerate(files):
        if name in options and name not in found:
            code = ErrorCode.INVALID_OPTION if index else ErrorCode.MISSING_IMAGE
            raise CutoutError(
                code, f"The field {name!r} is text, not a file; with curl: -F {name}=@photo.jpg", field=name
            )
        if index and found.get(name) == b"":
            raise CutoutError(ErrorCode.EMPTY_BODY, f"The file in {name!r} is empty.", field=name)
    return Upload(found.get(files[0]), options, next((found[name] for name in files[1:] if name in found), b""))


async def _read_file(
    name: str, file: UploadFile, known: Mapping[str, bytes], files: tuple[str, ...], max_bytes: int
) -> bytes:
    if name not in files:
        raise CutoutError(
            ErrorCode.MISSING_IMAGE, f"The file is in field {name[:40]!r}, not in {files[0]!r}.", field=files[0]
        )
    if name in known:
        code = ErrorCode.MISSING_IMAGE if name == files[0] else ErrorCode.INVALID_OPTION
        raise CutoutError(code, f"The form holds more than one file {name!r}.", field=name)
    content = await file.read()
    if len(content) > max_bytes:
        raise too_many_bytes(max_bytes, name if name != files[0] else None)
    return content


def _add(options: dict[str, str], name: str, value: str) -> None:
    if name in options:
        raise CutoutError(ErrorCode.INVALID_OPTION, f"Option {name[:40]!r} is given twice.", field=name[:40])
    options[name] = value

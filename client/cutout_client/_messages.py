"""What travels between the clients and the transports, whatever the protocol."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, BinaryIO

from cutout_client._files import write_atomically
from cutout_client._options import as_sent
from cutout_core.contract import Box

#: What `remove_background` takes: the encoded file's bytes, its path, or a file opened for binary reading.
ImageSource = bytes | str | os.PathLike[str] | BinaryIO

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


class Operation(Enum):
    """What is asked of the server."""

    REMOVE_BACKGROUND = "remove_background"
    READY = "ready"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `options` holds option names and values exactly as they are sent; `background` is the encoded
    picture to put behind the subject, empty for none."""

    operation: Operation
    image: bytes = field(default=b"", repr=False)
    options: Mapping[str, str] = field(default_factory=dict)
    request_id: str = ""
    background: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CutoutResult:
    """One cut-out.

    data: the encoded result, of type `content_type` (image/png, image/webp, image/jpeg or
    application/zip).
    width, height: its size in pixels; source_width, source_height: the upright photo's (EXIF orientation applied).
    subject: the smallest box of the result that holds every pixel with alpha ≥ 0.5, None without a subject.
    coverage: mean alpha, 0..1. warnings: `ResultWarning` values, e.g. "no_subject".
    timings_ms: milliseconds by stage. quality: the quality that ran. mode: the matting's, empty where none ran.
    confidence: probability that the cut-out shows the right thing, 0..1, None where unknown.
    violations: `Rule` values that the result violates of the option `preset`, e.g. "enlarged".
    """

    data: bytes = field(repr=False)
    content_type: str
    width: int
    height: int
    source_width: int
    source_height: int
    source_format: str = ""
    subject: Box | None = None
    coverage: float = 0.0
    warnings: tuple[str, ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    request_id: str = ""
    quality: str = ""
    mode: str = ""
    confidence: float | None = None
    violations: tuple[str, ...] = ()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes `data` to `path`, replacing what is there, whole or not at all. Raises OSError."""
        target = Path(path)
        write_atomically(target, self.data)
        return target


#: The answer to a request: a cut-out, whether the server is ready, or what `/info` says.
Reply = CutoutResult | bool | dict[str, Any]


def cutout_request(
    image: ImageSource,
    options: Mapping[str, object],
    request_id: str | None,
    background: ImageSource | None = None,
) -> Request:
    """Reads the images and keeps the options that are given. Raises OSError, TypeError or ValueError."""
    return Request(
        Operation.REMOVE_BACKGROUND,
        read_image(image),
        as_sent(options),
        checked_request_id(request_id),
        b"" if background is None else read_image(background),
    )


def read_image(image: ImageSource) -> bytes:
    """The bytes of an image given as bytes, path or binary file; a file is read from where it stands."""
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | os.PathLike):
        return Path(image).read_bytes()
    data = image.read()
    if not isinstance(data, bytes):
        raise TypeError("the image file is open for text: open it with mode 'rb'")
    return data


def checked_request_id(proposed: str | None) -> str:
    """`proposed`, or a new id. Raises ValueError for one that a server would replace by its own."""
    if proposed is None:
        return uuid.uuid4().hex
    if not _REQUEST_ID.fullmatch(proposed):
        raise ValueError(f"request_id is {proposed[:40]!r}; it takes 1 to 128 of A-Z a-z 0-9 . _ : / + = @ -")
    return proposed

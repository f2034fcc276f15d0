"""Limits that hold at the gateway's door and again inside Triton, and the formats that are read."""

from __future__ import annotations

from dataclasses import dataclass

#: Formats that are decoded, as they are named in META and in errors.
FORMATS = ("jpeg", "png", "webp", "tiff", "bmp", "gif", "avif", "heic")

#: Rows of one request to the ensemble, Triton's `max_batch_size`.
MAX_BATCH_SIZE = 16


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one image. `max_bytes`: encoded size. `max_pixels`: width × height, from the header."""

    max_bytes: int = 32 * 1024 * 1024
    max_pixels: int = 64_000_000

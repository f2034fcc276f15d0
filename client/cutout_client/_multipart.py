"""A form with two files (RFC 7578), for the one request that carries more than the image."""

from __future__ import annotations

import uuid
from collections.abc import Mapping


def encode_form(files: Mapping[str, bytes]) -> tuple[str, bytes]:
    """The content type and the body of a multipart/form-data form with these file fields."""
    boundary = uuid.uuid4().hex.encode()
    parts: list[bytes] = []
    for name, content in files.items():
        disposition = f'Content-Disposition: form-data; name="{name}"; filename="{name}"'.encode()
        parts += [b"--", boundary, b"\r\n", disposition, b"\r\nContent-Type: application/octet-stream\r\n\r\n"]
        parts += [content, b"\r\n"]
    parts += [b"--", boundary, b"--\r\n"]
    return f"multipart/form-data; boundary={boundary.decode()}", b"".join(parts)

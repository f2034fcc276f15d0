"""protobuf's wire format (https://protobuf.dev/programming-guides/encoding), where its classes would copy images.

A message of theirs holds its own copy of every field, makes another when the field is read, and one more when it is
serialized. Here a field of megabytes is found where it lies, or put beside what they serialized: the small rest.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_NO_MORE = object()


class WireError(ValueError):
    """The bytes are not a message."""


def header(number: int, size: int) -> bytes:
    """What stands before the `size` bytes of field `number`, of type bytes, string or message."""
    length = bytearray()
    while size >= 0x80:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return bytes((number << 3 | _BYTES, *length))


def length_delimited(number: int, value: bytes) -> bytes:
    """The field `number` with this value."""
    return header(number, len(value)) + value


def fields(message: memoryview, left: Iterator[object] | None = None) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field: an int of a varint, the bytes of everything else, uncopied.

    left: is taken one from for each field, to bound those of a message that somebody sent. Raises `WireError`; groups
    are not taken.
    """
    left = itertools.repeat(None) if left is None else left
    offset = 0
    while offset < len(message):
        if next(left, _NO_MORE) is _NO_MORE:
            raise WireError("too many fields")
        tag, offset = _varint(message, offset)
        if not 8 <= tag < 1 << 32:  # other parsers cut a longer one short, and would see another field
            raise WireError("a tag that no field has")
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            integer, offset = _varint(message, offset)
            yield number, integer
            continue
        if kind == _BYTES:
            size, offset = _varint(message, offset)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise WireError("a field of an unknown type")
        if offset + size > len(message):
            raise WireError("a field that does not end")
        yield number, message[offset : offset + size]
        offset += size


def _varint(message: memoryview, offset: int) -> tuple[int, int]:
    """The integer at `offset` and the offset after it."""
    value = 0
    for shift in range(0, 70, 7):
        if offset >= len(message):
            break
        byte = message[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, offset
    raise WireError("an integer that does not end")

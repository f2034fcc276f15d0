"""What the two protocol edges and the service hand to each other."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from cutout_core.contract import Options, RowMeta
from cutout_gateway.access import Caller

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


@dataclass(slots=True)
class CutoutRequest:
    """One image to cut out.

    image: the encoded file. options: raw option values, unchecked. deadline: time.monotonic() seconds.
    received: time.monotonic() at which the edge saw the request. background: the encoded picture for the background,
    empty for none. caller: who sent it, from `Access.authorize`.
    wait_until: time.monotonic() until which an item of a stream may wait for a place; None, the single call, is refused
    at once where there is none.
    """

    image: bytes
    options: Mapping[str, str]
    request_id: str
    protocol: str
    deadline: float
    received: float = field(default_factory=time.monotonic)
    background: bytes = b""
    wait_until: float | None = None
    caller: Caller = field(kw_only=True)


@dataclass(slots=True)
class CutoutReply:
    """A finished cut-out. `meta` is complete, its timings include the gateway's."""

    result: bytes
    options: Options
    meta: RowMeta
    request_id: str


def clean_request_id(proposed: str | None) -> str:
    """The caller's id where it is short and printable, else a new one; what goes into a log must not be free text."""
    if proposed and _REQUEST_ID.fullmatch(proposed):
        return proposed
    return uuid.uuid4().hex

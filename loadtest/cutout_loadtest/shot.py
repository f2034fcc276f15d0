"""What is sent and what came of it: the two records that all of the load test shares."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlencode

from cutout_core.contract import cutout_pb2

#: `Outcome.status` of a request that got its image.
OK = "ok"
#: Statuses that the generator itself gives, beside the codes of the service's error table.
TIMEOUT, CONNECTION, PROTOCOL, CROWDED = "client_timeout", "connection_failed", "protocol", "too_many_open"
#: What may stand in a header, whichever protocol.
_KEY = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Shot:
    """A request that is encoded before the run, so that sending it costs a write.

    kind: its class in reports ("4 MP jpeg → png, standard"). http: head and body of an HTTP/1.1 request. grpc: the
    message, encoded. metadata: of the gRPC call.
    """

    kind: str
    megapixels: float
    options: dict[str, str]
    http: bytes = field(repr=False)
    grpc: bytes = field(default=b"", repr=False)
    metadata: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(slots=True)
class Outcome:
    """What came of one request; times in seconds of time.perf_counter(), NaN where that point was not reached.

    status: OK, a code of the service's error table, or one of this module's. server: the stages' times as the server
    told them, a Server-Timing header or the message's table.
    """

    status: str = PROTOCOL
    sent: float = math.nan
    first_byte: float = math.nan
    done: float = math.nan
    bytes_out: int = 0
    server: str | dict[str, float] = ""

    @property
    def timings_ms(self) -> dict[str, float]:
        """Milliseconds by stage."""
        return _server_timing(self.server) if isinstance(self.server, str) else self.server


class Sender(Protocol):
    """Sends shots to one server. `send` never raises: what fails is an outcome."""

    async def send(self, shot: Shot) -> Outcome: ...

    async def close(self) -> None: ...


def cutout_shot(
    kind: str, image: bytes, megapixels: float, options: dict[str, str], api_key: str | None = None
) -> Shot:
    """A request to Cutout, for both protocols. Raises ValueError, without the key, where that cannot be sent."""
    if api_key is not None and not _KEY.fullmatch(api_key):
        raise ValueError("the API key takes visible ASCII characters without spaces")
    message = cutout_pb2.RemoveBackgroundRequest(image=image, options=options).SerializeToString()
    path = "/v1/cutouts" + (f"?{urlencode(options)}" if options else "")
    http = post(path, image, "application/octet-stream", api_key)
    return Shot(kind, megapixels, options, http, message, (("x-api-key", api_key),) if api_key else ())


def post(path: str, body: bytes, content_type: str, api_key: str | None = None) -> bytes:
    """An HTTP/1.1 POST. Its Host field names nobody: HTTP/1.1 wants one, and the servers here do not read it."""
    head = f"POST {path} HTTP/1.1\r\nHost: loadtest\r\nContent-Type: {content_type}\r\n"
    if api_key:
        head += f"X-Api-Key: {api_key}\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    return head.encode("ascii") + body


def _server_timing(header: str) -> dict[str, float]:
    timings: dict[str, float] = {}
    for metric in header.split(","):
        name, _, value = metric.partition(";dur=")
        try:
            timings[name.strip()] = float(value)
        except ValueError:
            continue  # no duration: nothing to add up
    return timings

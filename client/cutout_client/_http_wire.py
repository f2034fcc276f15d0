"""HTTP without input or output: a `Request` to a call, an answer to a `Reply` or an exception.

The image travels as the raw body and the options in the query, so that nothing has to be encoded; with a picture for
the background both are files of a form. Stage timings
come back as Server-Timing (W3C Server Timing, section 3).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cutout_client._exceptions import CutoutClientError, ProtocolError, exception_type
from cutout_client._messages import CutoutResult, Operation, Reply, Request
from cutout_client._multipart import encode_form
from cutout_client._version import __version__
from cutout_core.contract import Box

_GET_PATHS = {Operation.READY: "/readyz", Operation.INFO: "/info"}

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110, section 5.6.2
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_METRIC = re.compile(rf"\s*({_TOKEN})((?:\s*;\s*{_TOKEN}(?:\s*=\s*(?:{_QUOTED}|{_TOKEN}))?)*)\s*(?:,|$)")
_PARAMETER = re.compile(rf"({_TOKEN})\s*=\s*({_QUOTED}|{_TOKEN})")


@dataclass(frozen=True, slots=True)
class HttpCall:
    """What to send. `path` is below the server's URL."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back. `headers` finds names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


def encode(request: Request, timeout_s: float | None) -> HttpCall:
    """The call for `request`, which its server drops once `timeout_s` has passed."""
    headers = {"User-Agent": f"cutout-client/{__version__}"}
    if request.operation is not Operation.REMOVE_BACKGROUND:
        return HttpCall("GET", _GET_PATHS[request.operation], headers=headers)
    headers["Content-Type"], body = "application/octet-stream", request.image
    if request.background:
        headers["Content-Type"], body = encode_form({"image": request.image, "background_image": request.background})
    headers["Content-Length"] = str(len(body))
    headers["Accept"] = "image/*, application/zip"
    headers["X-Request-Id"] = request.request_id
    if timeout_s is not None:
        headers["X-Cutout-Timeout-Ms"] = str(max(1, math.floor(timeout_s * 1000)))
    return HttpCall("POST", "/v1/cutouts", request.options, headers, body)


def decode(request: Request, answer: HttpAnswer) -> Reply:
    """The reply that `answer` holds. Raises its `ServiceError`, or `ProtocolError` where it is none of Cutout's."""
    if request.operation is Operation.READY and answer.status in (200, 503):
        if isinstance(_json_object(answer).get("ready"), bool):
            return answer.status == 200
        raise _foreign(answer, request)
    if answer.status != 200:
        raise _error(request, answer)
    if request.operation is Operation.INFO:
        info = _json_object(answer)
        if not info:
            raise _foreign(answer, request)
        return info
    try:
        return _result(request, answer)
    except (KeyError, ValueError) as bad:
        raise _foreign(answer, request) from bad


def _result(request: Request, answer: HttpAnswer) -> CutoutResult:
    headers = answer.headers
    content_type = headers["content-type"].partition(";")[0].strip().lower()
    if not content_type.startswith("image/") and content_type != "application/zip":
        raise ValueError("the result is no image")
    subject = headers.get("x-cutout-subject")
    return CutoutResult(
        data=answer.body,
        content_type=content_type,
        width=int(headers["x-cutout-width"]),
        height=int(headers["x-cutout-height"]),
        source_width=int(headers["x-cutout-source-width"]),
        source_height=int(headers["x-cutout-source-height"]),
        source_format=headers["x-cutout-source-format"],
        subject=_box(subject) if subject else None,
        coverage=float(headers["x-cutout-coverage"]),
        warnings=_names(headers.get("x-cutout-warnings", "")),
        timings_ms=server_timing(headers.get("server-timing", "")),
        request_id=headers.get("x-request-id", request.request_id),
        quality=headers["x-cutout-quality"],
        mode=headers.get("x-cutout-mode", ""),
        confidence=float(headers["x-cutout-confidence"]) if "x-cutout-confidence" in headers else None,
        violations=_names(headers.get("x-cutout-violations", "")),
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _box(text: str) -> Box:
    left, top, width, height = (int(part) for part in text.split(","))
    return Box(left, top, width, height)


def server_timing(text: str) -> dict[str, float]:
    """Durations (ms) by metric name of a Server-Timing header; metrics without one, as proxies add, are left out."""
    timings: dict[str, float] = {}
    position = 0
    while position < len(text) and (match := _METRIC.match(text, position)):
        parameters = {name.lower(): value for name, value in _PARAMETER.findall(match.group(2))}
        value = _number(parameters.get("dur", "").strip('"'))
        if value is not None:
            timings[match.group(1)] = value
        position = match.end()
    return timings


def _error(request: Request, answer: HttpAnswer) -> CutoutClientError:
    error = _json_object(answer).get("error")
    if not isinstance(error, dict) or not isinstance(error.get("code"), str):
        return _foreign(answer, request)
    option = error.get("field")
    raised = exception_type(error["code"])(
        str(error.get("message") or f"HTTP status {answer.status}"),
        code=error["code"],
        field=option if isinstance(option, str) else None,
        request_id=str(error.get("request_id") or request.request_id),
        retry_after_s=_seconds(answer.headers.get("retry-after")),
        retryable=error.get("retryable") is True,
    )
    raised.http_status = answer.status
    return raised


def _foreign(answer: HttpAnswer, request: Request) -> ProtocolError:
    kind = answer.headers.get("content-type", "no content type")
    error = ProtocolError(
        f"HTTP status {answer.status} with {kind[:80]}: this is not the answer of a Cutout server",
        request_id=request.request_id or None,
        http_status=answer.status,
    )
    error.retry_after_s = _seconds(answer.headers.get("retry-after"))
    return error


def _json_object(answer: HttpAnswer) -> dict[str, Any]:
    """The body's JSON object, empty where it is none."""
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _seconds(text: str | None) -> float | None:
    """Retry-After in seconds; None where it is absent or a date, which only proxies send."""
    value = _number(text) if text else None
    return value if value is not None and value >= 0 else None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None

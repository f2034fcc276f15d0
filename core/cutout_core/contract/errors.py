"""The error table: every way a request can fail, with its projection on each protocol, in one place.

A row fixes HTTP status, gRPC status, whether a client may retry, and the metric label. HTTP statuses follow
RFC 9110 (and RFC 6585 for 429; 499 is the widespread label for a caller that left, never sent to anyone); gRPC
statuses are the names of `grpc.StatusCode`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class ErrorCode(str, Enum):
    """Stable, machine-readable code of an error; the value is what callers see."""

    EMPTY_BODY = "empty_body"
    MISSING_IMAGE = "missing_image"
    MALFORMED_REQUEST = "malformed_request"
    UNKNOWN_OPTION = "unknown_option"
    INVALID_OPTION = "invalid_option"
    QUALITY_NOT_INSTALLED = "quality_not_installed"
    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED_FORMAT = "unsupported_format"
    TRUNCATED_IMAGE = "truncated_image"
    CORRUPT_IMAGE = "corrupt_image"
    TOO_MANY_BYTES = "too_many_bytes"
    TOO_MANY_PIXELS = "too_many_pixels"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_TIMEOUT = "request_timeout"
    CANCELLED = "cancelled"
    OVERLOADED = "overloaded"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    MODEL_UNAVAILABLE = "model_unavailable"
    SHUTTING_DOWN = "shutting_down"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """One row of the table. `retryable`: the same request may succeed later and repeating it is safe."""

    code: ErrorCode
    meaning: str
    http_status: int
    grpc_status: str
    retryable: bool = False

    @property
    def metric_label(self) -> str:
        """Value of the `outcome` label of `cutout_requests_total`."""
        return self.code.value


_ROWS = (
    ErrorRow(ErrorCode.EMPTY_BODY, "The request has no bytes.", 400, "INVALID_ARGUMENT"),
    ErrorRow(ErrorCode.MISSING_IMAGE, "The form has no field `image`, or more than one.", 400, "INVALID_ARGUMENT"),
    ErrorRow(ErrorCode.MALFORMED_REQUEST, "The request itself cannot be parsed.", 400, "INVALID_ARGUMENT"),
    ErrorRow(ErrorCode.UNKNOWN_OPTION, "No option has this name.", 400, "INVALID_ARGUMENT"),
    ErrorRow(
        ErrorCode.INVALID_OPTION,
        "An option's value is not allowed, or contradicts another.",
        400,
        "INVALID_ARGUMENT",
    ),
    ErrorRow(
        ErrorCode.QUALITY_NOT_INSTALLED,
        "This server was set up without the models of this quality.",
        400,
        "FAILED_PRECONDITION",
    ),
    ErrorRow(ErrorCode.NOT_AN_IMAGE, "The bytes are not an image.", 415, "INVALID_ARGUMENT"),
    ErrorRow(ErrorCode.UNSUPPORTED_FORMAT, "An image, but of a format that is not read.", 415, "INVALID_ARGUMENT"),
    ErrorRow(ErrorCode.TRUNCATED_IMAGE, "The image file ends too early.", 422, "INVALID_ARGUMENT"),
    ErrorRow(ErrorCode.CORRUPT_IMAGE, "The image file is damaged.", 422, "INVALID_ARGUMENT"),
    ErrorRow(ErrorCode.TOO_MANY_BYTES, "The file is larger than the limit.", 413, "INVALID_ARGUMENT"),
    ErrorRow(ErrorCode.TOO_MANY_PIXELS, "The image has more pixels than the limit.", 413, "INVALID_ARGUMENT"),
    ErrorRow(ErrorCode.FORBIDDEN, "The API key does not allow this.", 403, "PERMISSION_DENIED"),
    ErrorRow(ErrorCode.NOT_FOUND, "There is nothing at this path.", 404, "UNIMPLEMENTED"),
    ErrorRow(ErrorCode.METHOD_NOT_ALLOWED, "The path does not take this method.", 405, "UNIMPLEMENTED"),
    ErrorRow(ErrorCode.REQUEST_TIMEOUT, "The request's bytes took too long to arrive.", 408, "UNAVAILABLE", True),
    ErrorRow(ErrorCode.CANCELLED, "The caller left before the answer.", 499, "CANCELLED"),
    ErrorRow(ErrorCode.OVERLOADED, "Too much work is in flight; try again later.", 429, "RESOURCE_EXHAUSTED", True),
    ErrorRow(ErrorCode.DEADLINE_EXCEEDED, "The answer was not ready in time.", 504, "DEADLINE_EXCEEDED"),
    ErrorRow(ErrorCode.MODEL_UNAVAILABLE, "The models are not ready or failed.", 503, "UNAVAILABLE", True),
    ErrorRow(ErrorCode.SHUTTING_DOWN, "The server is stopping.", 503, "UNAVAILABLE", True),
    ErrorRow(ErrorCode.INTERNAL, "A defect of the server; the request id is in its log.", 500, "INTERNAL"),
)

ERROR_TABLE: dict[ErrorCode, ErrorRow] = {row.code: row for row in _ROWS}


class CutoutError(Exception):
    """An error of the table, raised anywhere in the core or the gateway.

    `message` is one sentence for the caller; it never holds a traceback, a path or an address.
    `field` names the option or form field at fault, where there is one.
    `retry_after_s` tells when a retry makes sense, where that is known.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str | None = None,
        *,
        field: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.code = code
        self.row = ERROR_TABLE[code]
        self.message = message or self.row.meaning
        self.field = field
        self.retry_after_s = retry_after_s
        super().__init__(f"{code.value}: {self.message}")

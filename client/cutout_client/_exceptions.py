"""Everything that a call can raise.

    CutoutClientError              every error of this package
    ├── UnsupportedOperation       the protocol of this URL does not offer it (`info` over gRPC)
    ├── TransportError             there is no usable answer
    │   ├── ConnectError           nobody listens, or the connection broke before the answer (a ConnectionError)
    │   ├── TimeoutError_          the caller's total time ran out here (a built-in TimeoutError)
    │   └── ProtocolError          something answered that is no Cutout server, or a proxy in front of one
    │       └── WrongProtocol      the URL's scheme says HTTP and the port speaks gRPC, or the other way round
    └── ServiceError               the server refused or failed; has the code of the error table
        ├── InvalidRequest         empty_body, missing_image, malformed_request, unknown_option, invalid_option,
        │                          quality_not_installed, url_fetching_off, invalid_url, download_failed, not_found,
        │                          method_not_allowed
        ├── InvalidImage           not_an_image, unsupported_format, truncated_image, corrupt_image
        ├── TooLarge               too_many_bytes, too_many_pixels
        ├── AccessDenied           missing_key, invalid_key, forbidden
        ├── RateLimited            rate_limited
        ├── UploadTimeout          request_timeout
        ├── Cancelled              cancelled
        ├── Overloaded             overloaded
        ├── DeadlineExceeded       deadline_exceeded (a built-in TimeoutError)
        ├── Unavailable            model_unavailable, shutting_down
        └── InternalError          internal

A code that this version does not know, from a newer server, is a plain `ServiceError`. A deadline may be noticed
here or by the server, whichever is first: `except TimeoutError` catches both.

Besides these, bad arguments raise ValueError or TypeError, and an image that cannot be read raises OSError, all
before anything is sent.
"""

from __future__ import annotations

from cutout_core.contract import ERROR_TABLE, ErrorCode


class CutoutClientError(Exception):
    """Every error of this package.

    message: one sentence. request_id: the id under which the server's log knows the request, None where it never
    came to one. retryable: whether the same request may succeed later. retry_after_s: seconds to wait first, where
    told. arrived: whether a Cutout server may have got the request.
    """

    retryable: bool = False
    retry_after_s: float | None = None
    arrived: bool = True

    def __init__(self, message: str, *, request_id: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.request_id = request_id

    def __str__(self) -> str:
        return f"{self.message} (request id {self.request_id})" if self.request_id else self.message


class UnsupportedOperation(CutoutClientError):
    """The protocol of this URL does not offer the operation."""


class TransportError(CutoutClientError):
    """There is no usable answer."""


class ConnectError(TransportError, ConnectionError):
    """Nobody listens, or the connection was refused, reset or closed before the answer was whole.

    Retried: removing a background changes nothing on the server, so the work may be done twice, never wrongly.
    """

    retryable = True


class TimeoutError_(TransportError, TimeoutError):  # noqa: N801 - the built-in's name, told apart from it
    """The caller's total time ran out before the answer was whole."""


class ProtocolError(TransportError):
    """The answer is none of Cutout's. `http_status` is set over HTTP.

    Retried only for 429, 502 and 503, with which proxies say that the server behind them is busy or away.
    """

    def __init__(self, message: str, *, request_id: str | None = None, http_status: int | None = None) -> None:
        super().__init__(message, request_id=request_id)
        self.http_status = http_status
        self.retryable = http_status in (429, 502, 503)


class WrongProtocol(ProtocolError):
    """The port does not speak what the URL's scheme says; the message tells which address is meant instead."""

    arrived = False


class ServiceError(CutoutClientError):
    """The server refused the request or failed.

    code: the error table's (`ErrorCode` values, or a newer server's). field: the option at fault, where there
    is one. http_status or grpc_status: what the protocol said; the other is None.
    retryable: the table's word; for a code that it lacks, what the server said, else False.
    """

    http_status: int | None = None
    grpc_status: str | None = None

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        field: str | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.code = code
        self.field = field
        self.retry_after_s = retry_after_s
        known = known_code(code)
        self.retryable = ERROR_TABLE[known].retryable if known else retryable

    def __str__(self) -> str:
        return f"{self.code}: {super().__str__()}" if self.code else super().__str__()


class InvalidRequest(ServiceError):
    """The request or one of its options is not accepted; `field` names the option."""


class InvalidImage(ServiceError):
    """The bytes are no image, of a format that is not read, cut off or damaged."""


class TooLarge(ServiceError):
    """More bytes or pixels than the server takes."""


class AccessDenied(ServiceError):
    """The server wants an API key that allows this, and got none or another."""


class RateLimited(ServiceError):
    """The API key's budget is used up; `retry_after_s` tells when there is some again."""


class UploadTimeout(ServiceError):
    """The request's bytes arrived too slowly for the server."""


class Cancelled(ServiceError):
    """The server believes that the caller left."""


class Overloaded(ServiceError):
    """Too much work is in flight; `retry_after_s` tells when to come back."""


class DeadlineExceeded(ServiceError, TimeoutError):
    """The server noticed first that the answer would be late."""


class Unavailable(ServiceError):
    """The models are not ready, or the server is stopping."""


class InternalError(ServiceError):
    """A defect of the server; its log has the request id."""


#: Every code of the error table and the exception that stands for it.
EXCEPTION_OF: dict[ErrorCode, type[ServiceError]] = {
    ErrorCode.EMPTY_BODY: InvalidRequest,
    ErrorCode.MISSING_IMAGE: InvalidRequest,
    ErrorCode.MALFORMED_REQUEST: InvalidRequest,
    ErrorCode.UNKNOWN_OPTION: InvalidRequest,
    ErrorCode.INVALID_OPTION: InvalidRequest,
    ErrorCode.QUALITY_NOT_INSTALLED: InvalidRequest,
    ErrorCode.URL_FETCHING_OFF: InvalidRequest,
    ErrorCode.INVALID_URL: InvalidRequest,
    ErrorCode.DOWNLOAD_FAILED: InvalidRequest,
    ErrorCode.MISSING_KEY: AccessDenied,
    ErrorCode.INVALID_KEY: AccessDenied,
    ErrorCode.FORBIDDEN: AccessDenied,
    ErrorCode.RATE_LIMITED: RateLimited,
    ErrorCode.NOT_FOUND: InvalidRequest,
    ErrorCode.METHOD_NOT_ALLOWED: InvalidRequest,
    ErrorCode.NOT_AN_IMAGE: InvalidImage,
    ErrorCode.UNSUPPORTED_FORMAT: InvalidImage,
    ErrorCode.TRUNCATED_IMAGE: InvalidImage,
    ErrorCode.CORRUPT_IMAGE: InvalidImage,
    ErrorCode.TOO_MANY_BYTES: TooLarge,
    ErrorCode.TOO_MANY_PIXELS: TooLarge,
    ErrorCode.REQUEST_TIMEOUT: UploadTimeout,
    ErrorCode.CANCELLED: Cancelled,
    ErrorCode.OVERLOADED: Overloaded,
    ErrorCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    ErrorCode.MODEL_UNAVAILABLE: Unavailable,
    ErrorCode.SHUTTING_DOWN: Unavailable,
    ErrorCode.INTERNAL: InternalError,
}


def known_code(code: str) -> ErrorCode | None:
    """The table's code, or None where this version has no such row."""
    try:
        return ErrorCode(code)
    except ValueError:
        return None


def exception_type(code: str) -> type[ServiceError]:
    """The exception that stands for `code`; `ServiceError` itself for a code that the table lacks."""
    known = known_code(code)
    return EXCEPTION_OF[known] if known else ServiceError

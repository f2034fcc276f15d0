"""An error of the table as HTTP."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi.responses import JSONResponse

from cutout_core.contract import ERROR_TABLE, CutoutError, ErrorCode


def error_body(code: ErrorCode, message: str, field: str | None, request_id: str) -> dict[str, object]:
    """The JSON object of an error."""
    return {
        "error": {
            "code": code.value,
            "message": message,
            "field": field,
            "request_id": request_id,
            "retryable": ERROR_TABLE[code].retryable,
        }
    }


def error_response(error: CutoutError, request_id: str, more_headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Status, body, X-Request-Id and, where they apply, Retry-After and WWW-Authenticate."""
    headers = {"X-Request-Id": request_id, **(more_headers or {})}
    if error.row.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    body = error_body(error.code, error.message, error.field, request_id)
    return JSONResponse(body, error.row.http_status, headers=headers)

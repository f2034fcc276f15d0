"""Our errors in remove.bg's words: HTTP status, code and title of `{"errors": [{"title", "code", "detail"}]}`."""

from __future__ import annotations

from dataclasses import dataclass

from cutout_core.contract import CutoutError, ErrorCode

RATE_LIMITED = "Rate limit exceeded"

#: Error of the table to (status, code, title).
_BY_CODE: dict[ErrorCode, tuple[int, str, str]] = {
    ErrorCode.MISSING_KEY: (403, "auth_failed", "Missing API Key"),
    ErrorCode.INVALID_KEY: (403, "auth_failed", "API Key invalid"),
    ErrorCode.FORBIDDEN: (403, "auth_failed", "API Key not allowed"),
    ErrorCode.MISSING_IMAGE: (400, "missing_source", "No image given"),
    ErrorCode.EMPTY_BODY: (400, "failed_to_read_image", "Failed to read image"),
    ErrorCode.NOT_AN_IMAGE: (400, "invalid_file_type", "Invalid file type"),
    ErrorCode.UNSUPPORTED_FORMAT: (400, "invalid_file_type", "Invalid file type"),
    ErrorCode.TRUNCATED_IMAGE: (400, "failed_to_read_image", "Failed to read image"),
    ErrorCode.CORRUPT_IMAGE: (400, "failed_to_read_image", "Failed to read image"),
    ErrorCode.TOO_MANY_BYTES: (400, "file_too_large", "File too large"),
    ErrorCode.TOO_MANY_PIXELS: (400, "resolution_too_high", "Resolution too high"),
    ErrorCode.RATE_LIMITED: (429, "rate_limit_exceeded", RATE_LIMITED),
    ErrorCode.OVERLOADED: (429, "rate_limit_exceeded", RATE_LIMITED),
    ErrorCode.UNKNOWN_OPTION: (400, "unknown_parameter", "Unknown parameter"),
    ErrorCode.MALFORMED_REQUEST: (400, "malformed_request", "Malformed request"),
    ErrorCode.INTERNAL: (500, "internal_error", "Internal server error"),
}
#: The same where the field matters: what is wrong with the background's URL, or with a source.
_BY_FIELD: dict[tuple[ErrorCode, str], tuple[int, str, str]] = {
    (ErrorCode.INVALID_OPTION, "image_file"): (400, "multiple_sources", "More than one image source"),
    (ErrorCode.INVALID_OPTION, "bg_image_file"): (400, "multiple_bg_sources", "More than one background source"),
    (ErrorCode.INVALID_OPTION, "image_file_b64"): (400, "failed_to_read_image", "Failed to read image"),
    **{
        (code, field): (400, name, f"Invalid {field}")
        for code in (ErrorCode.URL_FETCHING_OFF, ErrorCode.INVALID_URL)
        for field, name in (("image_url", "invalid_image_url"), ("bg_image_url", "invalid_bg_image_url"))
    },
    (ErrorCode.DOWNLOAD_FAILED, "image_url"): (400, "failed_image_download", "Failed to download image"),
    (ErrorCode.DOWNLOAD_FAILED, "bg_image_url"): (400, "failed_bg_download", "Failed to download background image"),
}
#: Our option to remove.bg's field, where the service finds fault with a value.
_FIELD_OF_OPTION = {"margin": "crop_margin", "background": "bg_color", "output": "format", "shadow": "add_shadow"}


@dataclass(frozen=True, slots=True)
class RemovebgError:
    """One error in remove.bg's form."""

    status: int
    code: str
    title: str
    detail: str

    def body(self) -> dict[str, list[dict[str, str]]]:
        """The JSON object."""
        return {"errors": [{"title": self.title, "code": self.code, "detail": self.detail}]}


def unknown_foreground() -> RemovebgError:
    """The answer to a photo without a subject."""
    return RemovebgError(
        400, "unknown_foreground", "Could not identify foreground in image", "No subject was found in the image."
    )


def to_removebg(error: CutoutError) -> RemovebgError:
    """The error as a client of remove.bg expects it."""
    status, code, title = _row(error)
    return RemovebgError(status, code, title, error.message)


def _row(error: CutoutError) -> tuple[int, str, str]:
    field = error.field or ""
    if (error.code, field) in _BY_FIELD:
        return _BY_FIELD[error.code, field]
    if error.code in _BY_CODE:
        return _BY_CODE[error.code]
    if error.code is ErrorCode.INVALID_OPTION and field:
        if field == "roi" and "exceeds" in error.message:
            return 400, "roi_exceeds_bounds", "ROI exceeds image bounds"
        if field == "roi" and "empty" in error.message:
            return 400, "roi_region_empty", "ROI region is empty"
        name = _FIELD_OF_OPTION.get(field, field)
        return 400, f"invalid_{name.lower().replace('-', '_')}", f"Invalid {name}"
    return error.row.http_status, error.code.value, error.row.meaning.rstrip(".")

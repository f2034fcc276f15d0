"""What both Python steps of the ensemble share: a failure becomes data in the row's META and never leaves the row."""

from __future__ import annotations

import logging
import time

from cutout_core.contract import CutoutError, ErrorCode, Options, RowError, RowMeta


def row_error(error: Exception, logger: logging.Logger) -> RowError:
    """The error of the table that a row carries; anything unexpected is logged and told as INTERNAL."""
    if not isinstance(error, CutoutError):
        logger.error("a row failed unexpectedly", exc_info=error)
        error = CutoutError(ErrorCode.INTERNAL)
    return RowError.from_exception(error)


def read_options(options: bytes, quality: str, background_image: bool | None = None) -> Options:
    """Parses OPTIONS for an ensemble of the given quality, which they may name or leave out, but not contradict.

    background_image: whether a picture for the background came along, None where that is not known here.
    Raises `CutoutError` UNKNOWN_OPTION or INVALID_OPTION.
    """
    parsed = Options.from_json(options, quality, background_image=background_image)
    if parsed.quality != quality:
        raise CutoutError(
            ErrorCode.INVALID_OPTION,
            f"'quality' is {parsed.quality!r}, but this ensemble serves {quality!r}.",
            field="quality",
        )
    return parsed


class Stopwatch:
    """Adds durations in milliseconds to META's `timings_ms`, lap by lap; starts now, or at `start`."""

    def __init__(self, meta: RowMeta, start: float | None = None) -> None:
        self._meta = meta
        self._start = self._last = time.monotonic() if start is None else start

    @property
    def start(self) -> float:
        """CLOCK_MONOTONIC in seconds when the watch was started."""
        return self._start

    def lap(self, name: str) -> None:
        """Time since the last lap."""
        now = time.monotonic()
        self._meta.timings_ms[name] = (now - self._last) * 1000
        self._last = now

    def total(self, name: str) -> float:
        """Time since the start; returns the stamp of now."""
        now = time.monotonic()
        self._meta.timings_ms[name] = (now - self._start) * 1000
        return now

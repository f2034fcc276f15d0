"""Triton's output, line by line, into Python's logging."""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Callable

_KEPT_LINES = 40
_LONGEST_LINE = 4000

#: `--log-format=ISO8601`: time, severity, process, place] text. Triton's own information is detail to us.
_TRITON_LINE = re.compile(r"\S+Z ([EWIF]) \d+ (.*)")
_LEVELS = {"I": logging.DEBUG, "W": logging.WARNING, "E": logging.ERROR, "F": logging.CRITICAL}

#: What Triton always says on a machine without a GPU.
_EXPECTED = (
    "Failed to initialize NVML",
    "pinned system memory",
    "CudaDriverHelper has not been initialized",
    "DCGM unable to start",
    "unable to create stream for",
    "Signal (15) received",
)


class LogForwarder:
    """Splits bytes into lines, logs each at its own level and keeps the last ones for a post-mortem.

    on_line: shown every line too.
    """

    def __init__(self, logger: logging.Logger, on_line: Callable[[str], None]) -> None:
        self._logger = logger
        self._on_line = on_line
        self._rest = b""
        self._last: deque[str] = deque(maxlen=_KEPT_LINES)

    @property
    def last(self) -> list[str]:
        """The last lines, oldest first."""
        return list(self._last)

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes; a line is logged once it is whole or longer than any line should be."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self._forward(line.decode(errors="replace").rstrip()[:_LONGEST_LINE])

    def _forward(self, line: str) -> None:
        if not line or line[0] in "+|":
            return  # tables of the configuration
        match = _TRITON_LINE.match(line)
        level = _LEVELS[match[1]] if match else logging.INFO
        text = match[2] if match else line
        if any(expected in line for expected in _EXPECTED):
            level = logging.DEBUG
        self._last.append(text)
        self._on_line(text)
        self._logger.log(level, "%s", text)

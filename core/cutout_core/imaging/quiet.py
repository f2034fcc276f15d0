"""Keeps what Pillow and libtiff have to say of a malformed file away from the process' warnings, log and stderr.

A damaged upload is its caller's error, told once in the table's terms. `warnings.catch_warnings` swaps a process-wide
list and is not safe when threads overlap, so one guard is shared: the first thread in installs the filter, the last one
out restores what was there.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import PIL

_lock = threading.Lock()
_inside = 0
_filters = ExitStack()

logging.getLogger("PIL").setLevel(logging.CRITICAL)


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """While any thread is inside, warnings raised by Pillow's modules are ignored; all others are untouched."""
    global _inside
    with _lock:
        if _inside == 0:
            _filters.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", module=r"(PIL|pillow_heif)(\..*)?$")
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _filters.close()


def _silence_libtiff() -> None:
    """Takes the handlers that print to stderr out of the libtiff inside Pillow's wheel, where there is one.

    Pillow learns of an error from libtiff's return values, so nothing is lost. A Pillow that was built against a
    system's libtiff is left as it is.
    """
    for path in Path(PIL.__file__).parent.parent.glob("pillow.libs/libtiff*"):
        library = ctypes.CDLL(str(path))
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)


_silence_libtiff()

"""Wheels that make a path fast, and that it can do without."""

from __future__ import annotations

import importlib
import logging
from types import ModuleType

log = logging.getLogger("cutout.imaging")


def fast_module(name: str, instead: str) -> ModuleType | None:
    """The module, or None where it cannot be imported (no wheel for this platform), which is logged.

    Called when a module of ours is imported, so a process says it once. instead: what is slow without it, and by what
    it is done.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        log.warning("%s cannot be imported (%s): %s", name, error, instead)
        return None

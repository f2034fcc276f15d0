"""Where built engines, photos and run-time files live on disk."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """`$CUTOUT_CACHE`, else `$XDG_CACHE_HOME/cutout`, else `~/.cache/cutout`."""
    explicit = os.environ.get("CUTOUT_CACHE")
    if explicit:
        return Path(explicit).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "cutout"


def engines_root() -> Path:
    """Built engines: `<engines_root>/<model>/{model.onnx, model.json}`."""
    return cache_root() / "engines"

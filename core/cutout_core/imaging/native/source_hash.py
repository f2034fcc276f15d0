"""Of which sources the kernels were compiled. Stands alone: hatch_build.py runs it before there is numpy."""

from __future__ import annotations

import hashlib
from pathlib import Path


def source_hash(folder: Path) -> str:
    """SHA-256 over the sources in `folder`, in one order; it is compiled into the library."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.h"), *folder.glob("*.c")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()

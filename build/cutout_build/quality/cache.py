"""Results on disk, so that nothing slow is computed twice: arrays keyed by what went in."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cutout_core.contract.paths import cache_root

Arrays = dict[str, NDArray[np.generic]]


def digest(*parts: bytes | str | NDArray[np.generic]) -> str:
    """SHA-256 (hex) of all parts, each with its length or its shape and dtype."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            total.update(f"{part.dtype}{part.shape}".encode())
            total.update(np.ascontiguousarray(part).tobytes())
        else:
            raw = part.encode() if isinstance(part, str) else part
            total.update(f"{len(raw)}:".encode())
            total.update(raw)
    return total.hexdigest()


def cached(kind: str, key: str, compute: Callable[[], Arrays]) -> Arrays:
    """The arrays that `compute` gives for `key` (a digest), from disk where they were made before.

    `kind` names the method and its version; a change of the method needs another kind or key.
    """
    path = result_path(kind, key)
    if path.is_file():
        with np.load(path) as stored:
            return {name: stored[name] for name in stored.files}
    result = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(f".{os.getpid()}.part")
    with scratch.open("wb") as file:
        np.savez_compressed(file, **result)
    scratch.replace(path)
    return result


def result_path(kind: str, key: str) -> Path:
    """Where a result lies, or would lie."""
    return cache_root() / "quality" / "results" / kind / f"{key}.npz"

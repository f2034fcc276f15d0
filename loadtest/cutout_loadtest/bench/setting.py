"""What a cell's result depends on beside the cell: a journal of another setting is not this run's."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from cutout_core.contract.certificate import CERTIFICATE_NAME
from cutout_core.contract.cpu import available_cores
from cutout_core.contract.paths import engines_root
from cutout_loadtest.provenance import checkout, cpu

#: Of an engine's folder. The manifest has the hashes of its graphs; by the certificate one of them is taken.
_ENGINE_FILES = ("model.json", CERTIFICATE_NAME)
#: It is no setting of the services that the benchmark starts.
_NO_SETTING = "CUTOUT_API_KEY"


def setting(photo: Path, seconds: float, environment: Mapping[str, str] = os.environ) -> str:
    """A short hash of code, CPU, engines, photo, seconds of a cell, and CUTOUT_ variables. Raises OSError."""
    code, root = checkout(), engines_root()
    engines = [path for name in _ENGINE_FILES for path in root.glob(f"*/{name}")]
    parts = {
        "seconds": seconds,
        "photo": file_hash(photo),
        "commit": code.commit,
        "changes": code.changes,
        "cpu": cpu(),
        "cores": available_cores(),
        "engines": {path.relative_to(root).as_posix(): file_hash(path) for path in engines},
        "settings": {k: v for k, v in environment.items() if k.startswith("CUTOUT_") and k != _NO_SETTING},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def file_hash(path: Path) -> str:
    """SHA-256 (hex) of its bytes. Raises OSError."""
    return hashlib.sha256(path.read_bytes()).hexdigest()

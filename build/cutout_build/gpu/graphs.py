"""The graphs that are built: of every engine one for each precision that is written into a graph."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cutout_build.errors import BuildError
from cutout_core.contract.engine import MANIFEST_NAME
from cutout_core.contract.paths import engines_root
from cutout_core.contract.tensors import ENGINES

#: `model.onnx` is fp32; `model_<precision>.onnx` carries that precision.
_GRAPH = re.compile(r"model(?:_([a-z0-9]+))?\.onnx")


@dataclass(frozen=True, slots=True)
class Graph:
    """One graph. engine: its name in the catalogue. model: the model that it serves. sha256: of the file, hex."""

    engine: str
    model: str
    precision: str
    path: Path
    sha256: str

    @property
    def title(self) -> str:
        """For messages: `u2netp int8`."""
        return f"{self.engine} {self.precision}"


def built_graphs(models: Sequence[str] = ENGINES, precisions: Sequence[str] | None = None) -> list[Graph]:
    """The graphs of `models` in the cache, by model and precision; of `precisions` only, where they are given.

    Raises BuildError where there is none.
    """
    found: list[Graph] = []
    for model in models:
        folder = engines_root() / model
        if not (folder / MANIFEST_NAME).is_file():
            continue
        engine = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))["engine"]
        for path in sorted(folder.glob("model*.onnx")):
            match = _GRAPH.fullmatch(path.name)
            if match and (precisions is None or (match[1] or "fp32") in precisions):
                found.append(Graph(engine, model, match[1] or "fp32", path, file_sha256(path)))
    if not found:
        what = f" in {', '.join(precisions)}" if precisions is not None else ""
        raise BuildError(f"No engine{what} is built: run `make models` first.")
    return found


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

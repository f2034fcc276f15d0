"""The graphs that are built: of every engine one for each precision that is written into a graph."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cutout_build.errors import BuildError
from cutout_core.contract.engine import MANIFEST_NAME, EngineManifest, graph_name
from cutout_core.contract.limits import MAX_BATCH_SIZE
from cutout_core.contract.paths import engines_root
from cutout_core.contract.tensors import ENGINES, OPTIONAL_MODELS

#: Precisions that are written into a graph; bf16 is another arithmetic of the one in fp32.
_WRITTEN = ("fp32", "fp16", "int8")


@dataclass(frozen=True, slots=True)
class Graph:
    """One graph. engine: its name in the catalogue. model: the model that it serves. sha256: of the file, hex.

    batch: rows of a plan: fewest, tuned for, most.
    """

    engine: str
    model: str
    precision: str
    path: Path
    sha256: str
    batch: tuple[int, int, int] = (1, 8, MAX_BATCH_SIZE)

    @property
    def title(self) -> str:
        """For messages: `u2netp int8`."""
        return f"{self.engine} {self.precision}"


def built_graphs(models: Sequence[str] = ENGINES, precisions: Sequence[str] | None = None) -> list[Graph]:
    """The graphs of `models` in the cache, by model and precision; of `precisions` only, where they are given.

    Raises BuildError where there is none, and where an engine lacks a graph or the manifest that lists them.
    """
    found: list[Graph] = []
    for model in models:
        folder = engines_root() / model
        if not (folder / MANIFEST_NAME).is_file():
            continue
        try:
            manifest = EngineManifest.read(folder)
            for precision in _WRITTEN:
                if precision in manifest.graphs and (precisions is None or precision in precisions):
                    path = folder / graph_name(precision)
                    found.append(Graph(manifest.engine, model, precision, path, file_sha256(path), manifest.batch))
        except (OSError, ValueError) as error:
            high = " HIGH=1" if model in OPTIONAL_MODELS else ""
            raise BuildError(
                f"The engine of {model} is damaged, or an earlier version built it: run `make models{high}`. ({error})"
            ) from error
    if not found:
        what = f" in {', '.join(precisions)}" if precisions is not None else ""
        raise BuildError(f"No engine{what} is built: run `make models` first.")
    return found


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

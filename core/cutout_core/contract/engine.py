"""The manifest beside every built engine: what it is, where it came from, how its input is made, and its graphs.

`cutout_build` writes it (`model.json`), the launcher renders the models' parameters from it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cutout_core.contract.limits import MAX_BATCH_SIZE

MANIFEST_NAME = "model.json"
GRAPH_NAME = "model.onnx"


def graph_name(precision: str) -> str:
    """File of the graph of a precision; bf16 is another arithmetic of the fp32 graph."""
    return GRAPH_NAME if precision in ("fp32", "bf16") else f"model_{precision}.onnx"


@dataclass(frozen=True, slots=True)
class EngineManifest:
    """One built engine.

    model: the repository's model that it serves (`segmentation`).
    engine: its name in the catalogue (`u2netp`).
    input_size: side of its square input, pixels.
    mean, std: per-channel statistics of RGB in 0..1, applied after the optional division by the image's maximum. 0 and
        1 for `matting`, which takes 8-bit pixels.
    divide_by_max: whether each image is first divided by its largest value, as U²-Net's training did.
    graphs: SHA-256 (hex) of the graph of each precision that there is ("fp32", "bf16", "fp16", "int8"); which of them
        may be served is the certificate's to say.
    batch: rows of a compiled plan: fewest, tuned for, most.
    """

    model: str
    engine: str
    input_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    divide_by_max: bool
    license: str
    source: str
    source_sha256: str
    graphs: dict[str, str]
    batch: tuple[int, int, int] = (1, 8, MAX_BATCH_SIZE)

    @property
    def graph_sha256(self) -> str:
        """SHA-256 (hex) of the graph in fp32, which the others are made from."""
        return self.graphs["fp32"]

    def write(self, folder: Path) -> None:
        """Writes `model.json` into `folder`."""
        (folder / MANIFEST_NAME).write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> EngineManifest:
        """Reads `model.json`. Raises FileNotFoundError, or ValueError where it is not a manifest."""
        data = json.loads((folder / MANIFEST_NAME).read_text())
        try:
            fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
            manifest = cls(**fields)
            if not manifest.graph_sha256:
                raise KeyError("fp32")
            return manifest
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{folder / MANIFEST_NAME} is not an engine manifest: {error}") from error

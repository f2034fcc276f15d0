"""The check's photos as the networks see them: through the serving path's own `preprocess`."""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

from collections.abc import Mapping

import onnxruntime

from cutout_build.catalogue import Engine
from cutout_build.errors import BuildError
from cutout_build.reference import Inputs
from cutout_core.contract import Limits
from cutout_core.contract.engine import GRAPH_NAME, EngineManifest
from cutout_core.contract.paths import engines_root
from cutout_core.contract.tensors import MATTING, SEGMENTATION
from cutout_core.imaging.normalize import NetworkInput
from cutout_core.imaging.preprocess import MATTING_IMAGE, MODE, SEGMENTATION_IMAGE, PreprocessSettings, preprocess_row


def network_inputs(photos: Mapping[str, bytes], engine: Engine) -> dict[str, Inputs]:
    """Each photo file (by name) as one row of the engine's inputs, by name.

    For `matting` the mask is what the built engine of `segmentation` finds. Raises BuildError where that is not built,
    or a photo cannot be decoded.
    """
    if engine.model != MATTING.name:
        rows = _rows(photos, engine.recipe, (SEGMENTATION_IMAGE,))
        return {name: {"IMAGE": row[SEGMENTATION_IMAGE]} for name, row in rows.items()}
    folder = engines_root() / SEGMENTATION.name
    try:
        m = EngineManifest.read(folder)
    except (OSError, ValueError) as error:
        raise BuildError(
            f"The check of {engine.name!r} needs masks: build the engine of {SEGMENTATION.name!r} first."
        ) from error
    rows = _rows(
        photos, NetworkInput(m.input_size, m.mean, m.std, m.divide_by_max), (SEGMENTATION_IMAGE, MATTING_IMAGE, MODE)
    )
    session = onnxruntime.InferenceSession(str(folder / GRAPH_NAME), providers=["CPUExecutionProvider"])
    found: dict[str, Inputs] = {}
    for name, row in rows.items():
        mask = session.run(None, {"IMAGE": row[SEGMENTATION_IMAGE][None]})[0][0]
        found[name] = {"IMAGE": row[MATTING_IMAGE], "MASK": mask, "MODE": row[MODE]}
    return found


def _rows(photos: Mapping[str, bytes], recipe: NetworkInput, wanted: tuple[str, ...]) -> dict[str, Inputs]:
    settings = PreprocessSettings(Limits(), recipe)
    rows: dict[str, Inputs] = {}
    for name, file in photos.items():
        rows[name], meta = preprocess_row(file, b"", settings, wanted)
        if meta.error is not None:
            raise BuildError(f"{name} cannot be used for the check: {meta.error.message}")
    return rows

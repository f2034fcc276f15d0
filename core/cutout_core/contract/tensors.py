"""Every model's tensors, declared once; each config.pbtxt of the model repository agrees with it by test.

Data types are Triton's (`BYTES` is `TYPE_STRING` in a config). Dimensions leave out the batch axis.
"""

from __future__ import annotations

from dataclasses import dataclass

from cutout_core.contract.limits import MAX_BATCH_SIZE

#: Side of the square on which masks and alphas travel between the models.
ALPHA_SIZE = 512


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor: `dims` without the batch axis, -1 where an engine of the catalogue decides."""

    name: str
    dtype: str
    dims: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model of the repository. `kind`: `python` (same everywhere), `engine` (two profiles) or `ensemble`."""

    name: str
    kind: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_size: int = MAX_BATCH_SIZE


_IMAGE = TensorSpec("IMAGE", "BYTES", (1,))
_OPTIONS = TensorSpec("OPTIONS", "BYTES", (1,), optional=True)
_META = TensorSpec("META", "BYTES", (1,))
_RESULT = TensorSpec("RESULT", "BYTES", (1,))

#: The encoded file and the JSON options in; the segmentation engine's input and the row's META out.
PREPROCESS = ModelSpec(
    "preprocess",
    "python",
    (_IMAGE, _OPTIONS),
    (TensorSpec("SEGMENTATION_IMAGE", "FP32", (3, -1, -1)), _META),
)
#: A normalised image in, the probability of "subject" in 0..1 out, upsampled inside the graph.
SEGMENTATION = ModelSpec(
    "segmentation",
    "engine",
    (TensorSpec("IMAGE", "FP32", (3, -1, -1)),),
    (TensorSpec("MASK", "FP32", (1, ALPHA_SIZE, ALPHA_SIZE)),),
)
#: The encoded file again, preprocess' META and an alpha in 0..1; the encoded result and the final META out.
POSTPROCESS = ModelSpec(
    "postprocess",
    "python",
    (_IMAGE, _OPTIONS, _META, TensorSpec("ALPHA", "FP32", (1, ALPHA_SIZE, ALPHA_SIZE))),
    (_RESULT, _META),
)
CUTOUT_FAST = ModelSpec("cutout_fast", "ensemble", (_IMAGE, _OPTIONS), (_RESULT, _META))

MODELS: dict[str, ModelSpec] = {m.name: m for m in (PREPROCESS, SEGMENTATION, POSTPROCESS, CUTOUT_FAST)}

#: Quality (the option's value) to the ensemble that serves it.
ENSEMBLES: dict[str, str] = {"fast": CUTOUT_FAST.name}

#: The models that run a network, whose backend tells the profile.
ENGINES: tuple[str, ...] = tuple(m.name for m in MODELS.values() if m.kind == "engine")

#: What Triton reports as `backend` of an engine, by profile.
PROFILE_BACKENDS: dict[str, str] = {"cpu": "python", "gpu": "tensorrt"}

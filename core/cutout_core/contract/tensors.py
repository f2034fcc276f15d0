"""Every model's tensors, declared once; each config.pbtxt of the model repository agrees with it by test.

Data types are Triton's (`BYTES` is `TYPE_STRING` in a config). Dimensions leave out the batch axis.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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
_BACKGROUND = TensorSpec("BACKGROUND", "BYTES", (1,), optional=True)
_META = TensorSpec("META", "BYTES", (1,))
_RESULT = TensorSpec("RESULT", "BYTES", (1,))
_PIXELS = TensorSpec("IMAGE", "FP32", (3, -1, -1))
_MASK = TensorSpec("MASK", "FP32", (1, ALPHA_SIZE, ALPHA_SIZE))
_MODE = TensorSpec("MODE", "FP32", (3, 1, 1))
_ALPHA = TensorSpec("ALPHA", "FP32", (1, ALPHA_SIZE, ALPHA_SIZE))

#: What the matting network can be told about the subject, in the order of MODE's one-hot vector.
MODES = ("product", "portrait", "object")

#: The encoded file and the JSON options in; the engines' inputs and the row's META out. An image or a MODE is made only
#: where the caller asks for it, as an ensemble does by mapping it.
PREPROCESS = ModelSpec(
    "preprocess",
    "python",
    (_IMAGE, _OPTIONS),
    (
        TensorSpec("SEGMENTATION_IMAGE", "FP32", (3, -1, -1)),
        TensorSpec("SEGMENTATION_HIGH_IMAGE", "FP32", (3, -1, -1)),
        TensorSpec("MATTING_IMAGE", "UINT8", (3, ALPHA_SIZE, ALPHA_SIZE)),
        _MODE,
        _META,
    ),
)
#: A normalised image in, the probability of "subject" in 0..1 out, upsampled inside the graph.
SEGMENTATION = ModelSpec("segmentation", "engine", (_PIXELS,), (_MASK,))
#: The same by a stronger network, for quality `high`.
SEGMENTATION_HIGH = ModelSpec("segmentation_high", "engine", (_PIXELS,), (_MASK,))
#: RGB, a coarse mask in 0..1 and the one-hot mode in; alpha in 0..1 out. Of whole photos and of tiles of them.
MATTING = ModelSpec(
    "matting",
    "engine",
    (TensorSpec("IMAGE", "UINT8", (3, ALPHA_SIZE, ALPHA_SIZE)), _MASK, _MODE),
    (_ALPHA,),
)
_FINISH = (_IMAGE, _OPTIONS, _META, _MASK, replace(_ALPHA, optional=True), _BACKGROUND)
#: The encoded file again, preprocess' META, the segmentation's mask, where a matting network ran, its alpha, and, where
#: the caller gave one, the encoded picture for the background; the encoded result and the final META out.
POSTPROCESS = ModelSpec("postprocess", "python", _FINISH, (_RESULT, _META))
#: The same with a second look at the edge in tiles, which it sends to `matting`.
POSTPROCESS_HIGH = ModelSpec("postprocess_high", "python", _FINISH, (_RESULT, _META))
CUTOUT_FAST = ModelSpec("cutout_fast", "ensemble", (_IMAGE, _OPTIONS, _BACKGROUND), (_RESULT, _META))
CUTOUT = ModelSpec("cutout", "ensemble", (_IMAGE, _OPTIONS, _BACKGROUND), (_RESULT, _META))
CUTOUT_HIGH = ModelSpec("cutout_high", "ensemble", (_IMAGE, _OPTIONS, _BACKGROUND), (_RESULT, _META))

MODELS: dict[str, ModelSpec] = {
    m.name: m
    for m in (
        PREPROCESS,
        SEGMENTATION,
        SEGMENTATION_HIGH,
        MATTING,
        POSTPROCESS,
        POSTPROCESS_HIGH,
        CUTOUT_FAST,
        CUTOUT,
        CUTOUT_HIGH,
    )
}

#: Quality (the option's value) to the ensemble that serves it.
ENSEMBLES: dict[str, str] = {"fast": CUTOUT_FAST.name, "standard": CUTOUT.name, "high": CUTOUT_HIGH.name}

#: The quality of a request that names none.
DEFAULT_QUALITY = "standard"

#: Quality to the engines that its ensemble runs, segmentation first.
QUALITY_ENGINES: dict[str, tuple[str, ...]] = {
    "fast": (SEGMENTATION.name,),
    "standard": (SEGMENTATION.name, MATTING.name),
    "high": (SEGMENTATION_HIGH.name, MATTING.name),
}

#: The models that run a network, whose backend tells the profile.
ENGINES: tuple[str, ...] = tuple(m.name for m in MODELS.values() if m.kind == "engine")

#: The models of quality `high`: served only where its engine is built, and not missed where it is not.
OPTIONAL_MODELS: tuple[str, ...] = (SEGMENTATION_HIGH.name, POSTPROCESS_HIGH.name, CUTOUT_HIGH.name)

#: What Triton reports as `backend` of an engine, by profile.
PROFILE_BACKENDS: dict[str, str] = {"cpu": "python", "gpu": "tensorrt"}

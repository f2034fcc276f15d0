"""Several prepared segmentation graphs as one: a weighted mean of their logits.

Every network errs on other photos. A mean of masks lets an unsure vote blur a sure one; the mean of logits
log(m / (1 - m)) weighs each pixel's votes by their certainty. Masks are clipped to CLIP first, which bounds one
network's say: with the right weights any two outvote the third.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, compose, helper, numpy_helper

from cutout_build.catalogue import Network
from cutout_build.errors import BuildError
from cutout_build.prepare import INPUT_NAME, OUTPUT_NAME, describe
from cutout_core.imaging.normalize import NetworkInput

Array = NDArray[np.float64]

#: Bounds of a mask before its logit.
CLIP = (0.001, 0.999)


def fuse(
    parts: Sequence[tuple[Network, ModelProto]], recipe: NetworkInput, opset: int, metadata: dict[str, str]
) -> ModelProto:
    """One graph with the input `IMAGE` [N, 3, S, S], made by `recipe`, and the output `MASK` of `prepare`.

    parts: each network with its prepared graph, of that opset (17: later ones reduce another way). A network with
    another recipe gets its input inside the graph: 2 × 2 averages while the side stays at least its own, then linear
    (half-pixel centres), then its own statistics. Raises BuildError where the graphs do not fit together.
    """
    model = helper.make_model(
        helper.make_graph([], "segmentation", [], []), opset_imports=[helper.make_opsetid("", opset)]
    )
    graph = model.graph
    total = sum(network.vote for network, _ in parts)
    logits: list[str] = []
    for network, part in parts:
        prefix = f"{network.name}_"
        prefixed = compose.add_prefix(part, prefix)
        graph.initializer.extend(prefixed.graph.initializer)
        image = _Chain(graph, prefix, INPUT_NAME)
        if network.recipe != recipe:
            _shrink(image, recipe, network.recipe)
            _normalize(image, recipe, network.recipe)
        image.end(prefix + INPUT_NAME)
        graph.node.extend(prefixed.graph.node)
        logit = _Chain(graph, f"{prefix}vote_", prefix + OUTPUT_NAME)
        _logit(logit, network.vote / total)
        logits.append(logit.name)
    graph.node.append(helper.make_node("Sum", logits, ["fused_logit"], name="fused_logit"))
    graph.node.append(helper.make_node("Sigmoid", ["fused_logit"], [OUTPUT_NAME], name="fused_mask"))
    describe(model, recipe.size, metadata)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise BuildError(f"The networks do not fit together: {str(error).strip().splitlines()[0]}") from error
    return model


class _Chain:
    """Nodes of one input after another; `name` is the tensor at its end."""

    def __init__(self, graph: GraphProto, prefix: str, start: str) -> None:
        self._graph = graph
        self._prefix = prefix
        self._steps = 0
        self.name = start

    def add(self, op_type: str, *constants: Array | str, first: bool = True, **attributes: object) -> None:
        """Appends a node of the chain's end and the constants, which come after it, or before with `first` false."""
        self._steps += 1
        output = f"{self._prefix}step{self._steps}"
        names = [self._constant(value, f"{output}_{index}") for index, value in enumerate(constants)]
        inputs = [self.name, *names] if first else [*names, self.name]
        self._graph.node.append(helper.make_node(op_type, inputs, [output], name=output, **attributes))
        self.name = output

    def end(self, name: str) -> None:
        """Calls the chain's end `name`."""
        self._graph.node.append(helper.make_node("Identity", [self.name], [name], name=f"{self._prefix}end"))
        self.name = name

    def _constant(self, value: Array | str, name: str) -> str:
        if isinstance(value, str):
            return value
        self._graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name


def _shrink(image: _Chain, have: NetworkInput, want: NetworkInput) -> None:
    side = have.size
    while side >= 2 * want.size:
        if side % 2:
            raise BuildError(f"An input of {have.size} pixels cannot be halved to {want.size}.")
        image.add("AveragePool", kernel_shape=[2, 2], strides=[2, 2])
        side //= 2
    if side != want.size:
        scales = np.array([1, 1, want.size / side, want.size / side])
        image.add("Resize", "", scales, mode="linear", coordinate_transformation_mode="half_pixel")


def _normalize(image: _Chain, have: NetworkInput, want: NetworkInput) -> None:
    """From `have`'s statistics to 0..1, and from there to `want`'s."""
    image.add("Mul", _channels(have.std))
    image.add("Add", _channels(have.mean))
    if want.divide_by_max:
        pixels = image.name
        image.add("ReduceMax", axes=[1, 2, 3], keepdims=1)
        image.add("Max", np.array(1 / 255))  # an all-black photo stays at zero
        image.add("Div", pixels, first=False)
    image.add("Sub", _channels(want.mean))
    image.add("Div", _channels(want.std))


def _logit(mask: _Chain, weight: float) -> None:
    mask.add("Clip", *(np.array(bound) for bound in CLIP))
    clipped = mask.name
    mask.add("Sub", np.array(1), first=False)
    mask.add("Div", clipped, first=False)
    mask.add("Log")
    mask.add("Mul", np.array(weight))


def _channels(values: tuple[float, float, float]) -> Array:
    return np.array(values).reshape(1, 3, 1, 1)

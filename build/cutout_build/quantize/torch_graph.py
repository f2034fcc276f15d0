"""An ONNX graph run by PyTorch, so that it can be trained, with the weights of its convolutions as parameters.

Covers the operators of the catalogue's networks; another one raises NotImplementedError by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from onnx import ModelProto, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from cutout_build.quantize.attributes import attributes_of

#: Called with every computed tensor's name and value; what it returns is used in its place.
Hook = Callable[[str, Tensor], Tensor]
#: Called with a convolution's name (of its output) and weights; what it returns is used in their place.
WeightHook = Callable[[str, Tensor], Tensor]


class TorchGraph(nn.Module):
    """`forward(inputs)` computes what the graph computes: tensors by the names of the graph's inputs and outputs.

    `parameters()` are the weights and biases of the convolutions; all else is constant.
    """

    def __init__(self, model: ModelProto) -> None:
        super().__init__()
        self.nodes = [node for node in model.graph.node if node.op_type != "Constant"]
        self.outputs = [value.name for value in model.graph.output]
        trained = {name for node in self.nodes if node.op_type == "Conv" for name in node.input[1:]}
        self.weights = nn.ParameterDict()
        self.constants: dict[str, Tensor] = {}
        for name, value in _constants(model).items():
            tensor = torch.from_numpy(value.copy())
            if name in trained:
                self.weights[key(name)] = nn.Parameter(tensor)
            else:
                self.constants[name] = tensor

    def forward(
        self, inputs: dict[str, Tensor], hook: Hook | None = None, weight_hook: WeightHook | None = None
    ) -> dict[str, Tensor]:
        values: dict[str, Any] = {**self.constants, **inputs}
        last_reader = {name: index for index, node in enumerate(self.nodes) for name in node.input}
        for index, node in enumerate(self.nodes):
            taken = [self._value(values, name) for name in node.input]
            if node.op_type == "Conv" and weight_hook is not None:
                taken[1] = weight_hook(node.output[0], taken[1])
            result = _OPERATORS[node.op_type](attributes_of(node), *taken) if node.op_type in _OPERATORS else None
            if result is None:
                raise NotImplementedError(f"{node.name or node.output[0]}: operator {node.op_type} is not known here")
            values[node.output[0]] = hook(node.output[0], result) if hook is not None else result
            for name in node.input:
                if last_reader[name] == index and name not in self.outputs:
                    values.pop(name, None)
        return {name: values[name] for name in self.outputs}

    def _value(self, values: dict[str, Any], name: str) -> Tensor | None:
        if name == "":
            return None
        return self.weights[key(name)] if key(name) in self.weights else values[name]

    def fit(self, share: float) -> None:
        """Fits the graph to inputs of `share` of their declared sides: its constant pictures, such as the frames of
        `cutout_build.recentre`, lose inner rows and columns."""
        for name, value in self.constants.items():
            if value.dim() == 4 and value.shape[:2] == (1, 1) and min(value.shape[2:]) > 2:
                for axis in (2, 3):
                    side = round((value.shape[axis] - 2) * share) + 1
                    value = torch.cat([value.narrow(axis, 0, side), value.narrow(axis, value.shape[axis] - 1, 1)], axis)
                self.constants[name] = value

    def write_to(self, model: ModelProto) -> None:
        """Puts the trained weights into the initialisers of `model`, whose graph this was made from."""
        for initializer in model.graph.initializer:
            if key(initializer.name) in self.weights:
                value = self.weights[key(initializer.name)].detach().cpu().numpy()
                initializer.CopyFrom(numpy_helper.from_array(value, initializer.name))


def key(name: str) -> str:
    """A tensor's name as PyTorch takes it for a parameter: without dots."""
    return name.replace(".", "|")


def _constants(model: ModelProto) -> dict[str, Any]:
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            found[node.output[0]] = np.asarray(numpy_helper.to_array(attributes_of(node)["value"]))
    return found


def _conv(a: dict[str, Any], x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    top, left, bottom, right = a.get("pads", [0, 0, 0, 0])
    if (top, left) != (bottom, right):
        raise NotImplementedError("a convolution with uneven padding")
    return functional.conv2d(
        x, weight, bias, a.get("strides", [1, 1]), (top, left), a.get("dilations", [1, 1]), a.get("group", 1)
    )


def _max_pool(a: dict[str, Any], x: Tensor) -> Tensor:
    pads = a.get("pads", [0, 0, 0, 0])
    return functional.max_pool2d(x, a["kernel_shape"], a["strides"], pads[:2], ceil_mode=bool(a.get("ceil_mode", 0)))


def _average_pool(a: dict[str, Any], x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, a["kernel_shape"], a["strides"])


def _resize(a: dict[str, Any], x: Tensor, roi: Tensor | None, scales: Tensor) -> Tensor:
    del roi
    if a["mode"] != b"linear" or not a["coordinate_transformation_mode"].endswith(b"half_pixel"):
        raise NotImplementedError("a Resize that is not linear with half-pixel centres")
    # The scale may be one for a bigger picture, rounded; the size decides, as in the runtimes.
    size = [int(np.floor(side * float(scale))) for side, scale in zip(x.shape[2:], scales[2:], strict=True)]
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=False)


def _slice(a: dict[str, Any], x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor, steps: Tensor) -> Tensor:
    if set(steps.tolist()) != {1}:
        raise NotImplementedError("a Slice with steps")
    for start, end, axis in zip(starts.tolist(), ends.tolist(), axes.tolist(), strict=True):
        x = x.narrow(axis, start, min(end, x.shape[axis]) - start)
    return x


def _depth_to_space(a: dict[str, Any], x: Tensor) -> Tensor:
    if a.get("mode") != b"CRD":
        raise NotImplementedError("DepthToSpace in another mode than CRD")
    return functional.pixel_shuffle(x, a["blocksize"])


_OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Conv": _conv,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "Resize": _resize,
    "Slice": _slice,
    "DepthToSpace": _depth_to_space,
    "Relu": lambda a, x: torch.relu(x),
    "Sigmoid": lambda a, x: torch.sigmoid(x),
    "Neg": lambda a, x: -x,
    "Identity": lambda a, x: x,
    "Log": lambda a, x: torch.log(x),
    "Sum": lambda a, *x: sum(x[1:], x[0]),
    "ReduceMax": lambda a, x: x.amax(a["axes"], keepdim=bool(a.get("keepdims", 1))),
    "Add": lambda a, x, y: x + y,
    "Sub": lambda a, x, y: x - y,
    "Mul": lambda a, x, y: x * y,
    "Div": lambda a, x, y: x / y,
    "Max": lambda a, x, y: torch.maximum(x, y),
    "Min": lambda a, x, y: torch.minimum(x, y),
    "Clip": lambda a, x, low, high: torch.clamp(x, low, high),
    "Concat": lambda a, *x: torch.cat(x, a["axis"]),
    "Cast": lambda a, x: x.float(),
    "Transpose": lambda a, x: x.permute(a["perm"]),
    "Reshape": lambda a, x, shape: x.reshape(shape.tolist()),
    "ReduceSum": lambda a, x, axes: x.sum(axes.tolist(), keepdim=bool(a.get("keepdims", 1))),
}

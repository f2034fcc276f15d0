"""Resizes of few channels as two matrix products: the same numbers, in less time.

A linear resize of a picture X is A · X · Bᵀ, where A and B hold each output's weights, and A is what the resize makes
of the identity matrix. So the graph says it, and a runtime computes it once, when it loads the graph. Runtimes resize
many channels at a time and take as long for one as for sixteen (OpenVINO 2026.4: 6 ms of CPU time from 64² to 512², a
product 0.5 ms); a side output of U²-Net has one, a colour three.

A is zero but for a narrow band along its diagonal. Where the resize repeats itself every few rows, the rows are taken
in blocks, each with a neighbour on both sides, and all blocks are multiplied by one small part of A.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from cutout_build.quantize.attributes import attributes_of
from cutout_build.quantize.qdq import drop_unread
from cutout_build.shapes import inferred_shapes

#: Resizes of at most so many channels, to sides of at least so many pixels, are replaced.
CHANNELS, SIDE = 4, 128
#: Rows of a block, at least where they can be halved no further: with fewer, products are too small to be fast.
BLOCK = 16
#: Where the output's pixels may lie for blocks to be alike: at the same places between the rows of each.
_ALIKE = (b"half_pixel", b"pytorch_half_pixel")


def matrix_resizes(model: ModelProto) -> ModelProto:
    """A copy of `model` whose linear enlargements of few channels are matrix products."""
    changed = ModelProto()
    changed.CopyFrom(model)
    shapes = inferred_shapes(model)
    matrices = _Matrices()
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.op_type != "Resize" or not _replaced(node, shapes):
            nodes.append(node)
            continue
        before, after = shapes[node.input[0]], shapes[node.output[0]]
        across = matrices.of(node, before[3], after[3], axis=3)
        wide = f"{node.output[0]}_wide"
        nodes.append(helper.make_node("MatMul", [node.input[0], across], [wide], name=f"{node.name}_across"))
        nodes += matrices.down(node, wide, before[2], after[2])
    del changed.graph.node[:]
    changed.graph.node.extend([*matrices.nodes, *nodes])
    changed.graph.initializer.extend(matrices.constants)
    drop_unread(changed)
    return changed


class _Matrices:
    """The nodes that make the matrices, one for each kind of resize and pair of sides."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self._made: set[str] = set()

    def of(self, resize: NodeProto, size: int, wanted: int, axis: int) -> str:
        """The tensor [1, 1, wanted, size] for the axis 2, [1, 1, size, wanted] for 3."""
        attributes = attributes_of(resize)
        centres = attributes.get("coordinate_transformation_mode", b"half_pixel").decode()
        name = f"weights_{size}_{wanted}_{axis}_{centres}"
        if name not in self._made:
            self._made.add(name)
            scales = [1.0] * 4
            scales[axis] = wanted / size
            self._constant(f"{name}_scales", np.array(scales, np.float32))
            inputs = [self._identity(size), "", f"{name}_scales"]
            self.nodes.append(helper.make_node("Resize", inputs, [name], name=name, **attributes))
        return name

    def down(self, resize: NodeProto, wide: str, size: int, wanted: int) -> list[NodeProto]:
        """The nodes from `wide`, [N, C, size, w], to the output of `resize`, [N, C, wanted, w]."""
        whole, output, name = self.of(resize, size, wanted, axis=2), resize.output[0], f"{resize.name}_down"
        blocks = _blocks(resize, size, wanted)
        if blocks < 3:  # none that has neighbours on both sides
            return [helper.make_node("MatMul", [whole, wide], [output], name=name)]
        matrix = self._block(whole, size, wanted, blocks)
        taken, made_blocks = f"{output}_taken", f"{output}_blocks"
        return [
            helper.make_node("Gather", [wide, f"{matrix}_rows"], [taken], name=f"{name}_rows", axis=2),
            helper.make_node("MatMul", [matrix, taken], [made_blocks], name=name),
            helper.make_node("Reshape", [made_blocks, f"{matrix}_join"], [output], name=f"{name}_join"),
        ]

    def _block(self, whole: str, size: int, wanted: int, blocks: int) -> str:
        """The tensor [1, 1, 1, wanted / blocks, size / blocks + 2], a part of `whole`: a block's rows from those that
        make it. With it come `NAME_rows`, which these are for each block, and `NAME_join`, the shape of all together.
        """
        taken, made, name = size // blocks, wanted // blocks, f"{whole}_block"
        if name not in self._made:
            self._made.add(name)
            self._constant(f"{name}_starts", np.array([made, taken - 1], np.int64))  # of the second block
            self._constant(f"{name}_ends", np.array([2 * made, 2 * taken + 1], np.int64))
            self._constant("last_axes", np.array([2, 3], np.int64))
            self._constant("block_axis", np.array([2], np.int64))
            inputs = [whole, f"{name}_starts", f"{name}_ends", "last_axes"]
            self.nodes += [
                helper.make_node("Slice", inputs, [f"{name}_flat"], name=f"{name}_flat"),
                helper.make_node("Unsqueeze", [f"{name}_flat", "block_axis"], [name], name=name),
            ]
            rows = np.arange(blocks)[:, None] * taken + np.arange(-1, taken + 1)
            self._constant(f"{name}_rows", np.clip(rows, 0, size - 1).astype(np.int32))
            self._constant(f"{name}_join", np.array([0, 0, wanted, -1], np.int64))
        return name

    def _identity(self, size: int) -> str:
        """The tensor [1, 1, size, size]."""
        name = f"identity_{size}"
        if name not in self._made:
            self._made.add(name)
            self._constant(f"{name}_shape", np.array([size, size], np.int64))
            self._constant("first_axes", np.array([0, 1], np.int64))
            self.nodes += [
                helper.make_node("ConstantOfShape", [f"{name}_shape"], [f"{name}_zeros"], name=f"{name}_zeros"),
                helper.make_node("EyeLike", [f"{name}_zeros"], [f"{name}_flat"], name=f"{name}_flat"),
                helper.make_node("Unsqueeze", [f"{name}_flat", "first_axes"], [name], name=name),
            ]
        return name

    def _constant(self, name: str, value: NDArray[Any]) -> None:
        if name not in {tensor.name for tensor in self.constants}:
            self.constants.append(numpy_helper.from_array(value, name))


def _blocks(resize: NodeProto, size: int, wanted: int) -> int:
    """How many blocks of rows a resize from `size` to `wanted` rows has; 1 where they are not alike, or only until a
    runtime rounds their weights: a step of a power of two's part is exact in floats.
    """
    attributes = attributes_of(resize)
    blocks = math.gcd(size, wanted)
    exact = (wanted // blocks).bit_count() == 1
    if not exact or attributes.get("coordinate_transformation_mode", _ALIKE[0]) not in _ALIKE:
        return 1
    while size // blocks < BLOCK and blocks % 2 == 0:
        blocks //= 2
    return blocks


def _replaced(node: NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    before, after = shapes.get(node.input[0], ()), shapes.get(node.output[0], ())
    if len(before) != 4 or len(after) != 4 or 0 in before[1:] or 0 in after[1:]:
        return False
    attributes = attributes_of(node)
    larger = after[2] >= max(SIDE, before[2]) and after[3] >= max(SIDE, before[3])
    return attributes.get("mode") == b"linear" and larger and before[1] == after[1] <= CHANNELS

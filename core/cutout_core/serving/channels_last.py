"""Pixel unshuffling that leaves channels last, as OpenVINO's convolutions read them.

A graph says Reshape, Transpose, Reshape: [N, C, H·r, W·r] to [N, C, H, r, W, r] to [N, C, r, r, H, W] to
[N, C·r·r, H, W]. OpenVINO moves the bytes as it says, and then once more, one by one, into [N, H, W, C·r·r]. Here the
Transpose goes there at once, and a second one, back to the graph's order, costs nothing: it only names the axes.
"""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

import numpy as np
import openvino as ov
from openvino import opset13 as op

from cutout_core.serving.graph_nodes import only_reader

#: Of the six axes of a pixel unshuffling, as graphs have them and with the channels last.
_UNSHUFFLE, _CHANNELS_LAST = [0, 1, 3, 5, 2, 4], [0, 2, 4, 1, 3, 5]

#: Operators that do the same to every value wherever it is, as long as their constants are single ones.
_EVERYWHERE = {"Convert", "FakeQuantize", "Multiply", "Subtract"}


def with_channels_last(model: ov.Model) -> int:
    """Changes `model`, all of whose sizes are known. Returns how many unshufflings it changed."""
    changed = sum(_go_there_at_once(node) for node in model.get_ordered_ops() if _is_unshuffle(node))
    model.validate_nodes_and_infer_types()
    return changed


def _is_unshuffle(node: ov.Node) -> bool:
    if node.get_type_name() != "Transpose" or node.input_value(1).get_node().get_type_name() != "Constant":
        return False
    return list(node.input_value(1).get_node().get_data()) == _UNSHUFFLE


def _go_there_at_once(transpose: ov.Node) -> bool:
    """Whether nothing but a Reshape to [N, C·r·r, H, W] reads it, behind what does the same everywhere."""
    batch, channels, rows, columns, height, width = transpose.output(0).shape
    depth = channels * rows * columns
    reshape = only_reader(_end(transpose))
    if reshape is None or reshape.get_type_name() != "Reshape" or list(reshape.shape) != [batch, depth, height, width]:
        return False
    transpose.input(1).replace_source_output(op.constant(_CHANNELS_LAST, ov.Type.i64).output(0))
    reshape.input(1).replace_source_output(op.constant([batch, height, width, depth], ov.Type.i64).output(0))
    end = _end(reshape)  # behind its quantization, which OpenVINO would not see through the second Transpose
    readers = end.output(0).get_target_inputs()
    back = op.transpose(end, op.constant([0, 3, 1, 2], ov.Type.i64))
    for reader in readers:
        reader.replace_source_output(back.output(0))
    return True


def _end(node: ov.Node) -> ov.Node:
    """The last of what follows `node`, one reader after another, and does the same everywhere."""
    while (reader := only_reader(node)) is not None and _same_everywhere(reader):
        node = reader
    return node


def _same_everywhere(node: ov.Node) -> bool:
    others = [node.input_value(index) for index in range(1, node.get_input_size())]
    return node.get_type_name() in _EVERYWHERE and all(int(np.prod(list(value.shape))) == 1 for value in others)

"""The attributes of a node of an ONNX graph as Python values."""

from __future__ import annotations

from typing import Any

from onnx import NodeProto, helper


def attributes_of(node: NodeProto) -> dict[str, Any]:
    """Name of each attribute that the node states to its value; strings are bytes."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}

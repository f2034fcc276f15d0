"""What the changes to OpenVINO's graphs ask of their nodes."""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

import openvino as ov


def readers(node: ov.Node) -> list[ov.Node]:
    """Those that read the first output of `node`."""
    return [reader.get_node() for reader in node.output(0).get_target_inputs()]


def only_reader(node: ov.Node, kind: str | None = None) -> ov.Node | None:
    """The one that reads it; None where several do or none, or where that one is not of `kind`."""
    found = readers(node)
    return found[0] if len(found) == 1 and kind in (None, found[0].get_type_name()) else None


def stays_in_range(interpolate: ov.Node) -> bool:
    """Whether an Interpolate gives nothing beyond what it reads: not cubic."""
    return not interpolate.get_attributes()["mode"].startswith("cubic")

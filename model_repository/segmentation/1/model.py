"""Triton adapter of `segmentation` in the profile `cpu`."""

from __future__ import annotations

from cutout_core.serving.openvino_model import OpenVinoModel as TritonPythonModel

__all__ = ["TritonPythonModel"]

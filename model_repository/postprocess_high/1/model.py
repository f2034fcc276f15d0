"""Triton adapter of `postprocess_high`: like `postprocess`, with the tiles' way to `matting` and back."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy.typing as npt
import triton_python_backend_utils as pb_utils

from cutout_core.contract import CutoutError, ErrorCode
from cutout_core.imaging.tile_pass import TilePass
from cutout_core.serving.postprocess_model import PostprocessModel

_logger = logging.getLogger("cutout.postprocess_high")


class TritonPythonModel(PostprocessModel):
    """The tiles of all rows of one execute() share requests, which Triton batches with whatever else `matting` gets."""

    def initialize(self, args: dict[str, str]) -> None:
        super().initialize(args)
        self._timeout_us = int(float(self.text["tile_timeout_s"]) * 1e6)
        settings = replace(self.settings, tiles=True)
        self._tiles = TilePass(settings, self.mapper, self._matting, int(self.text["tile_batch"]))

    def work(self, rows: list[Any]) -> list[Any]:
        return self._tiles.run(rows)

    def _matting(self, images: npt.NDArray[Any], masks: npt.NDArray[Any], modes: npt.NDArray[Any]) -> Any:
        tensors = {"IMAGE": images, "MASK": masks, "MODE": modes}
        request = pb_utils.InferenceRequest(
            model_name="matting",
            requested_output_names=["ALPHA"],
            inputs=[pb_utils.Tensor(name, tensor) for name, tensor in tensors.items()],
            timeout=self._timeout_us,
        )
        response = request.exec()
        if response.has_error():
            _logger.error("matting refused %d tiles: %s", len(images), response.error().message())
            raise CutoutError(ErrorCode.MODEL_UNAVAILABLE)
        return pb_utils.get_output_tensor_by_name(response, "ALPHA").as_numpy()

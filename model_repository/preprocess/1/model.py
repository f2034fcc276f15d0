"""Triton adapter of `preprocess`: tensors in and out; the pixel work is `cutout_core.imaging.preprocess`."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from cutout_core.contract import Limits
from cutout_core.imaging.batch import BatchMapper, limit_threads
from cutout_core.imaging.preprocess import PreprocessSettings, preprocess_row


class TritonPythonModel:
    """All requests of one execute() become one list of rows, worked on by `threads` threads."""

    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])["parameters"]
        text = {key: value["string_value"] for key, value in config.items()}
        self._settings = PreprocessSettings(
            limits=Limits(int(text["max_bytes"]), int(text["max_pixels"])),
            input_size=int(text["input_size"]),
            mean=_statistics(text["mean"]),
            std=_statistics(text["std"]),
            divide_by_max=text["divide_by_max"] == "true",
            quality=text["quality"],
        )
        limit_threads(int(text["threads"]))
        self._mapper = BatchMapper(int(text["threads"]))

    def execute(self, requests: list[Any]) -> list[Any]:
        rows = [list(zip(*_columns(request), strict=True)) for request in requests]
        flat = [row for request_rows in rows for row in request_rows]
        done = iter(self._mapper.map(lambda row: preprocess_row(*row, self._settings), flat))
        return [_response([next(done) for _ in request_rows]) for request_rows in rows]

    def finalize(self) -> None:
        self._mapper.close()


def _statistics(text: str) -> tuple[float, float, float]:
    red, green, blue = map(float, text.split())
    return red, green, blue


def _columns(request: Any) -> tuple[list[bytes], list[bytes]]:
    images = pb_utils.get_input_tensor_by_name(request, "IMAGE").as_numpy().ravel().tolist()
    options = pb_utils.get_input_tensor_by_name(request, "OPTIONS")
    return images, options.as_numpy().ravel().tolist() if options else [b""] * len(images)


def _response(results: list[Any]) -> Any:
    pixels = np.stack([image for image, _ in results])
    metas = np.array([[meta.to_json()] for _, meta in results], np.object_)
    tensors = [pb_utils.Tensor("SEGMENTATION_IMAGE", pixels), pb_utils.Tensor("META", metas)]
    return pb_utils.InferenceResponse(tensors)

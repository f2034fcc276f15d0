"""Triton adapter of `postprocess`: tensors in and out; the pixel work is `cutout_core.imaging.postprocess`."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from cutout_core.contract import Limits
from cutout_core.imaging.batch import BatchMapper, limit_threads
from cutout_core.imaging.postprocess import PostprocessSettings, postprocess_row


class TritonPythonModel:
    """All requests of one execute() become one list of rows, worked on by `threads` threads."""

    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])["parameters"]
        text = {key: value["string_value"] for key, value in config.items()}
        precision = {k.removeprefix("precision."): v for k, v in text.items() if k.startswith("precision.")}
        limits = Limits(int(text["max_bytes"]), int(text["max_pixels"]))
        self._settings = PostprocessSettings(limits=limits, quality=text["quality"], precision=precision)
        limit_threads(int(text["threads"]))
        self._mapper = BatchMapper(int(text["threads"]))

    def execute(self, requests: list[Any]) -> list[Any]:
        rows = [list(zip(*_columns(request), strict=True)) for request in requests]
        flat = [row for request_rows in rows for row in request_rows]
        done = iter(self._mapper.map(lambda row: postprocess_row(*row, self._settings), flat))
        return [_response([next(done) for _ in request_rows]) for request_rows in rows]

    def finalize(self) -> None:
        self._mapper.close()


def _columns(request: Any) -> tuple[list[bytes], list[bytes], list[bytes], Any]:
    images, metas = (_tensor(request, name).ravel().tolist() for name in ("IMAGE", "META"))
    options = pb_utils.get_input_tensor_by_name(request, "OPTIONS")
    texts = options.as_numpy().ravel().tolist() if options else [b""] * len(images)
    return images, texts, metas, _tensor(request, "ALPHA")


def _tensor(request: Any, name: str) -> Any:
    return pb_utils.get_input_tensor_by_name(request, name).as_numpy()


def _response(results: list[Any]) -> Any:
    images = np.array([[image] for image, _ in results], np.object_)
    metas = np.array([[meta.to_json()] for _, meta in results], np.object_)
    return pb_utils.InferenceResponse([pb_utils.Tensor("RESULT", images), pb_utils.Tensor("META", metas)])

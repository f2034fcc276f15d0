"""Triton adapter of `preprocess`: tensors in and out; the pixel work is `cutout_core.imaging.preprocess`."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from cutout_core.contract import Limits
from cutout_core.imaging.batch import BatchMapper, take_idle_cores
from cutout_core.imaging.normalize import NetworkInput
from cutout_core.imaging.preprocess import PreprocessSettings, preprocess_row


class TritonPythonModel:
    """All requests of one execute() become one list of rows, worked on by `threads` threads."""

    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])["parameters"]
        text = {key: value["string_value"] for key, value in config.items()}
        limits = Limits(int(text["max_bytes"]), int(text["max_pixels"]))
        self._settings = PreprocessSettings(limits, *(_recipe(text, e) for e in ("segmentation", "segmentation_high")))
        self._threads = int(text["threads"])
        self._mapper = BatchMapper(self._threads)

    def execute(self, requests: list[Any]) -> list[Any]:
        take_idle_cores(self._threads)
        rows = [[(*row, frozenset(r.requested_output_names())) for row in _rows(r)] for r in requests]
        flat = [row for request_rows in rows for row in request_rows]
        work = self._mapper.map(lambda row: preprocess_row(row[0], row[1], self._settings, row[2]), flat)
        done = iter(work)
        return [_response([next(done) for _ in request_rows], request_rows[0][2]) for request_rows in rows]

    def finalize(self) -> None:
        self._mapper.close()


def _recipe(text: dict[str, str], engine: str) -> NetworkInput:
    mean, std = (tuple(map(float, text[f"{engine}.{name}"].split())) for name in ("mean", "std"))
    return NetworkInput(int(text[f"{engine}.input_size"]), mean, std, text[f"{engine}.divide_by_max"] == "true")


def _rows(request: Any) -> list[tuple[bytes, bytes]]:
    images = pb_utils.get_input_tensor_by_name(request, "IMAGE").as_numpy().ravel().tolist()
    options = pb_utils.get_input_tensor_by_name(request, "OPTIONS")
    texts = options.as_numpy().ravel().tolist() if options else [b""] * len(images)
    return list(zip(images, texts, strict=True))


def _response(results: list[Any], wanted: frozenset[str]) -> Any:
    metas = np.array([[meta.to_json()] for _, meta in results], np.object_)
    names = [name for name in results[0][0] if name in wanted]
    tensors = [pb_utils.Tensor(name, np.stack([made[name] for made, _ in results])) for name in names]
    return pb_utils.InferenceResponse([*tensors, pb_utils.Tensor("META", metas)])

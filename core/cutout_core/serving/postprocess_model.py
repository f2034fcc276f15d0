"""What the Triton models `postprocess` and `postprocess_high` share: tensors to rows, results to tensors."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from cutout_core.contract import Limits, RowMeta
from cutout_core.imaging.batch import BatchMapper, take_idle_cores
from cutout_core.imaging.postprocess import PostprocessSettings, RowInput


class PostprocessModel:
    """What Triton calls; a model says in `work` what is done with the rows.

    text: the configuration's parameters. settings, mapper: made from them.
    """

    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        self.text = {key: value["string_value"] for key, value in config["parameters"].items()}
        precision = {k.removeprefix("precision."): v for k, v in self.text.items() if k.startswith("precision.")}
        limits = Limits(int(self.text["max_bytes"]), int(self.text["max_pixels"]))
        uncertified = frozenset(self.text["uncertified"].split())
        self.settings = PostprocessSettings(limits=limits, precision=precision, uncertified=uncertified)
        self._threads, instances = int(self.text["threads"]), int(config["instance_group"][0]["count"])
        self.mapper = BatchMapper(max(1, self._threads // instances))

    def work(self, rows: list[RowInput]) -> list[tuple[bytes, RowMeta]]:
        """The result and META of each row, in order."""
        raise NotImplementedError

    def execute(self, requests: list[Any]) -> list[Any]:
        take_idle_cores(self._threads)
        rows = [_rows(request) for request in requests]
        done = iter(self.work([row for request_rows in rows for row in request_rows]))
        return [_response([next(done) for _ in request_rows]) for request_rows in rows]

    def finalize(self) -> None:
        self.mapper.close()


def _rows(request: Any) -> list[RowInput]:
    images, metas = (_array(request, name).ravel().tolist() for name in ("IMAGE", "META"))
    options, alphas, pictures = (_array(request, name) for name in ("OPTIONS", "ALPHA", "BACKGROUND"))
    texts, behind = ([b""] * len(images) if t is None else t.ravel().tolist() for t in (options, pictures))
    looks = [None] * len(images) if alphas is None else alphas
    columns = zip(images, texts, metas, _array(request, "MASK"), looks, behind, strict=True)
    return [RowInput(*column) for column in columns]


def _array(request: Any, name: str) -> Any:
    """The input as an array, None where the caller left it out."""
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return tensor.as_numpy() if tensor else None


def _response(results: list[tuple[bytes, RowMeta]]) -> Any:
    images = np.array([[image] for image, _ in results], np.object_)
    metas = np.array([[meta.to_json()] for _, meta in results], np.object_)
    return pb_utils.InferenceResponse([pb_utils.Tensor("RESULT", images), pb_utils.Tensor("META", metas)])

"""The engines' Triton adapter with a real OpenVINO and a small graph; only Triton's own module is a fake."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

SIDE = 4


class _Error(Exception):
    pass


class _Tensor:
    def __init__(self, name: str, values: Any) -> None:
        self.name, self.values = name, values

    def as_numpy(self) -> Any:
        return self.values


class _Response:
    def __init__(self, tensors: list[_Tensor] | None = None, error: _Error | None = None) -> None:
        self.tensors, self.error = tensors or [], error


class _Request:
    """One request; `sent` is what its sender was given, `order` the requests in the order of their answers."""

    def __init__(self, images: Any, order: list[_Request]) -> None:
        self.images, self.order = images, order
        self.sent: list[_Response] = []

    def get_response_sender(self) -> _Request:
        return self

    def send(self, response: _Response, flags: int) -> None:
        assert flags == 1
        self.sent.append(response)
        self.order.append(self)


@pytest.fixture
def adapter(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Any]]:
    """The adapter's class, imported beside a fake of the module that only Triton's process has."""
    fake = ModuleType("triton_python_backend_utils")
    parts = {
        "Tensor": _Tensor, "InferenceResponse": _Response, "TritonError": _Error, "TritonModelException": _Error,
        "TRITONSERVER_RESPONSE_COMPLETE_FINAL": 1,
        "get_input_tensor_by_name": lambda request, name: {"IMAGE": _Tensor("IMAGE", request.images)}[name],
    }  # fmt: skip
    for name, value in parts.items():
        setattr(fake, name, value)
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", fake)
    monkeypatch.delitem(sys.modules, "cutout_core.serving.openvino_model", raising=False)
    from cutout_core.serving.openvino_model import OpenVinoModel

    yield OpenVinoModel
    sys.modules.pop("cutout_core.serving.openvino_model", None)


def _served(adapter: type[Any], folder: Path, **parameters: str) -> Any:
    """The adapter with a graph that doubles its image."""
    image, mask = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1, SIDE, SIDE]) for name in ("IMAGE", "MASK")
    )
    graph = helper.make_graph([helper.make_node("Add", ["IMAGE", "IMAGE"], ["MASK"])], "double", [image], [mask])
    (folder / "1").mkdir()
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "1/model.onnx"
    )
    texts = {"hint": "f32", "compile_cache": "", "threads": "2", **parameters}
    config = {
        "input": [{"name": "IMAGE"}],
        "output": [{"name": "MASK"}],
        "parameters": {key: {"string_value": value} for key, value in texts.items()},
    }
    model = adapter()
    model.initialize(
        {"model_config": json.dumps(config), "model_repository": str(folder), "model_version": "1"},
    )
    return model


def _images(rows: int, seed: int) -> Any:
    return np.random.default_rng(seed).random((rows, 1, SIDE, SIDE), np.float32)


@pytest.mark.parametrize("parameters", [{}, {"streams": "2"}, {"streams": "3"}])
def test_every_request_gets_its_own_rows(adapter: type[Any], tmp_path: Path, parameters: dict[str, str]) -> None:
    model = _served(adapter, tmp_path, **parameters)
    order: list[_Request] = []
    requests = [_Request(_images(rows, seed), order) for seed, rows in enumerate((1, 3, 2, 1))]
    model.execute(requests)
    for request in requests:
        (answer,) = request.sent
        assert [tensor.name for tensor in answer.tensors] == ["MASK"]
        np.testing.assert_array_equal(answer.tensors[0].values, 2 * request.images)


def test_first_request_is_answered_before_later_rows_run(adapter: type[Any], tmp_path: Path) -> None:
    model = _served(adapter, tmp_path, streams="2")
    order: list[_Request] = []
    requests = [_Request(_images(2, seed), order) for seed in range(3)]
    waiting: list[int] = []
    run = model._run
    model._run = lambda rows: (waiting.append(len(order)), run(rows))
    model.execute(requests)
    assert order == requests
    assert waiting == [0, 1, 2]


@pytest.mark.parametrize("streams", ["1", "2"])
def test_a_failing_row_fails_its_request_alone(adapter: type[Any], tmp_path: Path, streams: str) -> None:
    model = _served(adapter, tmp_path, streams=streams)
    order: list[_Request] = []
    good, bad = [_Request(_images(2, seed), order) for seed in (0, 1)], _Request(np.zeros((3, 1, 2, 2), "f4"), order)
    model.execute([good[0], bad, good[1]])
    assert len(bad.sent) == 1
    assert "RuntimeError" in str(bad.sent[0].error)
    for request in good:
        (answer,) = request.sent
        np.testing.assert_array_equal(answer.tensors[0].values, 2 * request.images)

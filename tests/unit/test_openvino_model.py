"""The engines' Triton adapter with a real OpenVINO and a small graph; only Triton's own module is a fake."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
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
        self.order.append(self)
        self.sent.append(response)  # last: tests wait for it and then read both


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


def _written(folder: Path, **parameters: str) -> dict[str, str]:
    """What Triton initialises the adapter with, for a graph that doubles its image."""
    image, mask = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1, SIDE, SIDE]) for name in ("IMAGE", "MASK")
    )
    graph = helper.make_graph([helper.make_node("Add", ["IMAGE", "IMAGE"], ["MASK"])], "double", [image], [mask])
    (folder / "1").mkdir(exist_ok=True)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "1/model.onnx"
    )
    texts = {"hint": "f32", "compile_cache": "", "threads": "2", **parameters}
    config = {
        "input": [{"name": "IMAGE"}],
        "output": [{"name": "MASK"}],
        "parameters": {key: {"string_value": value} for key, value in texts.items()},
    }
    return {"model_config": json.dumps(config), "model_repository": str(folder), "model_version": "1"}


def _served(adapter: type[Any], folder: Path, **parameters: str) -> Any:
    model = adapter()
    model.initialize(_written(folder, **parameters))
    return model


def _images(rows: int, seed: int) -> Any:
    return np.random.default_rng(seed).random((rows, 1, SIDE, SIDE), np.float32)


@pytest.mark.parametrize("parameters", [{}, {"streams": "2"}, {"streams": "3"}])
def test_every_request_gets_its_own_rows(adapter: type[Any], tmp_path: Path, parameters: dict[str, str]) -> None:
    model = _served(adapter, tmp_path, **parameters)
    order: list[_Request] = []
    requests = [_Request(_images(rows, seed), order) for seed, rows in enumerate((1, 3, 2, 1))]
    model.execute(requests)
    model.finalize()
    for request in requests:
        (answer,) = request.sent
        assert [tensor.name for tensor in answer.tensors] == ["MASK"]
        np.testing.assert_array_equal(answer.tensors[0].values, 2 * request.images)


class _Gates:
    """Holds the rows of chosen requests back before they run; `used` is what each request's rows ran on."""

    def __init__(self, model: Any) -> None:
        self.opened: dict[int, threading.Event] = {}
        self.used: dict[int, list[Any]] = {}
        self._run = model._run
        model._run = self._held_run

    def hold(self, request: _Request) -> threading.Event:
        return self.opened.setdefault(id(request), threading.Event())

    def _held_run(self, answer: Any, row: int, stream: Any, request: Any) -> None:
        asked = id(answer._sender)  # the fake request is its own sender
        self.used.setdefault(asked, []).append(request)
        if asked in self.opened:
            assert self.opened[asked].wait(10)
        self._run(answer, row, stream, request)


def _sent(request: _Request) -> bool:
    """Whether the request is answered within ten seconds."""
    end = time.monotonic() + 10
    while not request.sent and time.monotonic() < end:
        time.sleep(0.001)
    return bool(request.sent)


def test_first_request_is_answered_before_later_rows_run(adapter: type[Any], tmp_path: Path) -> None:
    model = _served(adapter, tmp_path, streams="2")
    gates = _Gates(model)
    order: list[_Request] = []
    requests = [_Request(_images(2, seed), order) for seed in range(3)]
    gate = gates.hold(requests[1])
    taking = threading.Thread(target=model.execute, args=(requests,))
    taking.start()
    assert _sent(requests[0])
    assert order == requests[:1]
    gate.set()
    taking.join(10)
    model.finalize()
    assert sorted(map(id, order)) == sorted(map(id, requests))
    assert [len(request.sent) for request in requests] == [1, 1, 1]


def test_rows_begin_beside_those_of_requests_before_them(adapter: type[Any], tmp_path: Path) -> None:
    model = _served(adapter, tmp_path, streams="2")
    gates = _Gates(model)
    slow, quick, later = (_Request(_images(1, seed), []) for seed in range(3))
    gate = gates.hold(slow)
    model.execute([slow, quick])  # returns, since one stream is idle again
    model.execute([later])
    assert _sent(quick)
    assert _sent(later)
    assert not slow.sent
    gate.set()
    assert _sent(slow)
    model.finalize()


def test_it_takes_no_requests_while_every_stream_is_busy(adapter: type[Any], tmp_path: Path) -> None:
    model = _served(adapter, tmp_path, streams="2")
    gates = _Gates(model)
    held = [_Request(_images(1, seed), []) for seed in range(2)]
    opened = [gates.hold(request) for request in held]
    taking = threading.Thread(target=model.execute, args=(held,))
    taking.start()
    taking.join(0.2)
    assert taking.is_alive()
    opened[1].set()
    taking.join(10)
    assert not taking.is_alive()
    assert _sent(held[1])  # its stream is idle a moment before
    assert [len(request.sent) for request in held] == [0, 1]
    opened[0].set()
    model.finalize()
    assert held[0].sent


def test_only_a_row_that_is_alone_has_all_threads(adapter: type[Any], tmp_path: Path) -> None:
    model = _served(adapter, tmp_path, streams="2")
    gates = _Gates(model)
    first, second, third = (_Request(_images(1, seed), []) for seed in range(3))
    gate = gates.hold(first)
    model.execute([first])
    model.execute([second])
    assert _sent(second)
    gate.set()
    assert _sent(first)
    model.execute([third])
    model.finalize()
    used = [gates.used[id(request)] for request in (first, second, third)]
    assert [[ran is model._alone for ran in rows] for rows in used] == [[True], [False], [True]]


@pytest.mark.parametrize("streams", ["1", "2"])
def test_a_failing_row_fails_its_request_alone(adapter: type[Any], tmp_path: Path, streams: str) -> None:
    model = _served(adapter, tmp_path, streams=streams)
    order: list[_Request] = []
    good, bad = [_Request(_images(2, seed), order) for seed in (0, 1)], _Request(np.zeros((3, 1, 2, 2), "f4"), order)
    model.execute([good[0], bad, good[1]])
    model.finalize()
    assert len(bad.sent) == 1
    assert "RuntimeError" in str(bad.sent[0].error)
    for request in good:
        (answer,) = request.sent
        np.testing.assert_array_equal(answer.tensors[0].values, 2 * request.images)


def test_an_answer_that_cannot_be_made_is_an_error(
    adapter: type[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(name: str, values: Any) -> None:
        raise MemoryError("no shared memory")

    model = _served(adapter, tmp_path, streams="2")
    monkeypatch.setattr(sys.modules["triton_python_backend_utils"], "Tensor", no_room)
    request = _Request(_images(3, 0), [])
    model.execute([request])
    model.finalize()
    (answer,) = request.sent
    assert "no shared memory" in str(answer.error)


#: A process of its own whose first two rows come at once, from two threads that take turns as often as can be.
_FIRST_ROWS = """
import json, os, sys, threading
from types import ModuleType
sys.modules["triton_python_backend_utils"] = ModuleType("triton_python_backend_utils")
from cutout_core.serving.openvino_model import OpenVinoModel, np
model = OpenVinoModel()
model.initialize(json.loads(sys.argv[1]))
both = threading.Barrier(2)
def row(request):
    image = np.ones((1, 1, 4, 4), np.float32)
    both.wait()
    request.start_async({"IMAGE": image}, share_inputs=True)
    request.wait()
    assert (request.get_tensor("MASK").data == 2).all()
sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=row, args=(stream,), daemon=True) for stream in model._beside]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(20)
os._exit(any(thread.is_alive() for thread in threads))
"""


def test_two_first_rows_at_once_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """Without the run while the model is loaded a quarter of the processes never answered."""
    command = [sys.executable, "-c", _FIRST_ROWS, json.dumps(_written(tmp_path, streams="2"))]
    for _ in range(6):
        pair = [subprocess.Popen(command) for _ in range(2)]
        assert [process.wait(60) for process in pair] == [0, 0]


def test_two_services_compile_one_after_the_other(adapter: type[Any], tmp_path: Path) -> None:
    cache = tmp_path / "compiled"
    first = _served(adapter, tmp_path, compile_cache=str(cache))
    (blob,) = cache.glob("*.blob")
    written = blob.stat()
    second, arguments = adapter(), _written(tmp_path, compile_cache=str(cache))
    waiting = threading.Thread(target=second.initialize, args=(arguments,))
    handle = os.open(cache, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # as another process that compiles
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
    finally:
        os.close(handle)
    waiting.join(30)
    assert not waiting.is_alive()
    assert (blob.stat().st_ino, blob.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns), "written again"
    for model in (first, second):
        request = _Request(_images(1, 0), [])
        model.execute([request])
        model.finalize()
        np.testing.assert_array_equal(request.sent[0].tensors[0].values, 2 * request.images)

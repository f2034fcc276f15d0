"""The Triton model of every engine in the profile `cpu`: the `model.onnx` beside it, compiled by OpenVINO."""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import openvino as ov
import triton_python_backend_utils as pb_utils

from cutout_core.serving.compile_cache import compile_cache
from cutout_core.serving.fixed_batch import compile_fixed


class OpenVinoModel:
    """What Triton calls. The tensors' names and order are the configuration's.

    Every row is a run of its own: a batch of 16 of U²-Net-p took as long a row (fp32, 2 cores) and 2.2 GB instead of
    0.26 GB. A row that is alone has all threads. Several run beside each other, each in a stream with its share of the
    threads, since threads that share a row wait for each other at every small layer. How many streams there are is the
    configuration's parameter `streams`; without it rows take turns.
    """

    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        text = {key: value["string_value"] for key, value in config["parameters"].items()}
        self._inputs = [tensor["name"] for tensor in config["input"]]
        (self._output,) = (tensor["name"] for tensor in config["output"])
        graph = Path(args["model_repository"], args["model_version"], "model.onnx").resolve()
        core = ov.Core()
        threads, streams = int(text["threads"]), int(text.get("streams", "1"))
        with compile_cache(core, text["compile_cache"]):
            self._alone = _compiled(core, graph, text["hint"], threads, 1)[0]
            self._beside = [self._alone] if streams == 1 else _compiled(core, graph, text["hint"], threads, streams)
        _first_run(self._alone)
        self._idle: SimpleQueue[ov.InferRequest] = SimpleQueue()
        for stream in self._beside:
            self._idle.put(stream)
        self._threads = ThreadPoolExecutor(streams, thread_name_prefix="cutout-stream")

    def execute(self, requests: list[Any]) -> None:
        """Starts each row as soon as a stream is idle, and returns when one is idle again: rows of the next requests
        begin beside the last of these, and each request is answered as soon as its own rows are done.
        """
        answers = [_Answer(request, self._inputs, self._output) for request in requests]
        rows = [(answer, row) for answer in answers for row in range(answer.rows)]
        for answer, row in rows:
            stream = self._idle.get()
            alone = len(rows) == 1 and self._idle.qsize() == len(self._beside) - 1
            self._threads.submit(self._run, answer, row, stream, self._alone if alone else stream)
        self._idle.put(self._idle.get())

    def finalize(self) -> None:
        self._threads.shutdown()

    def _run(self, answer: _Answer, row: int, stream: ov.InferRequest, request: ov.InferRequest) -> None:
        """Computes a row by `request` in the place of `stream`. One that fails fails its request; the others have no
        part in it.
        """
        try:
            inputs = answer.inputs(row)  # not copied: they have to outlive the run
            request.start_async(inputs, share_inputs=True)
            request.wait()
            answer.keep(row, request.get_tensor(self._output).data)  # copied: the next run overwrites it
        except Exception as error:
            answer.fail(error)
            return
        finally:
            self._idle.put(stream)
        try:
            answer.done()
        except Exception as error:  # no shared memory for the answer, say; nobody reads what a thread raises
            answer.fail(error)


class _Answer:
    """What one request gets: its rows as they come, sent when the last is there or one has failed."""

    def __init__(self, request: Any, inputs: list[str], output: str) -> None:
        self._request = request  # as_numpy() copies today, but promises no more than that its arrays live as long
        self._sender, self._name = request.get_response_sender(), output
        self._tensors = {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in inputs}
        self.rows = len(self._tensors[inputs[0]])
        self._outputs: Any = None
        self._missing = self.rows
        self._failed = False
        self._lock = threading.Lock()

    def inputs(self, row: int) -> dict[str, Any]:
        """The network's inputs of one row, each with its batch axis."""
        return {name: tensor[row : row + 1] for name, tensor in self._tensors.items()}

    def keep(self, row: int, output: Any) -> None:
        """Copies the output of one row, with its batch axis, to where the answer has it."""
        with self._lock:
            if self._outputs is None:
                self._outputs = np.empty((self.rows, *output.shape[1:]), output.dtype)
        self._outputs[row] = output[0]

    def done(self) -> None:
        """A row is kept: the answer is sent with the last one."""
        with self._lock:
            self._missing -= 1
            if self._missing:
                return
        self._send(pb_utils.InferenceResponse([pb_utils.Tensor(self._name, self._outputs)]))

    def fail(self, error: Exception) -> None:
        """Answers with the error, once."""
        with self._lock:
            failed, self._failed = self._failed, True
        if not failed:
            self._send(pb_utils.InferenceResponse(error=pb_utils.TritonError(f"{type(error).__name__}: {error}")))

    def _send(self, response: Any) -> None:
        self._sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)


def _first_run(request: ov.InferRequest) -> None:
    """Computes a row of zeros while this is the only thread. At its first arrays OpenVINO's binding (2026.4) makes
    tables of types and lets go of the interpreter meanwhile: two threads with first arrays wait for ever.
    """
    names = [port.any_name for port in request.model_inputs]
    zeros = {name: np.zeros_like(request.get_tensor(name).data) for name in names}
    request.start_async(zeros, share_inputs=True)
    request.wait()


def _compiled(core: ov.Core, graph: Path, hint: str, threads: int, streams: int) -> list[ov.InferRequest]:
    """A request for each of `streams`, which share `threads`. hint: the arithmetic, as OpenVINO names it."""
    properties = {
        "NUM_STREAMS": streams,
        "INFERENCE_PRECISION_HINT": hint,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
    }
    model = compile_fixed(core, graph, 1, properties)
    served = model.get_property("INFERENCE_PRECISION_HINT").to_string()
    if served != hint:
        raise pb_utils.TritonModelException(f"asked for {hint}, but the CPU plugin serves {served}")
    return [model.create_infer_request() for _ in range(streams)]

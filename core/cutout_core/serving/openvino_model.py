"""The Triton model of every engine in the profile `cpu`: the `model.onnx` beside it, compiled by OpenVINO."""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

import json
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import triton_python_backend_utils as pb_utils

from cutout_core.serving.fixed_batch import compile_fixed


class OpenVinoModel:
    """What Triton calls. The tensors' names and order are the configuration's.

    Rows run one by one: a batch of 16 of U²-Net-p took as long a row (fp32, 2 cores) and 2.2 GB instead of 0.26 GB.
    """

    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        text = {key: value["string_value"] for key, value in config["parameters"].items()}
        self._inputs = [tensor["name"] for tensor in config["input"]]
        (self._output,) = (tensor["name"] for tensor in config["output"])
        graph = Path(args["model_repository"], args["model_version"], "model.onnx").resolve()
        hint = text["hint"]
        core = ov.Core()
        if text["compile_cache"]:
            core.set_property({"CACHE_DIR": text["compile_cache"]})
        properties = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": hint,
            "INFERENCE_NUM_THREADS": int(text["threads"]),
            "ENABLE_CPU_PINNING": False,
        }
        model = compile_fixed(core, graph, 1, properties)
        served = model.get_property("INFERENCE_PRECISION_HINT").to_string()
        if served != hint:
            raise pb_utils.TritonModelException(f"asked for {hint}, but the CPU plugin serves {served}")
        self._request = model.create_infer_request()

    def execute(self, requests: list[Any]) -> None:
        """Answers each request as soon as its rows are done, so that its next step runs beside the others' rows."""
        for request in requests:
            try:
                response = self._answer(request)
            except Exception as error:  # the other requests have no part in it
                response = pb_utils.InferenceResponse(error=pb_utils.TritonError(f"{type(error).__name__}: {error}"))
            request.get_response_sender().send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def _answer(self, request: Any) -> Any:
        tensors = {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs}
        rows = len(tensors[self._inputs[0]])
        outputs = np.concatenate([self._infer({n: t[i : i + 1] for n, t in tensors.items()}) for i in range(rows)])
        return pb_utils.InferenceResponse([pb_utils.Tensor(self._output, outputs)])

    def _infer(self, row: dict[str, Any]) -> Any:
        """The output of one row with its batch axis, copied: the next call leaves it alone."""
        return np.array(self._request.infer(row, share_inputs=True)[self._output])

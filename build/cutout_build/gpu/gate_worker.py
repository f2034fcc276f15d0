"""Parses and builds graphs with TensorRT-RTX; started by `gate.py` with the Python of the gate's own environment.

One JSON object in, {"graphs": [paths], "compute_capabilities": [80, ...], "batch": [1, 8, 16]}; one a graph out, in the
same order: {"layers", "parse_error", "build_errors": {"80": reason}, "plan_bytes", "seconds"}.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from cutout_build.gpu.builder import Builder, PlanOptions, RefusedError


def check_graph(trt: Any, graph: Path, capabilities: tuple[int, ...], batch: tuple[int, int, int]) -> dict[str, Any]:
    """What the library says about one graph. Where a build for all GPUs at once fails, each is tried alone."""
    began = time.monotonic()
    answer: dict[str, Any] = {"layers": 0, "parse_error": "", "build_errors": {}, "plan_bytes": 0}
    try:
        builder = Builder(trt, graph)
        answer["layers"] = builder.layers
        try:
            answer["plan_bytes"] = len(builder.build(PlanOptions(batch, capabilities))[0])
        except RefusedError as error:
            answer["build_errors"] = _one_by_one(builder, capabilities, batch) or {"together": str(error)}
    except RefusedError as error:
        answer["parse_error"] = str(error)
    return answer | {"seconds": round(time.monotonic() - began, 2)}


def _one_by_one(builder: Builder, capabilities: tuple[int, ...], batch: tuple[int, int, int]) -> dict[str, str]:
    errors: dict[str, str] = {}
    for capability in capabilities:
        try:
            builder.build(PlanOptions(batch, (capability,)))
        except RefusedError as error:
            errors[str(capability)] = str(error)
    return errors


def main() -> None:
    """Answers the one request on stdin."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the library prints goes to stderr
    import tensorrt_rtx_bindings as trt  # type: ignore[import-not-found]

    request = json.load(sys.stdin)
    first, optimum, most = request["batch"]
    for path in request["graphs"]:
        answer = check_graph(trt, Path(path), tuple(request["compute_capabilities"]), (first, optimum, most))
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()

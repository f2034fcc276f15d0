"""The peers' methods, in an environment of their own in the cache: rembg and pymatting beside newer numpy and OpenCV.

`Peers` starts one worker process (`peers_worker.py`) with that environment's Python and keeps every result on disk.
"""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip  # the worker inherits what it sets

import hashlib
import json
import os
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cutout_build.catalogue import Catalogue
from cutout_build.environment import environment_python
from cutout_build.errors import BuildError
from cutout_build.fetch import fetch
from cutout_build.quality.cache import cached, digest

UInt8 = NDArray[np.uint8]

REQUIREMENTS = Path(__file__).parents[2] / "peers-requirements.txt"
#: The same and what rembg's server needs besides, which only the speed benchmark starts.
SERVER_REQUIREMENTS = REQUIREMENTS.with_name("peers-server-requirements.txt")
#: Of the methods in `peers_worker.py`: a change of what they compute needs the next number.
VERSION = 1
_WORKER = Path(__file__).with_name("peers_worker.py")


def peers_python(requirements: Path = REQUIREMENTS) -> Path:
    """The Python of the peers' environment: `NAME-requirements.txt` is installed into the cache's folder NAME.

    Raises BuildError where it cannot be installed.
    """
    return environment_python(requirements.stem.removesuffix("-requirements"), requirements)


class Peers:
    """The peers' methods by name. Results come from the cache; the worker starts with the first one that is missing.

    A context manager: leaving it ends the worker.
    """

    def __init__(self) -> None:
        self._worker: subprocess.Popen[str] | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        packages = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:8]
        self._version = f"{packages}-{VERSION}"

    def run(self, method: str, photo: UInt8, mask: UInt8 | None = None) -> tuple[UInt8, float]:
        """The method's result and its seconds, as they were measured when it was computed.

        method: a key of METHODS in `peers_worker.py`. photo: RGB, [H, W, 3]. mask: [H, W], for methods that take one.
        The result is an alpha [H, W], or RGB [H, W, 3] of `foreground`.
        """
        key = digest(photo) if mask is None else digest(photo, mask)
        stored = cached(f"peers-{self._version}-{method}", key, lambda: self._compute(method, photo, mask))
        return stored["result"].astype(np.uint8), float(stored["seconds"])

    def measure(self, method: str, photo: UInt8, mask: UInt8 | None = None) -> float:
        """Seconds of the method, computed anew."""
        return float(self._compute(method, photo, mask)["seconds"])

    def _compute(self, method: str, photo: UInt8, mask: UInt8 | None) -> dict[str, NDArray[np.generic]]:
        if self._worker is None:
            self._start()
        assert self._scratch is not None
        folder = Path(self._scratch.name)
        paths = {name: str(folder / f"{name}.npy") for name in ("photo", "mask", "out")}
        np.save(paths["photo"], photo)
        if mask is None:
            paths["mask"] = ""
        else:
            np.save(paths["mask"], mask)
        answer = self._ask({"method": method, **paths})
        return {"result": np.load(paths["out"]), "seconds": np.float64(answer["seconds"])}

    def _start(self) -> None:
        python = peers_python()
        entry = Catalogue.load().default("segmentation")
        weights = fetch(entry.networks[0].weights)
        self._scratch = tempfile.TemporaryDirectory(prefix="cutout-peers-")
        (Path(self._scratch.name) / "u2netp.onnx").symlink_to(weights)
        environment = {**os.environ, "U2NET_HOME": self._scratch.name, "MODEL_CHECKSUM_DISABLED": "1"}
        self._worker = subprocess.Popen(
            [str(python), str(_WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._read()

    def _ask(self, request: dict[str, str]) -> dict[str, Any]:
        assert self._worker is not None
        assert self._worker.stdin is not None
        self._worker.stdin.write(json.dumps(request) + "\n")
        self._worker.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._worker is not None
        assert self._worker.stdout is not None
        line = self._worker.stdout.readline()
        if not line:
            raise BuildError(f"the peers' worker ended with status {self._worker.wait()}; its own message is above.")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Peers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._worker is not None:
            self._worker.communicate()  # closes its input, which ends it
        if self._scratch is not None:
            self._scratch.cleanup()

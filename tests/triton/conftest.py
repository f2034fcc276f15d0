"""One real Triton for all tests of this folder that need no gateway."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from cutout_core.contract.certificate import CERTIFICATE_NAME
from cutout_core.contract.engine import EngineManifest
from cutout_core.contract.paths import engines_root
from cutout_core.contract.tensors import ENSEMBLES
from cutout_gateway.embedded import EmbeddedSettings, EmbeddedTriton


def wait_until_ready(url: str, model: str = "cutout", seconds: float = 60.0) -> None:
    """Returns once `model` is ready. Raises TimeoutError."""
    client = triton.InferenceServerClient(url)
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            try:
                if client.is_model_ready(model):
                    return
            except InferenceServerException:
                pass  # not listening yet
            time.sleep(0.05)
    finally:
        client.close()
    raise TimeoutError(f"{model} was not ready within {seconds} s")


class RunningTriton:
    """An `EmbeddedTriton` whose event loop runs in a thread of its own."""

    def __init__(self, settings: EmbeddedSettings) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="triton-loop")
        self._thread.start()
        self.embedded = EmbeddedTriton(settings)
        asyncio.run_coroutine_threadsafe(self.embedded.start(), self._loop).result(60)

    @property
    def url(self) -> str:
        """`host:port` of the gRPC endpoint."""
        return self.embedded.grpc_url

    def stop(self) -> None:
        """Ends Triton and the thread."""
        try:
            asyncio.run_coroutine_threadsafe(self.embedded.stop(2.0), self._loop).result(60)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built engines, with U²-Net-p's in the place of that of quality `high`, which is slow and may be missing."""
    folder = tmp_path_factory.mktemp("engines")
    for engine in ("segmentation", "matting"):
        (folder / engine).symlink_to(engines_root() / engine)
    stand_in = folder / "segmentation_high"
    stand_in.mkdir()
    for path in (engines_root() / "segmentation").iterdir():
        if path.suffix == ".onnx" or path.name == CERTIFICATE_NAME:
            (stand_in / path.name).symlink_to(path)
    replace(EngineManifest.read(engines_root() / "segmentation"), model="segmentation_high").write(stand_in)
    return folder


@pytest.fixture(scope="session")
def triton_server(engines: Path) -> Iterator[RunningTriton]:
    """A Triton with the whole repository, ready; shared by the session, so leave it alive."""
    running = RunningTriton(EmbeddedSettings(engines=engines))
    try:
        for ensemble in ENSEMBLES.values():
            wait_until_ready(running.url, ensemble)
        yield running
    finally:
        running.stop()


@pytest.fixture
def triton_client(triton_server: RunningTriton) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(triton_server.url)
    yield client
    client.close()

"""One fake Triton and one gateway process for the tier."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.integration.fake_triton import FakeTriton
from tests.integration.fake_triton_http import FakeTritonHttp
from tests.integration.gateway_process import GatewayProcess, start_gateway


@pytest.fixture(scope="session")
def _fake() -> Iterator[FakeTriton]:
    server = FakeTriton()
    yield server
    server.stop()


@pytest.fixture
def triton(_fake: FakeTriton) -> FakeTriton:
    """The fake, well-behaved again for each test."""
    _fake.reset()
    return _fake


@pytest.fixture(scope="session")
def _gateway(_fake: FakeTriton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    flags = ["--triton-url", f"127.0.0.1:{_fake.port}", "--max-bytes", "200000", "--max-pixels", "1000000"]
    flags += ["--max-in-flight", "4", "--batch-slots", "1", "--max-batch-rows", "4", "--upload-timeout-s", "1"]
    gateway = start_gateway(tmp_path_factory.mktemp("gateway"), *flags)
    yield gateway
    assert gateway.stop() == 0


@pytest.fixture
def gateway(_gateway: GatewayProcess, triton: FakeTriton) -> GatewayProcess:
    """A gateway before the well-behaved fake, which has noticed that it is."""
    end = time.monotonic() + 10
    while not all(httpx.get(f"{_gateway.http}/readyz").json()["qualities"].values()):
        assert time.monotonic() < end, "the gateway still finds the fake not ready"
        time.sleep(0.05)
    return _gateway


@pytest.fixture(params=["http", "grpc"])
def url(gateway: GatewayProcess, request: pytest.FixtureRequest) -> str:
    """Of the module's gateway, by either protocol."""
    return gateway.http if request.param == "http" else f"grpc://{gateway.grpc}"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with one small photo."""
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.radial_gradient("L").resize((90, 60)).convert("RGB").save(folder / "a.png")
    return folder


#: The administrator's key of `kserve_gateway`.
ADMIN_KEY = "a-key-of-the-tests-0123"


@pytest.fixture(scope="session")
def _http_fake() -> Iterator[FakeTritonHttp]:
    server = FakeTritonHttp()
    yield server
    server.stop()


@pytest.fixture
def triton_http(_http_fake: FakeTritonHttp) -> FakeTritonHttp:
    """Triton's HTTP endpoint, well-behaved again for each test."""
    _http_fake.reset()
    return _http_fake


@pytest.fixture(scope="session")
def _kserve_gateway(
    _fake: FakeTriton, _http_fake: FakeTritonHttp, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    flags = ["--triton-url", f"127.0.0.1:{_fake.port}", "--triton-http-url", f"127.0.0.1:{_http_fake.port}"]
    flags += ["--max-bytes", "2000000", "--max-in-flight", "2", "--max-in-flight-pixels", "128000000"]
    flags += ["--admin-key", ADMIN_KEY, "--upload-timeout-s", "2"]
    gateway = start_gateway(tmp_path_factory.mktemp("kserve"), *flags)
    yield gateway
    assert gateway.stop() == 0


@pytest.fixture
def kserve_gateway(_kserve_gateway: GatewayProcess, triton: FakeTriton, triton_http: FakeTritonHttp) -> GatewayProcess:
    """A gateway before both endpoints of a fake Triton, with an administrator's key and two permits."""
    return _kserve_gateway

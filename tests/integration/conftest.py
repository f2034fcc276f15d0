"""One fake Triton and one gateway process for the tier."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.fake_triton import FakeTriton
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
    """A gateway before the well-behaved fake."""
    return _gateway

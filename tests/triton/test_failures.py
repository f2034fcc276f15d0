"""What happens when processes die: nobody hangs, everybody is told, nothing is left behind."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from cutout_build.photos import photo
from tests.integration.gateway_process import GatewayProcess, running_gateway

pytestmark = [pytest.mark.triton, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    with running_gateway(tmp_path) as gateway:
        yield gateway


def descendants(gateway: GatewayProcess) -> list[psutil.Process]:
    return psutil.Process(gateway.process.pid).children(recursive=True)


def tritonserver(gateway: GatewayProcess) -> psutil.Process:
    (server,) = (p for p in descendants(gateway) if p.name() == "tritonserver")
    return server


def shared_memory(gateway: GatewayProcess) -> list[str]:
    """The gateway's regions; its process id is in their names."""
    return [entry.name for entry in Path("/dev/shm").iterdir() if f"-{gateway.process.pid}-" in entry.name]


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def is_ready(gateway: GatewayProcess, client: httpx.Client) -> bool:
    return client.get(f"{gateway.http}/readyz").status_code == 200


def gone(processes: list[psutil.Process]) -> bool:
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


def test_triton_killed_under_load(gateway: GatewayProcess) -> None:
    image = photo("coffee").read_bytes()
    stop = threading.Event()
    statuses: list[int] = []

    def caller() -> None:
        with httpx.Client(timeout=20) as client:  # httpx.post would build a TLS context each time: 20 ms of a core
            while not stop.is_set():
                statuses.append(client.post(f"{gateway.http}/v1/cutouts", content=image).status_code)
                time.sleep(0.02)

    with ThreadPoolExecutor(4) as pool, httpx.Client(timeout=5) as probe:
        callers = [pool.submit(caller) for _ in range(4)]
        try:
            time.sleep(2)
            family = [p for p in descendants(gateway) if p.name() != "python"]
            tritonserver(gateway).send_signal(signal.SIGKILL)
            killed = time.monotonic()
            assert wait_for(lambda: not is_ready(gateway, probe), 5), "readiness stayed true"
            assert wait_for(lambda: is_ready(gateway, probe), 15 - (time.monotonic() - killed)), "not ready within 15 s"
            time.sleep(2)
        finally:
            stop.set()
        for future in callers:
            future.result(timeout=25)  # a caller left hanging would time out here
    assert set(statuses) <= {200, 503}, set(statuses)
    assert 503 in statuses
    assert statuses[-1] == 200
    assert gone(family), "processes of the killed Triton are left"
    assert "cutout_child_restarts_total 1.0" in httpx.get(f"{gateway.http}/metrics").text
    assert gateway.stop() == 0
    assert shared_memory(gateway) == [], "shared memory is left"


def test_sigterm_lets_requests_finish_and_leaves_nothing(gateway: GatewayProcess) -> None:
    family = descendants(gateway)
    image = photo("astronaut").read_bytes()
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(httpx.post, f"{gateway.http}/v1/cutouts", content=image, timeout=30) for _ in range(3)]
        assert wait_for(lambda: "cutout_in_flight_requests 3.0" in httpx.get(f"{gateway.http}/metrics").text, 10), (
            "the requests did not get in"
        )
        assert gateway.stop() == 0
        assert [future.result().status_code for future in futures] == [200] * 3
    assert wait_for(lambda: gone(family), 5), [p for p in family if p.is_running()]
    assert shared_memory(gateway) == []


def test_sigkill_of_the_gateway_leaves_nothing(gateway: GatewayProcess) -> None:
    family = descendants(gateway)
    assert len(family) >= 4
    assert shared_memory(gateway)
    gateway.process.kill()
    gateway.process.wait()
    assert wait_for(lambda: gone(family), 15), [p for p in family if p.is_running()]
    assert wait_for(lambda: not shared_memory(gateway), 5)


def test_a_killed_stub_does_not_stay_dead(gateway: GatewayProcess) -> None:
    """One Python step dies (an out-of-memory kill, say): callers are told, and the service heals."""
    image = photo("coffee").read_bytes()
    stubs = [p for p in descendants(gateway) if "stub" in p.name()]
    (victim,) = (p for p in stubs if "preprocess" in " ".join(p.cmdline()))
    victim.kill()

    def works() -> bool:
        return httpx.post(f"{gateway.http}/v1/cutouts", content=image, timeout=20).status_code == 200

    assert wait_for(works, 25), "the service did not heal"
    assert gateway.stop() == 0


def test_a_step_that_hangs_is_noticed_and_replaced(gateway: GatewayProcess) -> None:
    """Triton itself says that it is ready; only requests show that nobody answers them."""
    image = photo("coffee").read_bytes()
    (victim,) = (p for p in descendants(gateway) if "stub" in p.name() and "/segmentation/" in " ".join(p.cmdline()))
    victim.suspend()
    headers = {"X-Cutout-Timeout-Ms": "400"}
    for _ in range(4):
        answer = httpx.post(f"{gateway.http}/v1/cutouts", content=image, headers=headers, timeout=20)
        assert answer.status_code in {503, 504}
    with httpx.Client(timeout=5) as probe:
        assert wait_for(lambda: not is_ready(gateway, probe), 30), "readiness stayed true"
        assert wait_for(lambda: is_ready(gateway, probe), 20), "the service did not heal"
    assert httpx.post(f"{gateway.http}/v1/cutouts", content=image, timeout=20).status_code == 200

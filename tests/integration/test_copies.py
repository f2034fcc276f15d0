"""How often an image and a result lie in the gateway's memory at once, on each way in and out (docs/decisions.md)."""

from __future__ import annotations

import base64
import io
import queue
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx
import pytest
from PIL import Image

from cutout_core.contract import cutout_pb2 as pb
from tests.integration.fake_triton import FakeTriton
from tests.integration.gateway_process import GatewayProcess, start_gateway

#: Bytes of the large image or result; what else a request needs is little beside it.
SIZE = 16_000_000
#: What is freed is given back at once, so that the resident memory is what is held.
MALLOC = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "MALLOC_TOP_PAD_": "0",
}
#: Of a measured number of sizes; a copy more is 1.
SLACK = 0.8

_ANY_SIZE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class MeasuredGateway:
    """A gateway's memory in units of SIZE. Regions are not among it: the gateway does not map them."""

    def __init__(self, gateway: GatewayProcess, transport: str) -> None:
        self.gateway = gateway
        self.transport = transport
        self._proc = Path("/proc", str(gateway.process.pid))

    def held(self) -> float:
        return self._size("VmRSS")

    def peak_of(self, call: Callable[[], object]) -> float:
        """The most that `call` adds to what is held."""
        before = self.held()
        (self._proc / "clear_refs").write_text("5")  # the peak begins anew: proc(5)
        call()
        return self._size("VmHWM") - before

    def _size(self, name: str) -> float:
        lines = (self._proc / "status").read_text().splitlines()
        (value,) = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
        return int(value) * 1024 / SIZE


@pytest.fixture(scope="module", params=["shared memory", "grpc"])
def measured(
    request: pytest.FixtureRequest, _fake: FakeTriton, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MeasuredGateway]:
    folder = tmp_path_factory.mktemp("measured")
    flags = ["--triton-url", f"127.0.0.1:{_fake.port}"]
    flags += ["--shared-memory-bytes", "0", "--shared-memory-result-bytes", "0"] if request.param == "grpc" else []
    # That gateway leaves the allocator as the environment sets it.
    program = ["-m", "tests.integration.probed_gateway", str(folder / "lags")]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in MALLOC.items():
            patch.setenv(name, value)
        gateway = start_gateway(folder, *flags, program=program)
    yield MeasuredGateway(gateway, request.param)
    assert gateway.stop() == 0


@pytest.fixture(scope="module")
def photos() -> tuple[bytes, bytes]:
    """A JPEG of few bytes, whose many pixels give its result room for SIZE, and one with SIZE bytes after it."""
    file = io.BytesIO()
    Image.new("RGB", (4096, 4096), (200, 100, 50)).save(file, "JPEG", quality=20)
    return file.getvalue(), file.getvalue() + bytes(SIZE)


Send = Callable[[GatewayProcess, bytes], bytes]


def http_raw(gateway: GatewayProcess, image: bytes) -> bytes:
    return httpx.post(f"{gateway.http}/v1/cutouts", content=image, timeout=30).raise_for_status().content


def http_form(gateway: GatewayProcess, image: bytes) -> bytes:
    return httpx.post(f"{gateway.http}/v1/cutouts", files={"image": image}, timeout=30).raise_for_status().content


def http_json(gateway: GatewayProcess, image: bytes) -> bytes:
    accept = {"Accept": "application/json"}
    answer = httpx.post(f"{gateway.http}/v1/cutouts", content=image, headers=accept, timeout=30).raise_for_status()
    return base64.b64decode(answer.json()["result"])


def grpc_unary(gateway: GatewayProcess, image: bytes) -> bytes:
    with grpc.insecure_channel(gateway.grpc, options=_ANY_SIZE) as channel:
        call = channel.unary_unary(
            "/cutout.v1.BackgroundRemoval/RemoveBackground",
            request_serializer=pb.RemoveBackgroundRequest.SerializeToString,
            response_deserializer=pb.RemoveBackgroundResponse.FromString,
        )
        return bytes(call(pb.RemoveBackgroundRequest(image=image), timeout=30).result)


def item(image: bytes) -> pb.RemoveBackgroundsRequest:
    return pb.RemoveBackgroundsRequest(id="a", request=pb.RemoveBackgroundRequest(image=image))


@contextmanager
def stream_of(
    gateway: GatewayProcess, items: Iterator[pb.RemoveBackgroundsRequest]
) -> Iterator[Iterator[pb.RemoveBackgroundsResponse]]:
    with grpc.insecure_channel(gateway.grpc, options=_ANY_SIZE) as channel:
        call = channel.stream_stream(
            "/cutout.v1.BackgroundRemoval/RemoveBackgrounds",
            request_serializer=pb.RemoveBackgroundsRequest.SerializeToString,
            response_deserializer=pb.RemoveBackgroundsResponse.FromString,
        )
        yield call(items, timeout=30)


def grpc_stream(gateway: GatewayProcess, image: bytes) -> bytes:
    with stream_of(gateway, iter([item(image)])) as answers:
        (answer,) = answers
        return bytes(answer.result.result)


#: Sizes of an image that are held at most, by the way in and the way to Triton, and of a result by the way out.
IMAGES = {
    (http_raw, "shared memory"): 2,  # the pieces that arrived, and joined
    (http_json, "shared memory"): 2,
    (http_form, "shared memory"): 2,
    (grpc_unary, "shared memory"): 3,  # gRPC's own buffer, the message, and protobuf's copy of the image
    (grpc_stream, "shared memory"): 3,
    (http_raw, "grpc"): 3,  # the image, the message to Triton, and gRPC's copy of it
    (http_json, "grpc"): 3,
    (http_form, "grpc"): 3,
    (grpc_unary, "grpc"): 3,
    (grpc_stream, "grpc"): 3,
}
#: Sizes of a result, in the same way.
RESULTS = {
    (http_raw, "shared memory"): 1,
    (http_json, "shared memory"): 5,  # four of them 4/3 of its size
    (http_form, "shared memory"): 1,
    (grpc_unary, "shared memory"): 3,  # the result, our message, and gRPC's copy of it
    (grpc_stream, "shared memory"): 3,
    (http_raw, "grpc"): 3,  # while gRPC takes Triton's answer in
    (http_json, "grpc"): 5,
    (http_form, "grpc"): 3,
    (grpc_unary, "grpc"): 3,  # in, and again while it sends ours
    (grpc_stream, "grpc"): 3,
}


@pytest.mark.parametrize("send", [http_raw, http_json, http_form, grpc_unary, grpc_stream])
def test_no_image_and_no_result_is_held_more_often_than_needed(
    measured: MeasuredGateway, triton: FakeTriton, photos: tuple[bytes, bytes], send: Send
) -> None:
    small, large = photos
    send(measured.gateway, small)  # what is made once is not counted
    triton.reset()
    assert measured.peak_of(lambda: send(measured.gateway, large)) <= IMAGES[send, measured.transport] + SLACK
    assert large in triton.images
    assert len(triton.placed) == (1 if measured.transport == "shared memory" else 0)
    triton.result = bytes(SIZE)
    answers: list[bytes] = []
    assert (
        measured.peak_of(lambda: answers.append(send(measured.gateway, small)))
        <= RESULTS[send, measured.transport] + SLACK
    )
    assert answers == [triton.result]
    assert len(triton.stored) == (2 if measured.transport == "shared memory" else 0)


def test_an_idle_stream_holds_on_to_nothing(
    measured: MeasuredGateway, triton: FakeTriton, photos: tuple[bytes, bytes]
) -> None:
    triton.result = bytes(SIZE)
    grpc_stream(measured.gateway, photos[1])
    before = measured.held()
    items: queue.Queue[pb.RemoveBackgroundsRequest | None] = queue.Queue()
    with stream_of(measured.gateway, iter(items.get, None)) as answers:
        items.put(item(photos[1]))
        assert next(answers).result.result == triton.result
        end = time.monotonic() + 5
        while measured.held() - before > SLACK:
            assert time.monotonic() < end, "it holds on to the image or to the result"
            time.sleep(0.05)
        items.put(None)
        assert list(answers) == []

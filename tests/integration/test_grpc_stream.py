"""`RemoveBackgrounds`: completion order, errors of single items, flow control, leaving and stopping."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import httpx
import pytest

from cutout_core.contract import ErrorCode
from cutout_core.contract import cutout_pb2 as pb
from tests.integration.fake_triton import RESULT, FakeTriton
from tests.integration.gateway_process import GatewayProcess, start_gateway

METHOD = "/cutout.v1.BackgroundRemoval/RemoveBackgrounds"
FLAGS = ["--max-in-flight", "8", "--max-stream-items", "4", "--max-streams", "3", "--stream-wait-s", "2"]
FLAGS += ["--batch-slots", "1", "--max-batch-rows", "2", "--max-bytes", "3000000", "--send-timeout-s", "1"]


@pytest.fixture(scope="module")
def _stream_gateway(_fake: FakeTriton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("stream-gateway")
    gateway = start_gateway(folder, "--triton-url", f"127.0.0.1:{_fake.port}", *FLAGS)
    yield gateway
    assert gateway.stop() == 0


@pytest.fixture
def streaming(_stream_gateway: GatewayProcess, triton: FakeTriton) -> GatewayProcess:
    return _stream_gateway


class Stream:
    """One open stream: items go in by `send`, answers come out by `receive`; `read` counts what gRPC took to send."""

    def __init__(self, channel: grpc.Channel, timeout: float | None = 60.0) -> None:
        self._items: queue.SimpleQueue[pb.RemoveBackgroundsRequest | bytes | None] = queue.SimpleQueue()
        self.taken = 0
        method = channel.stream_stream(
            METHOD,
            request_serializer=lambda item: item if isinstance(item, bytes) else item.SerializeToString(),
            response_deserializer=pb.RemoveBackgroundsResponse.FromString,
        )
        self.call = method(self._requests(), timeout=timeout)

    def _requests(self) -> Iterator[pb.RemoveBackgroundsRequest | bytes]:
        while (item := self._items.get()) is not None:
            self.taken += 1
            yield item

    def send(self, name: str, image: bytes, timeout_ms: int = 0, **options: str) -> None:
        request = pb.RemoveBackgroundRequest(image=image, options=options, request_id=f"request-{name}")
        self._items.put(pb.RemoveBackgroundsRequest(id=name, request=request, timeout_ms=timeout_ms))

    def send_raw(self, message: bytes) -> None:
        self._items.put(message)

    def end(self) -> None:
        self._items.put(None)

    def receive(self) -> pb.RemoveBackgroundsResponse:
        answer: pb.RemoveBackgroundsResponse = next(self.call)
        return answer

    def rest(self) -> dict[str, pb.RemoveBackgroundsResponse]:
        """Ends the sending and takes every answer that is left, by id in the order of arrival."""
        self.end()
        return {answer.id: answer for answer in self.call}


@pytest.fixture
def channel(streaming: GatewayProcess) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(streaming.grpc) as channel:
        yield channel


def metric(gateway: GatewayProcess, line: str) -> float:
    page = httpx.get(f"{gateway.http}/metrics").text
    return sum(float(text.rsplit(" ", 1)[1]) for text in page.splitlines() if text.startswith(line))


def wait_for(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_every_item_is_answered_with_its_id(
    channel: grpc.Channel, streaming: GatewayProcess, small_jpeg: bytes
) -> None:
    ok = 'cutout_requests_total{outcome="ok",output="webp",protocol="grpc_stream"'
    before = metric(streaming, ok)
    stream = Stream(channel)
    for number in range(10):
        stream.send(str(number), small_jpeg, output="webp")
    answers = stream.rest()
    assert set(answers) == {str(number) for number in range(10)}
    for name, answer in answers.items():
        assert answer.result.result == RESULT
        assert answer.result.content_type == "image/webp"
        assert answer.result.meta.request_id == f"request-{name}"
        assert answer.result.meta.timings_ms["total"] > 0
    assert stream.call.code() is grpc.StatusCode.OK
    assert metric(streaming, ok) - before == 10
    assert metric(streaming, "cutout_streams ") == 0


def test_a_slow_item_delays_no_other(channel: grpc.Channel, triton: FakeTriton, small_jpeg: bytes) -> None:
    triton.delays["cutout_high"] = 3.0
    stream = Stream(channel)
    stream.send("slow", small_jpeg, quality="high")
    for number in range(12):
        stream.send(str(number), small_jpeg)
    started = time.monotonic()
    first = [stream.receive().id for _ in range(12)]
    assert "slow" not in first
    assert time.monotonic() - started < 2.8
    assert set(stream.rest()) == {"slow"}


def test_a_bad_item_is_answered_by_its_error_and_ends_nothing(channel: grpc.Channel, small_jpeg: bytes) -> None:
    stream = Stream(channel)
    stream.send("text", b"this is no image")
    stream.send("option", small_jpeg, output="gif")
    stream.send("big", bytes(3_000_001))
    stream.send("empty", b"")
    stream.send_raw(b"\xff\xff\xff")
    stream.send("good", small_jpeg)
    answers = stream.rest()
    codes = {name: answer.error.code for name, answer in answers.items() if answer.WhichOneof("outcome") == "error"}
    assert codes == {
        "text": "not_an_image",
        "option": "invalid_option",
        "big": "too_many_bytes",
        "empty": "empty_body",
        "": "malformed_request",
    }
    assert answers["good"].result.result == RESULT
    error = answers["option"].error
    assert (error.field, error.retryable, error.request_id) == ("output", False, "request-option")
    assert "gif" in error.message
    assert not error.HasField("retry_after_ms")


def test_a_failure_of_triton_is_an_answer(channel: grpc.Channel, triton: FakeTriton, small_jpeg: bytes) -> None:
    triton.fail_with = grpc.StatusCode.UNAVAILABLE
    stream = Stream(channel)
    stream.send("a", small_jpeg)
    error = stream.receive().error
    assert (error.code, error.retryable) == (ErrorCode.MODEL_UNAVAILABLE.value, True)
    assert error.retry_after_ms > 0
    triton.fail_with = None
    stream.send("b", small_jpeg)
    assert stream.receive().result.result == RESULT
    assert stream.rest() == {}


def test_each_item_has_its_own_deadline(channel: grpc.Channel, triton: FakeTriton, small_jpeg: bytes) -> None:
    triton.delays["cutout_high"] = 5.0
    stream = Stream(channel)
    started = time.monotonic()
    stream.send("late", small_jpeg, timeout_ms=200, quality="high")
    stream.send("good", small_jpeg, timeout_ms=5000)
    answers = stream.rest()
    assert answers["late"].error.code == "deadline_exceeded"
    assert answers["good"].result.result == RESULT
    assert time.monotonic() - started < 4
    assert triton.cancelled.wait(2)


def test_reading_stops_at_the_bound_of_items_in_work(
    channel: grpc.Channel, streaming: GatewayProcess, triton: FakeTriton, small_jpeg: bytes
) -> None:
    triton.delay_s = 3.0
    padded = small_jpeg + bytes(1_000_000)  # larger than what the transport itself may hold back
    stream = Stream(channel)
    for number in range(40):
        stream.send(str(number), padded)
    wait_for(lambda: metric(streaming, "cutout_in_flight_requests ") == 4)
    time.sleep(0.3)
    assert metric(streaming, "cutout_in_flight_requests ") == 4
    assert stream.taken < 20, "the sender was not held back"
    triton.delay_s = 0.0
    assert len(stream.rest()) == 40


def test_items_wait_for_a_place_and_single_calls_keep_theirs(
    channel: grpc.Channel, streaming: GatewayProcess, triton: FakeTriton, small_jpeg: bytes
) -> None:
    """Two streams of four items want eight places and get six of eight; two are left to single calls."""
    triton.delay_s = 0.2
    streams = [Stream(channel) for _ in range(2)]
    for stream, number in itertools.product(streams, range(6)):
        stream.send(str(number), small_jpeg)
    wait_for(lambda: metric(streaming, "cutout_in_flight_requests ") == 6)
    assert httpx.post(f"{streaming.http}/v1/cutouts", content=small_jpeg).status_code == 200
    for stream in streams:
        answers = stream.rest()
        assert len(answers) == 6
        assert {answer.WhichOneof("outcome") for answer in answers.values()} == {"result"}


def test_an_item_that_waits_too_long_is_refused(
    channel: grpc.Channel, streaming: GatewayProcess, triton: FakeTriton, small_jpeg: bytes
) -> None:
    """Both streams were idle while the server filled up, so the one more item of each has been read already."""
    idle = Stream(channel)
    idle.send("first", small_jpeg)
    assert idle.receive().id == "first"
    triton.delay_s = 10.0
    busy = [Stream(channel) for _ in range(2)]
    for stream, number in itertools.product(busy, range(3)):
        stream.send(str(number), small_jpeg)
    wait_for(lambda: metric(streaming, "cutout_in_flight_requests ") == 6)
    started = time.monotonic()
    idle.send("refused", small_jpeg)
    error = idle.receive().error
    assert 1.9 < time.monotonic() - started < 8
    assert (error.code, error.retryable) == ("overloaded", True)
    assert error.retry_after_ms >= 1000
    for stream in busy:
        stream.call.cancel()
        stream.end()
    assert idle.rest() == {}
    wait_for(lambda: metric(streaming, "cutout_in_flight_requests ") == 0)


def test_the_number_of_streams_is_bounded(channel: grpc.Channel, small_jpeg: bytes) -> None:
    streams = [Stream(channel) for _ in range(3)]
    for stream in streams:
        stream.send("a", small_jpeg)
        assert stream.receive().id == "a"
    with pytest.raises(grpc.RpcError) as caught:
        Stream(channel).receive()
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    metadata = dict(caught.value.trailing_metadata())
    assert metadata["cutout-error-code"] == "overloaded"
    assert int(metadata["cutout-retry-after-ms"]) > 0
    for stream in streams:
        assert stream.rest() == {}


@pytest.mark.parametrize("how", ["cancel", "disconnect", "deadline"])
def test_a_caller_that_leaves_frees_everything(
    streaming: GatewayProcess, triton: FakeTriton, small_jpeg: bytes, how: str
) -> None:
    triton.delay_s = 10.0
    with grpc.insecure_channel(streaming.grpc, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        stream = Stream(channel, timeout=2.0 if how == "deadline" else None)
        for number in range(8):
            stream.send(str(number), small_jpeg)
        wait_for(lambda: metric(streaming, "cutout_in_flight_requests ") == 4)
        if how == "cancel":
            stream.call.cancel()
        elif how == "deadline":
            with pytest.raises(grpc.RpcError):
                list(stream.call)
    wait_for(lambda: metric(streaming, "cutout_in_flight_requests ") == 0)
    wait_for(lambda: metric(streaming, "cutout_streams ") == 0)
    assert triton.cancelled.wait(2), "the call to Triton was not cancelled"
    stream.end()


def test_a_caller_that_does_not_read_its_answers_is_let_go(
    channel: grpc.Channel, streaming: GatewayProcess, triton: FakeTriton, small_jpeg: bytes
) -> None:
    triton.result = bytes(8_000_000)
    stream = Stream(channel)
    for number in range(30):
        stream.send(str(number), small_jpeg)
    wait_for(lambda: metric(streaming, "cutout_streams ") == 1)
    wait_for(lambda: metric(streaming, "cutout_streams ") == 0)
    assert len(triton.images) < 20
    stream.end()


@pytest.mark.slow
def test_a_server_that_stops_answers_what_it_has_read(triton: FakeTriton, small_jpeg: bytes, tmp_path: Path) -> None:
    gateway = start_gateway(tmp_path, "--triton-url", f"127.0.0.1:{triton.port}", "--max-stream-items", "3")
    try:
        with grpc.insecure_channel(gateway.grpc) as channel:
            triton.delay_s = 3.0
            stream = Stream(channel)
            for number in range(5):
                stream.send(str(number), small_jpeg)
            wait_for(lambda: metric(gateway, "cutout_in_flight_requests ") == 3)
            stopping = threading.Thread(target=gateway.stop)
            stopping.start()
            answered = [stream.receive() for _ in range(3)]
            with pytest.raises(grpc.RpcError) as caught:
                stream.receive()
            stopping.join()
    finally:
        assert gateway.stop() == 0
    assert {answer.id for answer in answered} == {"0", "1", "2"}
    assert all(answer.result.result == RESULT for answer in answered)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert dict(caught.value.trailing_metadata())["cutout-error-code"] == "shutting_down"
    stream.end()

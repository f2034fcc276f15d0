"""The gRPC surface: the call, its errors, health and reflection."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from cutout_core.contract import ERROR_TABLE, ErrorCode
from cutout_core.contract import cutout_pb2 as pb
from tests.integration.fake_triton import RESULT, FakeTriton
from tests.integration.gateway_process import GatewayProcess


@pytest.fixture
def channel(gateway: GatewayProcess) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(gateway.grpc) as channel:
        yield channel


def call(
    channel: grpc.Channel, message: pb.RemoveBackgroundRequest, timeout: float = 5.0
) -> pb.RemoveBackgroundResponse:
    method = channel.unary_unary(
        "/cutout.v1.BackgroundRemoval/RemoveBackground",
        request_serializer=pb.RemoveBackgroundRequest.SerializeToString,
        response_deserializer=pb.RemoveBackgroundResponse.FromString,
    )
    response: pb.RemoveBackgroundResponse = method(message, timeout=timeout)
    return response


def failure(channel: grpc.Channel, message: pb.RemoveBackgroundRequest, timeout: float = 5.0) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, message, timeout)
    return caught.value


def assert_error(error: grpc.RpcError, code: ErrorCode, field: str | None = None) -> None:
    metadata = dict(error.trailing_metadata())
    assert error.code() is grpc.StatusCode[ERROR_TABLE[code].grpc_status]
    assert metadata["cutout-error-code"] == code.value
    assert metadata.get("cutout-error-field") == field
    assert metadata["cutout-request-id"]
    assert "Traceback" not in error.details()


def test_the_call(channel: grpc.Channel, triton: FakeTriton, small_jpeg: bytes) -> None:
    request = pb.RemoveBackgroundRequest(image=small_jpeg, options={"output": "webp"}, request_id="abc")
    response = call(channel, request)
    assert response.result == RESULT
    assert response.content_type == "image/webp"
    assert response.meta.request_id == "abc"
    assert (response.meta.width, response.meta.height) == (96, 64)
    assert response.meta.subject == pb.Box(left=1, top=2, width=3, height=4)
    assert (response.meta.quality, response.meta.mode) == ("standard", "portrait")
    assert (response.meta.mode_certainty, response.meta.confidence) == (0.75, 0.9375)
    assert response.meta.timings_ms["total"] > 0
    assert json.loads(triton.options[-1]) == {"output": "webp"}


@pytest.mark.parametrize(
    ("image", "options", "code", "field"),
    [
        (b"", {}, ErrorCode.EMPTY_BODY, None),
        (b"hello", {}, ErrorCode.NOT_AN_IMAGE, None),
        (None, {"colour": "red"}, ErrorCode.UNKNOWN_OPTION, "colour"),
        (None, {"output": "gif"}, ErrorCode.INVALID_OPTION, "output"),
        (b"x" * 200_001, {}, ErrorCode.TOO_MANY_BYTES, None),
    ],
)
def test_errors(
    channel: grpc.Channel, small_jpeg: bytes, image: bytes | None, options: dict[str, str], code: ErrorCode, field: str
) -> None:
    message = pb.RemoveBackgroundRequest(image=small_jpeg if image is None else image, options=options)
    assert_error(failure(channel, message), code, field)


def test_an_option_name_that_metadata_cannot_hold(channel: grpc.Channel, small_jpeg: bytes) -> None:
    error = failure(channel, pb.RemoveBackgroundRequest(image=small_jpeg, options={"a\nb\0é": "x"}))
    assert_error(error, ErrorCode.UNKNOWN_OPTION, "a?b??")


def test_a_message_that_is_none(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/cutout.v1.BackgroundRemoval/RemoveBackground")(b"\xff\xff\xff", timeout=5)
    assert_error(caught.value, ErrorCode.MALFORMED_REQUEST)


def test_calls_without_a_message_do_not_take_the_place_of_others(channel: grpc.Channel, small_jpeg: bytes) -> None:
    """Their wait is bounded by the upload timeout, and they hold no permit."""

    def silent() -> Iterator[bytes]:
        time.sleep(5)
        yield b""

    method = channel.stream_unary("/cutout.v1.BackgroundRemoval/RemoveBackground")
    waiting = [method.future(silent(), timeout=4) for _ in range(8)]
    assert call(channel, pb.RemoveBackgroundRequest(image=small_jpeg)).result == RESULT
    codes = {dict(future.exception().trailing_metadata()).get("cutout-error-code") for future in waiting}
    assert codes == {ErrorCode.REQUEST_TIMEOUT.value}


def test_failures_of_triton(channel: grpc.Channel, triton: FakeTriton, small_jpeg: bytes) -> None:
    triton.fail_with = grpc.StatusCode.UNAVAILABLE
    error = failure(channel, pb.RemoveBackgroundRequest(image=small_jpeg))
    assert_error(error, ErrorCode.MODEL_UNAVAILABLE)
    assert int(dict(error.trailing_metadata())["cutout-retry-after-ms"]) > 0


def test_deadline(channel: grpc.Channel, triton: FakeTriton, small_jpeg: bytes) -> None:
    triton.delay_s = 20.0
    started = time.monotonic()
    error = failure(channel, pb.RemoveBackgroundRequest(image=small_jpeg), timeout=0.3)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - started < 10
    assert triton.cancelled.wait(2), "the call to Triton was not cancelled"


def test_health_and_reflection(channel: grpc.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", "cutout.v1.BackgroundRemoval"):
        answer = health.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    database = ProtoReflectionDescriptorDatabase(channel)
    assert "cutout.v1.BackgroundRemoval" in database.get_services()
    assert database.FindFileContainingSymbol("cutout.v1.BackgroundRemoval").name == "cutout/v1/cutout.proto"

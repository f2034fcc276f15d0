"""Reading and writing both protocols, without a connection."""

from __future__ import annotations

import json

import grpc
import pytest

from cutout_client import (
    Box,
    ConnectError,
    CutoutClientError,
    CutoutResult,
    InvalidRequest,
    Operation,
    Overloaded,
    ProtocolError,
    Request,
    ServiceError,
    TimeoutError_,
    TooLarge,
    UnsupportedOperation,
    WrongProtocol,
)
from cutout_client._grpc_wire import error_of, method_of
from cutout_client._http_wire import HttpAnswer, decode, encode, server_timing
from cutout_core.contract import cutout_pb2

CUTOUT = Request(Operation.REMOVE_BACKGROUND, b"image", {"output": "webp", "background": "#f00"}, "id-1")
HEADERS = {
    "content-type": "image/webp",
    "x-request-id": "id-1",
    "x-cutout-width": "40",
    "x-cutout-height": "30",
    "x-cutout-source-width": "80",
    "x-cutout-source-height": "60",
    "x-cutout-source-format": "jpeg",
    "x-cutout-quality": "fast",
    "x-cutout-coverage": "0.2500",
}


class FailedCall:
    def __init__(self, code: grpc.StatusCode, text: str = "Because.", **metadata: str | bytes) -> None:
        self._code = code
        self._text = text
        self._metadata = [(name.replace("_", "-"), value) for name, value in metadata.items()]

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._text

    def trailing_metadata(self) -> list[tuple[str, str | bytes]]:
        return self._metadata


def test_a_cutout_is_a_raw_post_with_the_options_in_the_query() -> None:
    call = encode(CUTOUT, 1.2345)
    assert (call.method, call.path, call.body, call.params) == ("POST", "/v1/cutouts", b"image", CUTOUT.options)
    assert call.headers["X-Cutout-Timeout-Ms"] == "1234"
    assert call.headers["X-Request-Id"] == "id-1"
    assert call.headers["Content-Length"] == "5"


def test_no_limit_sends_no_deadline() -> None:
    assert "X-Cutout-Timeout-Ms" not in encode(CUTOUT, None).headers


def test_a_result_is_read_from_the_headers() -> None:
    headers = HEADERS | {
        "x-cutout-subject": "1,2,30,20",
        "x-cutout-warnings": "no_subject, animated_first_frame",
        "server-timing": "queue;dur=1.2, engines;dur=3.4",
    }
    result = decode(CUTOUT, HttpAnswer(200, headers, b"result"))
    assert result == CutoutResult(
        data=b"result",
        content_type="image/webp",
        width=40,
        height=30,
        source_width=80,
        source_height=60,
        source_format="jpeg",
        subject=Box(1, 2, 30, 20),
        coverage=0.25,
        warnings=("no_subject", "animated_first_frame"),
        timings_ms={"queue": 1.2, "engines": 3.4},
        request_id="id-1",
        quality="fast",
    )


@pytest.mark.parametrize("missing", ["x-cutout-width", "x-cutout-coverage", "content-type"])
def test_a_success_without_cutouts_headers_is_a_foreign_answer(missing: str) -> None:
    headers = {name: value for name, value in HEADERS.items() if name != missing}
    with pytest.raises(ProtocolError):
        decode(CUTOUT, HttpAnswer(200, headers, b"result"))


@pytest.mark.parametrize(
    ("name", "value"), [("content-type", "text/html"), ("x-cutout-subject", "1,2"), ("x-cutout-height", "tall")]
)
def test_a_success_with_broken_headers_is_a_foreign_answer(name: str, value: str) -> None:
    with pytest.raises(ProtocolError, match="not the answer of a Cutout server"):
        decode(CUTOUT, HttpAnswer(200, HEADERS | {name: value}, b"result"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("queue;dur=1.2", {"queue": 1.2}),
        ('cache;desc="hit, miss; dur=9";dur=2, total; dur=3.5', {"cache": 2.0, "total": 3.5}),
        ("miss, cdn;desc=edge, engines;dur=4e1", {"engines": 40.0}),
        ("a;dur=x, b;dur=1", {"b": 1.0}),
        ("a;dur=1, ;;;, b;dur=1", {"a": 1.0}),
    ],
)
def test_server_timing(text: str, expected: dict[str, float]) -> None:
    assert server_timing(text) == expected


def test_an_error_body_is_its_exception() -> None:
    body = {"code": "invalid_option", "message": "No.", "field": "size", "request_id": "id-1", "retryable": False}
    with pytest.raises(InvalidRequest) as caught:
        decode(CUTOUT, HttpAnswer(400, {}, json.dumps({"error": body}).encode()))
    error = caught.value
    assert (error.code, error.message, error.field, error.request_id) == ("invalid_option", "No.", "size", "id-1")
    assert (error.http_status, error.grpc_status, error.retryable) == (400, None, False)


@pytest.mark.parametrize(
    ("text", "seconds"), [("3", 3.0), ("0", 0.0), ("-1", None), ("soon", None), ("Fri, 21 Nov 2026 00:00:00 GMT", None)]
)
def test_retry_after(text: str, seconds: float | None) -> None:
    body = json.dumps({"error": {"code": "overloaded", "message": "Busy."}}).encode()
    with pytest.raises(Overloaded) as caught:
        decode(CUTOUT, HttpAnswer(429, {"retry-after": text}, body))
    assert caught.value.retry_after_s == seconds


def test_an_unknown_code_over_http_is_a_service_error_with_the_servers_word() -> None:
    body = json.dumps({"error": {"code": "out_of_paint", "message": "No paint.", "retryable": True}}).encode()
    with pytest.raises(ServiceError) as caught:
        decode(CUTOUT, HttpAnswer(507, {}, body))
    assert (type(caught.value), caught.value.code, caught.value.retryable) == (ServiceError, "out_of_paint", True)


@pytest.mark.parametrize(("status", "retryable"), [(502, True), (503, True), (404, False), (301, False), (504, False)])
@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"error": "no"}', b'{"error": {"code": 5}}'])
def test_a_proxys_error_is_a_protocol_error(status: int, retryable: bool, body: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(CUTOUT, HttpAnswer(status, {"content-type": "text/html"}, body))
    assert (caught.value.http_status, caught.value.retryable) == (status, retryable)


def test_readiness_and_info_over_http() -> None:
    ready, info = Request(Operation.READY), Request(Operation.INFO)
    assert encode(ready, 1).path == "/readyz"
    assert encode(info, 1).path == "/info"
    assert decode(ready, HttpAnswer(200, {}, b'{"ready": true}')) is True
    assert decode(ready, HttpAnswer(503, {}, b'{"ready": false}')) is False
    assert decode(info, HttpAnswer(200, {}, b'{"version": "1"}')) == {"version": "1"}
    for request, status in ((ready, 503), (ready, 200), (info, 200), (info, 404)):
        with pytest.raises(ProtocolError):
            decode(request, HttpAnswer(status, {}, b"<html>"))


def test_a_cutout_over_grpc() -> None:
    method = method_of(Operation.REMOVE_BACKGROUND)
    message = cutout_pb2.RemoveBackgroundRequest.FromString(method.encode(CUTOUT))
    assert (message.image, dict(message.options), message.request_id) == (b"image", CUTOUT.options, "id-1")
    answer = cutout_pb2.RemoveBackgroundResponse(result=b"r", content_type="image/png", meta=cutout_pb2.Meta(width=3))
    result = method.decode(answer.SerializeToString())
    assert isinstance(result, CutoutResult)
    assert (result.data, result.width, result.subject, result.warnings) == (b"r", 3, None, ())


def test_only_http_has_info() -> None:
    with pytest.raises(UnsupportedOperation, match="over HTTP only"):
        method_of(Operation.INFO)


def test_the_metadata_of_a_failed_call_is_its_exception() -> None:
    failed = FailedCall(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        cutout_error_code="overloaded",
        cutout_error_field=b"size",
        cutout_retry_after_ms="1500",
    )
    error = error_of(failed, CUTOUT)
    assert isinstance(error, Overloaded)
    assert (error.code, error.field, error.retry_after_s, error.request_id) == ("overloaded", "size", 1.5, "id-1")
    assert (error.http_status, error.grpc_status) == (None, "RESOURCE_EXHAUSTED")


def test_an_unknown_code_over_grpc_may_be_retried_where_the_server_says_when() -> None:
    error = error_of(FailedCall(grpc.StatusCode.UNKNOWN, cutout_error_code="new"), CUTOUT)
    assert (type(error), error.retryable) == (ServiceError, False)
    failed = FailedCall(grpc.StatusCode.UNKNOWN, cutout_error_code="new", cutout_retry_after_ms="20")
    assert error_of(failed, CUTOUT).retryable is True


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, "", ConnectError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "", TimeoutError_),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max (9 vs. 5)", TooLarge),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!", Overloaded),
        (grpc.StatusCode.UNIMPLEMENTED, "", ProtocolError),
    ],
)
def test_a_failed_call_without_a_code_is_the_transports(
    status: grpc.StatusCode, text: str, kind: type[CutoutClientError]
) -> None:
    error = error_of(FailedCall(status, text), CUTOUT)
    assert type(error) is kind
    assert error.request_id == "id-1"


@pytest.mark.parametrize(
    "text",
    [
        "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:9: Connection refused",
        "errors resolving nohost:80: [field:hostname lookup error: Domain name not found]",
        "failed to connect to all addresses; last error: UNAVAILABLE: Failed parsing HTTP/2 (Expected SETTINGS frame)",
    ],
)
def test_what_came_to_no_server_has_no_request_id(text: str) -> None:
    error = error_of(FailedCall(grpc.StatusCode.UNAVAILABLE, text), CUTOUT)
    assert (error.arrived, error.request_id) == (False, None)
    assert isinstance(error, WrongProtocol) == ("HTTP/2" in text)
    assert error.retryable == ("HTTP/2" not in text)

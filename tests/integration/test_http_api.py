"""The HTTP surface: bodies, options, headers, JSON, and every row of the error table that HTTP can show."""

from __future__ import annotations

import base64
import json
import random
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx
import pytest

from cutout_core.contract import ERROR_TABLE, ErrorCode, Options
from cutout_gateway.http_docs import RESULT_HEADERS
from tests.integration.fake_triton import INTERNAL_ROW, RESULT, FakeTriton
from tests.integration.gateway_process import GatewayProcess


def post(gateway: GatewayProcess, content: bytes = b"", **options: object) -> httpx.Response:
    return httpx.post(f"{gateway.http}/v1/cutouts", content=content, timeout=10, **options)  # type: ignore[arg-type]


def assert_error(response: httpx.Response, code: ErrorCode, field: str | None = None) -> None:
    assert response.status_code == ERROR_TABLE[code].http_status, response.text
    error = response.json()["error"]
    assert error["code"] == code.value
    assert error["field"] == field
    assert error["retryable"] is ERROR_TABLE[code].retryable
    assert error["request_id"] == response.headers["x-request-id"]
    assert "Traceback" not in response.text
    assert "/secret" not in response.text


def test_raw_body_with_options_in_the_query(gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes) -> None:
    response = post(gateway, small_jpeg, params={"output": "webp", "size": "0.5"}, headers={"X-Request-Id": "my-id.7"})
    assert response.status_code == 200
    assert response.content == RESULT
    assert response.headers["content-type"] == "image/webp"
    assert response.headers["x-request-id"] == "my-id.7"
    assert response.headers["x-cutout-width"] == "96"
    assert response.headers["x-cutout-subject"] == "1,2,3,4"
    assert response.headers["x-cutout-coverage"] == "0.2500"
    assert response.headers["x-cutout-quality"] == "standard"
    assert response.headers["x-cutout-mode"] == "portrait"
    assert response.headers["x-cutout-confidence"] == "0.938"
    assert "queue;dur=" in response.headers["server-timing"]
    told = {name for name in response.headers if name.startswith("x-") or name == "server-timing"}
    documented = {name.lower() for name in RESULT_HEADERS}
    assert told == documented - {"x-cutout-warnings", "x-cutout-violations"}
    assert json.loads(triton.options[-1]) == {"output": "webp", "size": 0.5}


def test_multipart_form(gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes) -> None:
    response = httpx.post(
        f"{gateway.http}/v1/cutouts",
        files={"image": ("photo.jpg", small_jpeg, "image/jpeg")},
        data={"output": "jpeg", "background": "tomato"},
    )
    assert response.status_code == 200
    assert response.headers["content-type"] == "image/jpeg"
    assert json.loads(triton.options[-1]) == {"output": "jpeg", "background": "#ff6347ff"}


def test_curl_style_raw_body_is_taken_as_an_image(gateway: GatewayProcess, small_jpeg: bytes) -> None:
    assert post(gateway, small_jpeg, headers={"Content-Type": "application/x-www-form-urlencoded"}).status_code == 200


@pytest.mark.parametrize("size", [1, 262_143, 262_144, 262_145, 1_000_003])
def test_an_answer_of_any_size_arrives_whole(
    gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes, size: int
) -> None:
    triton.result = random.Random(size).randbytes(size)
    assert post(gateway, small_jpeg).content == triton.result


def test_json_answer(gateway: GatewayProcess, small_jpeg: bytes) -> None:
    body = post(gateway, small_jpeg, headers={"Accept": "application/json"}).json()
    assert base64.b64decode(body["result"]) == RESULT
    assert body["content_type"] == "image/png"
    assert body["meta"]["subject"] == {"left": 1, "top": 2, "width": 3, "height": 4}
    assert body["meta"]["timings_ms"]["total"] >= body["meta"]["timings_ms"]["queue"] >= 0


def test_a_request_id_that_is_no_id_is_replaced(gateway: GatewayProcess, small_jpeg: bytes) -> None:
    response = post(gateway, small_jpeg, headers={"X-Request-Id": "two words"})
    assert len(response.headers["x-request-id"]) == 32


def test_empty_body(gateway: GatewayProcess) -> None:
    assert_error(post(gateway), ErrorCode.EMPTY_BODY)


def test_text_is_not_an_image(gateway: GatewayProcess) -> None:
    assert_error(post(gateway, b"hello, world"), ErrorCode.NOT_AN_IMAGE)


def test_unknown_option(gateway: GatewayProcess, small_jpeg: bytes) -> None:
    assert_error(post(gateway, small_jpeg, params={"colour": "red"}), ErrorCode.UNKNOWN_OPTION, "colour")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"output": "gif"}, "output"),
        ({"quality": "best"}, "quality"),
        ({"mode": "pet"}, "mode"),
        ({"mode": "portrait", "quality": "fast"}, "mode"),
        ({"decontaminate": "maybe"}, "decontaminate"),
        ({"cleanup": "2"}, "cleanup"),
        ({"background": "#12"}, "background"),
        ({"size": "-1"}, "size"),
        ({"size": "nan"}, "size"),
        ({"icc": "cmyk"}, "icc"),
        ({"output": "jpeg", "background": "transparent"}, "background"),
        ({"output": "mask", "background": "red"}, "background"),
    ],
)
def test_invalid_option(gateway: GatewayProcess, small_jpeg: bytes, options: dict[str, str], field: str) -> None:
    assert_error(post(gateway, small_jpeg, params=options), ErrorCode.INVALID_OPTION, field)


def test_an_option_given_twice(gateway: GatewayProcess, small_jpeg: bytes) -> None:
    response = post(gateway, small_jpeg, params=[("output", "png"), ("output", "webp")])
    assert_error(response, ErrorCode.INVALID_OPTION, "output")


def test_form_without_an_image(gateway: GatewayProcess, small_jpeg: bytes) -> None:
    url = f"{gateway.http}/v1/cutouts"
    assert_error(httpx.post(url, files={"photo": small_jpeg}), ErrorCode.MISSING_IMAGE, "image")
    two = [("image", ("a.jpg", small_jpeg)), ("image", ("b.jpg", small_jpeg))]
    assert_error(httpx.post(url, files=two), ErrorCode.MISSING_IMAGE, "image")
    only_text = httpx.post(url, files={"output": (None, "png")})
    assert_error(only_text, ErrorCode.MISSING_IMAGE, "image")


def test_malformed_form(gateway: GatewayProcess) -> None:
    response = post(gateway, b"no boundary here", headers={"Content-Type": "multipart/form-data"})
    assert_error(response, ErrorCode.MALFORMED_REQUEST)


def test_too_many_bytes_is_refused_while_reading(gateway: GatewayProcess) -> None:
    def endless() -> object:
        for _ in range(100):
            yield b"x" * 65536

    assert_error(post(gateway, b"x" * 200_001), ErrorCode.TOO_MANY_BYTES)
    assert_error(post(gateway, endless()), ErrorCode.TOO_MANY_BYTES)  # type: ignore[arg-type]


def test_too_many_bytes_is_refused_from_the_headers(gateway: GatewayProcess) -> None:
    with socket.create_connection(("127.0.0.1", gateway.http_port), timeout=5) as connection:
        connection.sendall(b"POST /v1/cutouts HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_never_arrives(gateway: GatewayProcess) -> None:
    with socket.create_connection(("127.0.0.1", gateway.http_port), timeout=5) as connection:
        connection.sendall(b"POST /v1/cutouts HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
        assert connection.recv(4096).startswith(b"HTTP/1.1 408 ")


def test_too_many_pixels_is_refused_from_the_header(gateway: GatewayProcess, triton: FakeTriton) -> None:
    header = b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR" + (30000).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
    import zlib

    chunk = header + zlib.crc32(header[12:]).to_bytes(4, "big")
    assert_error(post(gateway, chunk + b"\x00\x00\x00\x00IDAT5\xaf\x06\x1e"), ErrorCode.TOO_MANY_PIXELS)
    assert triton.batches == []


def test_what_is_no_http_gets_the_same_shape(gateway: GatewayProcess) -> None:
    with socket.create_connection(("127.0.0.1", gateway.http_port), timeout=5) as connection:
        connection.sendall(b"NONSENSE\r\n\r\n")
        head, body = connection.makefile("rb").read().split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["error"]["code"] == "malformed_request"


def test_a_client_that_offers_http_2_keeps_its_body(gateway: GatewayProcess, small_jpeg: bytes) -> None:
    upgrade = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAoAAAAAIAAAAA"}
    assert post(gateway, small_jpeg, headers=upgrade).status_code == 200


def test_headers_are_bounded(gateway: GatewayProcess, small_jpeg: bytes) -> None:
    response = post(gateway, small_jpeg, headers={"X-Long": "x" * 200_000})
    assert response.status_code == 400


def test_a_jpeg_of_markers_is_refused_quickly(gateway: GatewayProcess) -> None:
    started = time.monotonic()
    assert_error(post(gateway, b"\xff\xd8" + b"\xff\xe5\x00\x02" * 40_000), ErrorCode.CORRUPT_IMAGE)
    assert time.monotonic() - started < 1.0


def test_a_form_with_an_odd_charset(gateway: GatewayProcess) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="output"\r\n\r\npng\r\n--b--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b; charset=undefined"}
    assert_error(post(gateway, body, headers=headers), ErrorCode.MALFORMED_REQUEST)


def test_unknown_path_and_method(gateway: GatewayProcess) -> None:
    assert_error(httpx.get(f"{gateway.http}/nothing"), ErrorCode.NOT_FOUND)
    wrong = httpx.get(f"{gateway.http}/v1/cutouts")
    assert_error(wrong, ErrorCode.METHOD_NOT_ALLOWED)
    assert wrong.headers["allow"] == "POST"
    assert_error(httpx.post(f"{gateway.http}/v1/cutouts/"), ErrorCode.NOT_FOUND)
    assert httpx.head(f"{gateway.http}/readyz").status_code == 200


def test_deadline_is_kept_whatever_the_engine_does(
    gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes
) -> None:
    triton.delay_s = 20.0
    started = time.monotonic()
    response = post(gateway, small_jpeg, headers={"X-Cutout-Timeout-Ms": "300"})
    assert time.monotonic() - started < 10
    assert_error(response, ErrorCode.DEADLINE_EXCEEDED)
    assert triton.cancelled.wait(2), "the call to Triton was not cancelled"


@pytest.mark.parametrize("text", ["0", "soon", "-5", "1.5"])
def test_a_timeout_that_is_none(gateway: GatewayProcess, small_jpeg: bytes, text: str) -> None:
    response = post(gateway, small_jpeg, headers={"X-Cutout-Timeout-Ms": text})
    assert_error(response, ErrorCode.INVALID_OPTION, "X-Cutout-Timeout-Ms")


def test_overload_is_refused_at_once_with_retry_after(
    gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes
) -> None:
    triton.delay_s = 0.8
    with ThreadPoolExecutor(12) as pool:
        timed = list(
            pool.map(lambda _: (lambda r: (r, r.elapsed.total_seconds()))(post(gateway, small_jpeg)), range(12))
        )
    refused = [(response, seconds) for response, seconds in timed if response.status_code != 200]
    assert 4 <= len(refused) <= 8
    for response, seconds in refused:
        assert_error(response, ErrorCode.OVERLOADED)
        assert int(response.headers["retry-after"]) >= 1
        assert seconds < 0.7
    assert max(triton.batches) > 1, "what waited was not batched"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (grpc.StatusCode.UNAVAILABLE, ErrorCode.MODEL_UNAVAILABLE),
        (grpc.StatusCode.NOT_FOUND, ErrorCode.MODEL_UNAVAILABLE),
        (grpc.StatusCode.INTERNAL, ErrorCode.INTERNAL),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ErrorCode.OVERLOADED),
    ],
)
def test_failures_of_triton_are_translated(
    gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes, status: grpc.StatusCode, code: ErrorCode
) -> None:
    triton.fail_with = status
    response = post(gateway, small_jpeg)
    assert_error(response, code)
    assert response.headers["x-request-id"] in gateway.log


def test_a_failed_row_is_its_error(gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes) -> None:
    triton.row_error = INTERNAL_ROW
    assert_error(post(gateway, small_jpeg), ErrorCode.INTERNAL)


def test_a_caller_that_hangs_up_is_counted_and_its_work_dropped(
    gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes
) -> None:
    triton.delay_s = 5.0
    head = f"POST /v1/cutouts HTTP/1.1\r\nHost: x\r\nContent-Length: {len(small_jpeg)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", gateway.http_port), timeout=5) as connection:
        connection.sendall(head + small_jpeg)
        end = time.monotonic() + 5
        while not triton.batches and time.monotonic() < end:
            time.sleep(0.01)
    assert triton.cancelled.wait(2), "the call to Triton was not cancelled"
    assert 'outcome="cancelled"' in httpx.get(f"{gateway.http}/metrics").text


def test_health_info_metrics_and_docs(gateway: GatewayProcess, small_jpeg: bytes) -> None:
    post(gateway, small_jpeg)
    assert httpx.get(f"{gateway.http}/livez").status_code == 200
    assert httpx.get(f"{gateway.http}/readyz").json()["ready"] is True
    info = httpx.get(f"{gateway.http}/info").json()
    assert info["limits"]["max_bytes"] == 200_000
    assert info["engines"]["segmentation"]["precision"] == "fp32"
    metrics = httpx.get(f"{gateway.http}/metrics").text
    assert 'cutout_requests_total{outcome="ok",output="png",protocol="http",quality="standard"}' in metrics
    assert 'cutout_stage_seconds_bucket{le="0.001",quality="standard",stage="queue"}' in metrics
    assert "cutout_build_info{" in metrics
    assert "triton_metrics_url" in httpx.get(f"{gateway.http}/metrics/triton").text.lower()
    page = httpx.get(f"{gateway.http}/docs").text
    assert "http://" not in page
    assert "https://" not in page
    assert httpx.get(f"{gateway.http}/docs/static/swagger-ui-bundle.js").status_code == 200
    operation = httpx.get(f"{gateway.http}/openapi.json").json()["paths"]["/v1/cutouts"]["post"]
    assert {p["name"] for p in operation["parameters"]} >= set(Options.__dataclass_fields__)


def test_a_wrong_backend_is_not_ready(gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes) -> None:
    triton.backend = "tensorrt"
    end = time.monotonic() + 5
    while httpx.get(f"{gateway.http}/readyz").status_code == 200 and time.monotonic() < end:
        time.sleep(0.05)
    answer = httpx.get(f"{gateway.http}/readyz")
    assert answer.status_code == 503
    assert "tensorrt" in answer.json()["reason"]
    assert_error(post(gateway, small_jpeg), ErrorCode.MODEL_UNAVAILABLE)
    triton.backend = "python"
    while httpx.get(f"{gateway.http}/readyz").status_code != 200 and time.monotonic() < end + 5:
        time.sleep(0.05)
    assert post(gateway, small_jpeg).status_code == 200

"""KServe v2 over HTTP: what is forwarded as it is, what is refused, and in which form."""

from __future__ import annotations

import gzip
import json
import threading
import time
import zlib
from collections.abc import Callable

import httpx
import pytest

from tests.integration.conftest import ADMIN_KEY
from tests.integration.fake_triton import pack
from tests.integration.fake_triton_http import FakeTritonHttp
from tests.integration.gateway_process import GatewayProcess

ADMIN = {"X-Cutout-Admin-Key": ADMIN_KEY}


def infer_body(tensor: bytes, **extra: object) -> tuple[bytes, dict[str, str]]:
    """An inference request with the binary tensor `IMAGE`, and its header."""
    image = {"name": "IMAGE", "datatype": "BYTES", "shape": [1, 1], "parameters": {"binary_data_size": len(tensor)}}
    head = json.dumps({"inputs": [image], **extra}).encode()
    return head + tensor, {"Inference-Header-Content-Length": str(len(head))}


def infer(gateway: GatewayProcess, tensor: bytes = b"", model: str = "cutout", **extra: object) -> httpx.Response:
    body, headers = infer_body(tensor, **extra)
    return httpx.post(f"{gateway.http}/v2/models/{model}/infer", content=body, headers=headers, timeout=20)


def metric(gateway: GatewayProcess, line: str) -> float:
    text = httpx.get(f"{gateway.http}/metrics").text
    return sum(float(entry.rpartition(" ")[2]) for entry in text.splitlines() if entry.startswith(line))


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_an_inference_passes_byte_for_byte(
    kserve_gateway: GatewayProcess, triton_http: FakeTritonHttp, small_jpeg: bytes
) -> None:
    triton_http.headers = {"Inference-Header-Content-Length": "7", "Content-Type": "application/octet-stream"}
    triton_http.body = bytes(range(256)) * 4
    body, headers = infer_body(pack([small_jpeg]), parameters={"priority": 1, "custom": "x"})
    before = metric(kserve_gateway, 'cutout_requests_total{outcome="ok",output="none",protocol="kserve_http"')
    answer = httpx.post(
        f"{kserve_gateway.http}/v2/models/cutout/versions/1/infer",
        content=body,
        headers={**headers, "X-Request-Id": "r1", "Accept-Encoding": "identity"},
    )
    assert answer.status_code == 200
    assert answer.content == triton_http.body
    assert answer.headers["inference-header-content-length"] == "7"
    assert answer.headers["x-request-id"] == "r1"
    (seen,) = triton_http.seen
    assert (seen.method, seen.path, seen.body) == ("POST", "/v2/models/cutout/versions/1/infer", body)
    assert seen.headers["inference-header-content-length"] == headers["Inference-Header-Content-Length"]
    assert metric(kserve_gateway, 'cutout_requests_total{outcome="ok",output="none",protocol="kserve_http"') > before
    assert metric(kserve_gateway, 'cutout_kserve_seconds_count{model="cutout",protocol="kserve_http"}') >= 1
    assert metric(kserve_gateway, "cutout_in_flight_requests") == 0


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_bodies(
    kserve_gateway: GatewayProcess,
    triton_http: FakeTritonHttp,
    small_jpeg: bytes,
    encoding: str,
    compress: Callable[[bytes], bytes],
) -> None:
    """A request is inflated under the limit; an answer that Triton compressed goes through as it is."""
    triton_http.headers, triton_http.body = {"Content-Encoding": encoding}, compress(b"an answer")
    body, headers = infer_body(pack([small_jpeg]))
    answer = httpx.post(
        f"{kserve_gateway.http}/v2/models/cutout/infer",
        content=compress(body),
        headers={**headers, "Content-Encoding": encoding, "Accept-Encoding": encoding},
    )
    assert answer.headers["content-encoding"] == encoding
    assert answer.content == b"an answer"
    (seen,) = triton_http.seen
    assert seen.body == body
    assert seen.headers["accept-encoding"] == encoding
    assert "content-encoding" not in seen.headers


@pytest.mark.parametrize("status", [400, 404, 500, 501, 503])
def test_errors_of_triton_pass(kserve_gateway: GatewayProcess, triton_http: FakeTritonHttp, status: int) -> None:
    triton_http.status, triton_http.body = status, b'{"error": "as Triton said it"}'
    answer = infer(kserve_gateway)
    assert answer.status_code == status
    assert answer.json() == {"error": "as Triton said it"}


def test_a_python_stack_stays_in_the_log(kserve_gateway: GatewayProcess, triton_http: FakeTritonHttp) -> None:
    message = "Failed to process the request(s), message: ValueError: bad\n\nAt:\n  /secret/model.py(3)"
    triton_http.status, triton_http.body = 500, json.dumps({"error": message}).encode()
    assert infer(kserve_gateway).json() == {"error": message.partition("\n\n")[0]}
    assert "/secret/model.py" in kserve_gateway.log


def big_json(text: bytes) -> bytes:
    return b'{"inputs":[{"name":"IMAGE","data":["' + b"0" * 1_100_000 + text + b'"]}]}'


@pytest.mark.parametrize(
    ("body", "headers", "status", "words"),
    [
        (b"{", {}, 400, "cannot be parsed"),
        (b"[" * 100_000, {}, 400, "cannot be parsed"),
        (b"[]", {}, 400, "not an object"),
        (b"{}", {"Inference-Header-Content-Length": "3"}, 400, "Inference-Header-Content-Length is 3"),
        (b"{}", {"Inference-Header-Content-Length": "-1"}, 400, "Inference-Header-Content-Length"),
        (b"{}", {"Content-Encoding": "gzip"}, 400, "not compressed"),
        (gzip.compress(b"{}" * 99)[:-9], {"Content-Encoding": "gzip"}, 400, "too early"),
        (b"{}", {"Content-Encoding": "br"}, 400, "gzip or deflate"),
        (gzip.compress(bytes(50_000_000)), {"Content-Encoding": "gzip"}, 413, "larger than the limit"),
        (bytes(2_000_000 + 1024 * 1024 + 1), {}, 413, "larger than the limit"),
        (b'{"inputs":[],"inputs":[]}', {}, 400, "given twice"),
        (b'{"inputs":[{"parameters":{"shared_memory_region":"r"}}]}', {}, 403, "administrator's key"),
        (b'{"outputs":[{"parameters":{"shared\\u005fmemory_region":"r"}}]}', {}, 403, "administrator's key"),
        (big_json(b"shared_memory_region"), {}, 400, "binary data"),
        (big_json(b"\\u0030"), {}, 400, "binary data"),
        (b"{}", {"X-Cutout-Timeout-Ms": "soon"}, 400, "milliseconds"),
    ],
)
def test_refused_before_triton(
    kserve_gateway: GatewayProcess,
    triton_http: FakeTritonHttp,
    body: bytes,
    headers: dict[str, str],
    status: int,
    words: str,
) -> None:
    answer = httpx.post(f"{kserve_gateway.http}/v2/models/cutout/infer", content=body, headers=headers)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert words in answer.json()["error"]
    assert triton_http.seen == []


def test_a_large_json_body_is_forwarded_unread(kserve_gateway: GatewayProcess, triton_http: FakeTritonHttp) -> None:
    answer = httpx.post(f"{kserve_gateway.http}/v2/models/segmentation/infer", content=big_json(b""))
    assert answer.status_code == 200
    assert triton_http.seen[0].body == big_json(b"")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "repository/models/cutout/load"),
        ("POST", "repository/models/cutout/unload"),
        ("GET", "systemsharedmemory/status"),
        ("POST", "systemsharedmemory/region/r/register"),
        ("POST", "cudasharedmemory/region/r/unregister"),
        ("GET", "trace/setting"),
        ("POST", "models/cutout/trace/setting"),
        ("GET", "logging"),
    ],
)
def test_control_needs_the_key(
    kserve_gateway: GatewayProcess, triton_http: FakeTritonHttp, method: str, path: str
) -> None:
    url = f"{kserve_gateway.http}/v2/{path}"
    for headers in ({}, {"X-Cutout-Admin-Key": ADMIN_KEY[:-1] + "x"}, {"X-Cutout-Admin-Key": "ä".encode()}):
        answer = httpx.request(method, url, headers=headers)
        assert answer.status_code == 403
        assert "administrator's key" in answer.json()["error"]
    assert triton_http.seen == []
    assert httpx.request(method, url, headers=ADMIN).status_code == 200
    assert [seen.path for seen in triton_http.seen] == [f"/v2/{path}"]
    assert "x-cutout-admin-key" not in triton_http.seen[0].headers
    assert ADMIN_KEY not in kserve_gateway.log


def test_without_a_key_control_is_off_and_http_says_what_is_missing(gateway: GatewayProcess) -> None:
    answer = httpx.post(f"{gateway.http}/v2/repository/models/cutout/load", headers=ADMIN)
    assert answer.status_code == 403
    assert "none was given" in answer.json()["error"]
    answer = infer(gateway)
    assert answer.status_code == 404
    assert "CUTOUT_TRITON_HTTP_URL" in answer.json()["error"]


def test_paths(kserve_gateway: GatewayProcess, triton_http: FakeTritonHttp) -> None:
    for path in ("", "/models/cutout", "/models/cutout/versions/1/config", "/models/cutout/stats", "/models/stats"):
        assert httpx.get(f"{kserve_gateway.http}/v2{path}").status_code == 200
    assert httpx.post(f"{kserve_gateway.http}/v2/repository/index").status_code == 200
    assert httpx.get(f"{kserve_gateway.http}/v2/models/cutout/ready").status_code == 200
    assert len(triton_http.seen) == 7
    assert httpx.get(f"{kserve_gateway.http}/v2/health/live").status_code == 200
    assert httpx.get(f"{kserve_gateway.http}/v2/health/ready").status_code == 200
    assert len(triton_http.seen) == 7  # health is the gateway's own
    wrong = {
        ("GET", "/models/cutout/infer"): 405,
        ("DELETE", "/models/cutout"): 405,
        ("POST", "/health/live"): 405,
        ("GET", "/models/cutout/generate"): 404,
        ("GET", "/models/a%2Fb/nothing"): 404,
        ("GET", "/models/..%2F..%2Fmetrics"): 404,
        ("GET", "/models/..%2Fconfig"): 404,
        ("GET", "/models/%2E%2E"): 404,
        ("POST", "/repository/models/cutout/load/"): 404,
    }
    for (method, path), status in wrong.items():
        answer = httpx.request(method, f"{kserve_gateway.http}/v2{path}")
        assert answer.status_code == status, path
        assert isinstance(answer.json()["error"], str)
    assert len(triton_http.seen) == 7
    assert "/v2" not in httpx.get(f"{kserve_gateway.http}/openapi.json").text


def test_a_full_server_refuses_and_still_answers_questions(
    kserve_gateway: GatewayProcess, triton_http: FakeTritonHttp
) -> None:
    triton_http.delay_s = 2.0
    answers: list[int] = []
    callers = [threading.Thread(target=lambda: answers.append(infer(kserve_gateway).status_code)) for _ in range(2)]
    for caller in callers:
        caller.start()
    assert wait_for(lambda: len(triton_http.seen) == 2)
    refused = infer(kserve_gateway)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert list(refused.json()) == ["error"]
    native = httpx.post(f"{kserve_gateway.http}/v1/cutouts", content=b"x")
    assert native.status_code == 429  # the permits are the same
    triton_http.delay_s = 0.0
    assert httpx.get(f"{kserve_gateway.http}/v2/models/cutout/stats").status_code == 200
    for caller in callers:
        caller.join()
    assert answers == [200, 200]
    assert infer(kserve_gateway).status_code == 200


def test_pixels_count(kserve_gateway: GatewayProcess, triton_http: FakeTritonHttp, huge_png: bytes) -> None:
    """Two images of 50 megapixels fit into a budget of 128; three do not, however few bytes they have."""
    assert infer(kserve_gateway, pack([huge_png] * 2)).status_code == 200
    assert infer(kserve_gateway, pack([huge_png] * 3)).status_code == 429
    assert infer(kserve_gateway, pack([huge_png] * 3), model="segmentation").status_code == 200  # by bytes there


@pytest.mark.parametrize("by", ["header", "parameter"])
def test_deadlines(kserve_gateway: GatewayProcess, triton_http: FakeTritonHttp, by: str) -> None:
    triton_http.delay_s = 5.0
    body, headers = infer_body(b"", **({"parameters": {"timeout": 300_000}} if by == "parameter" else {}))
    if by == "header":
        headers["X-Cutout-Timeout-Ms"] = "300"
    began = time.monotonic()
    answer = httpx.post(f"{kserve_gateway.http}/v2/models/cutout/infer", content=body, headers=headers, timeout=20)
    assert answer.status_code == 504
    assert list(answer.json()) == ["error"]
    assert time.monotonic() - began < 4.0
    assert triton_http.left.wait(4.0)


def test_a_caller_who_leaves_is_cancelled_upstream(kserve_gateway: GatewayProcess, triton_http: FakeTritonHttp) -> None:
    triton_http.delay_s = 8.0
    before = metric(kserve_gateway, 'cutout_requests_total{outcome="cancelled",output="none",protocol="kserve_http"')
    body, headers = infer_body(b"")
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{kserve_gateway.http}/v2/models/cutout/infer", content=body, headers=headers, timeout=0.5)
    assert triton_http.left.wait(5.0)
    name = 'cutout_requests_total{outcome="cancelled",output="none",protocol="kserve_http"'
    assert wait_for(lambda: metric(kserve_gateway, name) == before + 1)
    assert wait_for(lambda: metric(kserve_gateway, "cutout_in_flight_requests") == 0)

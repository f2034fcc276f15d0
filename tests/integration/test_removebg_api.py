"""remove.bg's interface over HTTP: bodies, answers, headers, errors. The real clients: `test_removebg_clients`."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

import httpx
import pytest

from cutout_core.contract import Box, RowError
from cutout_core.contract.errors import ErrorCode
from tests.integration.fake_triton import RESULT, FakeTriton
from tests.integration.gateway_process import GatewayProcess


def post(gateway: GatewayProcess, image: bytes, accept: str = "*/*", **fields: str) -> httpx.Response:
    files = {"image_file": ("photo.jpg", image, "image/jpeg")}
    return httpx.post(f"{gateway.http}/v1.0/removebg", files=files, data=fields, headers={"Accept": accept}, timeout=10)


def code_of(answer: httpx.Response) -> str:
    """The code of an error, whose form is checked."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    (error,) = answer.json()["errors"]
    assert set(error) == {"title", "code", "detail"}
    assert error["title"]
    return str(error["code"])


def test_a_multipart_form(gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes) -> None:
    answer = post(gateway, small_jpeg, size="full", type="product", crop="true", crop_margin="5%")
    assert (answer.status_code, answer.content) == (200, RESULT)
    headers = {name: value for name, value in answer.headers.items() if name.startswith("x-")}
    assert headers.pop("x-request-id")
    assert headers == {
        "x-credits-charged": "0",
        "x-width": "96",
        "x-height": "64",
        "x-max-width": "96",
        "x-max-height": "64",
        "x-type": "product",
        "x-foreground-top": "2",
        "x-foreground-left": "1",
        "x-foreground-width": "3",
        "x-foreground-height": "4",
    }
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["access-control-allow-origin"] == "*"
    sent = json.loads(triton.options[-1])
    assert sent == {"mode": "product", "size": 10.0, "crop": True, "margin": "5.0% 5.0% 5.0% 5.0%"}


def test_an_answer_in_json(gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes) -> None:
    answer = post(gateway, small_jpeg, accept="application/json")
    expected = {"foreground_top": 2, "foreground_left": 1, "foreground_width": 3, "foreground_height": 4}
    assert answer.json() == {"data": {"result_b64": base64.b64encode(RESULT).decode(), **expected}}
    assert answer.headers["x-width"] == "96"


@pytest.mark.parametrize("prefix", ["", "data:image/jpeg;base64,", "\r\n"])
@pytest.mark.parametrize("form", ["json", "urlencoded", "multipart"])
def test_base64(gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes, form: str, prefix: str) -> None:
    fields: dict[str, Any] = {"image_file_b64": prefix + base64.b64encode(small_jpeg).decode(), "crop": "true"}
    url = f"{gateway.http}/v1.0/removebg"
    if form == "json":
        answer = httpx.post(url, json={**fields, "crop": True, "bg_color": None, "type_level": 2})
    elif form == "urlencoded":
        answer = httpx.post(url, data=fields)
    else:
        answer = httpx.post(url, files={name: (None, value) for name, value in fields.items()})
    assert (answer.status_code, answer.content) == (200, RESULT), answer.text
    assert json.loads(triton.options[-1])["crop"] is True
    assert answer.headers["x-type"] == "person"


def test_a_file_without_name_and_type(gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="image_file"\r\n\r\n' + small_jpeg + b"\r\n--b--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = httpx.post(f"{gateway.http}/v1.0/removebg", content=body, headers=headers)
    assert (answer.status_code, answer.content) == (200, RESULT), answer.text


def test_a_picture_for_the_background(gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes) -> None:
    files = {"image_file": ("a", small_jpeg), "bg_image_file": ("b", small_jpeg)}
    answer = httpx.post(f"{gateway.http}/v1.0/removebg", files=files)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/jpeg"
    assert triton.backgrounds[-1] == [small_jpeg]
    both = httpx.post(f"{gateway.http}/v1.0/removebg", files=files, data={"bg_color": "fff"})
    assert (both.status_code, code_of(both)) == (400, "multiple_bg_sources")
    bad = {**files, "bg_image_file": ("b", b"hello")}
    assert code_of(httpx.post(f"{gateway.http}/v1.0/removebg", files=bad)) == "invalid_file_type"


def test_a_field_may_stand_in_the_query(gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes) -> None:
    url = f"{gateway.http}/v1.0/removebg?format=zip"
    answer = httpx.post(url, files={"image_file": small_jpeg})
    assert answer.headers["content-type"] == "application/zip"
    assert code_of(httpx.post(url, files={"image_file": small_jpeg}, data={"format": "png"})) == "invalid_format"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, "missing_source"),
        ({"image_file": "text"}, "missing_source"),
        ({"image_file_b64": "a", "image_url": "https://example.com"}, "multiple_sources"),
        ({"image_file_b64": "???"}, "failed_to_read_image"),
        ({"image_file_b64": "aGVsbG8="}, "invalid_file_type"),
        ({"image_url": "https://example.com/a.jpg"}, "invalid_image_url"),
        ({"image_file_b64": "aGVsbG8=", "bg_image_url": "https://example.com/a.jpg"}, "invalid_bg_image_url"),
        ({"image_file_b64": "aGVsbG8=", "bg_image_url": "x", "bg_color": "red"}, "multiple_bg_sources"),
        ({"image_file_b64": "aGVsbG8=", "size": "huge"}, "invalid_size"),
        ({"image_file_b64": "A" * 300_000}, "file_too_large"),
        ({"image_file_b64": "A" * 600_000}, "file_too_large"),
        ({"image_file_b64": "aGVsbG8=", "x" * 100: "1"}, "unknown_parameter"),
    ],
)
def test_refusals(gateway: GatewayProcess, fields: dict[str, str], code: str) -> None:
    for answer in (
        httpx.post(f"{gateway.http}/v1.0/removebg", data=fields or {"size": ""}),
        httpx.post(f"{gateway.http}/v1.0/removebg", json=fields),
    ):
        assert (answer.status_code, code_of(answer)) == (400, code)


def test_faults_of_the_image(gateway: GatewayProcess, small_jpeg: bytes) -> None:
    for image, code in (
        (small_jpeg[:40], "failed_to_read_image"),
        (b"%PDF-1.7", "invalid_file_type"),
        (b"x" * 250_000, "file_too_large"),
        (b"", "missing_source"),
    ):
        assert (code_of(post(gateway, image)), code) == (code, code)
    assert code_of(post(gateway, small_jpeg, roi="0 0 97 64")) == "roi_exceeds_bounds"
    assert code_of(post(gateway, small_jpeg, roi="5px 0 5px 64px")) == "roi_region_empty"
    assert code_of(post(gateway, small_jpeg, roi="50% 0% 50.1% 100%")) == "roi_region_empty"


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (b"{", "application/json", "malformed_request"),
        (b"[1]", "application/json", "malformed_request"),
        (b"[" * 100_000, "application/json", "malformed_request"),
        (b'{"image_file_b64": ["a"]}', "application/json", "failed_to_read_image"),
        (b"\xff=\xff", "application/x-www-form-urlencoded", "malformed_request"),
        (b"no boundary", "multipart/form-data", "malformed_request"),
        (b"raw", "image/jpeg", "missing_source"),
        (b"", "", "missing_source"),
        (b"size=full&size=hd", "application/x-www-form-urlencoded", "invalid_size"),
    ],
)
def test_odd_bodies(gateway: GatewayProcess, body: bytes, kind: str, code: str) -> None:
    answer = httpx.post(f"{gateway.http}/v1.0/removebg", content=body, headers={"Content-Type": kind})
    assert (answer.status_code, code_of(answer)) == (400, code)


def test_other_failures_have_the_same_form(gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes) -> None:
    assert code_of(httpx.get(f"{gateway.http}/v1.0/nothing")) == "not_found"
    wrong = httpx.get(f"{gateway.http}/v1.0/removebg")
    assert (wrong.status_code, code_of(wrong)) == (405, "method_not_allowed")
    assert "POST" in wrong.headers["allow"]
    triton.row_error = RowError(ErrorCode.INTERNAL, "A defect of the server.")
    assert (post(gateway, small_jpeg).status_code, code_of(post(gateway, small_jpeg))) == (500, "internal_error")
    triton.row_error, triton.delay_s = None, 5
    late = httpx.post(
        f"{gateway.http}/v1.0/removebg", files={"image_file": small_jpeg}, headers={"X-Cutout-Timeout-Ms": "100"}
    )
    assert (late.status_code, code_of(late)) == (504, "deadline_exceeded")


def test_a_photo_without_a_subject(gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes) -> None:
    triton.subject, triton.warnings = None, ["no_subject"]
    answer = post(gateway, small_jpeg)
    assert (answer.status_code, code_of(answer)) == (400, "unknown_foreground")
    assert answer.headers["x-request-id"]
    triton.subject, triton.warnings = Box(1, 2, 3, 4), []


def test_account_and_improve(gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes) -> None:
    attributes = httpx.get(f"{gateway.http}/v1.0/account").json()["data"]["attributes"]
    assert set(attributes["credits"]) == {"total", "subscription", "payg", "enterprise"}
    assert all(isinstance(value, int) for value in attributes["credits"].values())
    assert attributes["api"]["sizes"] == "all"
    answer = httpx.post(
        f"{gateway.http}/v1.0/improve", files={"image_file": small_jpeg}, data={"image_filename": "a.jpg", "tag": "t"}
    )
    assert uuid.UUID(answer.json()["id"])
    assert triton.batches == []
    assert code_of(httpx.post(f"{gateway.http}/v1.0/improve")) == "missing_source"
    assert code_of(httpx.post(f"{gateway.http}/v1.0/improve", data={"image_url": "x", "b": "1"})) == "unknown_parameter"


def test_pages_of_other_origins_may_call(gateway: GatewayProcess) -> None:
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    for path in ("removebg", "account", "improve"):
        answer = httpx.options(f"{gateway.http}/v1.0/{path}", headers=asked)
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "X-Api-Key" in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-origin" not in httpx.post(f"{gateway.http}/v1/cutouts").headers


def test_it_is_counted(gateway: GatewayProcess, small_jpeg: bytes) -> None:
    post(gateway, small_jpeg)
    post(gateway, small_jpeg, size="huge")
    metrics = httpx.get(f"{gateway.http}/metrics").text
    assert 'cutout_requests_total{outcome="ok",output="png",protocol="removebg",quality="standard"}' in metrics
    assert 'cutout_requests_total{outcome="invalid_option",output="none",protocol="removebg",quality="none"}' in metrics

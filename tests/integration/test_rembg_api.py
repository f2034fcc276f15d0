"""rembg's `POST /api/remove` as its users call it: curl and multipart forms with rembg's own spellings."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests.integration.fake_triton import RESULT, FakeTriton
from tests.integration.gateway_process import GatewayProcess


def post(gateway: GatewayProcess, image: bytes, query: dict[str, str] | None = None, **form: str) -> httpx.Response:
    files = {"file": ("photo.jpg", image, "image/jpeg")}
    return httpx.post(f"{gateway.http}/api/remove", files=files, data=form, params=query, timeout=10)


def wait_for_high(gateway: GatewayProcess, ready: bool) -> None:
    """Until the gateway has noticed that quality `high` is there, or is not."""
    end = time.monotonic() + 20
    while httpx.get(f"{gateway.http}/readyz").json()["qualities"].get("high") is not ready:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_curl(gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (tmp_path / "in.jpg").write_bytes(small_jpeg)
    command = ["curl", "-s", "-F", "file=@in.jpg", f"{gateway.http}/api/remove", "-o", "out.png"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=20)
    assert (tmp_path / "out.png").read_bytes() == RESULT


def test_an_answer_is_a_png(gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes) -> None:
    answer = post(gateway, small_jpeg)
    assert (answer.status_code, answer.content) == (200, RESULT)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-cutout-quality"] == "high"
    assert triton.ensembles[-1] == "cutout_high"


def test_the_default_model_without_high(gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes) -> None:
    triton.absent = {"cutout_high"}
    wait_for_high(gateway, False)
    answer = post(gateway, small_jpeg)
    assert (answer.status_code, answer.headers["x-cutout-quality"]) == (200, "standard")
    refused = post(gateway, small_jpeg, model="isnet-general-use")
    assert refused.status_code == 422
    assert "there are u2netp, silueta, u2net, u2net_human_seg" in refused.json()["detail"][0]["msg"]
    triton.absent = set()
    wait_for_high(gateway, True)


def test_every_parameter_where_rembg_reads_it(gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes) -> None:
    form = {"model": "u2netp", "a": "true", "af": "240", "ab": "10", "ae": "10", "om": "false", "ppm": "true"}
    answer = post(gateway, small_jpeg, {"bgc": "255,0,0,128", "extras": "{}"}, **form)
    assert answer.status_code == 200, answer.text
    assert triton.ensembles[-1] == "cutout"
    assert json.loads(triton.options[-1]) == {"background": "#ff000080"}
    assert post(gateway, small_jpeg, model="u2netp", bgc="1,2,3,4", extras="").status_code == 200
    assert json.loads(triton.options[-1]) == {"background": "#01020304", "cleanup": False, "quality": "fast"}
    assert post(gateway, small_jpeg, model="u2netp", om="true").status_code == 200
    assert json.loads(triton.options[-1])["output"] == "mask"


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"model": "sam"}, "model"),
        ({"af": "300"}, "af"),
        ({"a": "perhaps"}, "a"),
        ({"bgc": "red"}, "bgc"),
        ({"extras": '{"sam_prompt": []}'}, "extras"),
        ({"size": "1"}, "size"),
    ],
)
def test_validation(gateway: GatewayProcess, small_jpeg: bytes, form: dict[str, str], field: str) -> None:
    answer = post(gateway, small_jpeg, **form)
    assert answer.status_code == 422
    (detail,) = answer.json()["detail"]
    assert detail["loc"] == ["body", field]
    assert detail["msg"]


def test_no_file(gateway: GatewayProcess, small_jpeg: bytes) -> None:
    url = f"{gateway.http}/api/remove"
    forms = ({"image": ("a.jpg", small_jpeg)}, {"a": (None, b"1")}, {"file": (None, b"text")})
    for answer in (httpx.post(url), *(httpx.post(url, files=form) for form in forms)):
        assert answer.status_code == 422
        assert answer.json()["detail"][0]["loc"] == ["body", "file"]


@pytest.mark.parametrize(
    ("content", "status"), [(b"hello", 415), (b"%PDF-1.7", 415), (b"x" * 250_000, 413), (b"\xff\xd8\xff", 422)]
)
def test_a_file_that_is_no_image_is_the_callers_fault(gateway: GatewayProcess, content: bytes, status: int) -> None:
    answer = post(gateway, content)
    assert answer.status_code == status
    assert isinstance(answer.json()["detail"], str)


def test_it_is_counted_described_and_bounded(gateway: GatewayProcess, small_jpeg: bytes) -> None:
    post(gateway, small_jpeg)
    post(gateway, b"hello")
    metrics = httpx.get(f"{gateway.http}/metrics").text
    assert 'cutout_requests_total{outcome="ok",output="png",protocol="rembg",quality="high"}' in metrics
    assert 'cutout_requests_total{outcome="not_an_image",output="png",protocol="rembg",quality="high"}' in metrics
    paths = httpx.get(f"{gateway.http}/openapi.json").json()["paths"]["/api/remove"]
    assert {parameter["name"] for parameter in paths["get"]["parameters"]} >= {"url", "model", "bgc", "extras"}
    form = paths["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert {"file", "model", "a", "af", "ab", "ae", "om", "ppm"} <= set(form["properties"])

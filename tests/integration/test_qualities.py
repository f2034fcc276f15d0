"""Qualities: each has its ensemble, its readiness and its own fate when its models are missing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import grpc
import httpx
import pytest

from cutout_core.contract import ErrorCode
from cutout_core.contract import cutout_pb2 as pb
from tests.integration.fake_triton import RESULT, FakeTriton
from tests.integration.gateway_process import GatewayProcess
from tests.integration.test_http_api import assert_error, post


def state(gateway: GatewayProcess, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The body of /readyz once `holds` is true of it; a probe a second notices what the fake changed."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        body: dict[str, Any] = httpx.get(f"{gateway.http}/readyz").json()
        if holds(body):
            return body
        time.sleep(0.05)
    raise AssertionError(f"not reached: {body}")


@pytest.fixture(autouse=True)
def _all_ready(gateway: GatewayProcess) -> None:
    state(gateway, lambda body: all(body["qualities"].values()))


@pytest.mark.parametrize(
    ("options", "ensemble"),
    [
        ({}, "cutout"),
        ({"quality": "fast"}, "cutout_fast"),
        ({"quality": "standard", "mode": "product"}, "cutout"),
        ({"quality": "high"}, "cutout_high"),
    ],
)
def test_a_quality_goes_to_its_ensemble(
    gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes, options: dict[str, str], ensemble: str
) -> None:
    response = post(gateway, small_jpeg, params=options)
    assert response.content == RESULT
    assert triton.ensembles == [ensemble]
    assert response.headers["x-cutout-quality"] == options.get("quality", "standard")
    assert ("x-cutout-mode" in response.headers) == (ensemble != "cutout_fast")


def test_json_tells_mode_and_confidence(gateway: GatewayProcess, small_jpeg: bytes) -> None:
    json_wanted = {"Accept": "application/json"}
    meta = post(gateway, small_jpeg, headers=json_wanted).json()["meta"]
    assert (meta["mode"], meta["mode_certainty"], meta["confidence"]) == ("portrait", 0.75, 0.9375)
    meta = post(gateway, small_jpeg, headers=json_wanted, params={"quality": "fast"}).json()["meta"]
    assert (meta["mode"], meta["mode_certainty"], meta["confidence"]) == (None, None, 0.9375)


def test_a_server_without_quality_high_says_so_and_serves_the_rest(
    gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes
) -> None:
    triton.absent = {"segmentation_high", "postprocess_high", "cutout_high"}
    body = state(gateway, lambda body: not body["qualities"]["high"])
    assert body == {
        "ready": True,
        "qualities": {"fast": True, "standard": True, "high": False},
        "reason": "",
        "not_installed": ["high"],
        "reasons": {"high": "Not installed: `make models HIGH=1` and a restart add it."},
    }
    info = httpx.get(f"{gateway.http}/info").json()
    assert (info["not_installed"], info["reasons"]) == (body["not_installed"], body["reasons"])
    assert httpx.get(f"{gateway.http}/readyz").status_code == 200
    response = post(gateway, small_jpeg, params={"quality": "high"})
    assert_error(response, ErrorCode.QUALITY_NOT_INSTALLED, "quality")
    assert "make models HIGH=1" in response.json()["error"]["message"]
    assert "it serves fast, standard" in response.json()["error"]["message"]
    assert post(gateway, small_jpeg).status_code == 200
    metrics = httpx.get(f"{gateway.http}/metrics").text
    assert 'cutout_ready{quality="high"} 0.0' in metrics
    assert 'cutout_ready{quality="standard"} 1.0' in metrics
    assert 'outcome="quality_not_installed",output="png",protocol="http",quality="high"' in metrics
    request = pb.RemoveBackgroundRequest(image=small_jpeg, options={"quality": "high"}).SerializeToString()
    with grpc.insecure_channel(gateway.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/cutout.v1.BackgroundRemoval/RemoveBackground")(request, timeout=5)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_a_quality_that_failed_to_load_is_unavailable_and_the_rest_is_served(
    gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes
) -> None:
    triton.not_ready = {"cutout_high"}
    body = state(gateway, lambda body: not body["qualities"]["high"])
    assert body["ready"] is True
    assert body["reason"] == "Not ready: high."
    assert body["not_installed"] == []
    assert body["reasons"] == {"high": "Its models failed to load, or load again: the log tells."}
    assert_error(post(gateway, small_jpeg, params={"quality": "high"}), ErrorCode.MODEL_UNAVAILABLE)
    assert post(gateway, small_jpeg).status_code == 200


def test_a_wrong_backend_stops_the_qualities_that_use_the_engine(
    gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes
) -> None:
    triton.backends = {"matting": "tensorrt"}
    body = state(gateway, lambda body: not body["qualities"]["standard"])
    assert body["qualities"] == {"fast": True, "standard": False, "high": False}
    assert body["ready"] is True
    assert "matting runs on backend 'tensorrt'" in body["reason"]
    assert set(body["reasons"]) == {"standard", "high"}
    assert all("matting runs on backend 'tensorrt'" in reason for reason in body["reasons"].values())
    assert post(gateway, small_jpeg, params={"quality": "fast"}).status_code == 200
    assert_error(post(gateway, small_jpeg), ErrorCode.MODEL_UNAVAILABLE)

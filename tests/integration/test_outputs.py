"""The picture for the background, violations and the new contents, over HTTP and gRPC."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx
import numpy as np
import pytest

from cutout_client import AsyncClient, Client, InvalidRequest, TooLarge
from cutout_core.contract import ErrorCode, Rule, Violation
from cutout_core.contract import cutout_pb2 as pb
from cutout_core.imaging.png import write_png
from tests.integration.fake_triton import RESULT, FakeTriton
from tests.integration.gateway_process import GatewayProcess
from tests.integration.test_grpc_api import assert_error as assert_grpc_error
from tests.integration.test_grpc_api import call, failure
from tests.integration.test_http_api import assert_error


@pytest.fixture(scope="module")
def picture() -> bytes:
    """A PNG of one white pixel, told apart from the photo by its size."""
    return write_png(np.full((1, 1, 3), 255, np.uint8))


def form(gateway: GatewayProcess, files: dict[str, bytes], **options: str) -> httpx.Response:
    return httpx.post(f"{gateway.http}/v1/cutouts", files=files, data=options, timeout=10)


def test_a_form_with_a_background_image(
    gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes, picture: bytes
) -> None:
    response = form(gateway, {"image": small_jpeg, "background_image": picture}, output="jpeg")
    assert response.status_code == 200
    assert response.content == RESULT
    assert triton.backgrounds == [[picture]]
    assert json.loads(triton.options[-1]) == {"output": "jpeg", "background": "image"}


def test_the_tensor_is_left_out_where_no_row_has_one(
    gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes, picture: bytes
) -> None:
    assert form(gateway, {"image": small_jpeg}).status_code == 200
    assert triton.backgrounds == [None]
    triton.delay_s = 2.0
    with ThreadPoolExecutor(3) as pool:  # the first takes the only slot, the other two become one batch
        first = pool.submit(form, gateway, {"image": small_jpeg})
        while len(triton.batches) < 2:
            time.sleep(0.01)
        triton.delay_s = 0.0
        rest = [
            pool.submit(form, gateway, files)
            for files in ({"image": small_jpeg}, {"image": small_jpeg, "background_image": picture})
        ]
        assert [future.result().status_code for future in (first, *rest)] == [200, 200, 200]
    assert triton.batches[-1] == 2
    assert sorted(triton.backgrounds[-1] or []) == [b"", picture]


def test_background_images_that_are_refused_over_http(
    gateway: GatewayProcess, small_jpeg: bytes, picture: bytes
) -> None:
    field = "background_image"
    both = {"image": small_jpeg, field: picture}
    assert_error(form(gateway, both, background="white"), ErrorCode.INVALID_OPTION, field)
    assert_error(form(gateway, both, output="mask"), ErrorCode.INVALID_OPTION, "background")
    assert_error(form(gateway, {"image": small_jpeg, field: b""}), ErrorCode.EMPTY_BODY, field)
    assert_error(form(gateway, {"image": small_jpeg, field: b"no image"}), ErrorCode.NOT_AN_IMAGE, field)
    assert_error(form(gateway, {"image": small_jpeg, field: b"x" * 200_001}), ErrorCode.TOO_MANY_BYTES, field)
    assert_error(form(gateway, {"image": small_jpeg}, background="image"), ErrorCode.INVALID_OPTION, field)
    assert_error(form(gateway, {"image": small_jpeg}, background_image="red"), ErrorCode.INVALID_OPTION, field)
    assert_error(form(gateway, {field: picture}), ErrorCode.MISSING_IMAGE, "image")
    url, two = f"{gateway.http}/v1/cutouts", [(field, ("a", picture)), (field, ("b", picture))]
    assert_error(httpx.post(url, files=two), ErrorCode.INVALID_OPTION, field)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"roi": "0 0 100% 100%"}, "roi"),
        ({"roi": "0px 0px 97px 64px"}, "roi"),
        ({"crop": "on", "scale": "50%"}, "scale"),
        ({"margin": "10px"}, "margin"),
        ({"canvas": "2000x2000"}, "canvas"),  # above this gateway's limit of a megapixel
        ({"canvas": "100x100", "size": "1"}, "size"),
        ({"shadow": "hard"}, "shadow"),
        ({"output": "zip", "background": "white"}, "background"),
        ({"output": "webp", "dpi": "300"}, "dpi"),
        ({"preset": "corner-shop"}, "preset"),
        ({"max_bytes": "1.5"}, "max_bytes"),
    ],
)
def test_options_that_are_refused_at_the_door(
    gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes, options: dict[str, str], field: str
) -> None:
    assert_error(form(gateway, {"image": small_jpeg}, **options), ErrorCode.INVALID_OPTION, field)
    assert triton.batches == []


def test_violations_over_http(gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes) -> None:
    triton.violations = [Violation(Rule.ENLARGED, "2 times."), Violation(Rule.NOT_SQUARE, "1 x 2.")]
    options = {"preset": "amazon", "canvas": "900x900"}
    response = form(gateway, {"image": small_jpeg}, **options)
    assert response.headers["content-type"] == "image/jpeg"
    assert response.headers["x-cutout-violations"] == "enlarged,not_square"
    headers = {"Accept": "application/json"}
    body = httpx.post(f"{gateway.http}/v1/cutouts", files={"image": small_jpeg}, data=options, headers=headers).json()
    assert body["meta"]["violations"][0] == {"rule": "enlarged", "message": "2 times."}


def test_over_grpc(gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes, picture: bytes) -> None:
    triton.violations = [Violation(Rule.ENLARGED, "2 times.")]
    with grpc.insecure_channel(gateway.grpc) as channel:
        options = {"canvas": "500x500", "output": "jpeg"}
        message = pb.RemoveBackgroundRequest(image=small_jpeg, background_image=picture, options=options)
        response = call(channel, message)
        assert triton.backgrounds == [[picture]]
        assert response.meta.violations == [pb.Violation(rule="enlarged", message="2 times.")]
        message.options["background"] = "white"
        assert_grpc_error(failure(channel, message), ErrorCode.INVALID_OPTION, "background_image")
        bad = pb.RemoveBackgroundRequest(image=small_jpeg, background_image=b"no image")
        assert_grpc_error(failure(channel, bad), ErrorCode.NOT_AN_IMAGE, "background_image")
        archive = pb.RemoveBackgroundRequest(image=small_jpeg, options={"output": "zip"})
        assert call(channel, archive).content_type == "application/zip"


async def test_the_clients_send_it_over_both_protocols(
    gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes, picture: bytes
) -> None:
    triton.violations = [Violation(Rule.ENLARGED, "2 times.")]
    for url in (gateway.http, f"grpc://{gateway.grpc}"):
        triton.backgrounds.clear()
        async with AsyncClient(url) as client:
            result = await client.remove_background(
                small_jpeg, background_image=picture, output="jpeg", canvas="90x90", scale="85%", crop=None
            )
        assert (result.content_type, result.violations) == ("image/jpeg", ("enlarged",))
        assert triton.backgrounds == [[picture]]
        sent = json.loads(triton.options[-1])
        assert sent == {"output": "jpeg", "background": "image", "scale": "85.0%", "canvas": "90x90"}
        with Client(url) as blocking:
            assert blocking.remove_background(small_jpeg, output="zip").content_type == "application/zip"
            with pytest.raises(InvalidRequest) as caught:
                blocking.remove_background(small_jpeg, background_image=picture, background="white")
            assert caught.value.field == "background_image"
            with pytest.raises(TooLarge) as too_large:
                blocking.remove_background(small_jpeg, background_image=b"x" * 200_001)
            assert too_large.value.field == "background_image"
            with pytest.raises(TypeError, match="colour"):
                blocking.remove_background(small_jpeg, colour="red")  # type: ignore[call-arg]

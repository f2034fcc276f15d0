"""The whole service as users run it: real gateway, real Triton, real weights, real photos."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx
import numpy as np
import pytest
from PIL import Image

from cutout_build.photos import photo
from cutout_core.contract import cutout_pb2 as pb
from cutout_core.contract.certificate import PRECISIONS
from tests.integration.gateway_process import GatewayProcess, start_gateway
from tests.quality.astronaut_polygon import astronaut_alpha

pytestmark = [pytest.mark.triton, pytest.mark.timeout(300)]

_EXIF_ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    gateway = start_gateway(tmp_path_factory.mktemp("service"), ready_timeout_s=120)
    yield gateway
    assert gateway.stop() == 0
    assert "Traceback" not in gateway.log


def post(service: GatewayProcess, image: bytes, **params: str) -> httpx.Response:
    return httpx.post(f"{service.http}/v1/cutouts", content=image, params=params, timeout=60)


def decode(data: bytes) -> np.ndarray:
    """RGBA uint8 [H,W,4]."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))


def load(name: str) -> Image.Image:
    """A photo as RGB, its file closed."""
    return Image.open(io.BytesIO(photo(name).read_bytes())).convert("RGB")


def encoded(image: Image.Image, fmt: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_the_astronaut_against_a_reference_drawn_by_hand(service: GatewayProcess) -> None:
    response = post(service, photo("astronaut").read_bytes())
    assert response.status_code == 200
    alpha = decode(response.content)[..., 3]
    assert alpha.shape == (512, 512)
    assert iou(alpha >= 128, astronaut_alpha() >= 0.5) >= 0.93
    left, top, width, height = map(int, response.headers["x-cutout-subject"].split(","))
    rows, columns = np.nonzero(alpha >= 128)
    assert (left, top) == (columns.min(), rows.min())
    assert (left + width, top + height) == (columns.max() + 1, rows.max() + 1)
    assert response.headers["x-cutout-warnings"] == "subject_touches_border"  # she is cut off at the bottom
    assert response.headers["x-cutout-quality"] == "standard"
    assert response.headers["x-cutout-mode"] == "portrait"


@pytest.mark.parametrize("quality", ["fast", "standard"])
def test_photos_beside_each_other_get_what_each_gets_alone(service: GatewayProcess, quality: str) -> None:
    turned = [load("astronaut").resize((200, 200)).rotate(90 * turn) for turn in range(4)]
    photos = [encoded(image, "PNG") for image in (*turned, load("coffee").resize((300, 200)))]
    alone = [post(service, image, quality=quality, output="mask").content for image in photos]
    assert len(set(alone)) == len(photos)
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda n: post(service, photos[n % 5], quality=quality, output="mask"), range(60)))
    assert [answer.status_code for answer in answers] == [200] * 60
    odd = [(n, answer.content) for n, answer in enumerate(answers) if answer.content != alone[n % 5]]
    assert [
        (n, alone.index(content) if content in alone else _difference(content, alone[n % 5])) for n, content in odd
    ] == []


@pytest.mark.parametrize("name", ["chelsea", "coffee", "rocket"])
def test_results_have_the_size_and_the_colours_of_the_photo(service: GatewayProcess, name: str) -> None:
    source = np.asarray(load(name))
    result = decode(post(service, photo(name).read_bytes()).content)
    assert result.shape[:2] == source.shape[:2]
    opaque = result[..., 3] == 255
    assert opaque.mean() > 0.01  # the rocket is thin
    assert np.abs(result[..., :3].astype(int) - source)[opaque].max() <= (0 if photo(name).suffix == ".png" else 3)
    assert not result[result[..., 3] == 0].any(), "colours are left under alpha 0"


@pytest.mark.parametrize("name", ["brick", "grass", "gravel"])
def test_a_photo_without_a_subject_gives_an_empty_alpha_and_a_warning(service: GatewayProcess, name: str) -> None:
    response = post(service, photo(name).read_bytes())
    assert response.status_code == 200
    assert not decode(response.content)[..., 3].any()
    assert response.headers["x-cutout-warnings"] == "no_subject"
    assert "x-cutout-subject" not in response.headers


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(service: GatewayProcess, orientation: int) -> None:
    """A photo stored rotated, with the tag that undoes it, gives the cut-out of the upright photo."""
    upright = load("coffee")
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if undo is None else upright.transpose(undo)
    exif = Image.Exif()
    exif[_EXIF_ORIENTATION] = orientation
    result = decode(post(service, encoded(stored, "JPEG", quality=97, exif=exif)).content)
    reference = decode(post(service, encoded(upright, "JPEG", quality=97)).content)
    assert result.shape == reference.shape
    assert iou(result[..., 3] >= 128, reference[..., 3] >= 128) > 0.97
    both = (result[..., 3] > 250) & (reference[..., 3] > 250)
    assert np.abs(result[both].astype(int) - reference[both]).mean() < 4


@pytest.mark.parametrize(
    ("params", "content_type", "mode"),
    [
        ({"output": "png"}, "image/png", "RGBA"),
        ({"output": "webp"}, "image/webp", "RGBA"),
        ({"output": "jpeg"}, "image/jpeg", "RGB"),
        ({"output": "mask"}, "image/png", "L"),
        ({"output": "png", "background": "#00ff00"}, "image/png", "RGB"),
    ],
)
def test_outputs(service: GatewayProcess, params: dict[str, str], content_type: str, mode: str) -> None:
    response = post(service, photo("chelsea").read_bytes(), **params)
    assert response.headers["content-type"] == content_type
    image = Image.open(io.BytesIO(response.content))
    assert image.size == load("chelsea").size
    assert image.mode == mode
    if params["output"] == "jpeg":
        corner = np.asarray(image)[:20, :20]
        assert corner.min() > 250, "a JPEG's background is white"
    if "background" in params:
        assert np.abs(np.asarray(image)[:10, :10].astype(int) - (0, 255, 0)).max() <= 3


def test_size_asks_for_a_smaller_result_and_never_enlarges(service: GatewayProcess) -> None:
    response = post(service, photo("coffee").read_bytes(), size="0.06")
    width, height = Image.open(io.BytesIO(response.content)).size
    assert (width, height) == (300, 200)
    assert Image.open(io.BytesIO(post(service, photo("coffee").read_bytes(), size="9").content)).size == (600, 400)


def test_alone_equals_in_a_batch(service: GatewayProcess) -> None:
    """A row's result does not depend on its neighbours: sizes, formats and a broken file among them."""
    photos = [photo(name).read_bytes() for name in ("astronaut", "chelsea", "coffee", "rocket", "brick")]
    photos += [encoded(load("astronaut").resize((900, 300)), "JPEG"), photos[0][:4000]]
    alone = [post(service, image) for image in photos]
    sent_before, batches_before = batch_rows(service)
    with ThreadPoolExecutor(14) as pool:
        together = list(pool.map(lambda image: post(service, image), photos * 2))
    sent, batches = batch_rows(service)
    assert batches - batches_before < sent - sent_before, "nothing was batched"
    assert [r.status_code for r in alone] == [200] * 6 + [422]
    for single, batched in zip(alone * 2, together, strict=True):
        assert batched.status_code == single.status_code
        if single.status_code == 200:
            difference = decode(single.content)[..., 3].astype(int) - decode(batched.content)[..., 3]
            assert np.abs(difference).max() <= 1


def batch_rows(service: GatewayProcess) -> tuple[float, float]:
    """Rows and batches sent to Triton so far."""
    lines = httpx.get(f"{service.http}/metrics").text.splitlines()
    rows, batches = (
        next(float(line.split()[-1]) for line in lines if line.startswith(f"cutout_batch_rows_{kind}{{"))
        for kind in ("sum", "count")
    )
    return rows, batches


def test_grpc(service: GatewayProcess) -> None:
    with grpc.insecure_channel(service.grpc, options=[("grpc.max_receive_message_length", -1)]) as channel:
        call = channel.unary_unary(
            "/cutout.v1.BackgroundRemoval/RemoveBackground",
            request_serializer=pb.RemoveBackgroundRequest.SerializeToString,
            response_deserializer=pb.RemoveBackgroundResponse.FromString,
        )
        response = call(pb.RemoveBackgroundRequest(image=photo("coffee").read_bytes()), timeout=30)
        assert decode(response.result).shape == (400, 600, 4)
        assert response.meta.subject.width > 100
        assert {"queue", "preprocess", "engines", "postprocess", "encode", "total"} <= set(response.meta.timings_ms)


def test_tritons_metrics_and_info_are_reachable(service: GatewayProcess) -> None:
    post(service, photo("coffee").read_bytes())
    assert 'nv_inference_request_success{model="cutout"' in httpx.get(f"{service.http}/metrics/triton").text
    info = httpx.get(f"{service.http}/info").json()
    assert info["qualities"]["standard"] is True
    assert info["engines"]["matting"]["license"] == "Apache-2.0"
    assert info["triton"] == "2.51.0"
    assert info["profile"] == "cpu"
    assert info["engines"]["segmentation"]["precision"] in PRECISIONS
    assert info["engines"]["segmentation"]["certified"] == "true"
    assert len(info["engines"]["segmentation"]["graph_sha256"]) == 64
    assert info["engines"]["segmentation"]["license"] == "Apache-2.0"


def _difference(one: bytes, other: bytes) -> str:
    """How two masks differ: shapes, or how many pixels by how much at most."""
    first, second = (np.asarray(Image.open(io.BytesIO(file))).astype(int) for file in (one, other))
    if first.shape != second.shape:
        return f"{first.shape}, not {second.shape}"
    apart = np.abs(first - second)
    return f"{np.count_nonzero(apart)} pixels, by {apart.max()}, the first at {np.argwhere(apart)[:1].tolist()}"

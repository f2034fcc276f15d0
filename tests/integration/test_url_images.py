"""`image_url` and rembg's `url`, from a web server on loopback that the application is told to trust."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from tests.integration.fake_triton import RESULT, FakeTriton
from tests.integration.gateway_process import GatewayProcess
from tests.integration.in_process import downloading_app
from tests.unit.gateway.web import Web, serve_web


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    with serve_web() as web:
        yield web


@pytest.fixture
def photo(web: Web, small_jpeg: bytes) -> str:
    """The photo's URL."""
    web.serve("/photo.jpg", small_jpeg, Content_Type="text/plain")
    web.serve("/page.html", b"<html>secret</html>", Content_Type="image/jpeg")
    web.serve("/big.jpg", b"x" * 300_000)
    web.redirect("/private", "http://private.test/")
    return f"http://photos.test:{web.port}/photo.jpg"


@pytest.fixture
async def app(triton: FakeTriton) -> AsyncIterator[httpx.AsyncClient]:
    async with downloading_app(triton) as client:
        yield client


async def test_image_url_in_the_form_or_the_query(app: httpx.AsyncClient, triton: FakeTriton, photo: str) -> None:
    form = await app.post("/v1/cutouts", files={"image_url": (None, photo), "output": (None, "webp")})
    assert (form.status_code, form.content) == (200, RESULT)
    assert json.loads(triton.options[-1]) == {"output": "webp"}
    assert (await app.post("/v1/cutouts", params={"image_url": photo})).content == RESULT


async def test_both_an_image_and_its_url(app: httpx.AsyncClient, photo: str, small_jpeg: bytes) -> None:
    answer = await app.post("/v1/cutouts", files={"image": small_jpeg}, data={"image_url": photo})
    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == "image_url"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("page.html", 415, "not_an_image"),
        ("big.jpg", 413, "too_many_bytes"),
        ("private", 400, "invalid_url"),
    ],
)
async def test_faults_of_the_url(app: httpx.AsyncClient, photo: str, path: str, status: int, code: str) -> None:
    answer = await app.post("/v1/cutouts", params={"image_url": photo.replace("photo.jpg", path)})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert "secret" not in answer.text


async def test_remove_bgs_urls(app: httpx.AsyncClient, triton: FakeTriton, photo: str, small_jpeg: bytes) -> None:
    answer = await app.post("/v1.0/removebg", json={"image_url": photo, "bg_image_url": photo, "format": "png"})
    assert (answer.status_code, answer.content) == (200, RESULT)
    assert triton.backgrounds[-1] == [small_jpeg]


@pytest.mark.parametrize(
    ("path", "codes"),
    [
        ("page.html", ("invalid_file_type", "invalid_file_type")),
        ("big.jpg", ("file_too_large", "file_too_large")),
        ("private", ("invalid_image_url", "invalid_bg_image_url")),
        ("gone", ("failed_image_download", "failed_bg_download")),
    ],
)
async def test_remove_bgs_faulty_urls(
    app: httpx.AsyncClient, web: Web, photo: str, path: str, codes: tuple[str, str]
) -> None:
    web.serve("/gone", b"", 404)
    bad = photo.replace("photo.jpg", path)
    for fields, code in ({"image_url": bad}, codes[0]), ({"image_url": photo, "bg_image_url": bad}, codes[1]):
        answer = await app.post("/v1.0/removebg", data=fields)
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, code)


async def test_rembgs_get(app: httpx.AsyncClient, triton: FakeTriton, photo: str) -> None:
    answer = await app.get("/api/remove", params={"url": photo, "model": "u2netp", "bgc": "255,255,255,255"})
    assert (answer.status_code, answer.content) == (200, RESULT)
    assert answer.headers["content-type"] == "image/png"
    assert json.loads(triton.options[-1])["background"] == "#ffffffff"


@pytest.mark.parametrize(("path", "status"), [("page.html", 415), ("big.jpg", 400), ("private", 400), ("../x\0", 400)])
async def test_rembgs_get_with_a_faulty_url(app: httpx.AsyncClient, photo: str, path: str, status: int) -> None:
    answer = await app.get("/api/remove", params={"url": photo.replace("photo.jpg", path)})
    assert answer.status_code == status
    assert set(answer.json()) == {"detail"}
    assert isinstance(answer.json()["detail"], str)


async def test_rembgs_get_without_a_url(app: httpx.AsyncClient) -> None:
    answer = await app.get("/api/remove")
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", "url"]


def test_a_server_downloads_nothing_unless_told_to(gateway: GatewayProcess, photo: str, web: Web) -> None:
    web.asked.clear()
    answer = httpx.post(f"{gateway.http}/v1/cutouts", params={"image_url": photo})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "url_fetching_off")
    answer = httpx.get(f"{gateway.http}/api/remove", params={"url": photo})
    assert answer.status_code == 400
    assert "downloads nothing" in answer.json()["detail"]
    assert web.asked == []
    assert httpx.get(f"{gateway.http}/info").json()["url_fetching"] is False

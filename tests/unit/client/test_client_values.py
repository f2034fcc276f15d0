"""What callers hand in and get back: images, addresses, files, and transports of their own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cutout_client import (
    AsyncClient,
    AsyncMockTransport,
    Client,
    CutoutResult,
    InvalidImage,
    MockTransport,
    Operation,
    Overloaded,
    Reply,
    Request,
    Retry,
)
from cutout_client._endpoint import Endpoint

RESULT = CutoutResult(data=b"result", content_type="image/png", width=4, height=3, source_width=8, source_height=6)


def answer(request: Request) -> Reply:
    return {Operation.READY: True, Operation.INFO: {"version": "1"}}.get(request.operation, RESULT)  # type: ignore[return-value]


def test_an_image_comes_as_bytes_path_or_file(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"photo")
    transport = MockTransport(answer)
    with Client(transport=transport) as client, path.open("rb") as file:
        for image in (b"photo", str(path), path, file, io.BytesIO(b"photo")):
            assert client.remove_background(image) is RESULT
        assert not file.closed
    assert [request.image for request in transport.requests] == [b"photo"] * 5


def test_options_are_sent_as_given_and_nothing_else() -> None:
    transport = MockTransport(answer)
    with Client(transport=transport) as client:
        client.remove_background(b"", request_id="mine/1")
        client.remove_background(b"", output=None, background="Rebecca Purple", size=0.5, icc="?", quality="best")
    first, second = transport.requests
    assert (first.options, first.request_id) == ({}, "mine/1")
    assert second.options == {"background": "Rebecca Purple", "size": "0.5", "icc": "?", "quality": "best"}


def test_bad_arguments_send_nothing(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("text")
    transport = MockTransport(answer)
    with Client(transport=transport) as client, text.open() as opened:
        with pytest.raises(TypeError, match="mode 'rb'"):
            client.remove_background(opened)  # type: ignore[arg-type]
        with pytest.raises(FileNotFoundError):
            client.remove_background(tmp_path / "absent.jpg")
        with pytest.raises(ValueError, match="request_id"):
            client.remove_background(b"", request_id="two\nlines")
        with pytest.raises(ValueError, match="total"):
            client.remove_background(b"", timeout=0)
    assert transport.requests == []
    with pytest.raises(RuntimeError, match="closed"):
        client.ready()


def test_the_mock_transport_is_retried_like_a_server() -> None:
    def busy_once(request: Request) -> Reply:
        if len(transport.requests) == 1:
            raise Overloaded("Busy.", code="overloaded")
        return answer(request)

    transport = MockTransport(busy_once)
    with Client(transport=transport, retry=Retry(base=0)) as client:
        assert client.remove_background(b"") is RESULT
        assert client.ready() is True
        assert client.info() == {"version": "1"}
    assert transport.requests[0] == transport.requests[1]
    assert len(transport.requests) == 4


async def test_the_asyncio_mock_transport(tmp_path: Path) -> None:
    def refuse(request: Request) -> Reply:
        raise InvalidImage("No.", code="not_an_image")

    path = tmp_path / "photo.jpg"
    path.write_bytes(b"photo")
    transport = AsyncMockTransport(refuse)
    async with AsyncClient(transport=transport) as client:
        with pytest.raises(InvalidImage) as caught:
            await client.remove_background(path)
    assert caught.value.request_id == transport.requests[0].request_id
    assert transport.requests[0].image == b"photo"


def test_a_transport_that_answers_nonsense_is_told_so() -> None:
    with Client(transport=MockTransport(lambda _: True)) as client, pytest.raises(TypeError, match="CutoutResult"):
        client.remove_background(b"")


@pytest.mark.parametrize(
    ("url", "target", "secure", "loopback"),
    [
        ("http://127.0.0.1:8080/", "", False, True),
        ("https://cut.example.org/api", "", True, False),
        ("grpc://localhost:8081", "localhost:8081", False, True),
        ("grpcs://cut.example.org:443/", "cut.example.org:443", True, False),
        ("grpc://[::1]:8081", "[::1]:8081", False, True),
    ],
)
def test_addresses(url: str, target: str, secure: bool, loopback: bool) -> None:
    endpoint = Endpoint.parse(url)
    assert (endpoint.target, endpoint.secure, endpoint.is_loopback) == (target, secure, loopback)
    assert endpoint.is_grpc is bool(target)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("localhost:8080", "is no server"),
        ("", "is no server"),
        ("ftp://host", "is no server"),
        ("http://", "is no server"),
        ("http://host:port", "is not a URL"),
        ("http://host/?a=1", "query"),
        ("grpc://host", "no port"),
        ("grpc://host:1/path", "a path"),
    ],
)
def test_an_address_that_is_none_is_refused_with_the_remedy(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Client(url)


def test_save_writes_with_the_users_permissions_and_leaves_nothing_else(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        saved = RESULT.save(str(tmp_path / "out.png"))
    finally:
        os.umask(umask)
    assert saved.read_bytes() == b"result"
    assert saved.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [saved]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "out.png"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        RESULT.save(path)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("out.png", b"old")]


def test_a_killed_writer_never_leaves_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "out.png"
    size = 8_000_000
    script = (
        "import itertools, pathlib, sys; from cutout_client._files import write_atomically\n"
        f"for n in itertools.count(): write_atomically(pathlib.Path(sys.argv[1]), bytes([n % 256]) * {size})"
    )
    writer = subprocess.Popen([sys.executable, "-c", script, str(path)])
    try:
        deadline = time.monotonic() + 20
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
    finally:
        writer.kill()
        writer.wait()
    data = path.read_bytes()
    assert len(data) == size
    assert data == data[:1] * size

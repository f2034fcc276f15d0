"""`api_key` of the client and the command, against a gateway with keys; it is shown nowhere."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from cutout_client import AccessDenied, AsyncClient, Client
from cutout_client._cli_run import RunSettings
from cutout_client._config import Retry, Timeout
from cutout_client._endpoint import Endpoint
from cutout_client.cli import main
from tests.integration.fake_triton import RESULT, FakeTriton
from tests.integration.gateway_process import GatewayProcess
from tests.integration.keyed_gateway import Keyed, keyed_gateway


@pytest.fixture(scope="module")
def _keyed(_fake: FakeTriton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    with keyed_gateway(_fake, tmp_path_factory.mktemp("client_key"), {"shop": ()}) as found:
        yield found


@pytest.fixture
def gateway(_keyed: Keyed, triton: FakeTriton) -> GatewayProcess:
    return _keyed.gateway


@pytest.fixture
def key(_keyed: Keyed) -> str:
    return _keyed.keys["shop"]


def test_the_blocking_client(url: str, key: str, small_jpeg: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Client(url, api_key=key) as client:
        assert client.remove_background(small_jpeg).data == RESULT
        assert client.ready()
        assert key not in repr(client)
        assert key not in repr(vars(client))
    with Client(url) as client, pytest.raises(AccessDenied) as missing:
        client.remove_background(small_jpeg)
    assert missing.value.code == "missing_key"
    with Client(url, api_key="wrong-key") as client, pytest.raises(AccessDenied) as wrong:
        client.remove_background(small_jpeg)
    assert wrong.value.code == "invalid_key"
    assert "wrong-key" not in str(wrong.value) + repr(wrong.value)
    assert key not in caplog.text


def test_many_and_bulk(url: str, key: str, small_jpeg: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Client(url, api_key=key) as client:
        assert [found.result and found.result.data for found in client.remove_many([small_jpeg] * 2)] == [RESULT] * 2
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(small_jpeg)
    command = ["bulk", str(tmp_path / "photos"), "-o", str(tmp_path / "out"), "--server", url, "-q"]
    monkeypatch.delenv("CUTOUT_API_KEY", raising=False)
    assert main(command) == 1
    monkeypatch.setenv("CUTOUT_API_KEY", key)
    assert main([*command, "--retry-failed"]) == 0
    assert (tmp_path / "out" / "a.png").read_bytes() == RESULT
    assert not any(key in file.read_text(errors="replace") for file in tmp_path.rglob("*") if file.is_file())


async def test_the_asyncio_client(url: str, key: str, small_jpeg: bytes) -> None:
    async with AsyncClient(url, api_key=key) as client:
        assert (await client.remove_background(small_jpeg)).data == RESULT
    async with AsyncClient(url) as client:
        with pytest.raises(AccessDenied):
            await client.remove_background(small_jpeg)


def test_the_command(
    url: str,
    key: str,
    small_jpeg: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "photo.jpg").write_bytes(small_jpeg)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CUTOUT_API_KEY", raising=False)
    command = ["photo.jpg", "--server", url, "--overwrite", "-o", "out.png"]
    assert main(command) == 1
    assert "API key" in capfd.readouterr().err
    assert main([*command, "--api-key", key]) == 0
    monkeypatch.setenv("CUTOUT_API_KEY", key)
    assert main(command) == 0
    assert main([*command, "--api-key", "wrong"]) == 1
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capfd.readouterr()
    assert key not in shown.out + shown.err
    assert (tmp_path / "out.png").read_bytes() == RESULT


@pytest.mark.parametrize("bad", ["", "two words", "line\nbreak", "schlüssel"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(bad: str) -> None:
    with pytest.raises(ValueError, match="api_key is no API key") as refused:
        Client(api_key=bad)
    assert not bad or bad not in str(refused.value)


def test_it_is_in_no_repr() -> None:
    assert "secret" not in repr(Endpoint.parse("http://127.0.0.1:1", "secret"))
    settings = RunSettings("http://127.0.0.1:1", Timeout(), Retry(), 1, False, {}, None, "secret")
    assert "secret" not in repr(settings)

"""The load test against a gateway with API keys: the key is sent over both protocols, and shown nowhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cutout_loadtest.__main__ import main
from cutout_loadtest.shot import cutout_shot
from tests.integration.fake_triton import FakeTriton
from tests.integration.gateway_process import GatewayProcess
from tests.integration.keyed_gateway import Keyed, keyed_gateway


@pytest.fixture(scope="module")
def _keyed(_fake: FakeTriton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    with keyed_gateway(_fake, tmp_path_factory.mktemp("load_key"), {"load": ()}) as found:
        yield found


@pytest.fixture
def gateway(_keyed: Keyed, triton: FakeTriton) -> GatewayProcess:
    return _keyed.gateway


@pytest.fixture
def key(_keyed: Keyed) -> str:
    return _keyed.keys["load"]


def test_a_scenario_sends_the_key_and_shows_it_nowhere(
    url: str,
    key: str,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    out = photos.parent / "reports"
    command = ["soak", "--photos", str(photos), "--url", url, "--mix", "small", "--out", str(out)]
    command += ["--capacity", "10", "--seconds", "0.5", "--slo", "errors<=0"]
    monkeypatch.delenv("CUTOUT_API_KEY", raising=False)
    assert main(command) == 2
    assert "answers nothing well: {'missing_key'" in capfd.readouterr().err
    monkeypatch.setenv("CUTOUT_API_KEY", key)
    assert main(command) == 0
    monkeypatch.setenv("CUTOUT_API_KEY", "another")
    assert main([*command, "--api-key", key]) == 0
    report = json.loads((out / "loadtest_soak.json").read_text())
    assert report["phases"][0]["ok"] == report["phases"][0]["sent"] > 0
    assert {"began", "commit", "cpu", "cores"} <= set(report)
    monkeypatch.setenv("CUTOUT_API_KEY", key)
    with pytest.raises(SystemExit):
        main(["soak", "--help"])
    shown = capfd.readouterr()
    assert key not in shown.out + shown.err
    assert not any(key in file.read_text() for file in out.iterdir())


def test_the_closed_loop_sends_it(
    url: str, key: str, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["closed", str(photos / "a.png"), "--url", url, "-n", "2", "-c", "1"]
    monkeypatch.delenv("CUTOUT_API_KEY", raising=False)
    assert main(command) == 1
    assert "errors {'missing_key': 2}" in capsys.readouterr().out
    monkeypatch.setenv("CUTOUT_API_KEY", key)
    assert main(command) == 0


def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for bad in ("two words", "line\r\nX-Admin-Key: a", "schlüssel"):
        assert main(["soak", "--photos", str(photos), "--mix", "small", "--api-key", bad]) == 2
        shown = capsys.readouterr()
        assert "the API key takes visible ASCII characters" in shown.err
        assert bad not in shown.out + shown.err
    assert "secret" not in repr(cutout_shot("kind", b"image", 1.0, {}, "secret"))

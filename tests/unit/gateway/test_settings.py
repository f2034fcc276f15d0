"""Settings: environment, flags, cross-checks with a remedy in the sentence."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from cutout_gateway.__main__ import main
from cutout_gateway.settings import Settings


def test_the_environment_is_read_and_the_object_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUTOUT_HTTP_PORT", "9000")
    settings = Settings()
    assert settings.http_port == 9000
    with pytest.raises(ValidationError):
        settings.http_port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--timeout-s", "400"], "raise max_timeout_s or lower timeout_s"),
        (["--max-bytes", "300000000"], "max_in_flight_bytes is below twice max_bytes"),
        (["--max-pixels", "300000000"], "max_in_flight_pixels is below twice max_pixels"),
        (["--profile", "gpu"], "needs triton_url"),
        (["--precision-force"], "set precision too"),
        (["--precision", "int4"], "CUTOUT_PRECISION"),
        (["--triton-url", "http://x:1/"], "without a scheme"),
        (["--triton-metrics-url", "http://x/metrics"], "set triton_url too"),
        (["--triton-http-url", "x:8000"], "set triton_url too"),
        (["--triton-url", "x:8001", "--triton-http-url", "http://x:8000"], "takes host:port"),
        (["--admin-key", "short"], "at least 16 items"),
        (["--http-port", "5000", "--grpc-port", "5000"], "give each its own"),
        (["--api-keys", "", "--api-keys-file", "keys"], "put all keys into the file"),
        (["--fetch-hosts", "photos.example.com"], "set fetch_urls too"),
        (["--http-port", "70000"], "CUTOUT_HTTP_PORT"),
        (["--stub-shm-bytes", "1000"], "CUTOUT_STUB_SHM_BYTES"),
    ],
)
def test_contradictions_are_refused(flags: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(flags) == 2
    assert sentence in capsys.readouterr().err


def test_help_tells_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["--help"])
    assert done.value.code == 0
    text = re.sub(r"\s+", "", capsys.readouterr().out)
    for name, field in Settings.model_fields.items():
        assert f"--{name.replace('_', '-')}" in text
        assert field.description


@pytest.mark.parametrize(
    ("given", "rows"),
    [
        ({"threads": 1}, 2),
        ({"threads": 4}, 4),
        ({"threads": 64}, 8),
        ({"threads": 4, "max_batch_rows": 1}, 1),
        ({"profile": "gpu", "triton_url": "x:1"}, 8),
        ({"profile": "gpu", "triton_url": "x:1", "max_batch_rows": 16}, 16),
    ],
)
def test_a_batch_fills_the_machine_unless_it_is_set(given: dict[str, Any], rows: int) -> None:
    assert Settings(**given).batch_rows == rows


def test_without_threads_a_batch_has_a_row_for_each_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cutout_gateway.settings.available_cores", lambda: 6)
    assert Settings().batch_rows == 6


def test_a_misspelt_variable_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUTOUT_HTTP_PROT", "1")
    monkeypatch.setenv("CUTOUT_CACHE", "/somewhere")
    assert Settings.unknown_variables() == ["CUTOUT_HTTP_PROT"]

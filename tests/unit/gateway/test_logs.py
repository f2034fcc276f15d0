"""A log line: text for a person, or one JSON object whose fields a program reads."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator

import pytest

from cutout_gateway.logs import configure_logging, log_request

log = logging.getLogger("cutout.test")


@pytest.fixture(autouse=True)
def _logging_is_put_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("GRPC_VERBOSITY", "NONE")
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)


def test_a_request_in_json_has_its_facts_as_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    log_request(log, "id-1", "http", "ok", bytes_in=7, bytes_out=9, ms=12.5, key="shop")
    log_request(log, "id-2", "grpc", "internal", detail="A defect.", ms=1.0, key=None)
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "info",
        "logger": "cutout.test",
        "message": "request id-1 http ok bytes_in=7 bytes_out=9 ms=12.5 key=shop",
        "request_id": "id-1",
        "protocol": "http",
        "code": "ok",
        "bytes_in": 7,
        "bytes_out": 9,
        "ms": 12.5,
        "key": "shop",
    }
    assert (second["level"], second["code"], second["detail"]) == ("warning", "internal", "A defect.")
    assert "key" not in second


def test_text_has_the_same_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "text")
    log_request(log, "id-1", "http", "not_an_image", detail="No.", ms=0.5)
    assert capsys.readouterr().err.endswith("cutout.test: request id-1 http not_an_image ms=0.5 (No.)\n")


def test_a_warning_of_a_library_is_a_line_of_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    event = json.loads(capsys.readouterr().err)
    assert event["logger"] == "py.warnings"
    assert "old" in event["message"]

"""What the log says of readiness: a normal start in two lines, a slow one and a loss as warnings."""

from __future__ import annotations

import logging

import pytest

from cutout_gateway.readiness_log import ReadinessLog
from cutout_gateway.triton import Readiness

AWAY = Readiness(reason="Triton does not answer (UNAVAILABLE).")
ALL = Readiness({"fast": True, "standard": True, "high": True}, "")
NO_HIGH = Readiness({"fast": True, "standard": True, "high": False}, "", frozenset({"high"}))


class Told:
    """A `ReadinessLog` with a clock of its own, and what it logged."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        self.now = 0.0
        self._caplog = caplog
        self._log = ReadinessLog(lambda: self.now)

    def tell(self, seconds: float, readiness: Readiness) -> None:
        self.now = seconds
        self._log.tell(readiness)

    @property
    def lines(self) -> list[tuple[str, str]]:
        return [(record.levelname, record.message) for record in self._caplog.records]


def test_a_normal_start(caplog: pytest.LogCaptureFixture) -> None:
    told = Told(caplog)
    for seconds in (0.1, 0.3, 5.0):
        told.tell(seconds, AWAY)
    for seconds in (6.25, 7.0, 8.0):
        told.tell(seconds, ALL)
    assert told.lines == [("INFO", "loading the models"), ("INFO", "ready after 6.2 s: fast, standard, high")]
    assert vars(caplog.records[-1])["fields"] == {"ms": 6250.0}


def test_a_quality_that_is_not_installed_is_named_with_the_command(caplog: pytest.LogCaptureFixture) -> None:
    told = Told(caplog)
    told.tell(2.0, NO_HIGH)
    assert told.lines[-1] == (
        "INFO",
        "ready after 2.0 s: fast, standard; high: Not installed: `make models HIGH=1` and a restart add it.",
    )


def test_a_start_that_takes_too_long_says_what_is_missing_once(caplog: pytest.LogCaptureFixture) -> None:
    told = Told(caplog)
    for seconds in range(60):
        told.tell(float(seconds), AWAY)
    told.tell(61.0, ALL)
    assert told.lines[1:] == [
        ("WARNING", "still not ready after 30 s: Triton does not answer (UNAVAILABLE)."),
        ("INFO", "ready after 61.0 s: fast, standard, high"),
    ]


def test_a_loss_is_a_warning_at_once_and_its_length_is_told(caplog: pytest.LogCaptureFixture) -> None:
    told = Told(caplog)
    told.tell(1.0, ALL)
    told.tell(100.0, AWAY)
    told.tell(101.0, Readiness(reason="Triton is being restarted."))
    told.tell(104.0, NO_HIGH)
    told.tell(105.0, ALL)
    assert told.lines[2:] == [
        ("WARNING", "not ready: Triton does not answer (UNAVAILABLE)."),
        ("WARNING", "not ready: Triton is being restarted."),
        (
            "INFO",
            "ready after 4.0 s: fast, standard; high: Not installed: `make models HIGH=1` and a restart add it.",
        ),
        ("INFO", "ready: fast, standard, high"),
    ]


def test_a_quality_that_is_built_and_not_served_is_not_called_not_installed() -> None:
    broken = Readiness(NO_HIGH.qualities, "", NO_HIGH.absent, {"high": "Damaged."})
    assert (NO_HIGH.not_installed, broken.not_installed) == (["high"], [])
    assert broken.reasons == {"high": "Damaged."}
    assert ALL.reasons == {}
    assert set(AWAY.reasons.values()) == {AWAY.reason}
    assert set(AWAY.reasons) == {"fast", "standard", "high"}

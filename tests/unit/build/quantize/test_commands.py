"""`python -m cutout_build quantize` and `sensitivity` where PyTorch is not installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cutout_build.__main__ import main


@pytest.fixture(autouse=True)
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)


def test_both_are_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = capsys.readouterr().out
    assert "\n    quantize " in shown
    assert "\n    sensitivity " in shown


@pytest.mark.parametrize("command", ["quantize", "sensitivity"])
def test_without_pytorch_one_sentence_says_how_to_get_it(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--engine", "u2netp"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"cutout_build: `{command}` needs PyTorch")
    assert f"make {command}" in error


@pytest.mark.parametrize("command", ["quantize", "sensitivity"])
def test_the_engine_is_of_the_catalogue_that_is_named(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "models.toml"
    own.write_text((Path("build") / "models.toml").read_text("utf-8").replace("u2netp]", "mine]", 1), "utf-8")
    own.write_text(own.read_text("utf-8").replace("[u2netp.", "[mine."), "utf-8")
    assert main([command, "--engine", "u2netp", "--catalogue", str(own)]) == 1
    assert "u2netp" in capsys.readouterr().err
    assert main([command, "--engine", "mine", "--catalogue", str(own)]) == 1
    assert "needs PyTorch" in capsys.readouterr().err

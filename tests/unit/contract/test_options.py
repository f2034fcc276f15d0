"""Options: strings and JSON values, round trip, refusals that name the field."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutout_core.contract import OPTION_HELP, CutoutError, ErrorCode, Options
from cutout_core.contract.colors import parse_color
from cutout_core.contract.options import MODE_CHOICES
from cutout_core.contract.tensors import ENSEMBLES

_COLORS = st.tuples(*[st.integers(0, 255)] * 4)


@given(
    output=st.sampled_from(["png", "webp", "jpeg", "mask"]),
    size=st.none() | st.floats(0.001, 100),
    icc=st.sampled_from(["keep", "srgb"]),
    background=st.none() | _COLORS,
    quality=st.sampled_from(list(ENSEMBLES)),
    mode=st.sampled_from(MODE_CHOICES),
    flags=st.tuples(st.booleans(), st.booleans()),
)
def test_json_round_trip(
    output: str,
    size: float | None,
    icc: str,
    background: tuple[int, int, int, int] | None,
    quality: str,
    mode: str,
    flags: tuple[bool, bool],
) -> None:
    if output == "mask":
        background = None
    if output == "jpeg" and background is not None:
        background = (*background[:3], 255)
    options = Options(
        quality=quality,
        mode="auto" if quality == "fast" else mode,
        output=output,
        background=background,
        size=size,
        decontaminate=flags[0],
        cleanup=flags[1],
        icc=icc,
    )
    assert Options.from_json(options.to_json()) == options


@pytest.mark.parametrize(
    ("given", "flag"), [("on", True), ("TRUE", True), (True, True), ("off", False), ("False", False), (False, False)]
)
def test_flags_are_on_or_off(given: str | bool, flag: bool) -> None:
    assert Options.parse({"decontaminate": given, "cleanup": given}) == Options(decontaminate=flag, cleanup=flag)


def test_the_default_quality_is_standard_or_that_of_the_ensemble() -> None:
    assert Options.parse({}).quality == "standard"
    assert Options().ensemble == "cutout"
    assert Options.from_json(b"", "fast") == Options(quality="fast")
    assert Options.from_json(b'{"icc": "srgb"}', "high") == Options(quality="high", icc="srgb")
    assert Options.from_json(b'{"quality": "fast"}', "high").quality == "fast"


def test_an_unknown_word_is_told_all_that_are_known() -> None:
    with pytest.raises(CutoutError, match="allowed are png, webp, jpeg, mask, zip, jpg"):
        Options.from_json(b'{"output": "gif"}', "standard")


def test_jpg_is_jpeg() -> None:
    assert Options.parse({"output": "JPG"}) == Options(output="jpeg")


def test_defaults_are_empty_and_json_types_are_taken() -> None:
    assert Options().to_json() == b""
    assert Options.from_json(b"") == Options()
    assert Options.from_json(b'{"size": 2, "output": "WEBP"}') == Options(size=2.0, output="webp")


@pytest.mark.parametrize(
    ("raw", "code", "field"),
    [
        (b"nonsense", ErrorCode.INVALID_OPTION, "OPTIONS"),
        (b"[1]", ErrorCode.INVALID_OPTION, "OPTIONS"),
        (b"[" * 4000, ErrorCode.INVALID_OPTION, "OPTIONS"),
        (b" " * 5000, ErrorCode.INVALID_OPTION, "OPTIONS"),
        (b"\xff\xfe", ErrorCode.INVALID_OPTION, "OPTIONS"),
        (b'{"shine": 1}', ErrorCode.UNKNOWN_OPTION, "shine"),
        (b'{"mode": "pet"}', ErrorCode.INVALID_OPTION, "mode"),
        (b'{"mode": "product", "quality": "fast"}', ErrorCode.INVALID_OPTION, "mode"),
        (b'{"decontaminate": "maybe"}', ErrorCode.INVALID_OPTION, "decontaminate"),
        (b'{"cleanup": 1}', ErrorCode.INVALID_OPTION, "cleanup"),
        (b'{"size": null}', ErrorCode.INVALID_OPTION, "size"),
        (b'{"size": 1e999}', ErrorCode.INVALID_OPTION, "size"),
        (b'{"quality": "best"}', ErrorCode.INVALID_OPTION, "quality"),
        (b'{"output": "jpeg", "background": "#fff8"}', ErrorCode.INVALID_OPTION, "background"),
    ],
)
def test_refusals(raw: bytes, code: ErrorCode, field: str) -> None:
    with pytest.raises(CutoutError) as caught:
        Options.from_json(raw)
    assert (caught.value.code, caught.value.field) == (code, field)


@pytest.mark.parametrize(
    ("text", "color"),
    [
        ("#f80", (255, 136, 0, 255)),
        ("f80c", (255, 136, 0, 204)),
        ("#FF8800", (255, 136, 0, 255)),
        ("ff880080", (255, 136, 0, 128)),
        (" RebeccaPurple ", (102, 51, 153, 255)),
        ("", None),
        ("#12345", None),
        ("notacolour", None),
    ],
)
def test_colours(text: str, color: tuple[int, int, int, int] | None) -> None:
    assert parse_color(text) == color


def test_every_option_has_help() -> None:
    assert set(OPTION_HELP) == set(Options.__dataclass_fields__)

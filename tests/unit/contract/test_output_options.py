"""The options of size, place and file: values, spellings, contradictions, presets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutout_core.contract import CutoutError, ErrorCode, Options
from cutout_core.contract.option_values import Length
from cutout_core.contract.presets import PRESETS

_FRAMES = st.fixed_dictionaries(
    {"scale": st.sampled_from(["original", "10%", "84.5%", "100%"])},
    optional={"position": st.sampled_from(["original", "center", "10%", "10% 99.25%"])},
) | st.fixed_dictionaries(
    {"crop": st.just(True), "margin": st.sampled_from(["0px", "3px 4.5%", "500px 1% 50% 0%"])},
)
_OTHERS = st.fixed_dictionaries(
    {},
    optional={
        "canvas": st.sampled_from(["original", "square", "1x1", "8000x8000"]),
        "roi": st.floats(50, 100).map(lambda right: f"49% 3px {round(right, 3)}% 100%"),
        "shadow": st.sampled_from(["none", "soft", "soft 12.5%"]),
        "preset": st.sampled_from(list(PRESETS)),
        "max_bytes": st.integers(1, 1 << 30),
        "dpi": st.integers(1, 9600),
        "semitransparency": st.booleans(),
    },
)


@given(frame=_FRAMES, others=_OTHERS)
def test_json_round_trip(frame: dict[str, object], others: dict[str, object]) -> None:
    options = Options.parse(frame | others)
    assert Options.from_json(options.to_json()) == options


def test_spellings() -> None:
    parsed = Options.parse(
        {
            "roi": "10% 0px 90% 500px",
            "crop": True,
            "margin": "10% 30px",
            "canvas": "800X600",
            "position": "Center",
            "shadow": "SOFT 40%",
            "dpi": 300,
            "max_bytes": "100000",
        }
    )
    assert parsed.roi == (Length(10, "%"), Length(0, "px"), Length(90, "%"), Length(500, "px"))
    assert parsed.margin == (Length(10, "%"), Length(30, "px"), Length(10, "%"), Length(30, "px"))
    assert (parsed.canvas, parsed.position, parsed.shadow) == ((800, 600), (50, 50), 40)
    assert (parsed.dpi, parsed.max_bytes) == (300, 100_000)
    assert Options.parse({"roi": "0% 0px 100% 100%"}).roi is None


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"roi": "0 0 100% 100%"}, "roi"),
        ({"roi": "0% 0% 101% 100%"}, "roi"),
        ({"roi": "-1px 0px 9px 9px"}, "roi"),
        ({"roi": "9px 0px 9px 9px"}, "roi"),
        ({"roi": "0px 0px 9px"}, "roi"),
        ({"crop": "on", "margin": "1px 2px 3px"}, "margin"),
        ({"crop": "on", "margin": "51%"}, "margin"),
        ({"crop": "on", "margin": "501px"}, "margin"),
        ({"margin": "1px"}, "margin"),
        ({"scale": "9%"}, "scale"),
        ({"scale": "101%"}, "scale"),
        ({"scale": "50"}, "scale"),
        ({"scale": "50%", "crop": "on"}, "scale"),
        ({"position": "1% 2% 3%"}, "position"),
        ({"position": "left"}, "position"),
        ({"position": "10%", "crop": "on"}, "position"),
        ({"canvas": "0x10"}, "canvas"),
        ({"canvas": "10001x10"}, "canvas"),
        ({"canvas": "9000x9000"}, "canvas"),
        ({"canvas": "900"}, "canvas"),
        ({"canvas": "90x90", "size": "1"}, "size"),
        ({"shadow": "soft 0%"}, "shadow"),
        ({"shadow": "none 10%"}, "shadow"),
        ({"shadow": "soft", "output": "mask"}, "shadow"),
        ({"shadow": "soft", "output": "zip"}, "shadow"),
        ({"channels": "rgb"}, "channels"),
        ({"channels": "alpha", "output": "zip"}, "channels"),
        ({"channels": "alpha", "background": "red"}, "background"),
        ({"output": "zip", "background": "red"}, "background"),
        ({"alpha": "premultiplied", "background": "red"}, "alpha"),
        ({"alpha": "premultiplied", "output": "jpeg"}, "alpha"),
        ({"max_bytes": "0"}, "max_bytes"),
        ({"max_bytes": "1e6"}, "max_bytes"),
        ({"dpi": "9601"}, "dpi"),
        ({"dpi": "72", "output": "webp"}, "dpi"),
        ({"preset": "nowhere"}, "preset"),
        ({"preset": "amazon", "output": "mask"}, "preset"),
        ({"preset": "amazon", "output": "zip"}, "preset"),
    ],
)
def test_refusals(values: dict[str, object], field: str) -> None:
    with pytest.raises(CutoutError) as caught:
        Options.parse(values)
    assert (caught.value.code, caught.value.field) == (ErrorCode.INVALID_OPTION, field)


def test_a_background_image_is_the_background() -> None:
    options = Options.parse({"output": "jpeg"}, background_image=True)
    assert (options.background, options.opaque) == ("image", True)
    assert Options.from_json(options.to_json()) == options
    assert Options.from_json(b"", background_image=True).background == "image"
    for values, known, field in (
        ({"background": "white"}, True, "background_image"),
        ({"background": "transparent"}, True, "background_image"),
        ({"background": "image"}, False, "background_image"),
        ({"output": "mask"}, True, "background"),
        ({"alpha": "premultiplied"}, True, "alpha"),
    ):
        with pytest.raises(CutoutError) as caught:
            Options.parse(values, background_image=known)
        assert caught.value.field == field


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_options_that_explicit_ones_win_over(name: str) -> None:
    expanded = Options.parse({"preset": name})
    assert expanded == Options.parse(PRESETS[name].options | {"preset": name})
    assert expanded.to_json() == b'{"preset":"%s"}' % name.encode()
    own = Options.parse({"preset": name, "output": "png", "background": "#eee", "canvas": "900x900"})
    assert (own.output, own.background, own.canvas) == ("png", (238, 238, 238, 255), (900, 900))
    assert own.scale == expanded.scale
    assert Options.parse({"preset": name}, background_image=True).background == "image"
    assert Options.parse({"preset": name, "crop": "on", "margin": "5%"}).scale is None
    assert Options.parse({"preset": name, "size": "1"}).canvas == "original"

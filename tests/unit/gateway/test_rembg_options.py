"""rembg's parameters as our options."""

from __future__ import annotations

import pytest

from cutout_core.contract import CutoutError, Options
from cutout_gateway.rembg_options import MODELS, to_options

HIGH: frozenset[str] = frozenset()
NO_HIGH = frozenset({"high"})


@pytest.mark.parametrize(
    ("model", "matting", "absent", "quality", "mode"),
    [
        (None, "false", HIGH, "high", "auto"),
        (None, "false", NO_HIGH, "standard", "auto"),
        ("u2net", "true", NO_HIGH, "standard", "auto"),
        ("u2netp", "false", HIGH, "fast", None),
        ("u2netp", "true", HIGH, "standard", "auto"),
        ("silueta", "false", HIGH, "standard", "auto"),
        ("u2net_human_seg", "false", NO_HIGH, "standard", "portrait"),
        ("isnet-general-use", "false", HIGH, "high", "auto"),
    ],
)
def test_models(model: str | None, matting: str, absent: frozenset[str], quality: str, mode: str | None) -> None:
    options = to_options({"a": matting, **({"model": model} if model else {})}, absent)
    assert (options["quality"], options.get("mode")) == (quality, mode)


@pytest.mark.parametrize(
    ("model", "absent", "served"),
    [
        ("isnet-general-use", NO_HIGH, "u2netp, silueta, u2net, u2net_human_seg."),
        ("birefnet-general", NO_HIGH, "u2netp, silueta, u2net, u2net_human_seg."),
        ("sam", HIGH, ", ".join(MODELS) + "."),
        ("", HIGH, ", ".join(MODELS) + "."),
    ],
)
def test_a_model_that_is_not_served_gets_the_list_of_those_that_are(
    model: str, absent: frozenset[str], served: str
) -> None:
    with pytest.raises(CutoutError) as caught:
        to_options({"model": model}, absent)
    assert caught.value.message.endswith(f"there are {served}")
    assert caught.value.field == "model"


def test_every_combination_is_one_that_our_options_take() -> None:
    for model in MODELS:
        for absent in (HIGH, NO_HIGH):
            for matting in ("0", "1"):
                for extra in ({}, {"om": "1"}, {"ppm": "yes", "bgc": "1,2,3,4"}, {"om": "1", "bgc": "1,2,3,4"}):
                    values = {"model": model, "a": matting, **extra}
                    if model != "isnet-general-use" or not absent:
                        Options.parse(to_options(values, absent))


def test_the_other_parameters() -> None:
    values = {"model": "u2netp", "af": "240", "ab": "10", "ae": "10", "bgc": "255, 136,0,255", "extras": "{}"}
    assert to_options(values, HIGH) == {
        "quality": "fast",
        "output": "png",
        "cleanup": "off",
        "background": "#ff8800ff",
    }
    assert to_options({"model": "u2netp", "ppm": "True"}, HIGH)["cleanup"] == "on"
    mask = to_options({"model": "u2netp", "om": "on", "bgc": "0,0,0,0"}, HIGH)
    assert mask["output"] == "mask"
    assert "background" not in mask
    assert "background" not in to_options({"model": "u2netp", "bgc": ""}, HIGH)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a", "maybe"), ("om", "2"), ("ppm", ""), ("af", "256"), ("af", "-1"), ("ab", "1.5"), ("ae", "-3"), ("ae", "x"),
        ("ae", "9" * 5000), ("bgc", "1,2,3"), ("bgc", "1,2,3,256"), ("bgc", "a,b,c,d"), ("bgc", "#ff0000"),
        ("bgc", "1,2,3,²"),
        ("extras", "[1]"), ("extras", "{"), ("extras", "[" * 4000), ("extras", '{"model_path": "/etc/passwd"}'),
        ("alpha_matting", "true"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_rembgs_own_name(name: str, value: str) -> None:
    with pytest.raises(CutoutError) as caught:
        to_options({name: value}, NO_HIGH)
    assert caught.value.field == name

"""remove.bg's fields to our options, and our errors to its codes."""

from __future__ import annotations

import pytest

from cutout_core.contract import CutoutError, ErrorCode, Options
from cutout_core.contract.errors import ERROR_TABLE
from cutout_gateway.removebg_errors import to_removebg
from cutout_gateway.removebg_options import FIELDS, SIZES, TYPES, Wanted, prefers_json, to_wanted


def wanted(*, background: bool = False, quality: str = "standard", png: float = 10.0, **fields: str) -> Wanted:
    understood = to_wanted(fields, background=background, quality=quality, png_megapixels=png)
    Options.parse(understood.options, background_image=background)  # the service takes them
    return understood


def options(**fields: str) -> dict[str, str]:
    """The options without those that every request has."""
    found = wanted(**fields).options
    return {name: value for name, value in found.items() if name not in ("quality", "output", "size", "mode")}


def refusal(**fields: str) -> tuple[str, str]:
    with pytest.raises(CutoutError) as caught:
        wanted(**fields)
    error = to_removebg(caught.value)
    assert error.status == 400
    return error.code, error.title


def test_defaults() -> None:
    assert wanted().options == {"quality": "standard", "output": "png", "size": "0.25", "mode": "auto"}
    assert wanted(quality="fast").options == {"quality": "fast", "output": "png", "size": "0.25"}


def test_an_empty_field_and_shadow_method_count_as_absent() -> None:
    assert wanted(size="", roi=" ", crop="", shadow_method="whatever").options == wanted().options


@pytest.mark.parametrize(
    ("size", "jpg", "png"),
    [
        ("preview", 0.25, 0.25),
        ("small", 0.25, 0.25),
        ("regular", 0.25, 0.25),
        ("medium", 1.5, 1.5),
        ("hd", 4, 4),
        ("full", 25, 10),
        ("4k", 25, 10),
        ("auto", 25, 10),
        ("50MP", 50, 10),
    ],
)
def test_sizes(size: str, jpg: float, png: float) -> None:
    assert float(wanted(size=size, format="jpg").options["size"]) == jpg
    assert float(wanted(size=size, format="png").options["size"]) == png
    assert float(wanted(size=size, format="png", png=50).options["size"]) == jpg
    assert wanted(size=size, format="png").max_megapixels == 10
    assert wanted(size=size, format="zip").max_megapixels == 25


@pytest.mark.parametrize(
    ("fields", "background", "output"),
    [
        ({}, False, "png"),
        ({}, True, "jpeg"),
        ({"bg_color": "fff"}, False, "jpeg"),
        ({"bg_color": "81d4fa77"}, False, "png"),
        ({"bg_color": "#0000"}, False, "png"),
        ({"channels": "alpha"}, False, "png"),
        ({"format": "png", "bg_color": "fff"}, False, "png"),
        ({"format": "jpg"}, False, "jpeg"),
        ({"format": "WEBP"}, True, "webp"),
        ({"format": "zip"}, False, "zip"),
    ],
)
def test_format(fields: dict[str, str], background: bool, output: str) -> None:
    assert wanted(background=background, **fields).options["output"] == output


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"roi": "0 0 100% 100%"}, {"roi": "0px 0px 100% 100%"}),
        ({"roi": "10% 20px 900px 80%"}, {"roi": "10% 20px 900px 80%"}),
        ({"crop": "true"}, {"crop": "on", "margin": "0px"}),
        ({"crop": "True", "crop_margin": "30px 10%"}, {"crop": "on", "margin": "30px 10%"}),
        ({"crop": "true", "crop_margin": "1px 2px 3% 4px"}, {"crop": "on", "margin": "1px 2px 3% 4px"}),
        ({"crop": "true", "position": "center"}, {"crop": "on", "margin": "0px"}),
        ({"crop": "false", "crop_margin": "30px"}, {}),
        ({"scale": "80%"}, {"scale": "80%"}),
        ({"scale": "original", "position": "original"}, {"position": "original"}),
        ({"scale": "50%", "position": "10% 90%"}, {"scale": "50%", "position": "10% 90%"}),
        ({"channels": "alpha"}, {"channels": "alpha"}),
        ({"semitransparency": "false"}, {"semitransparency": "off"}),
        ({"add_shadow": "true"}, {"shadow": "soft"}),
        ({"add_shadow": "true", "shadow_opacity": "40"}, {"shadow": "soft 40%"}),
        ({"shadow_type": "drop"}, {"shadow": "soft"}),
        ({"shadow_type": "none", "add_shadow": "true"}, {}),
        ({"shadow_type": "drop", "shadow_opacity": "0"}, {}),
        ({"bg_color": "green"}, {"background": "#008000ff"}),
        ({"bg_color": "81d4fa77", "format": "png"}, {"background": "#81d4fa77"}),
        ({"bg_color": "00000080", "format": "jpg"}, {"background": "#7f7f7fff"}),
    ],
)
def test_fields(fields: dict[str, str], expected: dict[str, str]) -> None:
    assert options(**fields) == expected


@pytest.mark.parametrize(
    ("kind", "mode", "one", "two"),
    [
        ("person", "portrait", "person", "person"),
        ("product", "product", "product", "product"),
        ("animal", "object", "animal", "animal"),
        ("car", "product", "car", "car"),
        ("car_interior", "product", "car", "car_interior"),
        ("car_part", "product", "car", "car_part"),
        ("transportation", "product", "other", "transportation"),
        ("graphic", "product", "other", "graphics"),
        ("graphics", "product", "other", "graphics"),
        ("other", "object", "other", "other"),
    ],
)
def test_types(kind: str, mode: str, one: str, two: str) -> None:
    found = wanted(type=kind)
    assert found.options["mode"] == mode
    assert found.x_type(mode) == one
    assert [wanted(type=kind, type_level=level).x_type(mode) for level in ("2", "latest", "none")] == [two, two, None]


def test_the_type_that_was_found() -> None:
    assert [wanted().x_type(mode) for mode in ("portrait", "product", "object", "")] == [
        "person",
        "product",
        "other",
        "other",
    ]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"size": "huge"}, "invalid_size"),
        ({"type": "ghost"}, "invalid_type"),
        ({"type_level": "3"}, "invalid_type_level"),
        ({"format": "gif"}, "invalid_format"),
        ({"roi": "1 2 3"}, "invalid_roi"),
        ({"roi": "0% 0% 101% 100%"}, "invalid_roi"),
        ({"roi": "50% 0% 50% 100%"}, "roi_region_empty"),
        ({"crop": "maybe"}, "invalid_crop"),
        ({"crop": "true", "crop_margin": "wide"}, "invalid_crop_margin"),
        ({"crop": "true", "crop_margin": "51%"}, "invalid_crop_margin"),
        ({"crop": "true", "crop_margin": "501px"}, "invalid_crop_margin"),
        ({"crop": "true", "scale": "50%"}, "invalid_scale"),
        ({"crop": "true", "position": "10%"}, "invalid_position"),
        ({"scale": "9%"}, "invalid_scale"),
        ({"position": "left"}, "invalid_position"),
        ({"channels": "rgb"}, "invalid_channels"),
        ({"channels": "alpha", "bg_color": "fff"}, "invalid_channels"),
        ({"channels": "alpha", "format": "zip"}, "invalid_format"),
        ({"format": "zip", "bg_color": "fff"}, "invalid_format"),
        ({"format": "zip", "add_shadow": "true"}, "invalid_format"),
        ({"shadow_type": "3D"}, "invalid_shadow_type"),
        ({"shadow_opacity": "101"}, "invalid_shadow_opacity"),
        ({"semitransparency": "half"}, "invalid_semitransparency"),
        ({"bg_color": "reddish"}, "invalid_bg_color"),
        ({"bg_colour": "red"}, "unknown_parameter"),
    ],
)
def test_refusals(fields: dict[str, str], code: str) -> None:
    found, title = refusal(**fields)
    assert found == code
    assert title


def test_a_crop_margin_without_a_crop_is_checked_all_the_same() -> None:
    assert refusal(crop_margin="wide")[0] == "invalid_crop_margin"


@pytest.mark.parametrize(
    ("accept", "json"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", True),
        ("application/json; charset=utf-8", True),
        ("application/json, text/plain, */*", False),  # what axios sends whatever it wants
        ("image/png, application/json;q=0.5", False),
        ("application/json, image/*;q=0.8", True),
        ("application/json;q=0", False),
        ("application/json;q=nonsense", False),
        ("text/html", False),
    ],
)
def test_accept(accept: str, json: bool) -> None:
    assert prefers_json(accept) is json


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (CutoutError(ErrorCode.MISSING_KEY), (403, "auth_failed", "Missing API Key")),
        (CutoutError(ErrorCode.INVALID_KEY), (403, "auth_failed", "API Key invalid")),
        (CutoutError(ErrorCode.RATE_LIMITED), (429, "rate_limit_exceeded", "Rate limit exceeded")),
        (CutoutError(ErrorCode.TOO_MANY_BYTES), (400, "file_too_large", "File too large")),
        (CutoutError(ErrorCode.TOO_MANY_PIXELS), (400, "resolution_too_high", "Resolution too high")),
        (CutoutError(ErrorCode.DOWNLOAD_FAILED, field="bg_image_url"), (400, "failed_bg_download", "")),
        (CutoutError(ErrorCode.DOWNLOAD_FAILED, field="image_url"), (400, "failed_image_download", "")),
        (CutoutError(ErrorCode.URL_FETCHING_OFF, field="image_url"), (400, "invalid_image_url", "")),
        (CutoutError(ErrorCode.INVALID_URL, field="bg_image_url"), (400, "invalid_bg_image_url", "")),
        (
            CutoutError(ErrorCode.INVALID_OPTION, "'roi' exceeds the photo.", field="roi"),
            (400, "roi_exceeds_bounds", ""),
        ),
        (CutoutError(ErrorCode.DEADLINE_EXCEEDED), (504, "deadline_exceeded", "")),
    ],
)
def test_errors(error: CutoutError, expected: tuple[int, str, str]) -> None:
    found = to_removebg(error)
    assert (found.status, found.code) == expected[:2]
    assert found.title.startswith(expected[2])
    assert found.body() == {"errors": [{"title": found.title, "code": found.code, "detail": error.message}]}


def test_every_error_of_the_table_has_a_form() -> None:
    for code in ERROR_TABLE:
        found = to_removebg(CutoutError(code))
        assert 400 <= found.status < 600
        assert found.code
        assert found.title


def test_the_description_knows_every_value() -> None:
    assert set(SIZES) >= {"preview", "full", "auto", "50mp"}
    assert all(name in FIELDS["type"] for name in TYPES if name not in ("car_interior", "car_part", "graphics"))

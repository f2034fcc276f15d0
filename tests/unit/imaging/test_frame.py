"""Geometry: where the subject lands, to the pixel."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutout_core.contract import Box, CutoutError, ErrorCode, Limits, Options
from cutout_core.imaging.frame import Frame, SubjectBoxes, check_frame, plan_frame, region

LIMITS = Limits()
#: A photo of 400 × 300 pixels and its subject.
WIDTH, HEIGHT, SUBJECT = 400, 300, Box(100, 60, 80, 160)


def plan(subject: Box | None = SUBJECT, visible: Box | None = None, **values: object) -> Frame:
    boxes = None if subject is None else SubjectBoxes(subject, visible or subject)
    return plan_frame(Options.parse(values), WIDTH, HEIGHT, boxes, LIMITS)


def landed(frame: Frame, box: Box = SUBJECT) -> tuple[float, float, float, float]:
    """Left, top, width and height of a box of the photo in the result."""
    left, top = frame.left + frame.scale_x * box.left, frame.top + frame.scale_y * box.top
    values = left, top, frame.scale_x * box.width, frame.scale_y * box.height
    return tuple(round(value, 6) for value in values)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("values", "size", "box"),
    [
        ({"crop": "on"}, (80, 160), (0, 0, 80, 160)),
        ({"crop": "on", "margin": "30px"}, (140, 220), (30, 30, 80, 160)),
        ({"crop": "on", "margin": "10%"}, (96, 192), (8, 16, 80, 160)),
        ({"crop": "on", "margin": "10% 5px"}, (90, 192), (5, 16, 80, 160)),
        ({"crop": "on", "margin": "1px 2px 3px 4px"}, (86, 164), (4, 1, 80, 160)),
        ({"crop": "on", "canvas": "square"}, (160, 160), (40, 0, 80, 160)),
        ({"crop": "on", "canvas": "square", "position": "0% 50%"}, (160, 160), (0, 0, 80, 160)),
        ({"crop": "on", "canvas": "square", "margin": "20px"}, (200, 200), (60, 20, 80, 160)),
        ({"crop": "on", "canvas": "1000x1000"}, (1000, 1000), (250, 0, 500, 1000)),
        ({"crop": "on", "canvas": "1000x1000", "margin": "100px"}, (1000, 1000), (300, 100, 400, 800)),
        ({"crop": "on", "canvas": "1200x1200", "margin": "10%"}, (1200, 1200), (350, 100, 500, 1000)),
        ({"crop": "on", "canvas": "1000x1000", "position": "100% 0%"}, (1000, 1000), (500, 0, 500, 1000)),
        ({"crop": "on", "size": "0.0032"}, (40, 80), (0, 0, 40, 80)),
        ({"scale": "50%"}, (400, 300), (162, 75, 75, 150)),
        ({"scale": "100%"}, (400, 300), (125, 0, 150, 300)),
        ({"scale": "50%", "position": "0% 100%"}, (400, 300), (0, 150, 75, 150)),
        ({"scale": "50%", "position": "original"}, (400, 300), (102, 65, 75, 150)),
        ({"position": "center"}, (400, 300), (160, 70, 80, 160)),
        ({"position": "100%"}, (400, 300), (320, 140, 80, 160)),
        ({"canvas": "square"}, (400, 400), (100, 110, 80, 160)),
        ({"canvas": "800x800"}, (800, 800), (200, 220, 160, 320)),
        ({"canvas": "200x600"}, (200, 600), (50, 255, 40, 80)),
        ({"canvas": "2000x2000", "scale": "85%"}, (2000, 2000), (575, 150, 850, 1700)),
        ({"canvas": "square", "scale": "80%", "size": "0.04"}, (200, 200), (60, 20, 80, 160)),
        ({"roi": "10% 10% 90% 90%"}, (400, 300), (100, 60, 80, 160)),
    ],
)
def test_the_subject_lands_on_these_pixels(
    values: dict[str, object], size: tuple[int, int], box: tuple[int, int, int, int]
) -> None:
    frame = plan(**values)
    assert (frame.width, frame.height) == size
    assert landed(frame) == pytest.approx(box)


@pytest.mark.parametrize(
    ("values", "size", "left_top", "scale"),
    [
        ({"crop": "on"}, (400, 300), (0, 0), 1.0),
        ({"scale": "50%"}, (400, 300), (0, 0), 1.0),
        ({"canvas": "square", "crop": "on"}, (400, 400), (0, 50), 1.0),
        ({"canvas": "800x800", "scale": "85%"}, (800, 800), (0, 100), 2.0),
    ],
)
def test_without_a_subject_nothing_is_cropped_scaled_or_moved(
    values: dict[str, object], size: tuple[int, int], left_top: tuple[int, int], scale: float
) -> None:
    frame = plan(subject=None, **values)
    assert frame == Frame(*size, scale, scale, *left_top)


def test_nothing_visible_is_cut_off() -> None:
    """Hair reaches 20 pixels beyond the subject's own box on the left, and 10 above it."""
    visible = Box(80, 50, 100, 170)
    assert landed(plan(visible=visible, crop="on")) == (20, 10, 80, 160)
    assert landed(plan(visible=visible, scale="50%")) == (162, 75, 75, 150)
    assert landed(plan(visible=visible, position="0%")) == (20, 10, 80, 160)
    assert landed(plan(visible=visible, position="100%")) == (320, 140, 80, 160)
    frame = plan(visible=visible, scale="100%")
    assert landed(frame, visible)[3] == pytest.approx(300, abs=1)
    assert landed(frame, visible)[1] == pytest.approx(0, abs=1)


def test_only_what_is_asked_for_enlarges() -> None:
    assert plan(crop="on", size="100").enlarged == plan(canvas="square", size="100").enlarged == 1
    assert plan(canvas="800x600").enlarged == 2
    assert plan(scale="100%").enlarged == pytest.approx(300 / 160)


@given(
    box=st.tuples(st.integers(0, 300), st.integers(0, 200), st.integers(1, 100), st.integers(1, 100)),
    scale=st.none() | st.integers(10, 100),
    crop=st.booleans(),
    canvas=st.sampled_from(["original", "square", "640x480", "33x700"]),
    position=st.none() | st.tuples(st.integers(0, 100), st.integers(0, 100)),
    size=st.none() | st.floats(0.001, 0.3),
)
def test_the_subject_is_always_whole_and_in_the_frame(
    box: tuple[int, int, int, int],
    scale: int | None,
    crop: bool,
    canvas: str,
    position: tuple[int, int] | None,
    size: float | None,
) -> None:
    values: dict[str, object] = {"canvas": canvas, "crop": crop}
    if scale is not None and not crop:
        values["scale"] = f"{scale}%"
    if position is not None and not (crop and canvas == "original"):
        values["position"] = f"{position[0]}% {position[1]}%"
    if size is not None and canvas in ("original", "square"):
        values["size"] = size
    subject = Box(*box)
    frame = plan(subject=subject, **values)
    left, top, width, height = landed(frame, subject)
    assert left >= 0
    assert top >= 0
    assert left + width <= frame.width
    assert top + height <= frame.height
    if size is not None and "size" in values:
        # rounding to whole pixels may add one a side
        assert (frame.width - 1) * (frame.height - 1) <= size * 1e6


def test_the_searched_region() -> None:
    assert region(Options(), 40, 30) == Box(0, 0, 40, 30)
    assert region(Options.parse({"roi": "10px 0px 50% 100%"}), 40, 30) == Box(10, 0, 10, 30)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"roi": "0px 0px 401px 20px"}, "roi"),
        ({"roi": "50% 0% 120px 100%"}, "roi"),
        ({"roi": "0% 0% 0.01% 100%"}, "roi"),
        ({"canvas": "8000x8000"}, "canvas"),
    ],
)
def test_what_is_refused_before_the_subject_is_known(values: dict[str, object], field: str) -> None:
    with pytest.raises(CutoutError) as caught:
        check_frame(Options.parse(values), WIDTH, HEIGHT, Limits(max_pixels=1_000_000))
    assert (caught.value.code, caught.value.field) == (ErrorCode.INVALID_OPTION, field)


def test_what_is_refused_once_the_subject_is_known() -> None:
    small = Limits(max_pixels=WIDTH * HEIGHT)
    for values, limits, field in (
        ({"crop": "on", "margin": "500px"}, small, "margin"),
        ({"crop": "on", "margin": "500px", "canvas": "900x900"}, LIMITS, "margin"),
    ):
        with pytest.raises(CutoutError) as caught:
            plan_frame(Options.parse(values), WIDTH, HEIGHT, SubjectBoxes(SUBJECT, SUBJECT), limits)
        assert (caught.value.code, caught.value.field) == (ErrorCode.INVALID_OPTION, field)

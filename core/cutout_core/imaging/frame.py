"""Geometry of a result that has a frame of its own: canvas, crop, scale and position to one mapping. No pixels.

A subject has two boxes: its own, of every pixel of at least 50 % alpha, as META tells it, which `scale` and `position`
go by; and the visible one, of every pixel of at least 5 %, which `crop` keeps and nothing cuts: no hair is lost.
The box that counts lands on whole pixels of the result; only for that does the scale differ between across and down, by
less than a pixel over the box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from cutout_core.contract import Box, CutoutError, ErrorCode, Limits, Options
from cutout_core.imaging.resize import result_size

#: Enlarged this many times, across and down, or more, a subject looks soft.
SOFT = 2.0


@dataclass(frozen=True, slots=True)
class Frame:
    """A result of `width` × `height` pixels. The photo's point (x, y) lies at (left + scale_x · x, top + scale_y · y).

    enlarged: how many times larger than in the photo the subject is, 1 where it is not.
    """

    width: int
    height: int
    scale_x: float
    scale_y: float
    left: float
    top: float

    @property
    def enlarged(self) -> float:
        return max(1.0, min(self.scale_x, self.scale_y))


def region(options: Options, width: int, height: int) -> Box:
    """The part of an upright photo of `width` × `height` pixels in which the subject is searched.

    Raises `CutoutError` INVALID_OPTION for `roi` where it is empty or leaves the photo.
    """
    if options.roi is None:
        return Box(0, 0, width, height)
    wholes = (width, height, width, height)
    left, top, right, bottom = (round(e.pixels(whole)) for e, whole in zip(options.roi, wholes, strict=True))
    if right > width or bottom > height:
        raise _refused("roi", f"'roi' exceeds the photo of {width} × {height} pixels.")
    if right <= left or bottom <= top:
        raise _refused("roi", f"'roi' is empty on a photo of {width} × {height} pixels.")
    return Box(left, top, right - left, bottom - top)


def check_frame(options: Options, width: int, height: int, limits: Limits) -> int:
    """What of the geometry can be checked before the subject is known; returns the canvas' pixels.

    Raises `CutoutError` INVALID_OPTION for `roi` or `canvas`.
    """
    region(options, width, height)
    columns, rows = _canvas(options, width, height)
    if columns * rows > limits.max_pixels:
        raise _refused("canvas", f"The canvas would have {columns} × {rows} pixels; the limit is {limits.max_pixels}.")
    return columns * rows


@dataclass(frozen=True, slots=True)
class SubjectBoxes:
    """In pixels of the photo. own: alpha of at least 50 %. visible: of at least 5 %."""

    own: Box
    visible: Box


def plan_frame(options: Options, width: int, height: int, subject: SubjectBoxes | None, limits: Limits) -> Frame:
    """The frame for a photo of `width` × `height` pixels and its subject, None where there is none.

    Without a subject nothing is cropped, scaled or moved; the canvas is as asked.
    Raises `CutoutError` INVALID_OPTION where the result had too many pixels, or margins that leave no room.
    """
    whole = Box(0, 0, width, height)
    if options.crop and subject is not None:
        frame = _cropped(options, subject.visible)
    elif subject is not None and (options.scale is not None or isinstance(options.position, tuple)):
        frame = _placed(options, whole, subject.own, subject.visible)
    else:
        frame = _fitted(options, whole)
    if frame.width * frame.height > limits.max_pixels:
        raise _refused(
            "margin" if options.crop else "canvas",
            f"The result would have {frame.width} × {frame.height} pixels; the limit is {limits.max_pixels}.",
        )
    return frame


def _cropped(options: Options, subject: Box) -> Frame:
    """Margins in pixels are the result's own, those in percent grow with the subject."""
    top, right, bottom, left = options.margin
    shares = [m.value / 100 if m.unit == "%" else 0.0 for m in (left, right, top, bottom)]
    fixed = [m.value if m.unit == "px" else 0.0 for m in (left, right, top, bottom)]
    scale = 1.0
    if isinstance(options.canvas, tuple):
        columns, rows = options.canvas
        room = columns - fixed[0] - fixed[1], rows - fixed[2] - fixed[3]
        scale = min(
            room[0] / (subject.width * (1 + shares[0] + shares[1])),
            room[1] / (subject.height * (1 + shares[2] + shares[3])),
        )
        if min(room) < 1:
            raise _refused("margin", "The margins leave no room for the subject in the canvas.")
    before_x, after_x, before_y, after_y = (
        share * scale * side + pixels
        for share, pixels, side in zip(shares, fixed, (subject.width,) * 2 + (subject.height,) * 2, strict=True)
    )
    size = scale * subject.width + before_x + after_x, scale * subject.height + before_y + after_y
    if isinstance(options.canvas, tuple):
        canvas: tuple[float, float] = options.canvas
    else:
        canvas = (max(size), max(size)) if options.canvas == "square" else size
        limit = result_size(round(canvas[0]), round(canvas[1]), options.size)
        shrink = min(1.0, limit[0] / canvas[0], limit[1] / canvas[1])
        scale, before_x, before_y = scale * shrink, before_x * shrink, before_y * shrink
        size, canvas = (size[0] * shrink, size[1] * shrink), (canvas[0] * shrink, canvas[1] * shrink)
    across, down = options.position if isinstance(options.position, tuple) else (50.0, 50.0)
    left_px = (canvas[0] - size[0]) * across / 100 + before_x
    top_px = (canvas[1] - size[1]) * down / 100 + before_y
    return _anchored(canvas, subject, scale, left_px, top_px)


def _placed(options: Options, whole: Box, subject: Box, visible: Box) -> Frame:
    """The subject scaled to its share of the canvas, and at its position; less, where something visible were cut."""
    canvas, fit = _sized(options, whole)
    scale = fit
    if options.scale is not None:
        share = options.scale / 100
        scale = min(
            share * canvas[0] / subject.width,
            share * canvas[1] / subject.height,
            canvas[0] / visible.width,
            canvas[1] / visible.height,
        )
    room = canvas[0] - scale * subject.width, canvas[1] - scale * subject.height
    if options.position == "original":
        centre_x = (canvas[0] - fit * whole.width) / 2 + fit * (subject.left + subject.width / 2)
        centre_y = (canvas[1] - fit * whole.height) / 2 + fit * (subject.top + subject.height / 2)
        left, top = centre_x - scale * subject.width / 2, centre_y - scale * subject.height / 2
    else:
        across, down = options.position or (50.0, 50.0)
        left, top = room[0] * across / 100, room[1] * down / 100
    least_x, least_y = scale * (subject.left - visible.left), scale * (subject.top - visible.top)
    left = min(max(left, least_x), canvas[0] - scale * visible.width + least_x)
    top = min(max(top, least_y), canvas[1] - scale * visible.height + least_y)
    return _anchored(canvas, subject, scale, left, top)


def _fitted(options: Options, whole: Box) -> Frame:
    """The whole photo in the middle of the canvas."""
    canvas, fit = _sized(options, whole)
    left, top = (canvas[0] - fit * whole.width) / 2, (canvas[1] - fit * whole.height) / 2
    return _anchored(canvas, whole, fit, left, top)


def _sized(options: Options, whole: Box) -> tuple[tuple[int, int], float]:
    """The canvas, and the scale at which the whole photo fits it."""
    columns, rows = _canvas(options, whole.width, whole.height)
    if isinstance(options.canvas, tuple):
        return (columns, rows), min(columns / whole.width, rows / whole.height)
    limit = result_size(columns, rows, options.size)
    return limit, min(1.0, limit[0] / columns, limit[1] / rows)


def _canvas(options: Options, width: int, height: int) -> tuple[int, int]:
    if isinstance(options.canvas, tuple):
        return options.canvas
    return (max(width, height),) * 2 if options.canvas == "square" else (width, height)


def _anchored(canvas: tuple[float, float], anchor: Box, scale: float, left: float, top: float) -> Frame:
    """The frame in which `anchor` lies on whole pixels, as near as can be to where it is wanted."""
    columns, rows = max(1, round(canvas[0])), max(1, round(canvas[1]))
    width = min(columns, max(1, round(scale * anchor.width)))
    height = min(rows, max(1, round(scale * anchor.height)))
    x, y = min(round(left), columns - width), min(round(top), rows - height)
    scale_x, scale_y = width / anchor.width, height / anchor.height
    return Frame(columns, rows, scale_x, scale_y, x - scale_x * anchor.left, y - scale_y * anchor.top)


def _refused(name: str, message: str) -> CutoutError:
    return CutoutError(ErrorCode.INVALID_OPTION, message, field=name)


def source_span(frame: Frame, content: Box, origin: tuple[int, int]) -> tuple[int, int, int, int]:
    """What of `content` the frame shows: left, top, right, bottom. Its pixels plus `origin` are the photo's."""
    return (
        max(content.left, math.floor(-frame.left / frame.scale_x) - origin[0]),
        max(content.top, math.floor(-frame.top / frame.scale_y) - origin[1]),
        min(content.left + content.width, math.ceil((frame.width - frame.left) / frame.scale_x) - origin[0]),
        min(content.top + content.height, math.ceil((frame.height - frame.top) / frame.scale_y) - origin[1]),
    )

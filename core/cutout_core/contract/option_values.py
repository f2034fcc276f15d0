"""Values of options as callers write them: text to value, and back to the text that gives the same value.

Every reader raises `CutoutError` INVALID_OPTION with the option's name.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from cutout_core.contract.colors import parse_color
from cutout_core.contract.errors import CutoutError, ErrorCode
from cutout_core.contract.limits import Limits

#: Spellings of the options that are on or off.
FLAGS = {"on": True, "true": True, "off": False, "false": False}
#: Other spellings of values.
ALIASES = {"jpg": "jpeg"}

#: Longest side of an explicit canvas, pixels.
MAX_CANVAS_SIDE = 10_000
#: Most pixels of an explicit canvas; a server with a lower limit on photos has that for results too.
MAX_CANVAS_PIXELS = Limits().max_pixels
#: Largest margin of one side: a share of the subject, or pixels.
MAX_MARGIN_PERCENT, MAX_MARGIN_PX = 50.0, 500.0
#: Opacity of a soft shadow that names none, percent.
SHADOW_OPACITY = 35.0
MAX_DPI = 9600
#: Longest file that may be asked for, bytes.
MAX_MAX_BYTES = 1 << 30

#: None for transparent, (r, g, b, a) in 0..255, or "image" for the picture that comes with the request.
Background = tuple[int, int, int, int] | Literal["image"] | None
#: The photo's own size, a square as large as its longer side, or (width, height) in pixels.
Canvas = tuple[int, int] | Literal["original", "square"]

#: Percent across and down, or where the photo had the subject.
Position = tuple[float, float] | Literal["original"]

_LENGTH = re.compile(r"(\d{1,9}(?:\.\d{1,4})?)(px|%)", re.ASCII)
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,4})?)%", re.ASCII)
_CANVAS = re.compile(r"(\d{1,6})\s*[x×]\s*(\d{1,6})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Length:
    """A length in pixels (`px`) or as a share of something in percent (`%`)."""

    value: float
    unit: str

    def __str__(self) -> str:
        return f"{self.value!r}{self.unit}"

    def pixels(self, whole: float) -> float:
        """In pixels, where 100 % is `whole`."""
        return self.value if self.unit == "px" else self.value * whole / 100


#: left, top, right, bottom of the photo.
Roi = tuple[Length, Length, Length, Length]
#: top, right, bottom, left.
Margin = tuple[Length, Length, Length, Length]


def refuse(name: str, message: str) -> CutoutError:
    """The error of a value that is not allowed."""
    return CutoutError(ErrorCode.INVALID_OPTION, message, field=name)


def as_text(name: str, value: Any) -> str:
    """A raw value as text; numbers and booleans come from JSON."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int | float):
        return repr(value)
    raise refuse(name, f"The value of {name!r} is neither text nor a number.")


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    """A word of a list, in any case."""
    lowered = ALIASES.get(value.lower(), value.lower())
    if lowered not in allowed:
        words = [*allowed, *(alias for alias, word in ALIASES.items() if word in allowed)]
        raise refuse(name, f"{name!r} is {value[:40]!r}; allowed are {', '.join(words)}.")
    return lowered


def flag(name: str, value: str) -> bool:
    """on or off."""
    found = FLAGS.get(value.lower())
    if found is None:
        raise refuse(name, f"{name!r} is {value[:40]!r}; allowed are on and off.")
    return found


def background(name: str, value: str) -> Background:
    """transparent, image, or a colour."""
    if value.lower() == "transparent":
        return None
    if value.lower() == "image":
        return "image"
    color = parse_color(value)
    if color is None:
        raise refuse(
            name,
            f"{name!r} is {value[:40]!r}; allowed are transparent, a hex colour, a CSS colour name, or image where one "
            "comes along.",
        )
    return color


def megapixels(name: str, value: str) -> float:
    """A size in 10⁶ pixels."""
    try:
        size = float(value)
    except ValueError:
        size = math.nan
    if not (math.isfinite(size) and 0.0001 <= size <= 1000):
        raise refuse(name, f"{name!r} is {value[:40]!r}; it takes megapixels from 0.0001 to 1000.")
    return size


def whole_number(name: str, value: str, least: int, most: int) -> int:
    """A whole number from `least` to `most`."""
    if not (value.isascii() and value.isdigit() and len(value) <= 12 and least <= int(value) <= most):
        raise refuse(name, f"{name!r} is {value[:40]!r}; it takes a whole number from {least} to {most}.")
    return int(value)


def roi(name: str, value: str) -> Roi | None:
    """`x1 y1 x2 y2`, each with its unit; None for the whole photo."""
    lengths = _lengths(name, value, "four lengths such as '10% 0% 90% 100%' or '40px 0px 900px 600px'", {4})
    if any(length.unit == "%" and length.value > 100 for length in lengths):
        raise refuse(name, f"{name!r} is {value[:60]!r}: percentages go from 0% to 100%.")
    left, top, right, bottom = lengths
    for low, high in ((left, right), (top, bottom)):
        if low.unit == high.unit and low.value >= high.value:
            raise refuse(name, f"{name!r} is {value[:60]!r}: the region is empty; it takes 'x1 y1 x2 y2'.")
    whole = all(low == 0 for low in (left.value, top.value)) and all(str(h) == "100.0%" for h in (right, bottom))
    return None if whole else (left, top, right, bottom)


def margin(name: str, value: str) -> Margin:
    """1, 2 (top and bottom, left and right) or 4 (top, right, bottom, left) lengths."""
    lengths = _lengths(name, value, "1, 2 or 4 lengths such as '30px' or '10% 5%'", {1, 2, 4})
    for length in lengths:
        most = MAX_MARGIN_PX if length.unit == "px" else MAX_MARGIN_PERCENT
        if length.value > most:
            raise refuse(name, f"{name!r} is {value[:60]!r}; a side takes at most {most:g}{length.unit}.")
    top, right, bottom, left = (lengths * (4 // len(lengths)))[:4]
    return top, right, bottom, left


def percent(name: str, value: str, least: float, most: float, hint: str = "") -> float:
    """A percentage with its sign, from `least` to `most`."""
    match = _PERCENT.fullmatch(value)
    if match is None or not least <= float(match.group(1)) <= most:
        raise refuse(name, f"{name!r} is {value[:40]!r}; it takes {hint}{least:g}% to {most:g}%.")
    return float(match.group(1))


def scale(name: str, value: str) -> float | None:
    """original (None), or the subject's size in percent of the canvas."""
    return None if value.lower() == "original" else percent(name, value, 10, 100, "original or ")


def position(name: str, value: str) -> Position:
    """original, center, `N%` or `N% N%` (across, down)."""
    if value.lower() == "original":
        return "original"
    if value.lower() == "center":
        return 50.0, 50.0
    parts = value.split()
    if len(parts) not in (1, 2):
        raise refuse(name, f"{name!r} is {value[:40]!r}; it takes original, center, 'N%' or 'N% N%'.")
    across, down = (percent(name, part, 0, 100, "original, center, or one or two of ") for part in (parts * 2)[:2])
    if len(parts) == 2:
        down = percent(name, parts[1], 0, 100)
    return across, down


def canvas(name: str, value: str) -> Canvas:
    """original, square or `WxH` in pixels."""
    lowered = value.lower()
    if lowered == "original":
        return "original"
    if lowered == "square":
        return "square"
    match = _CANVAS.fullmatch(lowered)
    if match is None:
        raise refuse(name, f"{name!r} is {value[:40]!r}; it takes original, square or a size such as 2000x2000.")
    width, height = int(match.group(1)), int(match.group(2))
    if not (1 <= width <= MAX_CANVAS_SIDE and 1 <= height <= MAX_CANVAS_SIDE and width * height <= MAX_CANVAS_PIXELS):
        raise refuse(
            name,
            f"{name!r} is {value[:40]!r}; a side takes 1 to {MAX_CANVAS_SIDE} pixels, and both together at most "
            f"{MAX_CANVAS_PIXELS} pixels.",
        )
    return width, height


def shadow(name: str, value: str) -> float | None:
    """none (None), soft, or `soft N%`; the opacity in percent."""
    word, _, opacity = value.lower().partition(" ")
    if word == "none" and not opacity:
        return None
    if word != "soft":
        raise refuse(name, f"{name!r} is {value[:40]!r}; it takes none, soft or 'soft 40%'.")
    return percent(name, opacity.strip(), 1, 100) if opacity else SHADOW_OPACITY


def write(name: str, value: Any) -> Any:
    """The JSON value that is read back as `value`; for the values of `Options`."""
    if name in ("output", "quality", "mode", "icc", "channels", "alpha", "preset") or isinstance(value, bool):
        return value
    if name == "background":
        if isinstance(value, tuple):
            return "#" + "".join(f"{channel:02x}" for channel in value)
        return value or "transparent"
    if name == "canvas":
        return value if isinstance(value, str) else f"{value[0]}x{value[1]}"
    if name == "roi":
        return "0% 0% 100% 100%" if value is None else " ".join(map(str, value))
    if name == "margin":
        return " ".join(map(str, value))
    if name == "scale":
        return "original" if value is None else f"{value!r}%"
    if name == "position":
        return value if isinstance(value, str) else " ".join(f"{part!r}%" for part in value)
    if name == "shadow":
        return "none" if value is None else f"soft {value!r}%"
    return value


def _lengths(name: str, value: str, what: str, counts: set[int]) -> list[Length]:
    parts = value.split()
    found = [_LENGTH.fullmatch(part) for part in parts]
    if len(parts) not in counts or not all(found):
        raise refuse(name, f"{name!r} is {value[:60]!r}; it takes {what}, each with its unit (px or %).")
    return [Length(float(match.group(1)), match.group(2)) for match in found if match]

"""What remove.bg's fields mean here: names, values and defaults of its API, version 1.0, to our options. No HTTP.

A refusal names remove.bg's own field; `removebg_errors` gives it remove.bg's code.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from cutout_core.contract import CutoutError, ErrorCode, option_values
from cutout_core.contract.colors import parse_color

#: Field to its one line of help, for OpenAPI. The three sources and the files are not options.
FIELDS = {
    "size": "Largest result: `preview` (0.25 megapixels; also `small`, `regular`), `medium` (1.5), `hd` (4), `full` "
    "(25; also `4k`, `auto`), `50MP`. It never enlarges.",
    "type": "What the subject is: `auto`, `person`, `product`, `car`, `animal`, `graphic`, `transportation`, `other`.",
    "type_level": "Detail of `X-Type`: `1`, `2`, `latest`, or `none` for no such header.",
    "format": "`auto` (`jpg` on an opaque background, else `png`), `png`, `jpg`, `webp`, `zip`.",
    "roi": "Region of the subject, `x1 y1 x2 y2`, in `px` or `%`.",
    "crop": "`true`: cut to the subject and its margin.",
    "crop_margin": "Margin of a crop: `30px` or `10%`, as 1, 2 or 4 values.",
    "scale": "Size of the subject: `original`, or `10%` to `100%` of the picture. Not with `crop`.",
    "position": "Place of the subject: `original`, `center`, `N%` or `N% N%`. Not with `crop`.",
    "channels": "`rgba`, or `alpha` for the mask.",
    "add_shadow": "`true`: a soft shadow.",
    "shadow_type": "`none`, `drop` or `auto` (both a soft shadow).",
    "shadow_opacity": "Opacity of the shadow, 0 to 100.",
    "semitransparency": "`false`: the inside of the subject becomes opaque.",
    "bg_color": "Colour behind the subject: hex with 3, 4, 6 or 8 digits, or a name.",
}
#: Fields of `/improve`, beside the source.
IMPROVE_FIELDS = ("image_filename", "tag")
#: Fields of old clients that remove.bg itself looks at no longer.
IGNORED = frozenset({"shadow_method"})

#: Largest result of each `size`, megapixels.
SIZES = {
    "preview": 0.25,
    "small": 0.25,
    "regular": 0.25,
    "medium": 1.5,
    "hd": 4.0,
    "full": 25.0,
    "4k": 25.0,
    "auto": 25.0,
    "50mp": 50.0,
}
#: What `size=full` gives at most, megapixels; `X-Max-Width` and `-Height` tell it.
FULL = SIZES["full"]

#: `type` to our mode, and to `X-Type` at level 1 and level 2.
TYPES = {
    "auto": ("auto", "", ""),
    "person": ("portrait", "person", "person"),
    "product": ("product", "product", "product"),
    "animal": ("object", "animal", "animal"),
    "car": ("product", "car", "car"),
    "car_interior": ("product", "car", "car_interior"),
    "car_part": ("product", "car", "car_part"),
    "transportation": ("product", "other", "transportation"),
    "graphic": ("product", "other", "graphics"),
    "graphics": ("product", "other", "graphics"),
    "other": ("object", "other", "other"),
}
#: The mode that was found to `X-Type`.
_TYPE_OF_MODE = {"portrait": "person", "product": "product", "object": "other"}

_FORMATS = {"auto": "auto", "png": "png", "jpg": "jpeg", "jpeg": "jpeg", "webp": "webp", "zip": "zip"}
_FLAGS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_SHADOW_TYPES = {"none": False, "drop": True, "auto": True}
_BARE_NUMBER = re.compile(r"\d{1,9}(?:\.\d{1,4})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request's fields, understood. options: ours. type_level: 1, 2, or None for no `X-Type`. type: as given.

    max_megapixels: of `size=full` in this format.
    """

    options: dict[str, str]
    type: str
    type_level: int | None
    max_megapixels: float

    def x_type(self, mode: str) -> str | None:
        """`X-Type` of a result of that mode (empty where no matting ran); None for no such header."""
        if self.type_level is None:
            return None
        named = TYPES[self.type][self.type_level]
        return named or _TYPE_OF_MODE.get(mode, "other")


def to_wanted(values: Mapping[str, str], *, background: bool, quality: str, png_megapixels: float) -> Wanted:
    """Our options for remove.bg's fields.

    values: the fields without sources and files; an empty one counts as absent. background: whether a picture for the
    background comes along. quality: of every request. png_megapixels: the largest PNG.

    Raises `CutoutError` UNKNOWN_OPTION or INVALID_OPTION, the field being remove.bg's own name.
    """
    given = {name: value.strip() for name, value in values.items() if value.strip() and name not in IGNORED}
    _check_names(given, FIELDS)
    mode, _, _ = TYPES[kind := _word(given, "type", "auto", TYPES)]
    color = _color(given)
    output = _output(given, color, background)
    megapixels = SIZES[_word(given, "size", "preview", SIZES)]
    limit = FULL
    if output == "png":
        megapixels, limit = min(megapixels, png_megapixels), min(limit, png_megapixels)
    options = {"quality": quality, "output": output, "size": repr(megapixels)}
    if quality != "fast":
        options["mode"] = mode
    if "roi" in given:
        options["roi"] = _with_units(given["roi"])
    options |= _frame(given)
    channels = _word(given, "channels", "rgba", {"rgba": 0, "alpha": 0})
    if channels == "alpha":
        options["channels"] = "alpha"
    shadow = _shadow(given)
    if shadow:
        options["shadow"] = shadow
    if not _flag(given, "semitransparency", True):
        options["semitransparency"] = "off"
    if color is not None:
        options["background"] = "#" + "".join(f"{channel:02x}" for channel in _flattened(color, output))
    _check_grey_or_zip(channels == "alpha", output == "zip", color is not None or background, bool(shadow))
    level = _word(given, "type_level", "1", {"none": 0, "1": 1, "2": 2, "latest": 2})
    return Wanted(options, kind, {"none": None, "1": 1}.get(level, 2), limit)


def check_improvement(values: Mapping[str, str]) -> None:
    """Raises `CutoutError` UNKNOWN_OPTION for a field of `/improve` that does not exist."""
    _check_names(values, IMPROVE_FIELDS)


def prefers_json(accept: str) -> bool:
    """Whether an `Accept` header (RFC 9110, section 12.5.1) wants JSON more than an image.

    On a tie it is the image: many HTTP libraries send `application/json, text/plain, */*` whatever they want.
    """
    json, image = 0.0, 0.0
    for entry in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in entry.split(";"))
        quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        weight = float(quality) if re.fullmatch(r"[01](\.\d{0,3})?", quality) else 0.0
        if kind == "application/json":
            json = max(json, weight)
        elif kind == "*/*" or kind.startswith("image/") or kind in ("application/zip", "application/octet-stream"):
            image = max(image, weight)
    return json > image


def _check_names(given: Mapping[str, str], known: Collection[str]) -> None:
    for name in given:
        if name not in known:
            raise CutoutError(ErrorCode.UNKNOWN_OPTION, f"There is no field {name[:40]!r}.", field=name[:40])


def _refuse(field: str, message: str) -> CutoutError:
    return CutoutError(ErrorCode.INVALID_OPTION, message, field=field)


def _word(given: Mapping[str, str], name: str, default: str, allowed: Mapping[str, object]) -> str:
    value = given.get(name, default).lower()
    if value not in allowed:
        raise _refuse(name, f"{name!r} is {value[:40]!r}; allowed are {', '.join(allowed)}.")
    return value


def _flag(given: Mapping[str, str], name: str, default: bool) -> bool:
    return _FLAGS[_word(given, name, "true" if default else "false", _FLAGS)]


def _color(given: Mapping[str, str]) -> tuple[int, int, int, int] | None:
    """The background's colour; None where it is absent or entirely transparent."""
    text = given.get("bg_color", "transparent")
    if text.lower() == "transparent":
        return None
    color = parse_color(text)
    if color is None:
        raise _refuse("bg_color", f"'bg_color' is {text[:40]!r}; it takes a hex code or a colour name.")
    return color if color[3] else None


def _output(given: Mapping[str, str], color: tuple[int, int, int, int] | None, background: bool) -> str:
    output = _FORMATS[_word(given, "format", "auto", _FORMATS)]
    if output != "auto":
        return output
    opaque = background or (color is not None and color[3] == 255)
    return "jpeg" if opaque and given.get("channels", "rgba").lower() == "rgba" else "png"


def _flattened(color: tuple[int, int, int, int], output: str) -> tuple[int, int, int, int]:
    """A JPEG's background is opaque: the colour as it looks on white."""
    if output != "jpeg":
        return color
    red, green, blue = (round((channel * color[3] + 255 * (255 - color[3])) / 255) for channel in color[:3])
    return red, green, blue, 255


def _with_units(lengths: str) -> str:
    """Lengths with `px` where they have no unit: several clients send `0 0 100% 100%`."""
    return " ".join(f"{part}px" if _BARE_NUMBER.fullmatch(part) else part for part in lengths.split())


def _frame(given: Mapping[str, str]) -> dict[str, str]:
    """Crop, scale and position."""
    scale, position = given.get("scale", "original").lower(), given.get("position", "original").lower()
    margin = _with_units(given.get("crop_margin", "0"))
    option_values.margin("crop_margin", margin)  # without a crop it has no effect, but is no free text either
    if not _flag(given, "crop", False):
        frame = {"scale": scale} if scale != "original" else {}
        if "position" in given:
            frame["position"] = position
        return frame
    if scale != "original":
        raise _refuse("scale", "A crop and its margin decide the subject's size: leave 'scale' or 'crop' out.")
    if position not in ("original", "center"):
        raise _refuse("position", "A cropped subject fills the picture: leave 'position' or 'crop' out.")
    return {"crop": "on", "margin": margin}


def _shadow(given: Mapping[str, str]) -> str:
    """Our option's value; empty for no shadow."""
    kind = given.get("shadow_type", "").lower()
    if kind and kind not in _SHADOW_TYPES:
        raise _refuse("shadow_type", f"'shadow_type' is {kind[:40]!r}; there are {', '.join(_SHADOW_TYPES)} here.")
    added = _flag(given, "add_shadow", False)
    opacity = given.get("shadow_opacity", "")
    if opacity and not (opacity.isascii() and opacity.isdigit() and len(opacity) <= 3 and int(opacity) <= 100):
        raise _refuse("shadow_opacity", "'shadow_opacity' takes a whole number from 0 to 100.")
    if not (_SHADOW_TYPES[kind] if kind else added) or (opacity and int(opacity) == 0):
        return ""
    return f"soft {int(opacity)}%" if opacity else "soft"


def _check_grey_or_zip(grey: bool, archive: bool, background: bool, shadow: bool) -> None:
    if grey and archive:
        raise _refuse("format", "A zip holds colours and alpha: take another 'format' for 'channels=alpha'.")
    if not (grey or archive):
        return
    what = "A zip holds colours and alpha" if archive else "With 'channels=alpha' the result is the mask"
    field = "format" if archive else "channels"
    if background:
        raise _refuse(field, f"{what}: a background cannot be in it.")
    if shadow:
        raise _refuse(field, f"{what}: a shadow cannot be in it.")

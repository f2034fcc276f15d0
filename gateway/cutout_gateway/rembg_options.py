"""What rembg's HTTP parameters mean here. Names, defaults and ranges are those of its server."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

from cutout_core.contract import CutoutError, ErrorCode

#: rembg's model name to our quality without and with alpha matting (`a`), and our mode. Where the first choice was not
#: installed, the next one serves; there is none where that would be less than what the name stands for.
MODELS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "u2netp": (("fast",), ("standard",), "auto"),
    "silueta": (("standard",), ("standard",), "auto"),
    "u2net": (("high", "standard"), ("high", "standard"), "auto"),
    "u2net_human_seg": (("high", "standard"), ("high", "standard"), "portrait"),
    "isnet-general-use": (("high",), ("high",), "auto"),
}
DEFAULT_MODEL = "u2net"

#: Parameter to its one line of help, for OpenAPI.
PARAMETERS = {
    "model": "Model name; which there are depends on what is installed.",
    "a": "Alpha matting: with `u2netp` it chooses quality `standard` instead of `fast`; the others have it anyway.",
    "af": "0–255; checked, and without effect: the matting network needs no thresholds.",
    "ab": "0–255; checked, and without effect.",
    "ae": "From 0; checked, and without effect.",
    "om": "Only the mask, as 8-bit grey PNG; `bgc` is then without effect.",
    "ppm": "Post-process the mask: specks are removed, pinholes filled, jagged edges smoothed.",
    "bgc": "Background colour `R,G,B,A`, each 0–255.",
    "extras": "A JSON object; only an empty one is accepted.",
}

_TRUE = frozenset(("1", "true", "t", "yes", "y", "on"))
_FALSE = frozenset(("0", "false", "f", "no", "n", "off"))


def to_options(values: Mapping[str, str], absent: Collection[str]) -> dict[str, str]:
    """Our options for rembg's parameters. `absent`: qualities that were not installed.

    Raises `CutoutError` UNKNOWN_OPTION or INVALID_OPTION, the field being rembg's own name.
    """
    for name in values:
        if name not in PARAMETERS:
            raise CutoutError(
                ErrorCode.UNKNOWN_OPTION,
                f"There is no parameter {name[:40]!r}; known are {', '.join(PARAMETERS)}.",
                field=name[:40],
            )
    matting = _flag(values, "a")
    for name, highest in (("af", 255), ("ab", 255), ("ae", 100_000)):
        _whole(values, name, highest)
    _no_extras(values.get("extras", ""))
    quality, mode = _quality(values.get("model", DEFAULT_MODEL), matting, absent)
    options = {"output": "png", "quality": quality, "cleanup": "on" if _flag(values, "ppm") else "off"}
    if quality != "fast":
        options["mode"] = mode
    background = _background(values.get("bgc", ""))
    if _flag(values, "om"):
        options["output"] = "mask"
    elif background:
        options["background"] = background
    return options


def served_models(absent: Collection[str]) -> list[str]:
    """The model names that this server knows, given the qualities that it lacks."""
    return [name for name, (plain, _, _) in MODELS.items() if any(quality not in absent for quality in plain)]


def _quality(model: str, matting: bool, absent: Collection[str]) -> tuple[str, str]:
    if model in MODELS:
        plain, matted, mode = MODELS[model]
        for quality in matted if matting else plain:
            if quality not in absent:
                return quality, mode
    raise CutoutError(
        ErrorCode.INVALID_OPTION,
        f"Model {model[:40]!r} is not served here; there are {', '.join(served_models(absent))}.",
        field="model",
    )


def _flag(values: Mapping[str, str], name: str) -> bool:
    value = values.get(name, "false").strip().lower()
    if value not in _TRUE | _FALSE:
        raise CutoutError(ErrorCode.INVALID_OPTION, f"{name!r} takes true or false.", field=name)
    return value in _TRUE


def _whole(values: Mapping[str, str], name: str, highest: int) -> None:
    value = values.get(name, "0").strip()
    if not (value.isascii() and value.isdigit() and len(value) <= 9 and int(value) <= highest):
        raise CutoutError(ErrorCode.INVALID_OPTION, f"{name!r} takes a whole number of 0 to {highest}.", field=name)


def _background(value: str) -> str:
    """`R,G,B,A` as `#rrggbbaa`; empty where there is none."""
    if not value.strip():
        return ""
    parts = [part.strip() for part in value.split(",")]
    if len(parts) != 4 or not all(part.isascii() and part.isdigit() and len(part) <= 3 for part in parts):
        raise CutoutError(ErrorCode.INVALID_OPTION, "'bgc' takes R,G,B,A, each 0 to 255.", field="bgc")
    channels = [int(part) for part in parts]
    if max(channels) > 255:
        raise CutoutError(ErrorCode.INVALID_OPTION, "'bgc' takes R,G,B,A, each 0 to 255.", field="bgc")
    return "#" + "".join(f"{channel:02x}" for channel in channels)


def _no_extras(text: str) -> None:
    if not text.strip():
        return
    try:
        extras = json.loads(text)
    except (ValueError, RecursionError):
        extras = None
    if not isinstance(extras, dict):
        raise CutoutError(ErrorCode.INVALID_OPTION, "'extras' is not a JSON object.", field="extras")
    if extras:
        names = ", ".join(repr(name[:40]) for name in list(extras)[:5])
        raise CutoutError(
            ErrorCode.INVALID_OPTION, f"'extras' has what is not supported here: {names}.", field="extras"
        )

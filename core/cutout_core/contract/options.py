"""The options of a request: one schema over gRPC, HTTP and the OPTIONS tensor.

Values arrive as strings (HTTP, gRPC) or as JSON values (the tensor). An unknown name, a value outside its list
or a contradiction is refused with the option's name; nothing is ignored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from cutout_core.contract.colors import parse_color
from cutout_core.contract.errors import CutoutError, ErrorCode
from cutout_core.contract.tensors import DEFAULT_QUALITY, ENSEMBLES, MODES

OUTPUTS = ("png", "webp", "jpeg", "mask")
ICC_MODES = ("keep", "srgb")
#: Values of the option `mode`.
MODE_CHOICES = ("auto", *MODES)

CONTENT_TYPES = {"png": "image/png", "webp": "image/webp", "jpeg": "image/jpeg", "mask": "image/png"}
FILE_SUFFIXES = {"png": ".png", "webp": ".webp", "jpeg": ".jpg", "mask": ".png"}

#: Other spellings of values.
_ALIASES = {"jpg": "jpeg"}
#: Spellings of the options that are on or off.
FLAGS = {"on": True, "true": True, "off": False, "false": False}

#: Longest OPTIONS text that is parsed, bytes.
MAX_OPTIONS_BYTES = 4096

#: Option name to one line of help, shown by the command line, /docs and the README's table.
OPTION_HELP = {
    "quality": "`standard` (default): segmentation, then matting of hair, fur and glass; `fast`: without matting; "
    "`high`: a stronger segmentation, and matting once more along the edge at the photo's own resolution. `high` is "
    "there only where it was installed (`make models HIGH=1`).",
    "mode": "What the subject is, for the matting: `product` (straight edges, little feathering), `portrait` (hair, "
    "soft shoulders), `object` (between the two) or `auto` (default, decided from the photo). Not with `fast`.",
    "output": "`png` (default, RGBA), `webp` (RGBA, lossless), `jpeg` or `jpg` (on a background) or `mask` (8-bit grey "
    "PNG).",
    "background": "`transparent` (default), `#rgb`, `#rgba`, `#rrggbb`, `#rrggbbaa` (`#` optional) or a CSS colour "
    "name. JPEG has no transparency and takes `white` by default.",
    "size": "Largest size of the result in megapixels, e.g. `1.5`; the default keeps the photo's own size. "
    "A result is never enlarged.",
    "decontaminate": "`on` (default): the old background's colour is taken out of mixed pixels of the edge; `off`: the "
    "photo's own colours.",
    "cleanup": "`on` (default): loose specks are removed, pinholes filled and jagged edges smoothed; `off`: the alpha "
    "as the networks gave it.",
    "icc": "`keep` (default): the photo's colour profile is embedded in the result; `srgb`: colours are converted.",
}


@dataclass(frozen=True, slots=True)
class Options:
    """Checked options. `background` is None for transparent, else (r, g, b, a) in 0..255.

    `size` is in megapixels (10⁶ pixels), None for the source's size.
    """

    quality: str = DEFAULT_QUALITY
    mode: str = "auto"
    output: str = "png"
    background: tuple[int, int, int, int] | None = None
    size: float | None = None
    decontaminate: bool = True
    cleanup: bool = True
    icc: str = "keep"

    @classmethod
    def parse(cls, values: Mapping[str, Any], quality: str = DEFAULT_QUALITY) -> Options:
        """Checks raw values; `quality` is what they mean where they name none.

        Raises `CutoutError` UNKNOWN_OPTION or INVALID_OPTION with the field's name.
        """
        known = {f.name for f in fields(cls)}
        for name in values:
            if name not in known:
                raise CutoutError(
                    ErrorCode.UNKNOWN_OPTION,
                    f"There is no option {name[:40]!r}; known are {', '.join(sorted(known))}.",
                    field=name[:40],
                )
        text = {name: _as_text(name, value) for name, value in values.items()}
        options = cls(
            quality=_one_of("quality", text.get("quality", quality), tuple(ENSEMBLES)),
            mode=_one_of("mode", text.get("mode", "auto"), MODE_CHOICES),
            output=_one_of("output", text.get("output", "png"), OUTPUTS),
            background=_background(text.get("background", "transparent")),
            size=_size(text["size"]) if "size" in text else None,
            decontaminate=_flag("decontaminate", text.get("decontaminate", "on")),
            cleanup=_flag("cleanup", text.get("cleanup", "on")),
            icc=_one_of("icc", text.get("icc", "keep"), ICC_MODES),
        )
        options._check_together(explicit_background="background" in text)
        return options

    @classmethod
    def from_json(cls, raw: bytes, quality: str = DEFAULT_QUALITY) -> Options:
        """Parses the OPTIONS tensor: empty, or a JSON object. `quality` and errors are those of `parse`."""
        if not raw:
            return cls(quality=quality)
        if len(raw) > MAX_OPTIONS_BYTES:
            raise CutoutError(
                ErrorCode.INVALID_OPTION,
                f"OPTIONS is longer than {MAX_OPTIONS_BYTES} bytes.",
                field="OPTIONS",
            )
        try:
            values = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise CutoutError(ErrorCode.INVALID_OPTION, "OPTIONS is not JSON.", field="OPTIONS") from error
        if not isinstance(values, dict):
            raise CutoutError(ErrorCode.INVALID_OPTION, "OPTIONS is not a JSON object.", field="OPTIONS")
        return cls.parse(values, quality)

    def to_json(self) -> bytes:
        """The OPTIONS tensor's bytes; empty for the defaults. `Options.from_json` gives an equal object."""
        defaults = asdict(Options())
        changed = {name: value for name, value in asdict(self).items() if value != defaults[name]}
        if self.background is not None:
            changed["background"] = "#" + "".join(f"{channel:02x}" for channel in self.background)
        return json.dumps(changed, separators=(",", ":")).encode() if changed else b""

    @property
    def content_type(self) -> str:
        return CONTENT_TYPES[self.output]

    @property
    def ensemble(self) -> str:
        """Name of the Triton ensemble that serves this quality."""
        return ENSEMBLES[self.quality]

    def _check_together(self, *, explicit_background: bool) -> None:
        if self.output == "jpeg" and self.background is None and explicit_background:
            raise CutoutError(
                ErrorCode.INVALID_OPTION,
                "JPEG has no transparency: give a colour or another output.",
                field="background",
            )
        if self.output == "jpeg" and self.background is not None and self.background[3] != 255:
            raise CutoutError(
                ErrorCode.INVALID_OPTION,
                "JPEG has no transparency: give an opaque colour.",
                field="background",
            )
        if self.output == "mask" and self.background is not None:
            raise CutoutError(ErrorCode.INVALID_OPTION, "A mask has no background.", field="background")
        if self.quality == "fast" and self.mode != "auto":
            raise CutoutError(
                ErrorCode.INVALID_OPTION,
                "Quality 'fast' has no matting, which 'mode' is for: leave one of the two out.",
                field="mode",
            )


def _as_text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int | float):
        return repr(value)
    raise CutoutError(ErrorCode.INVALID_OPTION, f"The value of {name!r} is neither text nor a number.", field=name)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    lowered = _ALIASES.get(value.lower(), value.lower())
    if lowered not in allowed:
        raise CutoutError(
            ErrorCode.INVALID_OPTION,
            f"{name!r} is {value[:40]!r}; allowed are {', '.join(allowed)}.",
            field=name,
        )
    return lowered


def _flag(name: str, value: str) -> bool:
    flag = FLAGS.get(value.lower())
    if flag is None:
        raise CutoutError(ErrorCode.INVALID_OPTION, f"{name!r} is {value[:40]!r}; allowed are on and off.", field=name)
    return flag


def _background(value: str) -> tuple[int, int, int, int] | None:
    if value.lower() == "transparent":
        return None
    color = parse_color(value)
    if color is None:
        raise CutoutError(
            ErrorCode.INVALID_OPTION,
            f"'background' is {value[:40]!r}; allowed are transparent, a hex colour or a CSS colour name.",
            field="background",
        )
    return color


def _size(value: str) -> float:
    try:
        size = float(value)
    except ValueError:
        size = math.nan
    if not (math.isfinite(size) and 0.0001 <= size <= 1000):
        raise CutoutError(
            ErrorCode.INVALID_OPTION,
            f"'size' is {value[:40]!r}; it takes megapixels from 0.0001 to 1000.",
            field="size",
        )
    return size

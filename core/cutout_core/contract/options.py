"""The options of a request: one schema over gRPC, HTTP and the OPTIONS tensor.

Values arrive as strings (HTTP, gRPC) or as JSON values (the tensor). An unknown name, a value outside its list
or a contradiction is refused with the option's name; nothing is ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from cutout_core.contract import option_values as read
from cutout_core.contract.errors import CutoutError, ErrorCode
from cutout_core.contract.option_values import FLAGS, Background, Canvas, Length, Margin, Position, Roi, refuse
from cutout_core.contract.presets import GIVES_WAY, PRESETS
from cutout_core.contract.tensors import DEFAULT_QUALITY, ENSEMBLES, MODES

__all__ = [
    "ALPHA_KINDS",
    "CHANNELS",
    "CONTENT_TYPES",
    "FILE_SUFFIXES",
    "FLAGS",
    "ICC_MODES",
    "MAX_OPTIONS_BYTES",
    "MODE_CHOICES",
    "OUTPUTS",
    "Options",
]

OUTPUTS = ("png", "webp", "jpeg", "mask", "zip")
ICC_MODES = ("keep", "srgb")
CHANNELS = ("rgba", "alpha")
ALPHA_KINDS = ("straight", "premultiplied")
#: Values of the option `mode`.
MODE_CHOICES = ("auto", *MODES)

CONTENT_TYPES = {
    "png": "image/png",
    "webp": "image/webp",
    "jpeg": "image/jpeg",
    "mask": "image/png",
    "zip": "application/zip",
}
FILE_SUFFIXES = {"png": ".png", "webp": ".webp", "jpeg": ".jpg", "mask": ".png", "zip": ".zip"}

#: Longest OPTIONS text that is parsed, bytes.
MAX_OPTIONS_BYTES = 4096

_NO_MARGIN = (Length(0.0, "px"),) * 4


@dataclass(frozen=True, slots=True)
class Options:
    """Checked options.

    background: None for transparent, (r, g, b, a) in 0..255, or "image" for the one that comes with the request.
    size: megapixels (10⁶ pixels), None for the source's size. roi: left, top, right, bottom, None for all.
    margin: top, right, bottom, left. scale: percent of the canvas, None for original. position: percent across and
    down or "original"; None, where none was given, is the centre with a scale and "original" without.
    shadow: opacity in percent, None without one.
    """

    quality: str = DEFAULT_QUALITY
    mode: str = "auto"
    output: str = "png"
    background: Background = None
    size: float | None = None
    roi: Roi | None = None
    crop: bool = False
    margin: Margin = _NO_MARGIN
    scale: float | None = None
    position: Position | None = None
    canvas: Canvas = "original"
    shadow: float | None = None
    channels: str = "rgba"
    alpha: str = "straight"
    semitransparency: bool = True
    max_bytes: int | None = None
    dpi: int | None = None
    preset: str | None = None
    decontaminate: bool = True
    cleanup: bool = True
    icc: str = "keep"

    @classmethod
    def parse(
        cls, values: Mapping[str, Any], quality: str = DEFAULT_QUALITY, *, background_image: bool | None = None
    ) -> Options:
        """Checks raw values; `quality` is what they mean where they name none.

        background_image: whether a picture for the background comes with them, None where that is not known yet.
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
        given = {name: read.as_text(name, value) for name, value in values.items()}
        if background_image:
            _check_one_background(given)
            given["background"] = "image"
        elif background_image is False and given.get("background", "").lower() == "image":
            raise refuse("background_image", "'background' is 'image', but no background_image comes along.")
        text = _expanded(given)
        options = cls._read(text, quality)
        options._check_together(given)
        return options

    @classmethod
    def _read(cls, text: Mapping[str, str], quality: str) -> Options:
        return cls(
            quality=read.one_of("quality", text.get("quality", quality), tuple(ENSEMBLES)),
            mode=read.one_of("mode", text.get("mode", "auto"), MODE_CHOICES),
            output=read.one_of("output", text.get("output", "png"), OUTPUTS),
            background=read.background("background", text.get("background", "transparent")),
            size=read.megapixels("size", text["size"]) if "size" in text else None,
            roi=read.roi("roi", text["roi"]) if "roi" in text else None,
            crop=read.flag("crop", text.get("crop", "off")),
            margin=read.margin("margin", text["margin"]) if "margin" in text else _NO_MARGIN,
            scale=read.scale("scale", text.get("scale", "original")),
            position=read.position("position", text["position"]) if "position" in text else None,
            canvas=read.canvas("canvas", text.get("canvas", "original")),
            shadow=read.shadow("shadow", text.get("shadow", "none")),
            channels=read.one_of("channels", text.get("channels", "rgba"), CHANNELS),
            alpha=read.one_of("alpha", text.get("alpha", "straight"), ALPHA_KINDS),
            semitransparency=read.flag("semitransparency", text.get("semitransparency", "on")),
            max_bytes=read.whole_number("max_bytes", text["max_bytes"], 1, read.MAX_MAX_BYTES)
            if "max_bytes" in text
            else None,
            dpi=read.whole_number("dpi", text["dpi"], 1, read.MAX_DPI) if "dpi" in text else None,
            preset=read.one_of("preset", text["preset"], tuple(PRESETS)) if "preset" in text else None,
            decontaminate=read.flag("decontaminate", text.get("decontaminate", "on")),
            cleanup=read.flag("cleanup", text.get("cleanup", "on")),
            icc=read.one_of("icc", text.get("icc", "keep"), ICC_MODES),
        )

    @classmethod
    def from_json(cls, raw: bytes, quality: str = DEFAULT_QUALITY, *, background_image: bool | None = None) -> Options:
        """Parses the OPTIONS tensor: empty, or a JSON object. The other arguments and errors are those of `parse`."""
        if not raw and not background_image:
            return cls(quality=quality)
        if len(raw) > MAX_OPTIONS_BYTES:
            raise refuse("OPTIONS", f"OPTIONS is longer than {MAX_OPTIONS_BYTES} bytes.")
        try:
            values = json.loads(raw or b"{}")
        except (ValueError, RecursionError) as error:
            raise refuse("OPTIONS", "OPTIONS is not JSON.") from error
        if not isinstance(values, dict):
            raise refuse("OPTIONS", "OPTIONS is not a JSON object.")
        return cls.parse(values, quality, background_image=background_image)

    def to_json(self) -> bytes:
        """The OPTIONS tensor's bytes; empty for the defaults. `Options.from_json` gives an equal object."""
        base = Options._read(_expanded({"preset": self.preset}), DEFAULT_QUALITY) if self.preset else Options()
        changed = {
            f.name: read.write(f.name, getattr(self, f.name))
            for f in fields(self)
            if getattr(self, f.name) != getattr(base, f.name)
        }
        if self.preset:
            changed = {"preset": self.preset, **changed}
        return json.dumps(changed, separators=(",", ":")).encode() if changed else b""

    @property
    def content_type(self) -> str:
        return CONTENT_TYPES[self.output]

    @property
    def ensemble(self) -> str:
        """Name of the Triton ensemble that serves this quality."""
        return ENSEMBLES[self.quality]

    @property
    def reframes(self) -> bool:
        """Whether the result has a frame of its own: only then does it depend on where the subject is."""
        return self.crop or self.scale is not None or isinstance(self.position, tuple) or self.canvas != "original"

    @property
    def framed(self) -> bool:
        """Whether the result is not simply the photo, at most made smaller."""
        return self.reframes or self.roi is not None

    @property
    def only_alpha(self) -> bool:
        """Whether the result is the alpha as a grey image."""
        return self.output == "mask" or self.channels == "alpha"

    @property
    def opaque(self) -> bool:
        """Whether something without transparency lies behind the subject."""
        color = isinstance(self.background, tuple) and self.background[3] == 255
        return not self.only_alpha and (color or self.background == "image" or self.output == "jpeg")

    def _check_together(self, given: Mapping[str, str]) -> None:
        for contradiction, name, message in self._contradictions(given):
            if contradiction:
                raise refuse(name, message)

    def _contradictions(self, given: Mapping[str, str]) -> list[tuple[bool, str, str]]:
        """Whether it holds, the option to blame, the sentence."""
        jpeg, color = self.output == "jpeg", self.background if isinstance(self.background, tuple) else None
        archive, fixed = self.output == "zip", isinstance(self.canvas, tuple)
        grey = jpeg and self.channels == "alpha"
        finished = self.preset is not None and (self.only_alpha or archive)
        return [
            (
                jpeg and not grey and self.background is None and "background" in given,
                "background",
                "JPEG has no transparency: give a colour or another output.",
            ),
            (
                jpeg and color is not None and color[3] != 255,
                "background",
                "JPEG has no transparency: give an opaque colour.",
            ),
            (finished, "preset", "A preset is a finished picture: leave it out for a mask, the alpha or a zip."),
            (self.only_alpha and self.background is not None, "background", "A mask has no background."),
            (self.only_alpha and self.shadow is not None, "shadow", "A mask has no shadow."),
            (archive and self.background is not None, "background", "A zip holds colours and alpha, no background."),
            (archive and self.shadow is not None, "shadow", "A zip holds colours and alpha, no shadow."),
            (archive and self.channels == "alpha", "channels", "A zip holds colours and alpha: take another output."),
            (
                self.alpha == "premultiplied" and (self.only_alpha or archive or self.opaque),
                "alpha",
                "Only a PNG or WebP with transparency can have premultiplied colours.",
            ),
            ("margin" in given and not self.crop, "margin", "'margin' goes with crop=on."),
            (self.crop and self.scale is not None, "scale", "'crop' and its margin decide the subject's size already."),
            (
                self.crop and isinstance(self.position, tuple) and self.canvas == "original",
                "position",
                "A cropped subject fills the result: give a canvas, or leave 'position' out.",
            ),
            (fixed and self.size is not None, "size", "'canvas' fixes the size already."),
            (self.dpi is not None and self.output == "webp", "dpi", "WebP has no field for a resolution."),
            (
                self.quality == "fast" and self.mode != "auto",
                "mode",
                "Quality 'fast' has no matting, which 'mode' is for: leave one of the two out.",
            ),
        ]


def _check_one_background(given: Mapping[str, str]) -> None:
    if given.get("background", "image").lower() != "image":
        raise refuse("background_image", "There are two backgrounds: give 'background' or 'background_image'.")


def _expanded(given: Mapping[str, str]) -> dict[str, str]:
    """The options with those of the preset that they leave open."""
    if "preset" not in given:
        return dict(given)
    preset = PRESETS[read.one_of("preset", given["preset"], tuple(PRESETS))]
    gone = {name for explicit in given for name in GIVES_WAY.get(explicit, ())}
    return {name: value for name, value in preset.options.items() if name not in gone} | dict(given)

"""A loaded Pillow image of any mode to 8-bit RGB and alpha, as a viewer would show it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from cutout_core.contract import CutoutError, ErrorCode, ResultWarning
from cutout_core.imaging.color_profile import image_to_srgb, profile_space

_WITH_ALPHA = ("RGBA", "RGBa", "LA", "La", "PA")
_GREY = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B", "I;16N", "F")
_PHOTOMETRIC = 262

UInt8 = npt.NDArray[np.uint8]


def image_arrays(image: Image.Image, warnings: list[ResultWarning]) -> tuple[UInt8, UInt8 | None, bytes | None]:
    """RGB uint8 [H, W, 3], alpha uint8 [H, W] or None where opaque, and the RGB profile that the colours are in.

    Adds COLOR_PROFILE_IGNORED to `warnings`. Raises `CutoutError` UNSUPPORTED_FORMAT for samples without a known scale.
    """
    icc = image.info.get("icc_profile") or None
    mode = image.mode
    if mode in ("I", "F") or mode.startswith("I;16"):
        grey, alpha = _wide_grey(image)
        image = Image.fromarray(grey)
    elif mode in _WITH_ALPHA or "transparency" in image.info:
        rgba = np.asarray(image.convert("RGBA"))
        alpha = np.ascontiguousarray(rgba[..., 3])
        image = (
            image.convert("L") if mode in ("L", "LA", "La") else Image.fromarray(np.ascontiguousarray(rgba[..., :3]))
        )
    else:
        alpha = None
    rgb, icc = _rgb(image, icc, mode in _GREY, warnings)
    return rgb, unless_opaque(alpha), icc


def unless_opaque(alpha: UInt8 | None) -> UInt8 | None:
    """uint8 [H, W], or None where there is none or every pixel of it is opaque."""
    return None if alpha is None or alpha.min() == 255 else alpha


def profile_of(space: str, icc: bytes | None, warnings: list[ResultWarning]) -> bytes | None:
    """The profile where its colours are in `space` (ICC.1, 7.2.6: "RGB", "GRAY", "CMYK"); another one is left out, with
    COLOR_PROFILE_IGNORED."""
    if icc is None or profile_space(icc) == space:
        return icc
    warnings.append(ResultWarning.COLOR_PROFILE_IGNORED)
    return None


def _rgb(
    image: Image.Image, icc: bytes | None, is_grey: bool, warnings: list[ResultWarning]
) -> tuple[UInt8, bytes | None]:
    """RGB pixels and the profile that goes with them, from an image without transparency."""
    wanted = "CMYK" if image.mode == "CMYK" else "GRAY" if is_grey else "RGB"
    icc = profile_of(wanted, icc, warnings)
    if icc is not None and wanted != "RGB":
        converted = image_to_srgb(image if wanted == "CMYK" else image.convert("L"), icc)
        if converted is not None:
            return np.array(converted), None
        warnings.append(ResultWarning.COLOR_PROFILE_IGNORED)
    if image.mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        return np.array(ImageCms.profileToProfile(image, lab, ImageCms.createProfile("sRGB"), outputMode="RGB")), None
    return np.array(image.convert("RGB")), icc if wanted == "RGB" else None


def _wide_grey(image: Image.Image) -> tuple[UInt8, UInt8 | None]:
    """Grey of more than 8 bits to uint8: 65535 becomes 255 with rounding; float in 0..1 or 0..255.

    The transparent level of a 16-bit PNG (tRNS) becomes alpha 0.
    """
    samples = np.asarray(image)
    if image.mode.startswith("I;16"):
        levels = samples.astype(np.uint32)
        if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0:  # white is zero, which Pillow leaves as it is
            levels = np.uint32(65535) - levels
        key = image.info.get("transparency")
        alpha = np.where(samples == key, 0, 255).astype(np.uint8) if isinstance(key, int) else None
        return ((levels * 255 + 32767) // 65535).astype(np.uint8), alpha
    low, high = float(samples.min()), float(samples.max())
    if image.mode == "F" and 0 <= low <= high <= 255:
        return np.rint(samples * (255.0 if high <= 1 else 1.0)).astype(np.uint8), None
    raise CutoutError(
        ErrorCode.UNSUPPORTED_FORMAT,
        "Samples of 32-bit integers, or of floating point outside 0..1 and 0..255, are not read.",
    )

"""ICC profiles: told apart, applied, or refused quietly.

A result is RGB, so only an RGB profile may travel with it; grey and CMYK pixels are converted to sRGB through their
profile while decoding. The networks are given the pixels' numbers as they are: a wide-gamut profile shifts the
input by less than the photometric augmentation they were trained with, and converting would cost more than the shrink.
"""

from __future__ import annotations

from functools import cache
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

#: Perceptual is what camera and printer profiles are made for; matrix profiles ignore the choice.
_INTENT = ImageCms.Intent.PERCEPTUAL
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION
_SPACES = {"RGB ": "RGB", "GRAY": "GRAY", "CMYK": "CMYK"}


def profile_space(icc: bytes) -> str | None:
    """`RGB`, `GRAY` or `CMYK` for a profile that can be used (ICC.1:2022 section 7.2.6), None for any other."""
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(icc)).profile
        if not profile.is_intent_supported(_INTENT, ImageCms.Direction.INPUT):
            return None
        return _SPACES.get(profile.xcolor_space)
    except Exception:  # Pillow passes on lcms' failures as several types
        return None


def image_to_srgb(image: Image.Image, icc: bytes) -> Image.Image | None:
    """An image of mode L, RGB or CMYK through its profile to mode RGB in sRGB; None where the profile fails."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(icc))
        transform = ImageCms.buildTransform(source, _srgb(), image.mode, "RGB", _INTENT, _FLAGS)
        return ImageCms.applyTransform(image, transform)
    except Exception:  # Pillow passes on lcms' failures as several types
        return None


def to_srgb(rgb: npt.NDArray[np.uint8], icc: bytes) -> npt.NDArray[np.uint8] | None:
    """uint8 [H, W, 3] through an RGB profile to sRGB; the same array where the profile is sRGB; None where it fails."""
    probe = image_to_srgb(Image.fromarray(_color_grid()), icc)
    if probe is None:
        return None
    shift = np.asarray(probe).astype(np.int16) - _color_grid().astype(np.int16)
    if int(np.abs(shift).max()) <= 1:
        return rgb
    converted = image_to_srgb(Image.fromarray(rgb), icc)
    return None if converted is None else np.array(converted)


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@cache
def _color_grid() -> npt.NDArray[np.uint8]:
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    grid: npt.NDArray[np.uint8] = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(9, 81, 3)
    return grid

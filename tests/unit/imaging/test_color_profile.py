from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageCms

from cutout_core.imaging.color_profile import image_to_srgb, profile_space, to_srgb

from .images import Array, grey_profile, linear_rgb_profile, smooth, space_profile


def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def encode_srgb(light: Array) -> Array:
    """Linear light 0..1 to sRGB levels (IEC 61966-2-1)."""
    return 255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def test_spaces_are_told_apart() -> None:
    assert profile_space(srgb()) == "RGB"
    assert profile_space(linear_rgb_profile()) == "RGB"
    assert profile_space(grey_profile(2.2)) == "GRAY"


@pytest.mark.parametrize("damaged", [b"", b"junk", srgb()[:100], srgb()[:140], bytes(500), space_profile(b"XYZ ")])
def test_damaged_profiles_have_no_space(damaged: bytes) -> None:
    assert profile_space(damaged) is None


def test_linear_light_becomes_srgb() -> None:
    pixels = smooth()
    converted = to_srgb(pixels, linear_rgb_profile())
    assert converted is not None
    assert np.abs(converted - encode_srgb(pixels / 255)).max() < 2


def test_srgb_is_left_as_it_is() -> None:
    pixels = smooth()
    assert to_srgb(pixels, srgb()) is pixels


def test_a_profile_that_fails_changes_nothing() -> None:
    assert to_srgb(smooth(), b"junk") is None
    assert to_srgb(smooth(), space_profile(b"CMYK")) is None
    assert image_to_srgb(Image.fromarray(smooth()), grey_profile(1.0)) is None


def test_profiles_with_flipped_bytes_never_raise() -> None:
    profile = srgb()
    pixels = smooth(8, 8)
    for at in range(0, len(profile), 7):
        broken = bytearray(profile)
        broken[at] ^= 0xFF
        space = profile_space(bytes(broken))
        assert space in (None, "RGB", "GRAY", "CMYK")
        converted = to_srgb(pixels, bytes(broken))
        assert converted is None or converted.shape == pixels.shape

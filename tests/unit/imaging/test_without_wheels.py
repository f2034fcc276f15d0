"""Without the wheels that make them fast the pixel paths give what they give with them, and say once what is slow."""

from __future__ import annotations

import logging
import subprocess
import sys
import zlib
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from cutout_core.contract import CutoutError, ErrorCode
from cutout_core.imaging import encode as encode_module
from cutout_core.imaging import jpeg_decode, native, png, png_decode
from cutout_core.imaging.decode import decode, decode_reduced
from cutout_core.imaging.encode import encode
from cutout_core.imaging.png import write_png
from cutout_core.imaging.resize import shrink
from cutout_core.imaging.wheels import fast_module

from .images import LIMITS, Array, exif, grey_profile, linear_rgb_profile, save, smooth

JPEGS: dict[str, tuple[Array, dict[str, Any]]] = {
    "plain": (smooth(640, 427), {}),
    "odd size": (smooth(97, 63), {"subsampling": 2}),
    "progressive": (smooth(), {"progressive": True}),
    "grey": (smooth()[..., 0], {}),
    "grey with a profile": (smooth()[..., 0], {"icc_profile": grey_profile(1.8)}),
    "profile": (smooth(), {"icc_profile": linear_rgb_profile()}),
    "turned": (smooth(), {"exif": exif(6)}),
}


@pytest.fixture
def no_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "KERNELS", None)
    monkeypatch.setattr(png, "isal_zlib", None)
    monkeypatch.setattr(png_decode, "isal_zlib", None)
    for module in (jpeg_decode, encode_module):
        monkeypatch.setattr(module, "simplejpeg", None)


def pixels_of(data: bytes) -> Array:
    with Image.open(BytesIO(data)) as image:
        return np.asarray(image)


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_is_the_same_bit_for_bit(name: str, request: pytest.FixtureRequest) -> None:
    pixels, options = JPEGS[name]
    data = save(pixels, "JPEG", **options)
    fast = decode(data, LIMITS)
    request.getfixturevalue("no_wheels")
    slow = decode(data, LIMITS)
    assert np.array_equal(slow.rgb, fast.rgb)
    assert (slow.alpha, slow.icc, slow.extent, slow.warnings) == (fast.alpha, fast.icc, fast.extent, fast.warnings)


def test_what_the_network_sees_is_the_same_within_a_level(request: pytest.FixtureRequest) -> None:
    data = save(smooth(1600, 1200), "JPEG", quality=92)
    fast = decode_reduced(data, LIMITS, 320)
    request.getfixturevalue("no_wheels")
    slow = decode_reduced(data, LIMITS, 320)
    assert slow.rgb.shape == (1200, 1600, 3)  # Pillow decodes it whole
    seen = [shrink(one.rgb, 320, one.extent).astype(int) for one in (fast, slow)]
    assert np.abs(seen[0] - seen[1]).mean() < 0.5
    assert np.abs(seen[0] - seen[1]).max() <= 4


@pytest.mark.parametrize(
    ("kept", "code"), [(0.5, ErrorCode.TRUNCATED_IMAGE), (0.9, ErrorCode.TRUNCATED_IMAGE), (0.999, None)]
)
@pytest.mark.usefixtures("no_wheels")
def test_truncated_jpegs_are_told_apart_as_with_it(kept: float, code: ErrorCode | None) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    data = save(noise, "JPEG")
    cut = data[: int(len(data) * kept)]
    if code is None:
        assert decode(cut, LIMITS).rgb.shape == (256, 256, 3)
    else:
        with pytest.raises(CutoutError) as caught:
            decode(cut, LIMITS)
        assert caught.value.code is code


def test_a_png_has_the_same_pixels_and_hardly_other_bytes(request: pytest.FixtureRequest) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (700, 600, 3), np.uint8) // 32
    alpha = cv2.GaussianBlur(rgb[..., 0] * 32, (0, 0), 3)
    fast = write_png(rgb, alpha, linear_rgb_profile(), 300)
    request.getfixturevalue("no_wheels")
    slow = write_png(rgb, alpha, linear_rgb_profile(), 300)
    assert np.array_equal(pixels_of(slow), np.dstack((rgb, alpha)))
    assert np.array_equal(pixels_of(slow), pixels_of(fast))
    assert slow[:33] == fast[:33]
    assert int.from_bytes(slow[29:33], "big") == zlib.crc32(slow[12:29])
    assert 0.7 < len(slow) / len(fast) < 1.3


@pytest.mark.parametrize("image", [smooth(320, 213), smooth(320, 213)[..., 0]], ids=["RGB", "grey"])
def test_a_jpeg_result_is_pillows_within_a_level(image: Array, request: pytest.FixtureRequest) -> None:
    def written() -> bytes:
        if image.ndim == 2:
            return encode_module.write_grey(image, "jpeg", 300, None)
        return encode(image, None, "jpeg", linear_rgb_profile(), 300)

    fast = written()
    request.getfixturevalue("no_wheels")
    slow = written()
    difference = np.abs(pixels_of(fast).astype(int) - pixels_of(slow))
    assert difference.mean() < 0.5
    assert difference.max() <= 6
    assert 0.9 < len(slow) / len(fast) < 1.1
    for data in (fast, slow):
        with Image.open(BytesIO(data)) as opened:
            assert opened.info["dpi"] == (300, 300)
            assert opened.info.get("icc_profile") == (linear_rgb_profile() if image.ndim == 3 else None)


def test_a_missing_module_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "cutout.imaging"):
        assert fast_module("no_such_wheel", "all is slow") is None
        assert fast_module("zlib", "never said") is zlib
    assert len(caplog.messages) == 1
    assert "no_such_wheel" in caplog.messages[0]
    assert caplog.messages[0].endswith("all is slow")


def test_a_process_without_the_wheels_works_and_says_so_once_for_each_path() -> None:
    program = (
        "import sys; sys.modules['isal'] = sys.modules['simplejpeg'] = None\n"
        "from cutout_core.imaging import native; native.KERNELS = None\n"
        "import numpy as np\n"
        "from cutout_core.imaging.encode import encode\n"
        "from cutout_core.imaging.decode import decode\n"
        "from cutout_core.contract import Limits\n"
        "grey = np.full((20, 30, 3), 128, np.uint8)\n"
        "for output in ('jpeg', 'png') * 2:\n"
        "    assert abs(decode(encode(grey, None, output, None), Limits()).rgb.astype(int) - 128).max() <= 1\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert len(lines) == 4, done.stderr
    assert sum("simplejpeg" in line for line in lines) == 2
    assert sum("isal" in line for line in lines) == 2

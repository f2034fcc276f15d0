"""Fixtures shared by every tier."""

from __future__ import annotations

import io
import signal

import pytest
from PIL import Image

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in a shell's background job; the processes that tests start and interrupt would ignore it too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def small_jpeg() -> bytes:
    """A 96×64 JPEG with some structure."""
    image = Image.linear_gradient("L").resize((96, 64)).convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def huge_png() -> bytes:
    """A PNG of 50 megapixels in some kilobytes."""
    buffer = io.BytesIO()
    Image.new("1", (10_000, 5_000)).save(buffer, "PNG")
    return buffer.getvalue()

"""Marketplaces' published requirements on a product's main picture: as options, and as rules for the check.

docs/marketplaces.md names each source and the day on which it was read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Preset:
    """One requirement.

    options: what it expands to, as callers would write it; explicit options win.
    min_side: least longest side, pixels, below which the picture is refused or cannot be zoomed into.
    max_side, max_pixels, max_bytes: largest longest side, pixels and file, None where nothing is said.
    fill: least and most of the frame that the subject takes along the side that it fills more, percent.
    white: whether the background has to be pure white; transparent: whether it may be transparent instead.
    square: whether both sides have to be equal.
    outputs: formats that are taken.
    no_enlarging: whether enlarged pictures are against the rules.
    """

    title: str
    source: str
    options: Mapping[str, str]
    min_side: int
    max_side: int | None = None
    max_pixels: int | None = None
    max_bytes: int | None = None
    fill: tuple[float, float] | None = None
    white: bool = False
    transparent: bool = False
    square: bool = False
    outputs: tuple[str, ...] = ("jpeg", "png")
    no_enlarging: bool = False


PRESETS: dict[str, Preset] = {
    "amazon": Preset(
        "Amazon, main image",
        "Seller Central, Product image guide",
        {"output": "jpeg", "background": "white", "canvas": "2000x2000", "scale": "90%", "icc": "srgb"},
        min_side=1000,
        max_side=10_000,
        fill=(85, 100),
        white=True,
    ),
    "ebay": Preset(
        "eBay, listing picture",
        "eBay, Picture policy",
        {
            "output": "jpeg",
            "background": "white",
            "canvas": "1600x1600",
            "scale": "90%",
            "icc": "srgb",
            "max_bytes": "12000000",
        },
        min_side=500,
        max_bytes=12_000_000,
        outputs=("jpeg", "png", "webp"),
    ),
    "google": Preset(
        "Google Merchant Center, image_link",
        "Merchant Center Help, Image link [image_link]",
        {
            "output": "jpeg",
            "background": "white",
            "canvas": "1500x1500",
            "scale": "82%",
            "icc": "srgb",
            "max_bytes": "16000000",
        },
        min_side=500,
        max_pixels=64_000_000,
        max_bytes=16_000_000,
        fill=(75, 90),
        white=True,
        transparent=True,
        outputs=("jpeg", "png", "webp"),
        no_enlarging=True,
    ),
    "walmart": Preset(
        "Walmart Marketplace, product image",
        "Marketplace Learn, Image guidelines & requirements",
        {
            "output": "jpeg",
            "background": "white",
            "canvas": "2200x2200",
            "scale": "90%",
            "icc": "srgb",
            "max_bytes": "5000000",
        },
        min_side=1500,
        max_bytes=5_000_000,
        white=True,
        square=True,
    ),
}

#: An explicit option to the preset's options that give way to it, because the two would contradict each other.
GIVES_WAY: dict[str, tuple[str, ...]] = {"crop": ("scale",), "size": ("canvas",)}

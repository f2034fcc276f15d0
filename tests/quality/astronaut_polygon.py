"""A reference cut-out of the astronaut photograph (512 × 512, public domain, NASA; `skimage.data.astronaut`).

Drawn by hand on enlarged crops with a pixel grid, from the photograph alone, so it is independent of any network.
Subject: the person with her hair, the suit with its neck ring, and the helmet she holds. Background: the flag, the
backdrop, the model of the shuttle and its black pedestal. The outline has no holes: everything between arm, suit
and helmet is suit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIZE = (512, 512)

#: Continuous coordinates (x, y) in pixels, origin at the picture's upper left corner; clockwise from the crown.
# fmt: off
OUTLINE: tuple[tuple[float, float], ...] = (
    # hair, the picture's right side, and ear
    (231, 15.5), (242, 17.5), (251, 21), (261, 23.8), (268, 27.5), (275, 31), (283, 36), (288, 42), (292.5, 50.5),
    (296, 58), (298, 66), (301, 76), (302, 85.5), (300.5, 95), (298, 103), (295.3, 109.5), (290, 118), (284, 124),
    (279, 129), (277.5, 132), (274, 135.2), (270.5, 136.8), (267.5, 137),
    # jaw and neck, down to the neck ring
    (266, 144), (264, 150), (259, 158), (257.5, 162), (256.8, 167), (255.8, 171.5), (255, 173.5),
    # neck ring, right
    (262.5, 178), (270.5, 184.2), (279, 192), (286.5, 200.5), (292.2, 208), (297.5, 216), (300.5, 221.5),
    (303, 229), (304.4, 233.8),
    # shoulder and sleeve, right, with the yellow tag
    (310, 237.4), (317, 241.4), (322, 245), (326, 249.3), (330, 252.5), (335.5, 257.2), (339, 260.7),
    (343, 267.3), (346, 273.3), (347.5, 278.2), (348.3, 283), (351.6, 284.2), (352.2, 288), (354, 294),
    (356.4, 303), (357.3, 311.5), (358.5, 320), (361, 328), (363.2, 331.5), (360.5, 333), (360.3, 338),
    (361, 343.3), (363.4, 347.3), (366, 349.8),
    # helmet and its hinge
    (372, 347.8), (380.5, 345.3), (390, 343.8), (396.5, 343.2), (404.5, 343.5), (416, 344.5), (424, 346.8),
    (433, 349.5), (442.5, 353.3), (453, 359.8), (460, 365), (469.3, 373.3), (476.5, 381.3), (480.8, 387.8),
    (485.5, 396.5), (489, 405), (491.8, 414.2), (493.6, 422), (495, 431), (496, 440), (497, 449.5), (499, 454.4),
    (504.3, 455), (504.8, 459.5), (501.5, 462), (504.4, 464.4), (507, 468.8), (507.7, 476), (508.1, 481),
    (509.8, 484.5), (512, 485.5), (512, 496.5), (509.8, 501.5), (508.1, 506), (506.8, 508.5), (508, 512),
    # lower edge of the picture, then the sleeve, left
    (41.5, 512), (37.8, 502), (33, 493.5), (28, 484), (25, 470), (23.4, 455.5), (23.8, 441), (23.5, 431),
    (22, 420.5), (20.2, 411.5), (19, 401), (19.5, 391), (21.7, 380.5), (23.8, 372.5), (25, 361.5), (25.3, 350),
    (26, 342), (28, 337), (30.5, 329), (33, 319.8), (35.3, 312.5), (38.7, 304.5), (40, 297), (41, 292.7),
    (43.8, 285), (47, 278), (51, 271.3), (55.3, 264.5), (60, 255.8), (63.8, 249.3), (68.8, 244), (74.5, 238.5),
    (79, 234), (85.5, 229.8), (92, 225.5), (98, 220), (104, 214), (108.2, 209.6), (111, 206),
    # clip and neck ring, left
    (113.3, 205), (113.2, 202), (114.8, 197.5), (114.2, 192.7), (112.5, 188.5), (114, 186), (117, 186.8),
    (119.8, 186.2), (121.7, 180.5), (125, 176), (127.2, 171.3), (131.5, 165.5), (138, 160.5), (147, 155.3),
    (156, 151.5), (166, 149.3), (175, 148.2), (183.5, 148.2),
    # cheek, ear and hair, left
    (185, 148.4), (184, 144), (182.4, 137.5), (181.5, 131.5), (178, 131), (174, 125.8), (171.2, 121.8),
    (170.6, 119), (166, 113.8), (162, 110), (158, 104), (155.6, 98), (154.8, 88), (153.8, 78.5), (153.3, 70),
    (155.2, 62), (158, 56), (163, 49.3), (170.3, 43.5), (178, 40), (186.3, 36.8), (190.5, 33), (194, 28.2),
    (200, 25.3), (205.5, 21.8), (213.5, 19.7), (222, 17.8),
)
# fmt: on


def astronaut_alpha() -> NDArray[np.float32]:
    """The reference's alpha, [512, 512] float32 in 0..1, anti-aliased by drawing at four times the size."""
    factor = 4
    canvas = Image.new("L", (SIZE[0] * factor, SIZE[1] * factor), 0)
    # Pillow's polygon has its vertices at pixel centres, hence the half pixel.
    scaled = [(x * factor - 0.5, y * factor - 0.5) for x, y in OUTLINE]
    ImageDraw.Draw(canvas).polygon(scaled, fill=255)
    small = canvas.resize(SIZE, Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / 255

"""A picture to judge cut-outs by: photo, alpha, and the cut-out on a saturated colour, one row a photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

#: A colour that no photo's edge hides against.
BACKGROUND = (255, 0, 128)
_CELL = 360
_GAP = 12
_CAPTION = 22


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One photo and its RGBA cut-out, of equal size."""

    caption: str
    photo: Image.Image
    cutout: Image.Image


def write_contact_sheet(rows: Sequence[SheetRow], path: Path) -> None:
    """Writes the sheet as PNG, three cells of 360 px a row."""
    width = 3 * _CELL + 4 * _GAP
    height = len(rows) * (_CELL + _CAPTION + _GAP) + _GAP
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    for index, row in enumerate(rows):
        top = _GAP + index * (_CELL + _CAPTION + _GAP)
        draw.text((_GAP, top), row.caption, fill="black")
        cutout = row.cutout.convert("RGBA")
        alpha = cutout.getchannel("A").convert("RGB")
        colored = Image.new("RGBA", cutout.size, BACKGROUND)
        colored.alpha_composite(cutout)
        for column, picture in enumerate((row.photo.convert("RGB"), alpha, colored.convert("RGB"))):
            cell = ImageOps.contain(picture, (_CELL, _CELL))
            left = _GAP + column * (_CELL + _GAP) + (_CELL - cell.width) // 2
            sheet.paste(cell, (left, top + _CAPTION + (_CELL - cell.height) // 2))
    sheet.save(path, optimize=True)

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
    """Writes the sheet as PNG, three cells of 360 px width a row."""
    cells = [[_fit(picture) for picture in _pictures(row)] for row in rows]
    heights = [_CAPTION + max(cell.height for cell in row) + _GAP for row in cells]
    sheet = Image.new("RGB", (3 * _CELL + 4 * _GAP, sum(heights) + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    top = _GAP
    for row, row_cells, height in zip(rows, cells, heights, strict=True):
        draw.text((_GAP, top), row.caption, fill="black")
        for column, cell in enumerate(row_cells):
            left = _GAP + column * (_CELL + _GAP) + (_CELL - cell.width) // 2
            sheet.paste(cell, (left, top + _CAPTION))
        top += height
    sheet.save(path, optimize=True)


def _pictures(row: SheetRow) -> tuple[Image.Image, Image.Image, Image.Image]:
    """Photo, alpha, and cut-out on the saturated colour."""
    cutout = row.cutout.convert("RGBA")
    colored = Image.new("RGBA", cutout.size, BACKGROUND)
    colored.alpha_composite(cutout)
    return row.photo.convert("RGB"), cutout.getchannel("A").convert("RGB"), colored.convert("RGB")


def _fit(picture: Image.Image) -> Image.Image:
    return ImageOps.contain(picture, (_CELL, 2 * _CELL))

"""The output `zip`: `color.jpg` and `alpha.png`, stored, without dates, so that equal results are equal files."""

from __future__ import annotations

import zipfile
from io import BytesIO

COLOR_NAME, ALPHA_NAME = "color.jpg", "alpha.png"


def write_zip(color: bytes, alpha: bytes) -> bytes:
    """The archive of the two encoded files, which are compressed already."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in ((COLOR_NAME, color), (ALPHA_NAME, alpha)):
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()

"""Opens a file with the one Pillow plugin of its format, lazily: the header is parsed, no pixel is decoded.

The plugins are called directly and not through `Image.open`: nothing else can claim the file, and Pillow's
process-wide bomb limit stays out, since `Limits.max_pixels` is the one that counts.
"""

from __future__ import annotations

from io import BytesIO

import pillow_heif
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "jpeg": JpegImagePlugin.JpegImageFile,
    "png": PngImagePlugin.PngImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
    "tiff": TiffImagePlugin.TiffImageFile,
    "bmp": BmpImagePlugin.BmpImageFile,
    "gif": GifImagePlugin.GifImageFile,
    "avif": AvifImagePlugin.AvifImageFile,
    "heic": pillow_heif.HeifImageFile,
}


def open_image(format_name: str, data: bytes) -> ImageFile.ImageFile:
    """The opened image. Raises whatever the plugin raises; a caller turns that into an error of the table."""
    image = PLUGINS[format_name](BytesIO(data))
    if format_name == "tiff":
        image.info.pop("xmp", None)  # an orientation named only there would be applied after the size was told
    return image

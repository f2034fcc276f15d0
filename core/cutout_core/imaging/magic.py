"""Names a file's format from its first bytes: the formats that are read, and those that are only recognised."""

from __future__ import annotations

from cutout_core.contract import FORMATS, CutoutError, ErrorCode

_READ: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
)

_RECOGNISED: tuple[tuple[bytes, str], ...] = (
    (b"8BPS", "Photoshop"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"II\xbc\x01", "JPEG XR"),
    (b"%PDF-", "PDF"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"DDS ", "DDS"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"#?RGBE", "Radiance HDR"),
    (b"qoif", "QOI"),
    (b"icns", "Apple icon"),
    (b"FLIF", "FLIF"),
    (b"BPG\xfb", "BPG"),
    (b"gimp xcf", "GIMP"),
    (b"AT&TFORM", "DjVu"),
    (b"\x8aMNG\r\n\x1a\n", "MNG"),
    (b"\x8bJNG\r\n\x1a\n", "JNG"),
    (b"\xd7\xcd\xc6\x9a", "Windows metafile"),
    (b"SIMPLE  =", "FITS"),
    (b"FUJIFILMCCD-RAW", "camera raw"),
    (b"IIU\0", "camera raw"),
    (b"IIRO", "camera raw"),
    (b"IIRS", "camera raw"),
    (b"MMOR", "camera raw"),
    (b"FOVb", "camera raw"),
    (b"/* XPM */", "XPM"),
    (b"\x01\xda\x00", "SGI"),
    (b"\x01\xda\x01", "SGI"),
    (b"\x59\xa6\x6a\x95", "Sun raster"),
    (b"\x1a\x45\xdf\xa3", "Matroska or WebM video"),
    (b"FLV\x01", "Flash video"),
    (b"\0\0\x01\xba", "MPEG video"),
    (b"\0\0\x01\xb3", "MPEG video"),
    (b"0&\xb2u\x8ef\xcf\x11", "Windows Media video"),
)

_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_AVIF_BRANDS = {b"avif", b"avis"}
_BMP_HEADER_SIZES = {12, 16, 40, 52, 56, 64, 108, 124}


def sniff(data: bytes) -> str:
    """The format's name, one of `contract.FORMATS`. `data` is not empty.

    Raises `CutoutError`: TRUNCATED_IMAGE where only a part of a known signature is there, UNSUPPORTED_FORMAT for
    an image or video that is recognised but not read, NOT_AN_IMAGE for anything else.
    """
    if data[:4] in (b"II*\0", b"MM\0*") and data[8:10] == b"CR":
        raise unsupported("camera raw")
    for magic, name in _READ:
        if data.startswith(magic):
            return name
        if 2 <= len(data) < len(magic) and magic.startswith(data) and (len(data) > 2 or name == "jpeg"):
            raise CutoutError(ErrorCode.TRUNCATED_IMAGE)
    for magic, name in _RECOGNISED:
        if data.startswith(magic):
            raise unsupported(name)
    if data.startswith(b"RIFF"):
        return _sniff_riff(data)
    if data[4:8] == b"ftyp":
        return _sniff_isobmff(data)
    if data.startswith(b"BM") and int.from_bytes(data[14:18], "little") in _BMP_HEADER_SIZES:
        return "bmp"
    _refuse_weak_signatures(data)
    raise not_an_image()


def not_an_image() -> CutoutError:
    """The error for bytes that are nothing known."""
    return CutoutError(ErrorCode.NOT_AN_IMAGE, f"The bytes are not an image; readable are {', '.join(FORMATS)}.")


def unsupported(name: str) -> CutoutError:
    """The error for a format that is recognised but not read."""
    return CutoutError(
        ErrorCode.UNSUPPORTED_FORMAT, f"The format {name} is not read; readable are {', '.join(FORMATS)}."
    )


def _sniff_riff(data: bytes) -> str:
    if data[8:12] == b"WEBP":
        return "webp"
    if data[8:12] == b"AVI ":
        raise unsupported("AVI video")
    if len(data) < 12:
        raise CutoutError(ErrorCode.TRUNCATED_IMAGE)
    raise not_an_image()


def _sniff_isobmff(data: bytes) -> str:
    """ISO/IEC 14496-12 `ftyp`: the major brand decides, then the compatible ones (`mif1` alone says no codec)."""
    size = min(int.from_bytes(data[:4], "big"), len(data), 4096)
    major = data[8:12]
    brands = [major] + [data[at : at + 4] for at in range(16, size - 3, 4)]
    for brand in (brands[:1], brands):
        if _AVIF_BRANDS.intersection(brand):
            return "avif"
        if _HEIC_BRANDS.intersection(brand):
            return "heic"
    if len(data) < 16:
        raise CutoutError(ErrorCode.TRUNCATED_IMAGE)
    if major in (b"mif1", b"msf1"):
        return "heic"
    raise unsupported("camera raw" if major == b"crx " else "MP4 or QuickTime video")


def _refuse_weak_signatures(data: bytes) -> None:
    """Formats whose few magic bytes also begin other files, so that a second sign is asked for."""
    if data[:4] in (b"\0\0\1\0", b"\0\0\2\0") and 0 < int.from_bytes(data[4:6], "little") <= 256:
        raise unsupported("Windows icon or cursor")
    if data[:1] == b"\x0a" and data[1:2] in (b"\0", b"\2", b"\3", b"\5") and data[2:3] == b"\1":
        raise unsupported("PCX")
    if data[:1] == b"P" and data[1:2] in b"123456fF7" and data[2:3] in b" \t\r\n#" and len(data) > 6:
        raise unsupported("PNM")
    if data[:4] == b"\1\0\0\0" and data[40:44] == b" EMF":
        raise unsupported("Windows metafile")
    if data[-18:] == b"TRUEVISION-XFILE.\0":
        raise unsupported("TGA")
    if data[4:8] in (b"moov", b"mdat", b"wide"):
        raise unsupported("MP4 or QuickTime video")
    start = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"<svg") or (start.startswith((b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in start):
        raise unsupported("SVG")

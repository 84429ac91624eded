"""The one place where a file becomes an image of Pillow: which formats are read, and what is done about metadata.

Pillow goes by content, not by name, and reads some formats by starting a program: an EPS called ``x.png`` would be run
by Ghostscript. So the formats are listed, and nothing else in the package calls ``Image.open`` (a test looks for it).
"""

from __future__ import annotations

import zlib
from contextlib import suppress
from functools import cache
from importlib import import_module
from io import BytesIO

from PIL import Image, PngImagePlugin, UnidentifiedImageError

from nns.data.integrity import png_chunks, png_intact
from nns.data.listening import hear_tiff
from nns.data.profiles import MAX_PROFILE

FORMATS = {
    "PNG": "PngImagePlugin",
    "JPEG": "JpegImagePlugin",
    "BMP": "BmpImagePlugin",
    "DIB": "BmpImagePlugin",
    "GIF": "GifImagePlugin",
    "PPM": "PpmImagePlugin",
    "WEBP": "WebPImagePlugin",
    "TIFF": "TiffImagePlugin",
    "AVIF": "AvifImagePlugin",
    "JPEG2000": "Jpeg2KImagePlugin",
    "QOI": "QoiImagePlugin",
    "PCX": "PcxImagePlugin",
    "ICO": "IcoImagePlugin",
    "TGA": "TgaImagePlugin",  # last: it has no signature, so other files may look like one
}
"""The formats that are read, and Pillow's module for each. All are decoded in this process."""

_MISTAKEN = {
    b"version https://git-lfs": "a pointer of Git LFS; 'git lfs pull' fetches the file",
    b"<!doctype html": "a web page",
    b"<html": "a web page",
    b"<svg": "a drawing (SVG), which is not read",
    b"<?xml": "XML, which is not read",
    b"%!ps": "PostScript, which is not read",
    b"%pdf": "PDF, which is not read",
    b"8bps": "of Photoshop, which is not read",
    b"\x1f\x8b": "compressed with gzip; unpack it",
    b"pk\x03\x04": "a ZIP archive; unpack it",
    b"{": "JSON",
}
_OURS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*")
_TEXT = (b"tEXt", b"zTXt", b"iTXt")
_ORIENTATION = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")  # the texts that may hold it
_MAX_TEXT = 2**18


def open_bytes(content: bytes) -> Image.Image:
    """Open an image of one of :data:`FORMATS`, without decoding it.

    Raises:
        Exception: Whatever Pillow raises on a bad file.
    """
    profile = b""
    if content.startswith(PngImagePlugin._MAGIC):
        content, profile = _without_metadata(content)
    if content.startswith((b"II", b"MM")):
        hear_tiff()
    try:
        image: Image.Image = Image.open(BytesIO(content), formats=_formats())
    except UnidentifiedImageError:
        raise UnidentifiedImageError(_what_else(content)) from None
    if profile:
        image.info["icc_profile"] = profile
    return image


def _what_else(content: bytes) -> str:
    """Say what a file is that is no image of these formats: a thing often mistaken for one, or nothing."""
    start = content[:512].lstrip().lower()
    if not content.strip(b"\0"):
        return "nothing but zeros" if content else "an empty file"
    if content.startswith(_OURS) or content[4:12] == b"ftypavif" or content[8:12] == b"WEBP":
        return "damaged, or of a kind that is not read"
    if content[4:8] == b"ftyp":
        return f"of the kind {content[8:12].decode('ascii', 'replace').strip()!r} (HEIC or a film), which is not read"
    return next((what for sign, what in _MISTAKEN.items() if start.startswith(sign)), "")


@cache
def _formats() -> tuple[str, ...]:
    """Import Pillow's modules of the formats, and of no others; AVIF is missing in some builds of it."""
    for module in FORMATS.values():
        with suppress(ImportError):
            import_module(f"PIL.{module}")
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _without_metadata(content: bytes) -> tuple[bytes, bytes]:
    """Leave texts and profile out of a PNG where Pillow would refuse its pixels for them.

    Returns:
        The file without them, and the colour profile that was left out; the file as it is where nothing is.
    """
    kept, profile, dropped = [content[:8]], b"", False
    for kind, start, end in png_chunks(content):
        body = content[start + 8 : end - 4]
        if kind in _TEXT and (len(body) > _MAX_TEXT or kind != b"tEXt") and not _small_orientation(kind, body):
            dropped = True
        elif kind == b"iCCP" and (unpacked := _profile(body)) is not None:
            profile, dropped = unpacked, True
        elif kind[:1].islower() and kind not in (b"tRNS", b"fdAT") and not png_intact(content, start, end):
            dropped = True  # damaged, and not needed for the pixels
        else:
            kept.append(content[start:end])
    return (b"".join(kept), profile) if dropped else (content, b"")


def _small_orientation(kind: bytes, body: bytes) -> bool:
    """Return whether a text may say how the image is turned, and is one that Pillow reads."""
    if not body.startswith(_ORIENTATION):
        return False
    packed = body[body.index(b"\0") + 2 :] if kind == b"zTXt" else b""
    with suppress(zlib.error):
        return len(body) < _MAX_TEXT and len(zlib.decompressobj().decompress(packed, _MAX_TEXT)) < _MAX_TEXT
    return False


def _profile(body: bytes) -> bytes | None:
    """Unpack a colour profile that is too large for Pillow; None if Pillow may read it."""
    packed = body[body.find(b"\0") + 2 :]
    with suppress(zlib.error):
        profile = zlib.decompressobj().decompress(packed, MAX_PROFILE + 1)
        return profile if len(profile) >= PngImagePlugin.MAX_TEXT_CHUNK else None
    return b""

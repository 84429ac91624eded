"""Is a file whole? What the formats have for that, and Pillow does not look at or does not tell.

libjpeg fills what is missing of an image with grey, goes on after garbage, and counts warnings that Pillow drops; a PNG
has checksums that Pillow skips in the pixels. Formats without any (BMP, PPM, most of TIFF) cannot be checked.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO

from PIL import Image

from nns.data.listening import say

PADDING = 16
"""Bytes of padding that a JPEG's decoder reads ahead, at most, and then does not count as too many."""

MAX_SCANS = 100
"""Scans of a JPEG: encoders write a dozen, and a thousand over a large image take minutes."""

MAX_CHUNKS = 100_000
"""Chunks of a PNG: of 8 kB each they are more than a file may have, and each takes 10 microseconds."""

ZEROS = 64
"""So many zero bytes at the end of a compressed image are none of it: the file was never written to its end."""

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_SOS, _EOI = 0xDA, 0xD9
_PLAIN = ((0, 0, 1, 1),)
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""The passes of an interlaced PNG: first column and row, steps."""
_AT_ONCE = 2**14  # packed bytes, of which zlib makes 16 MB at most

_whole: set[tuple[int, int]] = set()  # hashes of contents that were found whole: a dataset is decoded at several sizes


class DamagedError(ValueError):
    """A file that is not whole, though a decoder makes an image of it."""


def check_whole(image: Image.Image) -> None:
    """Refuse an image, opened but not decoded, whose file is damaged; say what is odd but no damage.

    Raises:
        DamagedError: Its pixels are not all there, or not as they were.
    """
    stream = getattr(image, "fp", None)
    if not isinstance(stream, BytesIO) or image.format not in _CHECKS:
        return
    content = stream.getvalue()
    seen = hash(content), len(content)
    if seen in _whole:
        return
    if not _CHECKS[image.format](content, image):
        _whole.add(seen)


def _check_jpeg(content: bytes, image: Image.Image) -> bool:
    """Decode at an eighth of the size with a decoder that tells of libjpeg's warnings; True: one of no consequence."""
    if content.count(b"\xff\xda") > MAX_SCANS < sum(marker == _SOS for marker, _ in _segments(content)):
        raise DamagedError(f"more than {MAX_SCANS} scans")
    if image.info.get("progressive") and not _has_all_scans(content):
        raise DamagedError("truncated: scans of a progressive JPEG are missing")
    try:
        import simplejpeg
    except ImportError:  # it is a requirement; who took it away is told
        return say("JPEG data is not checked for damage: install simplejpeg")
    space = "CMYK" if image.mode == "CMYK" else "GRAY"
    try:
        simplejpeg.decode_jpeg(content, space, fastdct=True, fastupsample=True, min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        warning = str(error)
        if not warning.startswith(("Corrupt JPEG data", "Inconsistent progression", "Premature end")):
            return False  # what is unsupported there may be known to Pillow; an unknown revision does not matter
        found = _EXTRANEOUS.search(warning)
        if not found or not _is_padding(content, int(found[1])):
            what = warning.removeprefix("Corrupt JPEG data: ")
            raise DamagedError(f"truncated: {what}" if "remature end" in what else what) from error
        return say(warning)
    return False


def _is_padding(content: bytes, extraneous: int) -> bool:
    """Return whether bytes that are too many before the end are padding, and none were taken for pixels."""
    end = content.rfind(b"\xff\xd9")
    data = content[: max(end, 0)]
    run = len(data) - len(data.rstrip(data[-1:]))
    return extraneous <= run <= extraneous + PADDING


def _has_all_scans(content: bytes) -> bool:
    """Return whether the scans of a progressive JPEG bring every coefficient in full."""
    missing: dict[int, set[int]] = {}
    for marker, body in _segments(content):
        if marker in _PROGRESSIVE:
            missing = {component: set(range(64)) for component in body[6::3][: body[5]]}
        elif marker == _SOS:
            first, last, bits = body[-3:]
            for component in body[1 : 1 + 2 * body[0] : 2] if not bits & 15 else ():
                missing.get(component, set()).difference_update(range(first, last + 1))
    return not any(missing.values())


def _segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Go through the markers of a JPEG up to its end, with what each says."""
    at = 2
    while (found := _MARKER.search(content, at)) is not None and found[0][1] != _EOI:
        marker, start = found[0][1], found.end()
        body = content[start + 2 : start + struct.unpack_from(">H", content, start)[0]]
        yield marker, body
        at = start + 2 + len(body)


def png_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Go through a PNG: kind of each chunk, where it starts, and where it ends or should."""
    at, count = 8, 0
    while at + 8 <= len(content):
        count += 1
        if count > MAX_CHUNKS:
            raise DamagedError(f"more than {MAX_CHUNKS} chunks")
        (length,) = struct.unpack_from(">I", content, at)
        kind = content[at + 4 : at + 8]
        yield kind, at, at + 12 + length
        if kind == b"IEND":
            return
        at += 12 + length


def png_intact(content: bytes, start: int, end: int) -> bool:
    """Return whether a chunk's checksum is right."""
    return content[end - 4 : end] == struct.pack(">I", zlib.crc32(memoryview(content)[start + 4 : end - 4]))


def _check_png(content: bytes, image: Image.Image) -> bool:
    for kind, start, end in png_chunks(content):
        if kind in (b"IDAT", b"PLTE", b"tRNS") and not png_intact(content, start, end):
            what = "truncated" if end > len(content) else f"the checksum of {kind.decode()} is wrong"
            raise DamagedError(what)
    return False


def png_content(image: Image.Image) -> bytes:
    """Return the file of a PNG that is not decoded yet, for :func:`check_rows`; nothing of others."""
    stream = getattr(image, "fp", None)
    return stream.getvalue() if image.format == "PNG" and isinstance(stream, BytesIO) else b""


def check_rows(image: Image.Image, content: bytes) -> None:
    """Refuse a decoded PNG whose packed pixels end before its rows do: Pillow leaves the others black.

    To unpack everything once more takes as long as to decode it, so that is done only where the last row is black.

    Raises:
        DamagedError: There are fewer pixels than there should be.
    """
    interlaced = content[28:29] not in (b"", b"\0")
    if not content or (not interlaced and image.crop((0, image.height - 1, *image.size)).tobytes().strip(b"\0")):
        return
    pixels = [memoryview(content)[at + 8 : end - 4] for kind, at, end in png_chunks(content) if kind == b"IDAT"]
    wanted = _png_bytes(content)
    if (there := _unpacked(pixels, wanted)) < wanted:
        raise DamagedError(f"truncated: {there} of {wanted} bytes of pixels")


def _png_bytes(content: bytes) -> int:
    """Return how many bytes a PNG's pixels are before they are packed, a byte a row for its filter among them."""
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", content, 16)
    bits = depth * {2: 3, 4: 2, 6: 4}.get(colour, 1)
    sizes = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in (_ADAM7 if interlaced else _PLAIN)]
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)


def _unpacked(packed: list[memoryview], enough: int) -> int:
    """Count what is packed, up to so many bytes, and keep nothing; a stream that is broken is left to Pillow."""
    unpacker, count = zlib.decompressobj(), 0
    with suppress(zlib.error):
        for part in packed:
            for at in range(0, len(part), _AT_ONCE):
                if count >= enough or unpacker.eof:
                    return count
                count += len(unpacker.decompress(part[at : at + _AT_ONCE]))
        return count
    return enough


def _check_end(content: bytes, image: Image.Image) -> bool:
    zeros = len(content) - len(content.rstrip(b"\0"))
    if zeros >= max(ZEROS, len(content) // 16):
        raise DamagedError(f"truncated: the last {zeros} bytes are zeros")
    return False


_CHECKS = {"JPEG": _check_jpeg, "MPO": _check_jpeg, "PNG": _check_png, "WEBP": _check_end, "AVIF": _check_end}

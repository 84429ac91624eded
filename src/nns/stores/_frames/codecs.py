"""The codecs of frames: raw, zstd of shuffled bytes, difference to a base, slice of a base (docs/zoo-format.md).

Everything here is pure: bytes in, bytes out. Who keeps which frame, and checks its sha256, is the store's affair.
zstandard is imported when it is first needed.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nns.stores._frames.slices import ITEMS, Bytes, as_array, take

if TYPE_CHECKING:
    import zstandard

RAW, ZSTD, DIFFERENCE, SLICE = range(4)
"""The codecs, as they are numbered in the file."""

NAMES = {RAW: "raw", ZSTD: "zstd", DIFFERENCE: "difference", SLICE: "slice"}
"""The codecs, as they are called in what people read."""

MAX_RATIO = 1000
"""Codecs 1 and 2 decode to at most so many times the stored bytes, and SLACK more."""

SLACK = 64 << 10
MAX_FRAME = 1 << 30
"""Decoded bytes of a frame, at most."""

MAX_WINDOW = 8 << 20
"""Window of a zstd frame in bytes, at most, or else its content size."""

FLUSH_FROM = 1 << 10
"""Bytes from which the k-th bytes of all items are compressed in blocks of their own."""


@dataclass(frozen=True)
class Encoded:
    """A frame as it is stored: ``data`` in ``codec`` with ``item``, ``length`` bytes once decoded."""

    codec: int
    item: int
    data: bytes
    length: int


def encode(data: bytes | memoryview, item: int) -> Encoded:
    """Encode a frame on its own: shuffled and compressed if that saves 2 % or more, else raw.

    Args:
        data: The frame, at most MAX_FRAME bytes.
        item: Bytes of one number, 1, 2, 4 or 8.

    Returns:
        A frame of codec RAW or ZSTD.

    Raises:
        ValueError: If the frame is too long or there is no such item.
    """
    _check_size(ZSTD, item, len(data))
    packed = _deflate(_shuffle(as_array(data), item), item) if len(data) else b""
    if len(packed) > 0.98 * len(data) or not data:
        return Encoded(RAW, 1, bytes(data), len(data))
    return Encoded(ZSTD, item, packed, len(data))


def encode_difference(data: bytes | memoryview, item: int, base: bytes | memoryview) -> Encoded | None:
    """Encode a frame of f32 (item 4), f16 or bf16 (item 2) as its difference from another.

    Exact for every bit pattern. Returns None if the lengths differ or are no multiple of the item, if the item
    is another, or if it saves less than 2 %; that it beats :func:`encode` is for the caller to see.

    Raises:
        ValueError: If the frame is too long.
    """
    if item not in (2, 4) or len(data) != len(base) or len(data) % item or not data:
        return None
    _check_size(DIFFERENCE, item, len(data))
    new, old = as_array(data).view(f"<u{item}"), as_array(base).view(f"<u{item}")
    difference = _ordered(new)
    difference -= _ordered(old)
    sign = difference.view(f"<i{item}") >> (8 * item - 1)
    difference <<= 1
    difference ^= sign.view(difference.dtype)
    packed = _deflate(_shuffle(difference.view("u1"), item), item)
    return Encoded(DIFFERENCE, item, packed, len(data)) if len(packed) <= 0.98 * len(data) else None


def _shuffle(data: Bytes, item: int) -> list[Bytes]:
    """Byte k of every item in one row, for each k, and what is left over."""
    body = len(data) // item * item
    planes = list(np.ascontiguousarray(data[:body].reshape(-1, item).T))
    return [*planes, data[body:]] if body < len(data) else planes


def _ordered(bits: NDArray[Any]) -> NDArray[Any]:
    """Float bits as integers that, read as signed, are in the order of the floats; its own inverse. A new array."""
    mask = bits.view(f"<i{bits.itemsize}") >> (8 * bits.itemsize - 1)
    mask &= (1 << (8 * bits.itemsize - 1)) - 1
    result: NDArray[Any] = mask.view(bits.dtype)
    result ^= bits
    return result


def _deflate(parts: Iterable[Bytes], item: int) -> bytes:
    """Compress into one zstd frame, each part in blocks of its own: mantissas and exponents share no tables."""
    import zstandard

    parts = list(parts)
    size = sum(map(len, parts))
    writer = _compressor(item).compressobj(size=size)
    written = []
    for part in parts:
        written.append(writer.compress(part.data))
        if len(part) >= FLUSH_FROM:
            written.append(writer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
    packed = b"".join([*written, writer.flush()])
    # empty blocks of 3 bytes after the frame header, where the ratio would look like a bomb
    missing = math.ceil((size - SLACK) / MAX_RATIO) - len(packed)
    head = zstandard.frame_header_size(packed)
    return packed[:head] + bytes(3 * max(0, math.ceil(missing / 3))) + packed[head:]


_local = threading.local()


def _compressor(item: int) -> zstandard.ZstdCompressor:
    import zstandard

    kept: dict[int, zstandard.ZstdCompressor] = _local.__dict__.setdefault("compressors", {})
    if item not in kept:
        if item == 1:
            kept[item] = zstandard.ZstdCompressor(level=3)
        else:
            settings = zstandard.ZstdCompressionParameters(
                strategy=zstandard.STRATEGY_FAST, window_log=19, hash_log=12, chain_log=12, search_log=1, min_match=7
            )
            kept[item] = zstandard.ZstdCompressor(compression_params=settings)
    return kept[item]


def decode(
    codec: int, item: int, stored: bytes | memoryview, length: int, base: bytes | memoryview | None = None
) -> bytes:
    """Decode a frame. The caller compares the sha256.

    Args:
        codec: RAW, ZSTD, DIFFERENCE or SLICE.
        item: Bytes of one number.
        stored: The frame as stored.
        length: Its decoded bytes.
        base: The decoded base frame for DIFFERENCE and SLICE; else None.

    Returns:
        The frame. Memory beyond arguments and a constant is at most twice ``length``.

    Raises:
        ValueError: If anything about it is not as the format has it.
    """
    _check(codec, item, len(stored), length, base)
    planes = _planes(codec, stored, length)  # refused before anything is allocated
    out = bytearray(length)
    _write(out, codec, item, stored, planes, base)
    del planes
    return bytes(out)


def decode_into(
    out: bytearray | memoryview, codec: int, item: int, stored: bytes | memoryview, base: bytes | memoryview | None
) -> None:
    """Decode a frame into ``out``, which has its decoded bytes; else as :func:`decode`."""
    _check(codec, item, len(stored), len(out), base)
    _write(out, codec, item, stored, _planes(codec, stored, len(out)), base)


def _planes(codec: int, stored: bytes | memoryview, length: int) -> bytes | None:
    return _inflate(stored, length) if codec in (ZSTD, DIFFERENCE) else None


def _write(
    out: bytearray | memoryview,
    codec: int,
    item: int,
    stored: bytes | memoryview,
    planes: bytes | None,
    base: bytes | memoryview | None,
) -> None:
    target = np.frombuffer(out, np.uint8)
    if planes is not None:
        _unshuffle(as_array(planes), item, target)
        if base is not None:
            _add(item, target, as_array(base))
    elif codec == SLICE and base is not None:
        take(item, bytes(stored), target, as_array(base))
    else:
        target[:] = as_array(stored)


def _check_size(codec: int, item: int, length: int) -> None:
    if codec not in (RAW, ZSTD, DIFFERENCE, SLICE):
        raise ValueError(f"a frame of unknown codec {codec!r:.20}")
    if item not in ITEMS:
        raise ValueError(f"a frame with items of {item!r:.20} bytes")
    if not 0 <= length <= MAX_FRAME:
        raise ValueError(f"a frame of {length!r:.40} bytes; {MAX_FRAME} are allowed")


def _check(codec: int, item: int, stored: int, length: int, base: bytes | memoryview | None) -> None:
    _check_size(codec, item, length)
    if (base is not None) != (codec in (DIFFERENCE, SLICE)):
        raise ValueError(f"a frame of codec {codec} {'with' if base is not None else 'without'} a base")
    if codec == RAW and (item != 1 or stored != length):
        raise ValueError(f"a raw frame of {stored} bytes and items of {item} in place of {length} and 1")
    if codec == DIFFERENCE and (item not in (2, 4) or length % item or base is None or len(base) != length):
        raise ValueError(f"a difference of {length} bytes in items of {item} that does not fit its base")


def _inflate(stored: bytes | memoryview, length: int) -> bytes:
    """Decompress exactly one zstd frame of exactly ``length`` bytes."""
    import zstandard

    if not 1 <= length <= MAX_RATIO * len(stored) + SLACK:
        raise ValueError(f"a compressed frame of {len(stored)} bytes cannot hold {length}")
    if bytes(stored[:4]) != zstandard.FRAME_HEADER:
        raise ValueError("a compressed frame that is not zstd")
    try:
        header = zstandard.get_frame_parameters(stored)
        if header.content_size != length or header.window_size > max(length, MAX_WINDOW):
            raise ValueError(f"a compressed frame whose header does not promise {length} bytes")
        data = _decompressor().decompress(stored, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ValueError(f"a compressed frame that cannot be read ({' '.join(str(error).split())})") from error
    if len(data) != length:
        raise ValueError(f"a compressed frame of {len(data)} bytes in place of {length}")
    return data


def _decompressor() -> zstandard.ZstdDecompressor:
    import zstandard

    if not hasattr(_local, "decompressor"):
        _local.decompressor = zstandard.ZstdDecompressor()
    kept: zstandard.ZstdDecompressor = _local.decompressor
    return kept


def _unshuffle(planes: Bytes, item: int, out: Bytes) -> None:
    count = len(planes) // item
    body, rows = out[: count * item].reshape(count, item), planes[: count * item].reshape(item, count)
    for k in range(item):
        body[:, k] = rows[k]
    out[count * item :] = planes[count * item :]


def _add(item: int, out: Bytes, base: Bytes) -> None:
    """Turn zigzag differences into the floats they lead to from the base, in place and in blocks that stay in cache."""
    values, olds = out.view(f"<u{item}"), base.view(f"<u{item}")
    for start in range(0, len(values), SLACK):
        block = values[start : start + SLACK]
        sign = block & 1
        block >>= 1
        block ^= -sign
        block += _ordered(olds[start : start + SLACK])
        block[:] = _ordered(block)

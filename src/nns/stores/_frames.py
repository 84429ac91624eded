"""Frames: weights cut into byte ranges, and the codecs in which a zoo file keeps them (docs/zoo-format.md).

Everything here is pure: bytes in, bytes out. Who keeps which frame, and checks its sha256, is the store's affair.
zstandard is imported when it is first needed.
"""

from __future__ import annotations

import json
import math
import struct
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import zstandard

Bytes = NDArray[np.uint8]

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

ITEMS = (1, 2, 4, 8)
SMALL_TENSOR = 4 << 10
MAX_RUN = 64 << 10
OPAQUE_PIECE = 64 << 20
MAX_HEADER = 16 << 20
MAX_PIECES = 1 << 16
MAX_DIMS = 16
FLUSH_FROM = 1 << 10
"""Bytes from which the k-th bytes of all items are compressed in blocks of their own."""

MAX_KERNEL = 15
"""Largest kernel that is looked at for centre crops."""

DTYPE_BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8}
DTYPE_BITS |= {"U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "C64": 64}
DTYPE_BITS |= {"U64": 64, "I64": 64, "F64": 64}

Name = TypeVar("Name")


@dataclass(frozen=True)
class Piece:
    """A byte range of the weights that becomes one frame.

    Attributes:
        start: First byte.
        stop: One after the last byte.
        item: Bytes of one number, 1, 2, 4 or 8.
        key: What it holds, the same for the same place in networks of one architecture; empty for headers and
            for bytes that are not safetensors.
        shape: Dimensions, if it is one whole tensor of items; else None.
    """

    start: int
    stop: int
    item: int
    key: str
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Encoded:
    """A frame as it is stored: ``data`` in ``codec`` with ``item``, ``length`` bytes once decoded."""

    codec: int
    item: int
    data: bytes
    length: int


# ----------------------------------------------------------------------------------------------- splitting


@dataclass(frozen=True)
class _Tensor:
    start: int
    stop: int
    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def key(self) -> str:
        return f"{self.name}|{self.dtype}|{'x'.join(map(str, self.shape))}"

    @property
    def item(self) -> int:
        return 4 if self.dtype == "C64" else DTYPE_BITS.get(self.dtype, 8) // 8

    @property
    def group(self) -> tuple[str, str]:
        """What may be joined: a head, whose tensors differ from network to network, stays apart from the rest."""
        first, dot, _ = self.name.partition(".")
        return self.dtype, first if dot else ""


def split(weights: bytes) -> tuple[Piece, ...]:
    """Cut weights into pieces that cover them in order, without gaps and without empty pieces.

    Of a safetensors file the header is a piece, and each tensor is one, but consecutive tensors of less than
    4 KiB, one dtype and one first part of the name are joined up to 64 KiB. Anything else is cut every 64 MiB.
    Never raises on bytes, whatever they are; takes time in proportion to them.
    """
    try:
        tensors = _parse(weights)
        pieces = [] if tensors is None else list(_pieces(tensors))
    except (ValueError, RecursionError):
        pieces = []
    if not pieces or len(pieces) >= MAX_PIECES:
        return tuple(_cut(0, len(weights), OPAQUE_PIECE, 1, ""))
    return (Piece(0, pieces[0].start, 1, ""), *pieces)


def _parse(weights: bytes) -> list[_Tensor] | None:
    """Read a safetensors header; None or ValueError unless its tensors cover the bytes after it exactly."""
    if len(weights) < 10:
        return None
    (size,) = struct.unpack_from("<Q", weights)
    if size > min(MAX_HEADER, len(weights) - 8):
        return None
    header = json.loads(str(weights[8 : 8 + size], "utf-8"))
    if type(header) is not dict:
        return None
    header.pop("__metadata__", None)
    found = [_tensor(name, value, 8 + size) for name, value in header.items()]
    tensors = sorted((tensor for tensor in found if tensor), key=lambda tensor: (tensor.start, tensor.stop))
    end = 8 + size
    for tensor in tensors:
        if tensor.start != end:
            return None
        end = tensor.stop
    return tensors if len(tensors) == len(found) and end == len(weights) else None


def _tensor(name: str, value: Any, offset: int) -> _Tensor | None:
    name.encode()  # a lone surrogate is a ValueError
    if type(value) is not dict:
        return None
    dtype, shape, offsets = value.get("dtype"), value.get("shape"), value.get("data_offsets")
    if type(dtype) is not str or type(shape) is not list or type(offsets) is not list:
        return None
    if len(offsets) != 2 or len(shape) > MAX_DIMS or any(type(n) is not int or n < 0 for n in shape + offsets):
        return None
    dtype.encode()
    start, stop = offsets
    known = DTYPE_BITS.get(dtype)
    if start > stop:
        return None
    if known and math.prod(shape) * known != (stop - start) * 8:
        return None
    return _Tensor(offset + start, offset + stop, name, dtype, tuple(shape))


def _pieces(tensors: Sequence[_Tensor]) -> Iterator[Piece]:
    run: list[_Tensor] = []
    for tensor in tensors:
        small = tensor.stop - tensor.start < SMALL_TENSOR
        if run and not (small and run[0].group == tensor.group and tensor.stop - run[0].start <= MAX_RUN):
            yield from _joined(run)
            run = []
        if small:
            run.append(tensor)
        else:
            yield from _joined([tensor])
    yield from _joined(run)


def _joined(run: Sequence[_Tensor]) -> Iterator[Piece]:
    filled = [tensor for tensor in run if tensor.stop > tensor.start]
    if not filled:
        return
    first, start, stop = filled[0], filled[0].start, filled[-1].stop
    if stop - start > MAX_FRAME:
        yield from _cut(start, stop, MAX_FRAME, first.item, first.key)
    elif len(filled) == 1 and math.prod(first.shape) * first.item == stop - start:
        yield Piece(start, stop, first.item, first.key, first.shape)
    else:
        yield Piece(start, stop, first.item, "\n".join(tensor.key for tensor in filled))


def _cut(start: int, stop: int, step: int, item: int, key: str) -> Iterator[Piece]:
    for number, begin in enumerate(range(start, stop, step)):
        yield Piece(begin, min(begin + step, stop), item, key and f"{key}|{number}")


# ------------------------------------------------------------------------------------------------ encoding


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
    packed = _deflate(_shuffle(_array(data), item), item) if len(data) else b""
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
    new, old = _array(data).view(f"<u{item}"), _array(base).view(f"<u{item}")
    difference = _ordered(new)
    difference -= _ordered(old)
    sign = difference.view(f"<i{item}") >> (8 * item - 1)
    difference <<= 1
    difference ^= sign.view(difference.dtype)
    packed = _deflate(_shuffle(difference.view("u1"), item), item)
    return Encoded(DIFFERENCE, item, packed, len(data)) if len(packed) <= 0.98 * len(data) else None


def find_slice(
    data: bytes | memoryview, shape: Sequence[int], item: int, base: bytes | memoryview, base_shape: Sequence[int]
) -> bytes | None:
    """Find a tensor as the leading corner of another, or so but for a centre crop of the last two dimensions.

    Args:
        data: The tensor, (product of shape) items in C order.
        shape: Its dimensions.
        item: Bytes of one number.
        base: The other tensor.
        base_shape: The dimensions of that.

    Returns:
        The stored bytes of a frame of codec SLICE, if it is one bit for bit; None if not, which is mostly seen
        from a few elements.
    """
    if item not in ITEMS or not 1 <= len(shape) == len(base_shape) <= MAX_DIMS:
        return None
    if len(data) != math.prod(shape) * item or len(base) != math.prod(base_shape) * item or not data:
        return None
    if max(base_shape) >= 1 << 32 or any(n > size for n, size in zip(shape, base_shape, strict=True)):
        return None
    wanted = _array(data).view(f"<u{item}").reshape(shape)
    whole = _array(base).view(f"<u{item}").reshape(base_shape)
    corner, crop = (0,) * len(shape), _crop(shape, base_shape)
    for starts in (corner, crop) if crop else (corner,):
        part = whole[tuple(slice(start, start + n) for start, n in zip(starts, shape, strict=True))]
        if _equal(wanted, part):
            dims = (*base_shape, *starts, *shape)
            return struct.pack(f"<BB{len(dims)}I", item, len(shape), *dims)
    return None


def _crop(shape: Sequence[int], base_shape: Sequence[int]) -> tuple[int, ...] | None:
    """Starts of a centre crop of the last two dimensions, or None if it would be no kernel or no crop."""
    if len(shape) < 3 or max(base_shape[-2:]) > MAX_KERNEL:
        return None
    spare = [size - n for n, size in zip(shape[-2:], base_shape[-2:], strict=True)]
    if not any(spare):
        return None
    return (*(0 for _ in shape[:-2]), *(n // 2 for n in spare))


def _equal(wanted: NDArray[Any], part: NDArray[Any]) -> bool:
    corners = product(*((0, n // 2, n - 1) for n in wanted.shape[:2]))
    rest = tuple(n // 2 for n in wanted.shape[2:])
    if any(wanted[(*corner, *rest)] != part[(*corner, *rest)] for corner in corners):
        return False
    return bool((wanted == part).all())


class SliceIndex(Generic[Name]):
    """Finds the tensors of which another may be a slice, by what they begin with and without their names."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int, bytes], list[tuple[Name, tuple[int, ...], bytes]]] = {}

    def add(self, name: Name, shape: Sequence[int], item: int, data: bytes | memoryview) -> None:
        """Add a tensor of a base: (product of shape) items in C order, to be known by ``name``.

        A tensor that has no shape, or whose length is not that of its shape, can be no base and is passed over.
        """
        if not 1 <= len(shape) <= MAX_DIMS or item not in ITEMS or not data:
            return
        if len(data) != math.prod(shape) * item:
            return
        array = _array(data).view(f"<u{item}").reshape(shape)
        kernel = len(shape) >= 3 and max(shape[-2:]) <= MAX_KERNEL
        for offset in product(*(range((n + 1) // 2) for n in shape[-2:])) if kernel else [()]:
            first = _first(array, offset)
            entries = self._found.setdefault((len(shape), item, first[:item]), [])
            if len(entries) < 256:
                entries.append((name, tuple(shape), first))

    def candidates(
        self, data: bytes | memoryview, shape: Sequence[int], item: int
    ) -> list[tuple[Name, tuple[int, ...]]]:
        """List names and shapes of the tensors to hand to :func:`find_slice`, each once, in the order added."""
        if not shape or not data or item not in ITEMS or len(data) != math.prod(shape) * item:
            return []
        first = _first(_array(data).view(f"<u{item}").reshape(shape), ())
        found: dict[tuple[Name, tuple[int, ...]], None] = {}
        for name, base_shape, begin in self._found.get((len(shape), item, first[:item]), ()):
            if begin.startswith(first) and all(n <= size for n, size in zip(shape, base_shape, strict=True)):
                found[name, base_shape] = None
        return list(found)


def _first(array: NDArray[Any], offset: tuple[int, ...]) -> bytes:
    """Up to 16 elements along the first dimension, at ``offset`` in the last ones and 0 in those between."""
    between = (0,) * (array.ndim - 1 - len(offset))
    return b"".join(array[(row, *between, *offset)].tobytes() for row in range(min(16, len(array))))


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


# ------------------------------------------------------------------------------------------------ decoding


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
    if codec == RAW:
        return bytes(stored)
    if codec == ZSTD and item == 1:
        return _inflate(stored, length)
    if codec == SLICE and base is not None:
        return _take(item, bytes(stored), length, _array(base))
    out = _unshuffle(_array(_inflate(stored, length)), item)
    if base is not None:
        _add(item, out, _array(base))
    return out.tobytes()


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


def _unshuffle(planes: Bytes, item: int) -> Bytes:
    out, count = np.empty_like(planes), len(planes) // item
    body, rows = out[: count * item].reshape(count, item), planes[: count * item].reshape(item, count)
    for k in range(item):
        body[:, k] = rows[k]
    out[count * item :] = planes[count * item :]
    return out


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


def _take(item: int, stored: bytes, length: int, base: Bytes) -> bytes:
    ndim = stored[1] if len(stored) > 1 else 0
    if not 1 <= ndim <= MAX_DIMS or len(stored) != 2 + 12 * ndim or stored[0] != item:
        raise ValueError("a slice whose description is damaged")
    numbers = struct.unpack_from(f"<{3 * ndim}I", stored, 2)
    dims, starts, counts = numbers[:ndim], numbers[ndim : 2 * ndim], numbers[2 * ndim :]
    inside = all(start + n <= size for size, start, n in zip(dims, starts, counts, strict=True))
    if not inside or math.prod(dims) * item != len(base) or math.prod(counts) * item != length or not length:
        raise ValueError("a slice that does not fit its base")
    part = tuple(slice(start, start + n) for start, n in zip(starts, counts, strict=True))
    return base.view(f"<u{item}").reshape(dims)[part].tobytes()


def _array(data: bytes | memoryview) -> Bytes:
    return np.frombuffer(data, np.uint8)

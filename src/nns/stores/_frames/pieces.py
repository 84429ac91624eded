"""Cutting weights into pieces: the header of a safetensors file, and its tensors."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nns.stores._frames.codecs import MAX_FRAME
from nns.stores._frames.slices import MAX_DIMS

SMALL_TENSOR = 4 << 10
MAX_RUN = 64 << 10
OPAQUE_PIECE = 64 << 20
MAX_HEADER = 16 << 20
MAX_PIECES = 1 << 16

DTYPE_BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8}
DTYPE_BITS |= {"U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "C64": 64}
DTYPE_BITS |= {"U64": 64, "I64": 64, "F64": 64}


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

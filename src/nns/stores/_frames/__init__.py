"""Frames: weights cut into pieces, and the codecs in which a zoo file keeps them (docs/zoo-format.md)."""

from nns.stores._frames.codecs import (
    DIFFERENCE,
    FLUSH_FROM,
    MAX_FRAME,
    MAX_RATIO,
    MAX_WINDOW,
    NAMES,
    RAW,
    SLACK,
    SLICE,
    ZSTD,
    Encoded,
    decode,
    decode_into,
    encode,
    encode_difference,
)
from nns.stores._frames.pieces import Piece, split
from nns.stores._frames.slices import SliceIndex, find_slice

__all__ = [
    "DIFFERENCE",
    "FLUSH_FROM",
    "MAX_FRAME",
    "MAX_RATIO",
    "MAX_WINDOW",
    "NAMES",
    "RAW",
    "SLACK",
    "SLICE",
    "ZSTD",
    "Encoded",
    "Piece",
    "SliceIndex",
    "decode",
    "decode_into",
    "encode",
    "encode_difference",
    "find_slice",
    "split",
]

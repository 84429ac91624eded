"""The seal of a zoo file: one digest over all of its bytes, so that no flipped bit goes unnoticed.

It guards against accidents, so blocks are hashed by XXH3, ten times as fast as sha256. What is said about the
content of networks and columns is sha256, and checked on its own.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

import xxhash

from nns.stores.hdf5 import schema

CHECKSUM_BYTES = 16
"""Bytes of the XXH3-128 of a column."""

SEAL_BYTES = 32


def seal_of(descriptor: int, size: int, at: int) -> bytes:
    """Compute the seal of an open file: sha256 over the XXH3-128 of each block, the seal itself read as zeros.

    Args:
        descriptor: The open file.
        size: Its size in bytes.
        at: Where the 32 bytes of the seal are.
    """

    def block(start: int) -> bytes:
        data = os.pread(descriptor, min(schema.SEAL_BLOCK, size - start), start)
        first, last = max(at, start) - start, min(at + SEAL_BYTES, start + len(data)) - start
        if first < last:
            data = data[:first] + bytes(last - first) + data[last:]
        return xxhash.xxh3_128_digest(data)

    # blocks, so that threads share the work and a file of any size takes 16 MiB: 5.3 GB/s where sha256 does 0.65
    starts = range(0, size, schema.SEAL_BLOCK)
    if len(starts) < 2:
        digests = [block(start) for start in starts]
    else:
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            digests = list(pool.map(block, starts))
    return hashlib.sha256(b"".join(digests)).digest()

"""Packing weights: each piece once, and as a slice of or the difference to another where that is smaller.

A network's base is the network or supernet that its provenance names under ``"base"``; failing that, a network of
the zoo with the very same architecture and source of weights that was not trained on a dataset (a pretrained one).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from nns.errors import ZooError
from nns.stores._digest import canonical_json, network_content_digest, supernet_content_digest
from nns.stores._frames import SLICE, Encoded, Piece, SliceIndex, encode, encode_difference, find_slice, split
from nns.stores.hdf5.columns import FileRange
from nns.stores.hdf5.frames import FULL, Frames
from nns.stores.hdf5.networks import Networks, Supernets, WeightsTable
from nns.stores.hdf5.shards import FrameRow
from nns.stores.hdf5.view import Part
from nns.types import ArchitectureSpec

Key = tuple[str, str]
"""Table and id of a network or supernet."""


class Base:
    """Decoded weights to which others are compared."""

    def __init__(self, weights: bytes, rows: Sequence[int]) -> None:
        """Keep the weights; ``rows`` are the frames of their pieces."""
        self.weights = memoryview(weights)
        pieces = split(weights)
        self.by_key: dict[str, tuple[Piece, int]] = {}
        self.slices: SliceIndex[int] = SliceIndex()
        self.pieces: dict[int, Piece] = {}
        if len(pieces) != len(rows):  # packed otherwise: nothing to refer to
            return
        for piece, row in zip(pieces, rows, strict=True):
            if piece.key:
                self.by_key[piece.key] = piece, row
            if piece.shape:
                self.pieces[row] = piece
                self.slices.add(row, piece.shape, piece.item, self.data(piece))

    def data(self, piece: Piece) -> memoryview:
        """Return the bytes of a piece."""
        return self.weights[piece.start : piece.stop]


class Packer:
    """Collects the frames of a new file. What is encoded anew goes to the file ``spool`` until it is copied."""

    def __init__(self, spool: Path) -> None:
        """Name the spool file, which is made when it is needed."""
        self.rows: list[FrameRow] = []
        self._known: dict[bytes, int] = {}
        self._taken: dict[tuple[int, int], int] = {}
        self._unchecked: dict[int, tuple[Frames, int]] = {}
        self._spool = spool
        self._file: BinaryIO | None = None
        self._pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1))  # zstd and sha256 leave the interpreter to others

    def __enter__(self) -> Self:
        """Return the packer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the spool file."""
        self._pool.shutdown(cancel_futures=True)
        if self._file:
            self._file.close()
            with suppress(FileNotFoundError):
                self._spool.unlink()

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Return a descriptor for reading what has been encoded."""
        assert self._file
        self._file.flush()
        yield self._file.fileno()

    def copy(self, frames: Frames, row: int, check: bool) -> int:
        """Take a frame over as it is, and its base before it; one that is here already is not taken again.

        Raises:
            ZooError: If there is no such frame; with ``check`` also if it is not what its sha256 says.
        """
        if not 0 <= row < len(frames):
            raise ZooError(f"{frames.file.path} is damaged: frame {row} does not exist; restore it from a copy")
        known = self._taken.get((id(frames), row))
        if known is not None:
            return known
        if check:
            frames.checked(row)
        sha256 = frames.sha256[row].tobytes()
        # by content: two networks that share a layer share its frame. But the sha256 of a frame that was copied
        # unchecked is only what its file says, and must not make another network's good bytes be left out
        if sha256 in self._known and self._is_true(sha256):
            at = self._known[sha256]
        else:
            at = self._copy(frames, row, sha256, check)
        self._taken[id(frames), row] = at
        return at

    def _copy(self, frames: Frames, row: int, sha256: bytes, check: bool) -> int:
        base = int(frames.base[row])
        if base >= 0:
            if base >= len(frames) or frames.codec[base] not in FULL:
                raise ZooError(f"{frames.file.path} is damaged: frame {row} has the base {base}; restore it")
            base = self.copy(frames, base, check)
            if self.rows[base].codec not in FULL:  # here it is a difference itself: no chains
                return self._add(sha256, encode(frames.checked(row), int(frames.item[row])), -1)
        data = frames.file.part("frames/data", *frames.stored(row))
        length, codec, item = (int(column[row]) for column in (frames.length, frames.codec, frames.item))
        if not check:
            self._unchecked[len(self.rows)] = frames, row
        return self._append(FrameRow(sha256, length, codec, item, max(base, -1), data))

    def _is_true(self, sha256: bytes) -> bool:
        """Return whether the frame known under a digest has it; one taken over from the zoo's own file may not."""
        at = self._known[sha256]
        if at in self._unchecked:
            frames, row = self._unchecked[at]
            try:
                frames.checked(row)
            except ZooError:
                return False
            del self._unchecked[at]
        return True

    def add(self, weights: bytes, base: Base | None = None) -> list[int]:
        """Pack weights piece by piece; gives the rows of their frames."""
        pieces = split(weights)
        view = memoryview(weights)
        digests = list(self._pool.map(lambda piece: hashlib.sha256(view[piece.start : piece.stop]).digest(), pieces))
        new = {
            digest: piece
            for digest, piece in zip(digests, pieces, strict=True)
            if digest not in self._known or not self._is_true(digest)
        }

        def smallest(piece: Piece) -> tuple[Encoded, int]:
            return self._smallest(view[piece.start : piece.stop], piece, base)

        for digest, (encoded, at) in zip(new, self._pool.map(smallest, new.values()), strict=True):
            self._add(digest, encoded, at)
        return [self._known[digest] for digest in digests]

    def _smallest(self, data: memoryview, piece: Piece, base: Base | None) -> tuple[Encoded, int]:
        if base and piece.shape:
            for row, shape in base.slices.candidates(data, piece.shape, piece.item):
                other = base.pieces[row]
                if self.rows[row].codec in FULL and other.stop - other.start > len(data):
                    found = find_slice(data, piece.shape, piece.item, base.data(other), shape)
                    if found is not None and len(found) < len(data):
                        return Encoded(SLICE, piece.item, found, len(data)), row
        alone = encode(data, piece.item)
        if base and piece.key in base.by_key:
            other, row = base.by_key[piece.key]
            if self.rows[row].codec in FULL:
                difference = encode_difference(data, piece.item, base.data(other))
                if difference is not None and len(difference.data) < len(alone.data):
                    return difference, row
        return alone, -1

    def _add(self, sha256: bytes, encoded: Encoded, base: int) -> int:
        if self._file is None:
            self._file = self._spool.open("xb+")
        offset = self._file.tell()
        self._file.write(encoded.data)
        data = FileRange(self, offset, len(encoded.data))
        return self._append(FrameRow(sha256, encoded.length, encoded.codec, encoded.item, base, data))

    def _append(self, row: FrameRow) -> int:
        self._known[row.sha256] = len(self.rows)
        self.rows.append(row)
        return len(self.rows) - 1


def pack(
    packer: Packer,
    networks: Sequence[tuple[Networks, int]],
    supernets: Sequence[tuple[Supernets, int]],
    others: Sequence[Part],
    repack: bool,
    fresh: Sequence[Part] = (),
) -> dict[Key, list[int]]:
    """Pack the weights of all networks and supernets; what a main file holds is taken over as it is.

    Args:
        packer: Where to.
        networks: Table and row of each network.
        supernets: Table and row of each supernet.
        others: Files of other zoos, whose digests are checked.
        repack: Encode everything anew.
        fresh: Files whose weights are whole, to be packed.

    Returns:
        Rows of the frames of each.

    Raises:
        ZooError: If something is damaged.
    """
    foreign, whole = ({id(part.file) for part in parts} for parts in (others, fresh))
    packed: dict[Key, list[int]] = {}
    waiting: list[tuple[WeightsTable, int]] = []
    for table, row in (*supernets, *networks):
        check = id(table.file) in foreign
        if check:
            _check_digest(table, row)
            table.weights(row)
        if table.file.stays_open and not repack and id(table.file) not in whole:
            packed[_key(table, row)] = [packer.copy(table.frames, frame, check) for frame in table.rows(row)]
        else:
            waiting.append((table, row))
    if not waiting:  # as when a space was fitted; to look for bases is to parse every entry
        return packed
    sources = _Sources(networks, supernets)
    base_of = {_key(table, row): sources.base(table, row) for table, row in waiting}
    waiting.sort(key=lambda item: _order(base_of[_key(*item)]))  # those without a base first, then base by base
    base: Base | None = None
    of: Key | None = None
    for table, row in waiting:
        wanted = base_of[_key(table, row)]
        if wanted != of:
            base, of = None, wanted
            if wanted is not None and wanted in packed:
                base = Base(sources.weights(wanted), packed[wanted])
        packed[_key(table, row)] = packer.add(table.weights(row), base)
    return packed


def _key(table: WeightsTable, row: int) -> Key:
    return table.table, table.ids[row]


def _order(base: Key | None) -> tuple[str, str]:
    return base or ("", "")


class _Sources:
    """Finds the base of each network among networks and supernets."""

    def __init__(self, networks: Sequence[tuple[Networks, int]], supernets: Sequence[tuple[Supernets, int]]) -> None:
        self._where: dict[Key, tuple[WeightsTable, int]] = {
            _key(table, row): (table, row) for table, row in (*networks, *supernets)
        }
        self._pretrained: dict[bytes, Key] = {}
        for table, row in networks:
            entry = table.entries[row]
            if entry.spec.source != "random" and not entry.source_digest:
                self._pretrained.setdefault(_spec(entry.spec), ("networks", entry.id))

    def base(self, table: WeightsTable, row: int) -> Key | None:
        if table.table == "supernets":
            return None
        entry = table.entries[row]
        named = entry.provenance.base
        for kind in ("supernets", "networks"):
            if named is not None and (kind, named) in self._where and named != entry.id:
                return kind, named
        found = self._pretrained.get(_spec(entry.spec)) if entry.source_digest else None
        return found

    def weights(self, key: Key) -> bytes:
        table, row = self._where[key]
        return table.weights(row)


def _spec(spec: ArchitectureSpec) -> bytes:
    return canonical_json([spec.backend, spec.name, dict(spec.config), spec.source])


def _check_digest(table: WeightsTable, row: int) -> None:
    entry, sha256 = table.entries[row], table.sha256[row].tobytes().hex()
    if isinstance(table, Networks):
        digest = network_content_digest(entry, table.fingerprint(row), sha256)
    else:
        digest = supernet_content_digest(entry, sha256)
    if digest != table.digests[row].tobytes().hex():
        raise ZooError(f"{table.file.path}: {entry.id} is not what its digest says; restore the file from a copy")

"""What single networks take of a zoo file: the frames of their weights, and which of them nobody else needs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from nns.errors import ZooError
from nns.stores import HDF5Store

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.stores.hdf5.networks import WeightsTable
    from nns.stores.hdf5.view import Part


@dataclass(frozen=True)
class WeightsBytes:
    """What the weights of some networks and supernets take in a zoo file.

    Attributes:
        decoded: Bytes of the weights, each network's counted whole.
        stored: Bytes of their frames in the file.
        own: Bytes of those that no other network needs: about what removing them frees.
        codecs: Name of a codec to the number of frames.
        bases: Networks and supernets that theirs are slices of, or differences to.
    """

    decoded: int = 0
    stored: int = 0
    own: int = 0
    codecs: Mapping[str, int] = field(default_factory=dict)
    bases: tuple[str, ...] = ()

    @property
    def frames(self) -> int:
        """Number of frames."""
        return sum(self.codecs.values())


def weights_bytes(store: HDF5Store, ids: Collection[str]) -> WeightsBytes:
    """Count what the weights of networks and supernets take; unknown ids count nothing.

    Raises:
        ZooError: If the file is damaged.
    """
    wanted = set(ids)
    found = store.from_view(lambda view: [_of_part(part, wanted) for part in view.parts])
    codecs: dict[str, int] = {}
    for each in found:
        for name, frames in each.codecs.items():
            codecs[name] = codecs.get(name, 0) + frames
    return WeightsBytes(
        sum(each.decoded for each in found),
        sum(each.stored for each in found),
        sum(each.own for each in found),
        dict(sorted(codecs.items())),
        tuple(sorted({base for each in found for base in each.bases})),
    )


def _of_part(part: Part, wanted: set[str]) -> WeightsBytes:
    from nns.stores._frames import NAMES

    tables: list[WeightsTable] = [table for table in part.weights_tables if len(table)]
    chosen = [np.array([name in wanted for name in table.ids]) for table in tables]
    if not any(mask.any() for mask in chosen):
        return WeightsBytes()
    used = [_frames(table, mask) for table, mask in zip(tables, chosen, strict=True)]
    mine = np.unique(np.concatenate(used))
    rest = np.concatenate([_frames(table, ~mask) for table, mask in zip(tables, chosen, strict=True)])
    count = len(part.frames)
    if not all(((rows >= 0) & (rows < count)).all() for rows in (mine, rest)):
        raise ZooError(f"{part.file.path} is damaged: weights have frames that do not exist; restore it from a copy")
    decoded = sum(int(table.lengths[mask].sum()) for table, mask in zip(tables, chosen, strict=True))
    if not count:
        return WeightsBytes(decoded)
    base = part.frames.base
    needed = np.concatenate([rest, base[rest]])
    stored = np.diff(part.frames.bounds).astype(np.int64)
    codecs, counts = np.unique(part.frames.codec[mine], return_counts=True)
    bases = base[mine]
    return WeightsBytes(
        decoded,
        int(stored[mine].sum()),
        int(stored[np.setdiff1d(mine, needed)].sum()),
        {NAMES.get(codec, f"codec {codec}"): n for codec, n in zip(codecs.tolist(), counts.tolist(), strict=True)},
        tuple(sorted(set(_owners(tables, bases[bases >= 0])) - wanted)),
    )


def _frames(table: WeightsTable, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the rows of the frames of some rows of a table."""
    lengths = np.diff(table.bounds("frames")).astype(np.int64)
    frames: NDArray[np.int64] = table.file.array(f"{table.table}/frames").astype(np.int64)
    return frames[np.repeat(mask, lengths)]


def _owners(tables: list[WeightsTable], bases: NDArray[np.int64]) -> list[str]:
    """Name who has each of some frames: a supernet rather than a network, the first of several."""
    owners: list[str] = []
    left = set(bases.tolist())
    for table in tables:
        for row, name in enumerate(table.ids):
            if not left:
                return owners
            if not left.isdisjoint(rows := table.rows(row)):
                left.difference_update(rows)
                owners.append(name)
    return owners


def disk_bytes(store: HDF5Store) -> tuple[int, int, int]:
    """Return the bytes of the zoo file, and number and bytes of the files that wait in its journal."""
    from nns.stores.hdf5.journal import Journal
    from nns.stores.hdf5.merge import disk_usage

    names, usage = Journal(store.path).names(), disk_usage(store.path)
    return usage.get("", 0), len(names), sum(usage.get(name, 0) for name in names)

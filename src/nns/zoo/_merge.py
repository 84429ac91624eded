"""Merging zoos: each network once, all or nothing, and every conflict named before anything is written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nns.errors import UsageError, ZooError
from nns.files import real_path
from nns.places import FileWeights
from nns.stores import HDF5Store

if TYPE_CHECKING:
    from nns.stores.hdf5.joined import Joined
    from nns.stores.hdf5.view import View

ATTEMPTS = 100
"""How often sources that are themselves merged meanwhile are looked at anew."""


@dataclass(frozen=True)
class Conflict:
    """An id under which zoos hold different things.

    Attributes:
        kind: ``"network"`` or ``"supernet"``.
        id: The id.
        zoos: The two files.
    """

    kind: str
    id: str
    zoos: tuple[Path, Path]


class MergeConflictError(ZooError):
    """Zoos hold different networks under one id.

    Attributes:
        conflicts: All of them.
    """

    def __init__(self, conflicts: Sequence[Conflict]) -> None:
        """Name them all on one line, those of the same two files together."""
        self.conflicts = tuple(conflicts)

        def files(conflict: Conflict) -> tuple[Path, Path]:
            return conflict.zoos

        parts = [
            f"{zoos[0]} and {zoos[1]} differ in {', '.join(f'{each.kind} {each.id}' for each in group)}"
            for zoos, group in groupby(sorted(conflicts, key=files), key=files)
        ]
        path, name = self.conflicts[0].zoos[1], self.conflicts[0].id
        hint = f"remove one of each two, e.g. with `nns zoo rm {path} {name}`"
        super().__init__(f"nothing was merged: {'; '.join(parts)}; {hint}")


@dataclass(frozen=True)
class Merged:
    """What one of the zoos brought.

    Attributes:
        zoo: Its file.
        networks: Networks in it.
        added: Those that were new.
        same: Whether it is the very file that was merged into.
    """

    zoo: Path
    networks: int
    added: int
    same: bool = False

    @property
    def known(self) -> int:
        """Networks that were there before."""
        return self.networks - self.added


def merge_zoos(target: str | os.PathLike[str], sources: Sequence[str | os.PathLike[str]]) -> tuple[Merged, ...]:
    """Bring the networks, supernets, datasets and transfers of zoos together in one file, which is written once.

    Networks of the same content count once. Spaces and latencies of the sources stay behind: they belong to the
    zoo they were fitted and measured with. A source that is the target itself brings nothing.

    Args:
        target: Zoo file to write, or to add to; its journal is merged as well.
        sources: Zoo files. They are not changed.

    Returns:
        What each source brought; what two of them bring counts for the first.

    Raises:
        MissingZooError: If a source does not exist.
        MergeConflictError: If an id stands for different content in two of the zoos; then nothing is written.
        ZooError: If a source is damaged, or does not fit; then nothing is written.
        UsageError: If weights lie beside a source and not beside the target; then nothing is written.
    """
    target, paths = Path(target), [Path(source) for source in sources]
    for path in paths:
        _check_files_beside(HDF5Store(path, must_exist=True), target)
    for _ in range(ATTEMPTS):
        with suppress(FileNotFoundError):  # somebody merges the journal of one of them at this moment
            return _merge(target, paths)
    raise ZooError(f"{target} or its sources are merged again and again; try again later")


def _merge(target: Path, sources: Sequence[Path]) -> tuple[Merged, ...]:
    from nns.stores.hdf5.merge import absorb, merge
    from nns.stores.hdf5.view import Loader

    mine = Loader(target).load()
    views = [None if _is_same(source, target) else Loader(source).load() for source in sources]
    others = [(source, view) for source, view in zip(sources, views, strict=True) if view is not None]
    if conflicts := _conflicts([(target, mine), *others]):
        raise MergeConflictError(conflicts)
    known = set(mine.networks.ids)
    merged = []
    for source, view in zip(sources, views, strict=True):
        ids = set((view or mine).networks.ids)
        merged.append(Merged(source, len(ids), len(ids - known), same=view is None))
        known |= ids
    if others:
        absorb(target, [part for _, view in others for part in view.parts])
    else:
        merge(target)
    return tuple(merged)


def _check_files_beside(source: HDF5Store, target: Path) -> None:
    """Refuse to write a zoo whose weights would not be where it says: beside it, as they are beside the source."""
    if real_path(source.path.parent) == real_path(target.parent):
        return
    for entry in source.entries():
        weights = entry.weights
        if isinstance(weights, FileWeights) and not (target.parent / weights.path).is_file():
            raise UsageError(
                f"nothing was merged: {source.path} has weights beside it in {weights.path}, and {target.parent} has "
                "not; copy the files to the same place there, or merge into the folder of the source"
            )


def _is_same(one: Path, other: Path) -> bool:
    if one.exists() and other.exists():
        return one.samefile(other)
    return real_path(one) == real_path(other)


def _conflicts(views: Sequence[tuple[Path, View]]) -> list[Conflict]:
    """Compare each zoo with the first that has the same id."""
    found = []
    for kind in ("network", "supernet"):
        first: dict[str, tuple[Path, bytes]] = {}
        for path, view in views:
            joined: Joined[Any] = view.networks if kind == "network" else view.supernets
            for name, (table, row) in zip(joined.ids, joined.order, strict=True):
                digest = table.digests[row].tobytes()
                owner, expected = first.setdefault(name, (path, digest))
                if digest != expected:
                    found.append(Conflict(kind, name, (owner, path)))
    return found

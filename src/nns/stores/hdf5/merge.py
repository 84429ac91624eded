"""Merging: main file and journal become a new main file, which takes the place of the old one at once."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from nns.errors import UnknownNameError, ZooError
from nns.files import flush
from nns.stores._records import check_features, normal_dataset, normal_transfer, unused_supernets
from nns.stores.hdf5.columns import Column, FileRange, Pieces, offsets, write_file
from nns.stores.hdf5.file import ZooFile
from nns.stores.hdf5.journal import MERGING, Journal, reason
from nns.stores.hdf5.networks import NO_FINGERPRINTS, NUMBERS, RAGGED_PARTS, Networks, Supernets, WeightsTable
from nns.stores.hdf5.pack import Packer, pack
from nns.stores.hdf5.shards import (
    dataset_columns,
    fingerprinted_column,
    frames_columns,
    header,
    ids_column,
    latency_columns,
    lines_columns,
    space_columns,
    weights_columns,
)
from nns.stores.hdf5.tables import read_space
from nns.stores.hdf5.view import Loader, Part, View, runs
from nns.types import FIXED_PARTS, Garbage, LatencyRecord, SpaceRecord, TransferRecord

SEQUENCED = ("space-", "latency-", "transfer-")


@dataclass
class Contents:
    """What a new main file will hold."""

    networks: list[tuple[Networks, int]]
    supernets: list[tuple[Supernets, int]]
    datasets: Sequence[tuple[Any, str]]
    spaces: Sequence[SpaceRecord]
    latencies: list[LatencyRecord]
    transfers: list[TransferRecord]
    merged: list[str] = field(default_factory=list)


def merge(path: Path) -> None:
    """Merge the zoo at ``path``. Waits for a merge that is under way; without a journal nothing is done.

    A crash leaves the old main file or the new one, and every shard that is not in it.

    Raises:
        ZooError: If a file is damaged; then nothing is changed.
    """
    loader = Loader(path)
    with loader.journal.lock() as locked:  # one merge at a time: two would each rename a file without the other's part
        if locked:
            view = _prepare(loader)
            if view.shards:  # another merge may have done it while this one waited for the lock
                _rewrite(path, loader.journal, view, _contents(view))


def absorb(path: Path, others: Sequence[Part], pack_them: bool = False) -> None:
    """Merge the zoo at ``path`` together with the networks, supernets, datasets and transfers of other files.

    Args:
        path: The zoo.
        others: The other files.
        pack_them: The other files are made by the caller, with whole weights in a frame each.

    Raises:
        ZooError: If a network has the id of one that is here, and other content, or a dataset is described by
            another extractor. Then nothing is changed.
    """
    loader = Loader(path)
    # announced before the zoo is looked at: a writer that links one of these ids from now on waits for the outcome, one
    # that linked before is seen, by the look here or the one right before the rename
    names = [name for part in others for table in part.weights_tables for name in table.ids]
    with loader.journal.lock(make=True), loader.journal.announce(names):
        view = _prepare(loader)
        joined = View(view.main, view.shards, others)
        new = [record for part in others for record, _ in part.datasets]
        check_features(path, [record for record, _ in view.datasets], new)
        contents = _contents(joined, own=view)

        def look_again() -> None:
            """Refuse if somebody has linked a shard of another network meanwhile: that one is in the zoo."""
            latest = loader.load()  # packing takes minutes with large zoos, so the first look is old
            View(latest.main, latest.shards, others)  # raises if two networks of one id differ

        _rewrite(path, loader.journal, joined, contents, last=look_again, fresh=others if pack_them else ())


def remove(path: Path, ids: Collection[str]) -> None:
    """Merge the zoo at ``path`` without some networks and supernets.

    Their shards are named in the new file, so that one which a crash leaves in the journal stays removed.

    Raises:
        UnknownNameError: If one is not there.
    """
    loader = Loader(path)
    with loader.journal.lock(make=True):
        view = _prepare(loader)
        for name in ids:
            if name not in view.networks and name not in view.supernets:
                raise UnknownNameError.among("network", name, [*view.networks.ids, *view.supernets.ids])
        if not ids:
            return
        contents, gone = _contents(view), set(ids)
        contents.networks = [(table, row) for table, row in contents.networks if table.ids[row] not in gone]
        contents.supernets = [(table, row) for table, row in contents.supernets if table.ids[row] not in gone]
        contents.merged += _shards_of(view, gone)
        _rewrite(path, loader.journal, view, contents)


def replace_networks(path: Path, fresh: Sequence[Part]) -> None:
    """Merge the zoo at ``path``, its networks of some ids replaced by those of other files, all at once.

    Raises:
        UnknownNameError: If one is not there.
        ZooError: If a fingerprint has other shapes than those of the zoo; then nothing is changed.
    """
    loader = Loader(path)
    names = [name for part in fresh for name in part.networks.ids]
    with loader.journal.lock(make=True), loader.journal.announce(names):
        view = _prepare(loader)
        for name in names:
            if name not in view.networks:
                raise UnknownNameError.among("network", name, view.networks.ids)
        contents, gone = _contents(view), set(names)
        kept = [(table, row) for table, row in contents.networks if table.ids[row] not in gone]
        new = [(part.networks, row) for part in fresh for row in range(len(part.networks))]
        contents.networks = sorted([*kept, *new], key=lambda each: each[0].ids[each[1]])
        contents.merged += _shards_of(view, gone)
        _rewrite(path, loader.journal, view, contents, fresh=fresh)


def collect_garbage(path: Path, keep_supernets: bool = False) -> Garbage:
    """Merge the zoo at ``path`` without what nothing refers to, every frame encoded anew.

    Args:
        path: The zoo.
        keep_supernets: Leave supernets without subnets: a build may be about to cut some.
    """
    loader = Loader(path)
    with loader.journal.lock(make=True):
        before = sum(disk_usage(path).values())
        files = loader.journal.stale()
        first = _prepare(loader)
        unused = set() if keep_supernets else _unused(_contents(first))  # the first look says what to announce
        # whoever names one of them as a base from now on waits, or is seen by the second look
        with loader.journal.announce(unused):
            view = loader.load()
            contents = _contents(view)
            unused &= _unused(contents)
            contents.supernets = [(table, row) for table, row in contents.supernets if table.ids[row] not in unused]
            ids = {table.ids[row] for table, row in contents.networks}
            latencies = [record for record in contents.latencies if record.network_id in ids]
            transfers = [record for record in contents.transfers if record.network_id in ids]
            garbage = Garbage(
                tuple(sorted(unused)),
                len(contents.latencies) - len(latencies),
                len(contents.transfers) - len(transfers),
                tuple(files),
                before,
            )
            contents.latencies, contents.transfers = latencies, transfers
            contents.merged += _shards_of(view, unused)
            if view.parts:
                _rewrite(path, loader.journal, view, contents, repack=True)
    return replace(garbage, bytes_after=sum(disk_usage(path).values()))


def _unused(contents: Contents) -> set[str]:
    supernets = [table.ids[row] for table, row in contents.supernets]
    return unused_supernets(supernets, (table.entries[row] for table, row in contents.networks))


def _shards_of(view: View, ids: Collection[str]) -> list[str]:
    """Name the shards of networks and supernets."""
    gone = set(ids)
    return [
        name
        for name, part in view.shards.items()
        if not name.startswith(SEQUENCED) and any(gone.intersection(table.ids) for table in part.weights_tables)
    ]


def disk_usage(path: Path) -> dict[str, int]:
    """Return the bytes of the zoo file, under ``""``, and of all that is in its journal folder, by name."""
    found: dict[str, int] = {}
    with suppress(OSError):
        found[""] = path.stat().st_size
    with suppress(OSError):
        for item in os.scandir(Journal(path).folder):
            with suppress(FileNotFoundError):
                found[item.name] = item.stat().st_size
    return found


def _prepare(loader: Loader) -> View:
    """Clean up after crashes, under the lock, and take a snapshot."""
    journal = loader.journal
    journal.remove(journal.stale())
    main = loader.main()
    if main is not None:
        # left by a process killed between its rename and its removals; readers skip them by the same list
        journal.remove([name for name in journal.names() if name in set(main.file.header.merged)])
    return loader.load()


def _contents(view: View, own: View | None = None) -> Contents:
    """List what ``view`` shows, but the spaces and latencies of ``own`` if it is given."""
    own = own or view
    return Contents(
        networks=list(view.networks.order),
        supernets=list(view.supernets.order),
        datasets=view.datasets,
        spaces=[read_space(part.file, name) for name, part in sorted(own.spaces.items())],
        latencies=[
            LatencyRecord(network_id, device, seconds)
            for device, values in sorted(own.latencies.items())
            for network_id, seconds in sorted(values.items())
        ],
        transfers=list(view.transfers.values()),
        # a shard of a space, latencies or transfers wins over the file, so one that a crash leaves would undo later
        # writes: the file names those that are in it. One of a network may stay, it is the same as in the file
        merged=[name for name in view.shards if name.startswith(SEQUENCED)],
    )


def _rewrite(
    path: Path,
    journal: Journal,
    view: View,
    contents: Contents,
    repack: bool = False,
    last: Callable[[], None] = lambda: None,
    fresh: Sequence[Part] = (),
) -> None:
    """Write a new main file, put it in the place of the old one, and remove the shards that are in it.

    ``last`` is called right before, and may refuse. ``fresh`` are files whose weights are packed, not copied.
    """
    temporary, spool = journal.temporary(MERGING), journal.temporary(MERGING)
    replaced = False
    try:
        with Packer(spool) as packer:
            columns, about = _columns(contents, packer, view, repack, fresh)
            write_file(temporary, columns, about)
        _confirm_written(temporary, contents)
        if view.main is not None:
            shutil.copymode(path, temporary)  # a zoo that a team may write stays one
        last()
        # write_file has flushed every byte. Readers that have the old file open keep it; whoever opens the path now
        # gets the old file or the new one, and for a moment finds the merged shards in both, which count once
        os.replace(temporary, path)
        replaced = True
        # before any shard is removed: a cut of power must not keep the removals and lose the rename
        flush(path.parent)
        journal.mark()
    except (ZooError, FileNotFoundError):
        raise
    except OSError as error:
        if replaced:
            what = "is written, but the disk may not have it yet, so a cut of power may bring the old one back"
            raise ZooError(f"{path} {what}: {reason(error)}") from error
        raise ZooError(f"{path} cannot be written: {reason(error)}; the file is as it was") from error
    finally:
        for leftover in (temporary, spool):
            with suppress(OSError):
                leftover.unlink()
    # only those of the view: what was linked since is not in the file. Killed here, they stay and count once
    with suppress(ZooError):  # nor does it matter if they cannot be removed: readers count them once, too
        journal.remove(list(view.shards))


def _confirm_written(path: Path, contents: Contents) -> None:
    # what a reader will check of structure and ids, before the old file goes: milliseconds against a zoo
    written = ZooFile(path)
    expected = tuple(table.ids[row] for table, row in contents.networks)
    if written.header.rows["networks"] != len(expected) or (expected and written.names("networks/id") != expected):
        raise AssertionError(f"{path} does not hold what was merged into it")
    written.close()


def _columns(
    contents: Contents, packer: Packer, view: View, repack: bool, fresh: Sequence[Part]
) -> tuple[dict[str, Column], dict[str, Any]]:
    foreign = [part for part in view.others if part not in fresh]
    packed = pack(packer, contents.networks, contents.supernets, foreign, repack, fresh)
    columns = _network_columns(contents.networks, packed)
    if contents.supernets:
        columns |= _common_columns(contents.supernets, packed)
    columns |= frames_columns(packer.rows) if packer.rows else {}
    datasets = [record for record, _ in contents.datasets]
    columns |= dataset_columns(
        datasets, [normal_dataset(record)[1] for record in datasets], [digest for _, digest in contents.datasets]
    )
    if contents.transfers:
        columns |= lines_columns("transfers", [normal_transfer(record)[1] for record in contents.transfers])
    for record in contents.spaces:
        columns |= space_columns(record)
    rows = {
        "networks": len(contents.networks),
        "supernets": len(contents.supernets),
        "frames": len(packer.rows),
        "datasets": len(datasets),
        "transfers": len(contents.transfers),
        "latencies": len(contents.latencies),
    }
    about = header(rows, [record.name for record in contents.spaces], contents.merged)
    return columns | latency_columns(contents.latencies), about


Packed = Mapping[tuple[str, str], Sequence[int]]


def _common_columns(order: Sequence[tuple[WeightsTable, int]], packed: Packed) -> dict[str, Column]:
    table = order[0][0].table
    columns: dict[str, Column] = {f"{table}/id": ids_column([each.ids[row] for each, row in order])}
    metas = [each.meta(row, row + 1)[:-1] for each, row in order]
    return (
        columns
        | lines_columns(table, metas)
        | weights_columns(
            table,
            [packed[table, each.ids[row]] for each, row in order],
            [int(each.lengths[row]) for each, row in order],
            [each.sha256[row].tobytes() for each, row in order],
            [each.digests[row].tobytes() for each, row in order],
        )
    )


def _network_columns(order: Sequence[tuple[Networks, int]], packed: Packed) -> dict[str, Column]:
    if not order:
        return {}
    columns = _common_columns(order, packed)
    blocks = list(runs(order))
    for name in RAGGED_PARTS:
        parts: list[bytes | FileRange] = []
        lengths: list[int] = []
        for table, first, last in blocks:
            edges = table.bounds(name)[first : last + 1]
            lengths += np.diff(edges).tolist()
            parts.append(table.file.part(f"networks/{name}", 4 * int(edges[0]), 4 * int(edges[-1])))
        columns[f"networks/{name}"] = Pieces("<f4", (sum(lengths),), parts)
        columns[f"networks/{name}_offset"] = offsets(lengths)
    tables = {table for table, _, _ in blocks}
    for name, dtype in NUMBERS.items():
        numbers = {table: table.file.array(f"networks/{name}") for table in tables}  # once each: it may be a copy
        columns[f"networks/{name}"] = np.concatenate(
            [numbers[table][first:last] for table, first, last in blocks], dtype=dtype
        )
    for name in FIXED_PARTS:
        shapes = {getattr(table, name).shape[1:] for table, _, _ in blocks if table.fingerprinted.any()}
        if len(shapes) > 1:
            found = " and ".join(sorted(map(str, shapes)))
            raise ZooError(f"{order[0][0].file.path}: networks with a {name} of {found} in one zoo")
        shape = shapes.pop() if shapes else NO_FINGERPRINTS[name].shape[1:]
        size = 4 * math.prod(shape)
        rows = [(table, int(table.prints[first]), int(table.prints[last])) for table, first, last in blocks]
        ranges = [table.file.part(f"networks/{name}", size * first, size * last) for table, first, last in rows]
        columns[f"networks/{name}"] = Pieces("<f4", (sum(last - first for _, first, last in rows), *shape), ranges)
    which = np.concatenate([table.fingerprinted[first:last] for table, first, last in blocks])
    return columns | fingerprinted_column(which)

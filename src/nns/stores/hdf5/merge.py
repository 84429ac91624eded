"""Merging: main file and journal become a new main file, which takes the place of the old one at once."""

from __future__ import annotations

import math
import os
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np

from nns.errors import ZooError
from nns.stores._records import normal_dataset
from nns.stores.hdf5.columns import Column, FileRange, Pieces, offsets, write_file
from nns.stores.hdf5.file import ZooFile
from nns.stores.hdf5.journal import fsync_folder, reason
from nns.stores.hdf5.shards import (
    as_bytes,
    dataset_columns,
    header,
    ids_column,
    latency_columns,
    sha256_column,
    space_columns,
)
from nns.stores.hdf5.tables import read_space
from nns.stores.hdf5.view import Loader, View, runs
from nns.types import LatencyRecord

RAGGED = {"meta": 1, "topology": 4, "functional": 4, "weights": 1}
"""Ragged columns of the networks and the bytes of one of their values."""


def merge(path: Path) -> None:
    """Merge the zoo at ``path``. Waits for a merge that is under way; without a journal nothing is done.

    A crash leaves the old main file or the new one, and every shard that is not in it.

    Raises:
        ZooError: If a file is damaged; then nothing is changed.
    """
    loader = Loader(path)
    journal = loader.journal
    with journal.lock() as locked:
        if not locked:
            return
        journal.sweep()
        main = loader.main()
        if main is not None:
            journal.remove([name for name in journal.names() if name in set(main.file.header.merged)])
        view = loader.load()
        if not view.shards:
            return
        try:
            _replace(path, journal.temporary(), view)
        except ZooError:
            raise
        except OSError as error:
            raise ZooError(f"{path} cannot be written: {reason(error)}; nothing was changed") from error
        journal.remove(list(view.shards))


def _replace(path: Path, temporary: Path, view: View) -> None:
    try:
        write_file(temporary, _columns(view))
        _check(temporary, view)
        if view.main is not None:
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    fsync_folder(path.parent)


def _check(path: Path, view: View) -> None:
    written = ZooFile(path)
    expected = view.ids
    if written.header.networks != len(expected) or (expected and written.names("networks/id") != expected):
        raise AssertionError(f"{path} does not hold what was merged into it")
    written.close()


def _columns(view: View) -> dict[str, Column]:
    latencies = [
        LatencyRecord(network_id, device, seconds)
        for device, values in sorted(view.latencies.items())
        for network_id, seconds in sorted(values.items())
    ]
    spaces = [read_space(part.file, name) for name, part in sorted(view.spaces.items())]
    datasets = [record for record, _ in view.datasets]
    columns = header(
        networks=len(view.ids),
        datasets=len(datasets),
        latencies=len(latencies),
        spaces=[record.name for record in spaces],
        merged=[name for name in view.shards if name.startswith(("space-", "latency-"))],
    )
    columns |= _network_columns(view)
    columns |= dataset_columns(
        datasets, [normal_dataset(record)[1] for record in datasets], [digest for _, digest in view.datasets]
    )
    for record in spaces:
        columns |= space_columns(record)
    return columns | latency_columns(latencies)


def _network_columns(view: View) -> dict[str, Column]:
    if not view.ids or len(view.entries) != len(view.ids):
        return {}
    columns: dict[str, Column] = {"networks/id": ids_column(view.ids)}
    blocks = list(runs(view.order))
    for name, item in RAGGED.items():
        parts: list[bytes | FileRange] = []
        lengths: list[int] = []
        for table, first, last in blocks:
            edges = table.bounds(name)[first : last + 1]
            lengths += np.diff(edges).tolist()
            parts.append(table.file.part(f"networks/{name}", item * int(edges[0]), item * int(edges[-1])))
        dtype = "<u1" if item == 1 else "<f4"
        columns[f"networks/{name}"] = Pieces(dtype, (sum(lengths),), parts)
        columns[f"networks/{name}_offset"] = offsets(lengths)
    meta = b"".join(table.meta(first, last) for table, first, last in blocks)
    columns |= {"networks/meta": as_bytes(meta), "networks/meta_sha256": sha256_column(meta)}
    for name in ("graph", "surprise", "digests", "sha256"):
        columns[f"networks/{COLUMN_OF.get(name, name)}"] = view.stack(name, ())
    shape = view.tables[0].kernel.shape[1:]
    size = 4 * math.prod(shape)
    if any(table.kernel.shape[1:] != shape for table in view.tables):
        view.stack("kernel", ())
    kernels = [table.file.part("networks/kernel", size * first, size * last) for table, first, last in blocks]
    columns["networks/kernel"] = Pieces("<f4", (len(view.ids), *shape), kernels)
    return columns


COLUMN_OF = {"digests": "digest", "sha256": "weights_sha256"}
"""Columns whose attribute in a table has another name."""

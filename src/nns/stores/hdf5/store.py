"""What is written to a zoo: shards in its journal, and merges that bring them into its file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from nns.errors import ZooError
from nns.stores._digest import dataset_content_digest, transfer_key
from nns.stores._records import (
    check_features,
    check_latencies,
    fixed_shapes,
    normal_dataset,
    normal_space,
    normal_transfer,
)
from nns.stores.hdf5.columns import Column
from nns.stores.hdf5.merge import absorb, collect_garbage, merge, remove, replace_networks
from nns.stores.hdf5.networks import Networks, Supernets, WeightsTable
from nns.stores.hdf5.reading import StoreReader
from nns.stores.hdf5.shards import (
    BATCH_BYTES,
    Prepared,
    batch_columns,
    dataset_columns,
    header,
    latency_columns,
    lines_columns,
    networks_columns,
    prepare_network,
    prepare_supernet,
    space_columns,
    supernets_columns,
)
from nns.stores.hdf5.view import ATTEMPTS, ContentConflictError, Part
from nns.types import (
    DatasetRecord,
    Garbage,
    LatencyRecord,
    NetworkRecord,
    SpaceRecord,
    SupernetRecord,
    TransferRecord,
)


class HDF5Store(StoreReader):
    """The zoo at ``path``: writes go to the journal, :meth:`merge` brings them into the file.

    ``add_*`` and ``put_*`` return once the record is safe: another process, or this one after a crash, will see it.
    Adding what is there already (same id, same content) changes nothing. Any number of processes may write at once,
    also while one of them merges. Nothing is created before the first write, and a record is checked whole before
    anything is written of it.
    """

    def __init__(self, path: str | os.PathLike[str], *, must_exist: bool = False) -> None:
        """Open the zoo file, if there is one."""
        super().__init__(path, must_exist=must_exist)
        self._shapes: tuple[tuple[int, ...], ...] | None = None

    def add_network(self, record: NetworkRecord) -> None:
        """Add a network; returns once it is safely in the journal.

        Raises:
            UsageError: If it cannot be stored.
            ZooError: If another network has that id, or its fingerprint other shapes than those of the zoo.
        """
        prepared = prepare_network(record)
        self._refuse_other_shapes(prepared.record)
        self._add(Networks, prepared, networks_columns([prepared]))

    def add_supernet(self, record: SupernetRecord) -> None:
        """Add a supernet; returns once it is safely in the journal.

        A network whose provenance names it as ``"base"`` takes little space beside it.

        Raises:
            UsageError: If it cannot be stored.
            ZooError: If another supernet has that id.
        """
        prepared = prepare_supernet(record)
        self._add(Supernets, prepared, supernets_columns([prepared]))

    def _add(self, table: type[WeightsTable], prepared: Prepared[Any], columns: dict[str, Column]) -> None:
        """Commit a shard of one network or supernet, unless it is there already.

        A shard's name is taken once and for all, so two writers of one id meet at it. After a removal the name of
        the removed shard stays barred, and the next of ``id``, ``id~1``, ``id~2``, … is used.
        """
        name, digest = prepared.record.entry.id, prepared.digest
        about = header({table.table: 1, "frames": int("frames/data" in columns)})
        for _ in range(ATTEMPTS):
            # it may just be coming into the file without a shard (add_all, absorb) or leaving it: what the file
            # says of it counts only after that
            self._loader.journal.wait_if_announced(name)
            if self._has(self._main(), table, name, digest):
                return
            shard = self._free_name(f"{table.kind}-{name}")
            fresh = self._loader.journal.commit(shard, columns, about)
            try:
                if fresh:
                    # between the look at the file and the link a merge may have announced the id, brought in another
                    # network under it, or removed one and barred the name. Whoever merges lists the journal once
                    # more right before its rename, so of the two at least one sees the other
                    self._loader.journal.wait_if_announced(name)
                    self._has(self._main(), table, name, digest)
                    if shard in self._barred():  # readers skip it: it was never acknowledged, so take it back
                        self._loader.journal.remove([shard])
                        continue
                else:  # somebody else's: is it the same network?
                    part = Part(self._loader.journal.folder / shard, stays_open=False)
                    if shard in self._barred():
                        continue
                    if not self._has(part, table, name, digest):
                        raise ZooError(f"{part.file.path} is damaged: it does not hold {name!r}; remove it")
            except FileNotFoundError:  # merged or removed meanwhile: the file says which
                continue
            except ZooError:
                if fresh:  # killed before this line, the shard stays; readers prefer the file to it (View)
                    self._loader.journal.remove([shard])
                raise
            self.refresh()
            return
        raise ZooError(f"{self.path} is merged again and again while it is written; try again later")

    def _barred(self) -> set[str]:
        """Return the names of shards that the main file says are in it or removed."""
        main = self._main()
        return set(main.file.header.merged) if main else set()

    def _free_name(self, stem: str) -> str:
        barred = self._barred()
        return next(
            name for number in count() if (name := f"{stem}~{number}.h5" if number else f"{stem}.h5") not in barred
        )

    def _main(self) -> Part | None:
        """Open the main file as it is now, not as it was at the snapshot: a write must see the latest."""
        with self._lock:
            return self._loader.main()

    def _has(self, part: Part | None, of: type[WeightsTable], name: str, digest: str) -> bool:
        """Return whether a file has the network; ZooError if it has another of that id."""
        with self._lock:
            table = part.table(of) if part else None
        row = table.find(name) if table else None
        if table is None or row is None:
            return False
        if table.digest(row) != digest:
            raise ZooError(f"{self.path}: {table.kind} {name!r} is in the zoo already, with other content")
        return True

    def add_all(self, records: Iterable[NetworkRecord | SupernetRecord | DatasetRecord]) -> None:
        """Add many records in one step, all or none: a few files of many rows, merged at once.

        Nothing is in the zoo before the last record has been made and checked: whatever a command has to refuse, and
        wherever it is killed, the zoo is as it was. Faster than one by one, which is a shard and two fsyncs each.

        Raises:
            UsageError: If one cannot be stored, or two networks have one id.
            ZooError: If another network has the id of one of them, or a dataset another extractor. Then none is added.
        """
        files: list[Path] = []
        batch: list[NetworkRecord] = []
        size = 0
        try:
            for record in records:
                if not isinstance(record, NetworkRecord):
                    files += self._write_single(record)
                    continue
                batch.append(record)
                size += len(record.weights) + (64 << 10)  # 64 KiB: about a fingerprint with its description
                if size > BATCH_BYTES:
                    files.append(self._write_batch(batch))
                    batch, size = [], 0
            if batch:
                files.append(self._write_batch(batch))
            if files:
                absorb(self.path, [Part(file, stays_open=True) for file in files], pack_them=True)
        except ContentConflictError as error:
            raise ZooError(f"{self.path}: {error.name} is in the zoo already, with other content") from error
        finally:
            if files:  # a process that is killed leaves them, and the next merge removes them
                self._loader.journal.discard(files)
        self.refresh()

    def _write_batch(self, records: Sequence[NetworkRecord]) -> Path:
        columns, about = batch_columns(records)
        if described := next((record for record in records if record.fingerprint is not None), None):
            self._refuse_other_shapes(described)  # within the batch all are the same
        return self._loader.journal.write(columns, about)

    def _write_single(self, record: SupernetRecord | DatasetRecord) -> list[Path]:
        """Write a supernet or a dataset under a temporary name; nothing for a dataset that the zoo has."""
        if isinstance(record, SupernetRecord):
            columns = supernets_columns([prepare_supernet(record)])
            about = header({"supernets": 1, "frames": int("frames/data" in columns)})
            return [self._loader.journal.write(columns, about)]
        normal, meta = normal_dataset(record)
        held = self.datasets()
        if any((old.digest, old.extractor) == (normal.digest, normal.extractor) for old in held):
            return []
        check_features(self.path, held, [normal])
        columns = dataset_columns([normal], [meta], [dataset_content_digest(normal)])
        return [self._loader.journal.write(columns, header({"datasets": 1}))]

    def replace_networks(self, records: Sequence[NetworkRecord]) -> None:
        """Write networks in place of those of the same ids, all at once. Waits for a merge.

        Raises:
            UsageError: If one cannot be stored.
            UnknownNameError: If the zoo has none of that id; then nothing is changed.
        """
        if not records:
            return
        file = self._write_batch(records)
        try:
            replace_networks(self.path, [Part(file, stays_open=True)])
        finally:
            self._loader.journal.discard([file])
        self.refresh()

    def absorb(self, other: StoreReader) -> None:
        """Add the networks, supernets, datasets and transfers of another zoo; weights are copied as they are packed.

        Spaces and latencies stay behind: they belong to the zoo they were fitted and measured with.

        Raises:
            ZooError: If a network has the id of one that is here, and other content, or the datasets are described
                by another extractor. Then nothing is added.
        """
        other.from_view(lambda view: absorb(self.path, view.parts))
        self.refresh()

    def remove(self, ids: Collection[str]) -> None:
        """Remove networks and supernets for good; what is left stays as it is. Waits for a merge.

        Measured latencies and transfers of what is removed stay until :meth:`collect_garbage`.

        Raises:
            UnknownNameError: If one is not there; then nothing is removed.
        """
        remove(self.path, ids)
        self.refresh()

    def collect_garbage(self, keep_supernets: bool = False) -> Garbage:
        """Remove what nothing refers to, and pack all weights anew. The networks stay the same.

        Args:
            keep_supernets: Leave supernets without subnets: a build may be about to cut some.
        """
        garbage = collect_garbage(self.path, keep_supernets)
        self.refresh()
        return garbage

    def put_transfers(self, records: Sequence[TransferRecord]) -> None:
        """Write transfers, in place of older ones of the same network, dataset and recipe."""
        rows = {transfer_key(record): meta for record, meta in map(normal_transfer, records)}
        if rows:
            self._put("transfer", lines_columns("transfers", list(rows.values())), {"transfers": len(rows)})

    def _put(self, kind: str, columns: dict[str, Column], rows: Mapping[str, int], spaces: Sequence[str] = ()) -> None:
        journal = self._loader.journal
        journal.commit(journal.sequenced(kind), columns, header(rows, spaces))
        self.refresh()

    def _refuse_other_shapes(self, record: NetworkRecord) -> None:
        if record.fingerprint is None:
            return
        given = fixed_shapes(record.fingerprint)
        if self._shapes is None:  # looked at once: all networks of a zoo have the same
            self._shapes = self.fingerprint_shapes() or given
        if self._shapes != given:
            what = f"network {record.entry.id!r}: fingerprint of shapes {given}"
            raise ZooError(f"{self.path}: {what}, the zoo has {self._shapes}; compute it as the zoo's were")

    def add_dataset(self, record: DatasetRecord) -> None:
        """Add a dataset's query features; one of the same digest and extractor is left as it is.

        Two writers that start an empty zoo at one moment do not see one another's extractor; a search names both.

        Raises:
            UsageError: If it cannot be stored.
            ZooError: If the zoo's datasets are described by another extractor, or in another width.
        """
        normal, meta = normal_dataset(record)
        key = (normal.digest, normal.extractor)
        held = self.datasets()
        if any((old.digest, old.extractor) == key for old in held):
            return
        check_features(self.path, held, [normal])
        columns = dataset_columns([normal], [meta], [dataset_content_digest(normal)])
        name = hashlib.sha256("\n".join(key).encode()).hexdigest()
        # a name that is taken is the same dataset, which then stays: no need to compare as with networks
        self._loader.journal.commit(self._free_name(f"dataset-{name}"), columns, header({"datasets": 1}))
        self.refresh()

    def put_space(self, record: SpaceRecord) -> None:
        """Write a fitted space, in place of one of the same name."""
        normal = normal_space(record)
        self._put("space", space_columns(normal), {}, [normal.name])

    def put_latencies(self, records: Sequence[LatencyRecord]) -> None:
        """Write measured latencies, in place of older ones of the same network and device."""
        check_latencies(records)
        if not records:
            return
        latest = {(record.network_id, record.device): record for record in records}
        self._put("latency", latency_columns(list(latest.values())), {"latencies": len(latest)})

    def merge(self) -> None:
        """Bring the journal into the zoo file; readers and writers need not stop. The content stays the same."""
        merge(self.path)
        self.refresh()

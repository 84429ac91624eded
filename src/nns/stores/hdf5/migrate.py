"""Bringing a zoo file of an older format version to the current one."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nns.errors import MissingZooError, ZooError
from nns.stores._codec import decode_entry
from nns.stores._records import normal_dataset
from nns.stores.hdf5 import schema, schema_v1
from nns.stores.hdf5.columns import Column
from nns.stores.hdf5.file import ZooFile
from nns.stores.hdf5.journal import Journal, fsync_folder, reason
from nns.stores.hdf5.merge import absorb
from nns.stores.hdf5.networks import RAGGED_PARTS
from nns.stores.hdf5.shards import BATCH_BYTES, batch_columns, dataset_columns, header, latency_columns, space_columns
from nns.stores.hdf5.tables import read_datasets, read_latencies, read_space
from nns.stores.hdf5.view import Loader, Part
from nns.types import FIXED_PARTS, Fingerprint, NetworkRecord

BOTH = {1: schema_v1.TABLES, schema.FORMAT_VERSION: schema.TABLES}
"""What :func:`migrate` reads."""


@dataclass(frozen=True)
class Migration:
    """What a migration did.

    Attributes:
        version: Format version before; the current one if nothing was to be done.
        networks: Networks in the new file.
        backup: The old file under its new name; None if nothing was done.
        bytes_before: Bytes of the old file and its journal.
        bytes_after: Bytes of the new file.
    """

    version: int
    networks: int
    backup: Path | None
    bytes_before: int
    bytes_after: int


def migrate(path: str | os.PathLike[str]) -> Migration:
    """Write a zoo of an older version anew, and put it in the place of the old one, which stays beside it.

    The old file becomes ``NAME.v1`` and its journal ``NAME.v1.journal``. A crash leaves the old zoo or the new
    one; the same call again goes on.

    Raises:
        MissingZooError: If there is no zoo.
        ZooError: If it is damaged, newer, or no zoo, or its content would not be the same.
    """
    path = Path(path)
    journal = Journal(path)
    _check(path)
    with journal.lock(make=path.exists()) as locked:
        files = _files(path, journal) if locked else {}
        if not files:
            raise MissingZooError(f"there is no zoo at {path}; make one with `nns zoo build {path}`")
        versions = {file.header.version for file in files.values()}
        size = sum(file.path.stat().st_size for file in files.values())
        if versions == {schema.FORMAT_VERSION}:
            networks = sum(file.header.rows["networks"] for file in files.values())
            return Migration(schema.FORMAT_VERSION, networks, None, size, size)
        target = path.with_name(path.name + ".migrating")
        try:
            _discard(target)
            networks = _convert(files, target)
            backup = _keep_old(path, files)
            os.replace(target, path)
            fsync_folder(path.parent)
        except ZooError:
            raise
        except OSError as error:
            raise ZooError(f"{path} cannot be migrated: {reason(error)}; the old zoo is as it was") from error
        finally:
            with suppress(OSError):
                _discard(target)
        journal.remove([name for name in files if name])
        return Migration(min(versions), networks, backup, size, path.stat().st_size)


def _check(path: Path) -> None:
    """Refuse what is no zoo, or one whose file is gone, before anything is made beside it."""
    try:
        ZooFile(path, tables=BOTH).close()
    except FileNotFoundError:
        Loader(path).main()


def _files(path: Path, journal: Journal) -> dict[str, ZooFile]:
    """Open the zoo file, under ``""``, and the shards that are not in it, by name."""
    files: dict[str, ZooFile] = {}
    for name in ["", *journal.names()]:
        with suppress(FileNotFoundError):
            files[name] = ZooFile(journal.folder / name if name else path, tables=BOTH)
    if "" in files:
        for name in files[""].header.merged:
            files.pop(name, None)
    return files


def _discard(target: Path) -> None:
    shutil.rmtree(Journal(target).folder, ignore_errors=True)
    target.unlink(missing_ok=True)


def _keep_old(path: Path, files: dict[str, ZooFile]) -> Path | None:
    """Return the old files second names, as a zoo of their own."""
    backup = path.with_name(f"{path.name}.v{min(file.header.version for file in files.values())}")
    for name, file in files.items():
        kept = Journal(backup).folder / name if name else backup
        kept.parent.mkdir(exist_ok=True)
        kept.unlink(missing_ok=True)
        try:
            os.link(file.path, kept)
        except OSError:  # a file system without hard links
            shutil.copy2(file.path, kept)
        fsync_folder(kept.parent)
    return backup


def _convert(files: dict[str, ZooFile], target: Path) -> int:
    """Write everything into a new zoo at ``target``; gives the number of networks."""
    journal = Journal(target)
    parts: list[Part] = []
    expected: dict[str, str] = {}
    for file in files.values():
        if file.header.version == schema.FORMAT_VERSION:
            parts.append(Part(file.path, keep=True))
            continue
        old = _Old(file)
        expected |= old.digests()
        for columns, about in old.columns():
            parts.append(Part(journal.write(columns, about), keep=False))
    absorb(target, parts, whole=True, merged=[name for name in files if name])
    written = Part(target, keep=True).networks
    for network_id, digest in expected.items():
        row = written.find(network_id)
        if row is None or written.digest(row) != digest:
            raise ZooError(f"network {network_id} would not be the same; the old zoo is as it was")
    return len(written.ids)


class _Old:
    """A file of version 1. It differs in where weights lie and in which digests there are."""

    def __init__(self, file: ZooFile) -> None:
        self._file = file
        self._ids = file.names("networks/id") if file.header.rows["networks"] else ()

    def digests(self) -> dict[str, str]:
        """Content digest of each network."""
        if not self._ids:
            return {}
        found = self._file.array("networks/digest")
        return {name: found[row].tobytes().hex() for row, name in enumerate(self._ids)}

    def columns(self) -> Iterator[tuple[dict[str, Column], dict[str, Any]]]:
        """Return the columns of files of version 2 with the same content."""
        batch: list[NetworkRecord] = []
        for record in self._networks():
            batch.append(record)
            if sum(len(each.weights) for each in batch) > BATCH_BYTES:
                yield batch_columns(batch)
                batch = []
        if batch:
            yield batch_columns(batch)
        datasets = read_datasets(self._file)
        records = [record for record, _ in datasets]
        metas = [normal_dataset(record)[1] for record in records]
        columns = dataset_columns(records, metas, [digest for _, digest in datasets])
        spaces = [read_space(self._file, name) for name in self._file.header.spaces]
        for space in spaces:
            columns |= space_columns(space)
        latencies = read_latencies(self._file)
        columns |= latency_columns(latencies)
        rows = {"datasets": len(datasets), "latencies": len(latencies)}
        if columns:
            yield columns, header(rows, [space.name for space in spaces])

    def _networks(self) -> Iterator[NetworkRecord]:
        if not self._ids:
            return
        file = self._file
        sha256 = file.array("networks/weights_sha256")
        bounds = {name: file.bounds(f"networks/{name}").tolist() for name in (*RAGGED_PARTS, "weights")}
        fixed = {name: file.array(f"networks/{name}") for name in FIXED_PARTS}
        for row, (network_id, value) in enumerate(zip(self._ids, file.rows("networks"), strict=True)):
            try:
                entry = decode_entry(value)
            except (KeyError, TypeError, ValueError) as error:
                raise ZooError(f"{file.path}: {network_id} has a damaged description ({error})") from error
            cells = {
                name: np.frombuffer(file.read(f"networks/{name}", *(4 * edge for edge in edges[row : row + 2])), "<f4")
                for name, edges in bounds.items()
                if name != "weights"
            }
            prints = Fingerprint(**cells, **{name: np.array(column[row]) for name, column in fixed.items()})
            weights = file.read("networks/weights", *bounds["weights"][row : row + 2])
            if entry.id != network_id or hashlib.sha256(weights).digest() != sha256[row].tobytes():
                raise ZooError(f"{file.path}: weights or description of {network_id} are damaged; restore it")
            yield NetworkRecord(entry, prints, weights)

"""What one record looks like as the columns of a file of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from nns.errors import UsageError, ZooError
from nns.stores._digest import canonical_json, network_content_digest, supernet_content_digest
from nns.stores._frames import RAW
from nns.stores._records import fixed_shapes, normal_entry, normal_network
from nns.stores.hdf5 import schema
from nns.stores.hdf5.columns import Column, FileRange, Pieces, as_view, offsets, ragged
from nns.stores.hdf5.ids import Ids
from nns.stores.hdf5.networks import NO_FINGERPRINTS, NUMBERS, RAGGED_PARTS, numbers_of
from nns.types import (
    DatasetRecord,
    LatencyRecord,
    NetworkEntry,
    NetworkRecord,
    SpaceRecord,
    SupernetRecord,
)

BATCH_BYTES = 256 << 20
"""Bytes of weights that are written at once when many networks are added."""

Record = TypeVar("Record", NetworkRecord, SupernetRecord)


@dataclass(frozen=True)
class Prepared(Generic[Record]):
    """A network or supernet that was checked, and what is written beside it.

    Attributes:
        record: As a reader will see it.
        meta: JSON of its entry.
        sha256: Digest of its weights.
        digest: Its content digest.
    """

    record: Record
    meta: bytes
    sha256: bytes
    digest: str


def prepare_network(record: NetworkRecord) -> Prepared[NetworkRecord]:
    """Check a network and compute its digests.

    Raises:
        UsageError: If it cannot be stored.
    """
    normal, meta = normal_network(record)
    sha256 = hashlib.sha256(normal.weights).digest()
    return Prepared(normal, meta, sha256, network_content_digest(normal.entry, normal.fingerprint, sha256.hex()))


def prepare_supernet(record: SupernetRecord) -> Prepared[SupernetRecord]:
    """Check a supernet and compute its digests.

    Raises:
        UsageError: If it cannot be stored.
    """
    entry, meta = normal_entry(record.entry)
    sha256 = hashlib.sha256(record.weights).digest()
    normal = SupernetRecord(entry, bytes(record.weights))
    return Prepared(normal, meta, sha256, supernet_content_digest(entry, sha256.hex()))


def as_bytes(data: bytes) -> NDArray[np.uint8]:
    """See bytes as a column."""
    return np.frombuffer(data, "<u1")


def ids_column(ids: Sequence[str]) -> NDArray[np.bytes_]:
    """Write ids as a column."""
    if isinstance(ids, Ids):
        return ids.keys
    return np.array([network_id.encode("ascii") for network_id in ids], "S64")


def header(rows: Mapping[str, int], spaces: Sequence[str] = (), merged: Sequence[str] = ()) -> dict[str, Any]:
    """Return what ``/format`` says, but for digests. ``rows`` are those of each table.

    A file that has the column of fingerprints is given the later version when it is written.
    """
    return {
        "format": schema.FORMAT_NAME,
        "version": schema.PLAIN_VERSION,
        **dict.fromkeys(schema.TABLES, 0),
        **rows,
        "spaces": sorted(spaces),
        "merged": sorted(merged),
    }


def lines_columns(table: str, rows: Sequence[bytes]) -> dict[str, Column]:
    """Write JSON, a line for each row."""
    joined = b"".join(row + b"\n" for row in rows)
    return {f"{table}/meta": as_bytes(joined), f"{table}/meta_offset": offsets([len(row) + 1 for row in rows])}


def weights_columns(
    table: str, rows: Sequence[Sequence[int]], lengths: Sequence[int], sha256: Sequence[bytes], digests: Sequence[bytes]
) -> dict[str, Column]:
    """Write which frames the weights of each network consist of, and their digests."""
    columns: Mapping[str, Column] = {
        "frames": np.array([row for each in rows for row in each], "<u8"),
        "frames_offset": offsets([len(each) for each in rows]),
        "weights_length": np.array(lengths, "<u8"),
        "weights_sha256": as_bytes(b"".join(sha256)).reshape(-1, 32),
        "digest": as_bytes(b"".join(digests)).reshape(-1, 32),
    }
    return {f"{table}/{name}": column for name, column in columns.items()}


def numbers_columns(entries: Sequence[NetworkEntry]) -> dict[str, Column]:
    """Write the numbers of networks."""
    rows = [numbers_of(entry) for entry in entries]
    columns = zip(*rows, strict=True)
    return {
        f"networks/{name}": np.array(column, dtype)
        for (name, dtype), column in zip(NUMBERS.items(), columns, strict=True)
    }


def networks_columns(prepared: Sequence[Prepared[NetworkRecord]]) -> dict[str, Column]:
    """Write networks whose fingerprints have the same shapes, the weights of each in one frame."""
    prints = [each.record.fingerprint for each in prepared]
    columns = _described("networks", prepared) | numbers_columns([each.record.entry for each in prepared])
    there = [each for each in prints if each is not None]
    for name, empty in NO_FINGERPRINTS.items():
        columns[f"networks/{name}"] = np.stack([getattr(each, name) for each in there]) if there else empty
    for name in RAGGED_PARTS:
        nothing = np.zeros(0, "<f4")
        values, edges = ragged([nothing if each is None else getattr(each, name) for each in prints], "<f4")
        columns |= {f"networks/{name}": values, f"networks/{name}_offset": edges}
    columns |= fingerprinted_column([each is not None for each in prints])
    return columns | _whole_weights("networks", prepared)


def fingerprinted_column(which: Sequence[bool] | NDArray[np.bool_]) -> dict[str, Column]:
    """Write which networks have a fingerprint; nothing if all have."""
    return {} if all(which) else {schema.FINGERPRINTED: np.array(which, "<u1")}


def supernets_columns(prepared: Sequence[Prepared[SupernetRecord]]) -> dict[str, Column]:
    """Write supernets, the weights of each in one frame."""
    return _described("supernets", prepared) | _whole_weights("supernets", prepared)


def batch_columns(records: Sequence[NetworkRecord]) -> tuple[dict[str, Column], dict[str, Any]]:
    """Write many networks as one file, the weights of each in one frame; also gives what its header says.

    Raises:
        UsageError: If one cannot be stored, or two have one id.
        ZooError: If their fingerprints differ in shape.
    """
    prepared = [prepare_network(record) for record in records]
    ids = [each.record.entry.id for each in prepared]
    if len(set(ids)) != len(ids):
        raise UsageError("two networks of one id cannot be added at once")
    first: tuple[str, Any] | None = None
    for network_id, each in zip(ids, prepared, strict=True):
        if each.record.fingerprint is None:
            continue
        found = fixed_shapes(each.record.fingerprint)
        first = first or (network_id, found)
        if found != first[1]:
            raise ZooError(f"network {network_id!r}: its fingerprint has other shapes than that of {first[0]!r}")
    frames = sum(bool(each.record.weights) for each in prepared)
    return networks_columns(prepared), header({"networks": len(prepared), "frames": frames})


def _described(table: str, prepared: Sequence[Prepared[Record]]) -> dict[str, Column]:
    ids = [each.record.entry.id for each in prepared]
    return {f"{table}/id": ids_column(ids), **lines_columns(table, [each.meta for each in prepared])}


def _whole_weights(table: str, prepared: Sequence[Prepared[Record]]) -> dict[str, Column]:
    frames: list[FrameRow] = []
    rows: list[range] = []
    for each in prepared:
        weights = each.record.weights
        rows.append(range(len(frames), len(frames) + bool(weights)))
        if weights:
            frames.append(FrameRow(each.sha256, len(weights), RAW, 1, -1, weights))
    columns = weights_columns(
        table,
        rows,
        [len(each.record.weights) for each in prepared],
        [each.sha256 for each in prepared],
        [bytes.fromhex(each.digest) for each in prepared],
    )
    return columns | (frames_columns(frames) if frames else {})


@dataclass(frozen=True)
class FrameRow:
    """One row of the table of frames; ``data`` is what is stored."""

    sha256: bytes
    length: int
    codec: int
    item: int
    base: int
    data: bytes | FileRange


def frames_columns(rows: Sequence[FrameRow]) -> dict[str, Column]:
    """Write the table of frames."""
    sizes = [len(row.data) if isinstance(row.data, bytes) else row.data.length for row in rows]
    columns: Mapping[str, Column] = {
        "sha256": as_bytes(b"".join(row.sha256 for row in rows)).reshape(-1, 32),
        "length": np.array([row.length for row in rows], "<u8"),
        "codec": np.array([row.codec for row in rows], "<u1"),
        "item": np.array([row.item for row in rows], "<u1"),
        "base": np.array([row.base for row in rows], "<i8"),
        "data": Pieces("<u1", (sum(sizes),), [row.data for row in rows]),
        "data_offset": offsets(sizes),
    }
    return {f"frames/{name}": column for name, column in columns.items()}


def dataset_columns(
    records: Sequence[DatasetRecord], metas: Sequence[bytes], digests: Sequence[str]
) -> dict[str, Column]:
    """Write the table of datasets, in the order given."""
    if not records:
        return {}
    columns: Mapping[str, Column] = {
        "features": Pieces(
            "<f4",
            (sum(record.features.size for record in records),),
            [as_view(np.asarray(record.features, "<f4")) for record in records],
        ),
        "features_offset": offsets([record.features.size for record in records]),
        "labels": np.concatenate([record.labels for record in records]),
        "labels_offset": offsets([record.labels.size for record in records]),
        "digest": as_bytes(b"".join(map(bytes.fromhex, digests))).reshape(-1, 32),
    }
    return lines_columns("datasets", metas) | {f"datasets/{name}": column for name, column in columns.items()}


def space_columns(record: SpaceRecord) -> dict[str, Column]:
    """Write one space."""
    meta = {
        "method": record.method,
        "settings": dict(record.settings),
        "report": dict(record.report),
    }
    columns: Mapping[str, Column] = {
        "meta": as_bytes(canonical_json(meta)),
        "tensors": as_bytes(record.tensors),
        "ids": ids_column(record.network_ids),
        "embeddings": record.embeddings,
    }
    return {f"spaces/{record.name}/{name}": column for name, column in columns.items()}


def latency_columns(records: Sequence[LatencyRecord]) -> dict[str, Column]:
    """Write the table of measured latencies, in the order given."""
    if not records:
        return {}
    devices = sorted({record.device for record in records})
    index = {device: at for at, device in enumerate(devices)}
    names = canonical_json(devices)
    network = ids_column([record.network_id for record in records])
    device = np.array([index[record.device] for record in records], "<u4")
    seconds = np.array([record.seconds for record in records], "<f8")
    columns: Mapping[str, Column] = {
        "devices": as_bytes(names),
        "network": network,
        "device": device,
        "seconds": seconds,
    }
    return {f"latencies/{name}": column for name, column in columns.items()}

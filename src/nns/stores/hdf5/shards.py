"""What one record looks like as the columns of a file of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nns.errors import UsageError, ZooError
from nns.stores._digest import canonical_json, network_content_digest
from nns.stores._frames import RAW
from nns.stores._records import fixed_shapes, normal_network
from nns.stores.hdf5 import schema
from nns.stores.hdf5.columns import Column, FileRange, Pieces, offsets, ragged
from nns.stores.hdf5.networks import NUMBERS, numbers_of
from nns.types import (
    FIXED_PARTS,
    DatasetRecord,
    Fingerprint,
    LatencyRecord,
    NetworkEntry,
    NetworkRecord,
    SpaceRecord,
    SupernetRecord,
)

BATCH_BYTES = 256 << 20
"""Bytes of weights that are written at once when many networks are added."""


def as_bytes(data: bytes) -> NDArray[np.uint8]:
    """See bytes as a column."""
    return np.frombuffer(data, "<u1")


def ids_column(ids: Sequence[str]) -> NDArray[np.bytes_]:
    """Write ids as a column."""
    return np.array([network_id.encode("ascii") for network_id in ids], "S64")


def header(rows: Mapping[str, int], spaces: Sequence[str] = (), merged: Sequence[str] = ()) -> dict[str, Any]:
    """Give what ``/format`` says, but for digests. ``rows`` are those of each table."""
    return {
        "format": schema.FORMAT_NAME,
        "version": schema.FORMAT_VERSION,
        **dict.fromkeys(schema.TABLES, 0),
        **rows,
        "spaces": sorted(spaces),
        "merged": sorted(merged),
    }


def lines_columns(table: str, rows: Sequence[bytes]) -> dict[str, Column]:
    """Write JSON, a line for each row."""
    joined = b"".join(row + b"\n" for row in rows)
    return {f"{table}/meta": as_bytes(joined), f"{table}/meta_offset": offsets([len(row) + 1 for row in rows])}


def fingerprint_columns(prints: Fingerprint) -> dict[str, Column]:
    """Write the fingerprint of a network as columns of one row."""
    columns: dict[str, Column] = {f"networks/{name}": getattr(prints, name)[None] for name in FIXED_PARTS}
    for name in ("topology", "functional"):
        column = getattr(prints, name)
        columns |= {f"networks/{name}": column, f"networks/{name}_offset": offsets([len(column)])}
    return columns


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


def network_columns(record: NetworkRecord, meta: bytes, sha256: bytes, digest: str) -> dict[str, Column]:
    """Write one network as a file of one row, its weights in one frame."""
    columns = {"networks/id": ids_column([record.entry.id]), **lines_columns("networks", [meta])}
    columns |= numbers_columns([record.entry]) | fingerprint_columns(record.fingerprint)
    return columns | _whole_weights("networks", record.weights, sha256, digest)


def supernet_columns(record: SupernetRecord, meta: bytes, sha256: bytes, digest: str) -> dict[str, Column]:
    """Write one supernet as a file of one row, its weights in one frame."""
    columns = {"supernets/id": ids_column([record.entry.id]), **lines_columns("supernets", [meta])}
    return columns | _whole_weights("supernets", record.weights, sha256, digest)


def batch_columns(records: Sequence[NetworkRecord]) -> tuple[dict[str, Column], dict[str, Any]]:
    """Write many networks as one file, the weights of each in one frame; also gives what its header says.

    Raises:
        UsageError: If one cannot be stored, or two have one id.
        ZooError: If their fingerprints differ in shape.
    """
    pairs = [normal_network(record) for record in records]
    prints = [record.fingerprint for record, _ in pairs]
    ids = [record.entry.id for record, _ in pairs]
    if len(set(ids)) != len(ids):
        raise UsageError("two networks of one id cannot be added at once")
    for network_id, each in zip(ids, prints, strict=True):
        if fixed_shapes(each) != fixed_shapes(prints[0]):
            raise ZooError(f"network {network_id!r}: its fingerprint has other shapes than that of {ids[0]!r}")
    columns = {"networks/id": ids_column(ids), **lines_columns("networks", [meta for _, meta in pairs])}
    columns |= numbers_columns([record.entry for record, _ in pairs])
    columns |= {f"networks/{name}": np.stack([getattr(each, name) for each in prints]) for name in FIXED_PARTS}
    for name in ("topology", "functional"):
        values, edges = ragged([getattr(each, name) for each in prints], "<f4")
        columns |= {f"networks/{name}": values, f"networks/{name}_offset": edges}
    frames: list[FrameRow] = []
    rows, sizes, sha256s, digests = [], [], [], []
    for record, _ in pairs:
        sha256 = hashlib.sha256(record.weights).digest()
        rows.append(range(len(frames), len(frames) + bool(record.weights)))
        if record.weights:
            frames.append(FrameRow(sha256, len(record.weights), RAW, 1, -1, record.weights))
        sizes.append(len(record.weights))
        sha256s.append(sha256)
        digests.append(bytes.fromhex(network_content_digest(record.entry, record.fingerprint, sha256.hex())))
    columns |= weights_columns("networks", rows, sizes, sha256s, digests)
    columns |= frames_columns(frames) if frames else {}
    return columns, header({"networks": len(pairs), "frames": len(frames)})


def _whole_weights(table: str, weights: bytes, sha256: bytes, digest: str) -> dict[str, Column]:
    sizes = [len(weights)] if weights else []
    columns = weights_columns(table, [range(len(sizes))], [len(weights)], [sha256], [bytes.fromhex(digest)])
    frame = FrameRow(sha256, len(weights), RAW, 1, -1, weights)
    return columns | (frames_columns([frame]) if weights else {})


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
        "features": np.concatenate([record.features.reshape(-1) for record in records]),
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

"""What one record looks like as the columns of a file of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nns.stores._digest import canonical_json
from nns.stores.hdf5 import schema
from nns.stores.hdf5.columns import Column, Pieces, offsets
from nns.stores.hdf5.tables import latency_sha256, space_sha256
from nns.types import DatasetRecord, LatencyRecord, NetworkRecord, SpaceRecord


def as_bytes(data: bytes) -> NDArray[np.uint8]:
    """See bytes as a column."""
    return np.frombuffer(data, "<u1")


def sha256_column(data: bytes) -> NDArray[np.uint8]:
    """Digest bytes, as a column of 32."""
    return as_bytes(hashlib.sha256(data).digest())


def ids_column(ids: Sequence[str]) -> NDArray[np.bytes_]:
    """Write ids as a column."""
    return np.array([network_id.encode("ascii") for network_id in ids], "S64")


def header(
    networks: int = 0,
    datasets: int = 0,
    latencies: int = 0,
    spaces: Sequence[str] = (),
    merged: Sequence[str] = (),
) -> dict[str, Column]:
    """Write ``/format``."""
    value: dict[str, Any] = {
        "format": schema.FORMAT_NAME,
        "version": schema.FORMAT_VERSION,
        "networks": networks,
        "datasets": datasets,
        "latencies": latencies,
        "spaces": sorted(spaces),
        "merged": sorted(merged),
    }
    value["sha256"] = hashlib.sha256(canonical_json(value)).hexdigest()
    return {schema.HEADER: as_bytes(canonical_json(value))}


def network_columns(record: NetworkRecord, meta: bytes, digest: str) -> dict[str, Column]:
    """Write one network as a file of one row."""
    prints, weights = record.fingerprint, record.weights
    columns: Mapping[str, Column] = {
        "id": ids_column([record.entry.id]),
        "meta": as_bytes(meta + b"\n"),
        "meta_offset": offsets([len(meta) + 1]),
        "meta_sha256": sha256_column(meta + b"\n"),
        "graph": prints.graph[None],
        "kernel": prints.kernel[None],
        "surprise": prints.surprise[None],
        "topology": prints.topology,
        "topology_offset": offsets([len(prints.topology)]),
        "functional": prints.functional,
        "functional_offset": offsets([len(prints.functional)]),
        "weights": Pieces("<u1", (len(weights),), [weights]),
        "weights_offset": offsets([len(weights)]),
        "weights_sha256": sha256_column(weights)[None],
        "digest": as_bytes(bytes.fromhex(digest))[None],
    }
    return header(networks=1) | {f"networks/{name}": column for name, column in columns.items()}


def dataset_columns(
    records: Sequence[DatasetRecord], metas: Sequence[bytes], digests: Sequence[str]
) -> dict[str, Column]:
    """Write the table of datasets, in the order given."""
    if not records:
        return {}
    joined = b"".join(meta + b"\n" for meta in metas)
    columns: Mapping[str, Column] = {
        "meta": as_bytes(joined),
        "meta_offset": offsets([len(meta) + 1 for meta in metas]),
        "meta_sha256": sha256_column(joined),
        "features": np.concatenate([record.features.reshape(-1) for record in records]),
        "features_offset": offsets([record.features.size for record in records]),
        "labels": np.concatenate([record.labels for record in records]),
        "labels_offset": offsets([record.labels.size for record in records]),
        "digest": as_bytes(b"".join(map(bytes.fromhex, digests))).reshape(-1, 32),
    }
    return {f"datasets/{name}": column for name, column in columns.items()}


def space_columns(record: SpaceRecord) -> dict[str, Column]:
    """Write one space."""
    meta = {
        "method": record.method,
        "settings": dict(record.settings),
        "report": dict(record.report),
        "sha256": space_sha256(record),
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
        "sha256": as_bytes(latency_sha256(names, network, device, seconds)),
    }
    return {f"latency/{name}": column for name, column in columns.items()}

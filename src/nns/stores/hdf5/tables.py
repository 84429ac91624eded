"""Datasets, spaces and latencies of one zoo file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nns.errors import ZooError
from nns.stores._codec import count, mapping, parse_json, text, texts
from nns.stores._digest import canonical_json, dataset_content_digest
from nns.stores.hdf5.file import ZooFile
from nns.types import DatasetRecord, LatencyRecord, SpaceRecord


def read_datasets(file: ZooFile) -> list[tuple[DatasetRecord, str]]:
    """Read all datasets of a file with their content digests, which are checked."""
    if not file.header.datasets:
        return []
    features, labels = file.bounds("datasets/features").tolist(), file.bounds("datasets/labels").tolist()
    digests, found = file.array("datasets/digest"), []
    for row, value in enumerate(file.rows("datasets")):
        try:
            dim = count(value["feature_dim"])
            flat = file.read("datasets/features", 4 * features[row], 4 * features[row + 1])
            record = DatasetRecord(
                text(value["name"]),
                text(value["digest"]),
                texts(value["classes"]),
                np.frombuffer(flat, "<f4").reshape(labels[row + 1] - labels[row], dim),
                np.frombuffer(file.read("datasets/labels", 8 * labels[row], 8 * labels[row + 1]), "<i8"),
                count(value["images"]),
                text(value["extractor"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ZooError(f"{file.path}: dataset {row} is damaged ({error}); restore it from a copy") from error
        digest = digests[row].tobytes().hex()
        if dataset_content_digest(record) != digest:
            raise ZooError(f"{file.path}: dataset {record.name!r:.80} is damaged (digest); restore it from a copy")
        found.append((record, digest))
    return found


def read_space(file: ZooFile, name: str) -> SpaceRecord:
    """Read one space; its tensors and embeddings are checked against their sha256."""
    at = f"spaces/{name}"
    what = f"{file.path}: space {name!r}"
    tensors, embeddings = file.read(f"{at}/tensors", 0, file.nbytes(f"{at}/tensors")), file.array(f"{at}/embeddings")
    value = parse_json(file.read(f"{at}/meta", 0, file.nbytes(f"{at}/meta")), what)
    ids = file.names(f"{at}/ids")
    try:
        record = SpaceRecord(
            name, text(value["method"]), mapping(value["settings"]), tensors, ids, embeddings, mapping(value["report"])
        )
        expected = text(value["sha256"])
    except (KeyError, TypeError) as error:
        raise ZooError(f"{what} is damaged ({error}); fit it again") from error
    if space_sha256(record) != expected:
        raise ZooError(f"{what} is damaged (sha256); fit it again")
    return record


def space_sha256(record: SpaceRecord) -> str:
    """Digest a space: its JSON, tensors and embeddings."""
    plain = [record.name, record.method, dict(record.settings), dict(record.report), record.network_ids]
    total = hashlib.sha256(canonical_json(plain))
    total.update(record.tensors)
    total.update(np.ascontiguousarray(record.embeddings, "<f4").reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def read_latencies(file: ZooFile) -> list[LatencyRecord]:
    """Read all measured latencies of a file."""
    if not file.header.latencies:
        return []
    devices = file.read("latency/devices", 0, file.nbytes("latency/devices"))
    network, device, seconds = (file.array(f"latency/{name}") for name in ("network", "device", "seconds"))
    total = latency_sha256(devices, network, device, seconds)
    names = texts(parse_json(devices, f"{file.path}: latency/devices"))
    if file.array("latency/sha256").tobytes() != total or device.max(initial=0) >= len(names):
        raise ZooError(f"{file.path}: the measured latencies are damaged (sha256); restore it from a copy")
    ids: Sequence[str] = file.names("latency/network")
    columns = zip(ids, device.tolist(), seconds.tolist(), strict=True)
    return [LatencyRecord(network_id, names[at], value) for network_id, at, value in columns]


def latency_sha256(devices: bytes, *columns: NDArray[Any]) -> bytes:
    """Digest the columns of the latency table."""
    total = hashlib.sha256(devices)
    for column in columns:
        total.update(np.ascontiguousarray(column).tobytes())
    return total.digest()

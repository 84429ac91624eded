"""What may enter a store: names, shapes and sizes, the same for every store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nns.errors import UsageError, ZooError
from nns.stores._codec import NAME, classes_of, decode_entry, decode_transfer, name, parse_json
from nns.stores._digest import canonical_json, entry_json, transfer_json
from nns.stores._numbers import LARGEST, are_bounded, odd_tensor
from nns.types import (
    FIXED_PARTS,
    DatasetRecord,
    Fingerprint,
    LatencyRecord,
    NetworkEntry,
    NetworkRecord,
    SpaceRecord,
    TransferRecord,
)

MAX_META = 1 << 20
"""Bytes of JSON that one record may have."""


def check_name(kind: str, given: str) -> None:
    """Refuse a name that is not 1 to 64 letters, digits, dots, dashes or underscores.

    Raises:
        UsageError: If it is refused.
    """
    if not NAME.fullmatch(given):
        raise UsageError(f"{kind} {given!r:.80} is not 1 to 64 of A-Z a-z 0-9 . _ -, a letter or digit first")


def _meta(what: str, value: Any) -> bytes:
    try:
        data = canonical_json(value)
    except UsageError as error:
        raise UsageError(f"{what}: {error}") from error
    if len(data) > MAX_META:
        raise UsageError(f"{what}: {len(data)} bytes of JSON are more than {MAX_META}; shorten provenance or classes")
    try:
        parse_json(data, what)  # what no reader takes is not written: it would bar the whole zoo
    except ZooError as error:
        raise UsageError(str(error)) from error
    return data


def _floats(what: str, value: NDArray[Any], rank: int) -> NDArray[np.float32]:
    array = np.array(value, dtype="<f4", order="C")
    if array.ndim != rank:
        raise UsageError(f"{what}: shape {array.shape}, expected {rank} dimensions")
    if not are_bounded(array):
        raise UsageError(f"{what}: holds NaN or infinity, or a number beyond {LARGEST:g}")
    array.setflags(write=False)
    return array


def normal_entry(entry: NetworkEntry) -> tuple[NetworkEntry, bytes]:
    """Bring an entry through JSON: what a reader will see, and the JSON that is stored.

    Raises:
        UsageError: If a field cannot be stored.
    """
    check_name("network id", entry.id)
    what = f"network {entry.id!r}"
    data = _meta(what, entry_json(entry))
    try:
        return decode_entry(parse_json(data, what)), data
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{what}: {error}") from error


def fixed_shapes(fingerprint: Fingerprint) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of the parts that have one shape throughout a zoo."""
    return tuple(getattr(fingerprint, name).shape for name in FIXED_PARTS)


def normal_network(record: NetworkRecord) -> tuple[NetworkRecord, bytes]:
    """Check a network and copy its arrays; gives the record and the JSON of its entry.

    Raises:
        UsageError: If a field cannot be stored.
    """
    entry, data = normal_entry(record.entry)
    what, given = f"network {entry.id!r}", record.fingerprint
    if given is None:
        return NetworkRecord(entry, None, bytes(record.weights)), data
    kernel = _floats(f"{what}: kernel", given.kernel, 2)
    if kernel.shape[0] != kernel.shape[1]:
        raise UsageError(f"{what}: kernel of shape {kernel.shape} is not square")
    fingerprint = Fingerprint(
        topology=_floats(f"{what}: topology", given.topology, 1),
        functional=_floats(f"{what}: functional", given.functional, 1),
        graph=_floats(f"{what}: graph", given.graph, 1),
        kernel=kernel,
        surprise=_floats(f"{what}: surprise", given.surprise, 2),
    )
    return NetworkRecord(entry, fingerprint, bytes(record.weights)), data


def normal_dataset(record: DatasetRecord) -> tuple[DatasetRecord, bytes]:
    """Check a dataset and copy its arrays; gives the record and the JSON of what is not an array.

    Raises:
        UsageError: If a field cannot be stored.
    """
    what = f"dataset {record.name!r}"
    features = _floats(f"{what}: features", record.features, 2)
    labels = np.array(record.labels, dtype="<i8", order="C")
    if labels.shape != features.shape[:1]:
        raise UsageError(f"{what}: {labels.shape} labels for features {features.shape}")
    if labels.size and not -1 <= labels.min() <= labels.max() < max(len(record.classes), 1):
        raise UsageError(f"{what}: labels reach from {labels.min()} to {labels.max()} of {len(record.classes)} classes")
    labels.setflags(write=False)
    try:
        classes_of([str(each) for each in record.classes])
        for text in (record.name, record.digest, record.extractor, record.extractor_from):
            name(str(text))
    except ValueError as error:
        raise UsageError(f"{what:.100}: {error}") from error
    normal = DatasetRecord(
        str(record.name),
        str(record.digest),
        tuple(str(name) for name in record.classes),
        features,
        labels,
        int(record.images),
        str(record.extractor),
        str(record.extractor_from),
    )
    meta = {
        "name": normal.name,
        "digest": normal.digest,
        "classes": normal.classes,
        "images": normal.images,
        "extractor": normal.extractor,
        "feature_dim": features.shape[1],
    }
    if normal.extractor_from:
        meta["extractor_from"] = normal.extractor_from
    return normal, _meta(what, meta)


def check_features(path: object, held: Iterable[DatasetRecord], new: Iterable[DatasetRecord]) -> None:
    """Refuse datasets whose features are of another extractor or width than those that a zoo holds.

    Features of two extractors cannot be compared, so a search of a zoo that had both would have no answer.

    Raises:
        ZooError: If one is refused.
    """
    kinds = {(record.extractor, record.features.shape[1]) for record in held}
    for record in new:
        kind = record.extractor, record.features.shape[1]
        kinds = kinds or {kind}
        if kind not in kinds:
            has = " and ".join(f"{extractor!r:.80} ({width} numbers)" for extractor, width in sorted(kinds))
            what = f"dataset {record.name!r:.80} has features of {kind[0]!r:.80} ({kind[1]} numbers)"
            raise ZooError(f"{path}: {what}, the zoo's are of {has}; describe it with the zoo's extractor")


def normal_space(record: SpaceRecord) -> SpaceRecord:
    """Check a space and copy its arrays; settings and report come out as JSON gives them back.

    Raises:
        UsageError: If a field cannot be stored.
    """
    check_name("space", record.name)
    what = f"space {record.name!r}"
    embeddings = _floats(f"{what}: embeddings", record.embeddings, 2)
    if len(record.network_ids) != len(embeddings):
        raise UsageError(f"{what}: {len(record.network_ids)} ids for {len(embeddings)} embeddings")
    for network_id in record.network_ids:
        check_name(f"{what}: network id", network_id)
    if odd := odd_tensor(record.tensors):
        raise UsageError(f"{what}: tensor {odd!r:.80} holds NaN or infinity")
    plain = parse_json(_meta(what, {"settings": dict(record.settings), "report": dict(record.report)}), what)
    return SpaceRecord(
        record.name,
        str(record.method),
        plain["settings"],
        bytes(record.tensors),
        tuple(record.network_ids),
        embeddings,
        plain["report"],
    )


def normal_transfer(record: TransferRecord) -> tuple[TransferRecord, bytes]:
    """Bring a transfer through JSON: what a reader will see, and the JSON that is stored.

    Raises:
        UsageError: If a field cannot be stored.
    """
    check_name("network id", record.network_id)
    what = f"transfer of {record.network_id!r} to {record.dataset!r:.80}"
    data = _meta(what, transfer_json(record))
    try:
        return decode_transfer(parse_json(data, what)), data
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{what}: {error}") from error


def check_latencies(records: Sequence[LatencyRecord]) -> None:
    """Refuse latencies with unsafe ids, no device or an impossible time.

    Raises:
        UsageError: If one is refused.
    """
    for record in records:
        check_name("network id", record.network_id)
        if not 0 < len(record.device) <= 256:
            raise UsageError(f"device {record.device!r:.80} is not 1 to 256 characters")
        if not 0 <= record.seconds < 1e9:
            raise UsageError(f"latency of {record.network_id!r}: {record.seconds!r} s is no measured time")


def unused_supernets(supernets: Iterable[str], networks: Iterable[NetworkEntry]) -> set[str]:
    """Return the ids of those supernets that no network names as its base."""
    named = (entry.provenance.base for entry in networks)
    return set(supernets).difference(base for base in named if base is not None)

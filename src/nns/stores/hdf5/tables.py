"""Datasets, spaces, transfers and latencies of one zoo file."""

from __future__ import annotations

from nns.errors import UsageError, ZooError
from nns.stores._codec import classes_of, count, decode_transfer, mapping, name, parse_json, text, texts
from nns.stores._digest import dataset_content_digest
from nns.stores._numbers import are_bounded, odd_tensor
from nns.stores._records import check_latencies
from nns.stores.hdf5 import schema
from nns.stores.hdf5.file import ZooFile
from nns.types import DatasetRecord, LatencyRecord, SpaceRecord, TransferRecord


def read_datasets(file: ZooFile) -> list[tuple[DatasetRecord, str]]:
    """Read all datasets of a file with their content digests, which are checked."""
    if not file.header.rows["datasets"]:
        return []
    features, labels = file.bounds("datasets/features").tolist(), file.bounds("datasets/labels").tolist()
    digests, found = file.array("datasets/digest"), []
    every_feature, every_label = file.array("datasets/features"), file.array("datasets/labels")
    for row, value in enumerate(file.rows("datasets")):
        try:
            dim = count(value["feature_dim"])
            record = DatasetRecord(
                name(value["name"]),
                name(value["digest"]),
                classes_of(value["classes"]),
                every_feature[features[row] : features[row + 1]].reshape(labels[row + 1] - labels[row], dim),
                every_label[labels[row] : labels[row + 1]],
                count(value["images"]),
                name(value["extractor"]),
                name(value.get("extractor_from", "")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ZooError(f"{file.path}: dataset {row} is damaged ({error}); restore it from a copy") from error
        _check_dataset(file, record)
        digest = digests[row].tobytes().hex()
        if dataset_content_digest(record) != digest:
            raise ZooError(f"{file.path}: dataset {record.name!r:.80} is damaged (digest); restore it from a copy")
        found.append((record, digest))
    if len({(record.digest, record.extractor) for record, _ in found}) != len(found):
        raise ZooError(f"{file.path} is damaged: a dataset occurs twice; restore it from a copy")
    return found


def read_dataset_digests(file: ZooFile) -> list[str]:
    """Read the content digests of the datasets of a file, in hex, as they were recorded."""
    digests = file.array("datasets/digest") if file.header.rows["datasets"] else ()
    return [row.tobytes().hex() for row in digests]


def _check_dataset(file: ZooFile, record: DatasetRecord) -> None:
    if not are_bounded(record.features):
        raise ZooError(f"{file.path}: features of dataset {record.name!r:.80} hold NaN or infinity; restore it")
    labels = record.labels
    if labels.size and not -1 <= labels.min() <= labels.max() < max(len(record.classes), 1):
        raise ZooError(f"{file.path}: dataset {record.name!r:.80} has labels of no class; restore it from a copy")


def read_space(file: ZooFile, space: str) -> SpaceRecord:
    """Read one space; its tensors and embeddings are checked against their checksums."""
    at = f"spaces/{space}"
    what = f"{file.path}: space {space!r}"
    tensors, embeddings = file.small(f"{at}/tensors", schema.MAX_TENSORS), file.array(f"{at}/embeddings")
    value = parse_json(file.small(f"{at}/meta"), what)
    ids = file.names(f"{at}/ids")
    if not are_bounded(embeddings):
        raise ZooError(f"{what}: embeddings hold NaN or infinity; fit it again")
    if odd := odd_tensor(tensors):
        raise ZooError(f"{what}: tensor {odd!r:.80} holds NaN or infinity; fit it again")
    try:
        record = SpaceRecord(
            space, text(value["method"]), mapping(value["settings"]), tensors, ids, embeddings, mapping(value["report"])
        )
    except (KeyError, TypeError) as error:
        raise ZooError(f"{what} is damaged ({error}); fit it again") from error
    return record


def read_transfers(file: ZooFile) -> list[TransferRecord]:
    """Read all transfers of a file."""
    found = []
    for row, value in enumerate(file.rows("transfers") if file.header.rows["transfers"] else ()):
        try:
            found.append(decode_transfer(value))
        except (KeyError, TypeError, ValueError) as error:
            raise ZooError(f"{file.path}: transfer {row} is damaged ({error}); restore it from a copy") from error
    return found


def read_latencies(file: ZooFile) -> list[LatencyRecord]:
    """Read all measured latencies of a file."""
    if not file.header.rows["latencies"]:
        return []
    devices = file.small("latencies/devices")
    device, seconds = file.array("latencies/device"), file.array("latencies/seconds")
    try:
        names = texts(parse_json(devices, f"{file.path}: latencies/devices"))
    except TypeError as error:
        raise ZooError(f"{file.path}: latencies/devices is damaged ({error}); restore it from a copy") from error
    if device.max(initial=0) >= len(names):
        raise ZooError(f"{file.path}: a latency of device {device.max()} of {len(names)}; restore it from a copy")
    columns = zip(file.names("latencies/network"), device.tolist(), seconds.tolist(), strict=True)
    found = [LatencyRecord(network_id, names[at], value) for network_id, at, value in columns]
    try:
        check_latencies(found)
    except UsageError as error:
        raise ZooError(f"{file.path}: {error}; restore it from a copy") from error
    return found

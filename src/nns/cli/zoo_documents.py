"""What ``nns zoo`` prints with ``--json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from nns.types import StoredWeights

if TYPE_CHECKING:
    from nns.types import NetworkEntry, Packing, TransferRecord
    from nns.zoo import WeightsBytes, ZooInfo


def entry_document(entry: NetworkEntry) -> dict[str, Any]:
    """Return a network as JSON."""
    classes = len(entry.classes)
    stored = isinstance(entry.weights, StoredWeights)
    return {
        "id": entry.id,
        "backend": entry.spec.backend,
        "architecture": entry.spec.name,
        "config": dict(entry.spec.config),
        "weights_from": entry.spec.source,
        "source_dataset": entry.source_dataset,
        "classes": classes,
        "accuracy": entry.accuracy,
        "params": entry.cost.params(classes),
        "macs": entry.cost.macs(classes),
        "bytes": entry.cost.bytes(classes),
        "feature_dim": entry.cost.feature_dim,
        "image_size": entry.preprocessing.size,
        "license": entry.license,
        "provenance": entry.provenance.to_json(),
        **({} if stored else {"weights_at": {"kind": entry.weights.kind, **asdict(entry.weights)}}),
    }


def show_document(
    entry: NetworkEntry,
    supernet: bool,
    kept: WeightsBytes,
    transfers: Sequence[TransferRecord],
    latencies: Mapping[str, float],
) -> dict[str, Any]:
    """Return everything about one network or supernet; ``latencies`` are seconds by device."""
    return entry_document(entry) | {
        "class_names": list(entry.classes),
        "kind": "supernet" if supernet else "network",
        "kept": {
            "decoded": kept.decoded,
            "stored": kept.stored,
            "own": kept.own,
            "frames": kept.frames,
            "codecs": dict(kept.codecs),
        },
        "bases": list(kept.bases),
        "transfers": [
            {
                "dataset": record.dataset,
                "dataset_digest": record.dataset_digest,
                "accuracy": record.accuracy,
                "epochs": record.epochs,
                "recipe": dict(record.recipe),
            }
            for record in transfers
        ],
        "latency_ms": {device: milliseconds(seconds) for device, seconds in sorted(latencies.items())},
    }


def milliseconds(seconds: float | None) -> float | None:
    """Return a latency as JSON has it, None if it is not known."""
    return None if seconds is None else round(seconds * 1e3, 4)


def info_document(found: ZooInfo) -> dict[str, Any]:
    """Return what is in a zoo, counted."""
    return {
        "path": str(found.path),
        "format_version": found.format_version,
        "digest": found.digest,
        "networks": found.networks,
        "by_backend": dict(found.by_backend),
        "by_dataset": dict(found.by_dataset),
        "supernets": found.supernets,
        "datasets": list(found.datasets),
        "transfers": found.transfers,
        "transfer_datasets": list(found.transfer_datasets),
        "spaces": list(found.spaces),
        "devices": list(found.devices),
        "bytes": dict(found.bytes),
        "weights": packing_document(found.packing),
        "file_bytes": found.file_bytes,
        "journal": {"files": found.waiting, "bytes": found.waiting_bytes},
    }


def packing_document(packing: Packing) -> dict[str, Any]:
    """Return how weights are kept: in all, and by codec."""
    return {
        "decoded": packing.decoded,
        "stored": packing.stored,
        "ratio": round(packing.ratio, 4),
        "codecs": {
            name: {"frames": frames, "decoded": decoded, "stored": stored}
            for name, (frames, decoded, stored) in packing.codecs.items()
        },
    }

"""What ``nns zoo`` prints with ``--json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from nns.types import StoredWeights

if TYPE_CHECKING:
    from nns.types import NetworkEntry, TransferRecord
    from nns.zoo import WeightsBytes


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

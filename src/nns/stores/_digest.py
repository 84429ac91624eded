"""Content digests: what makes two networks, datasets or zoos the same.

A digest is a sha256 over canonical JSON. It covers everything a search or a fine-tuning can depend on, and
nothing that only tells when, where and how fast the work was done (:data:`TIMING_KEYS`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nns.errors import UsageError
from nns.places import StoredWeights
from nns.types import FINGERPRINT_PARTS, DatasetRecord, Fingerprint, Json, NetworkEntry, TransferRecord

TIMING_KEYS = frozenset(
    {"created", "device", "finished", "host", "hostname", "platform", "seconds", "started", "threads", "versions"}
    | {"workers"}
)
"""Keys of a provenance, at any depth, that stay out of content digests; so do keys ending in ``_seconds``."""

NOTHING: NDArray[np.uint8] = np.zeros((0, 32), np.uint8)
"""Digests of no networks."""
LINES = 65_536
"""Digests that are brought into hex together."""


def canonical_json(value: Any) -> bytes:
    """Write JSON in the one form that is stored and hashed: sorted keys, no spaces, UTF-8, no NaN.

    Raises:
        UsageError: If the value is not JSON-able.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"not JSON-able: {error}; convert it to plain numbers, strings and lists") from error


def without_timing(value: Any) -> Any:
    """Drop :data:`TIMING_KEYS` from a JSON-able value, at any depth."""
    if isinstance(value, Mapping):
        return {
            key: without_timing(item)
            for key, item in value.items()
            if key not in TIMING_KEYS and not str(key).endswith("_seconds")
        }
    if isinstance(value, list | tuple):
        return [without_timing(item) for item in value]
    return value


def entry_json(entry: NetworkEntry) -> dict[str, Any]:
    """Turn an entry into a JSON-able dict; an unknown accuracy (NaN) becomes null."""
    found = {
        "id": entry.id,
        "spec": {
            "backend": entry.spec.backend,
            "name": entry.spec.name,
            "config": _plain(entry.spec.config),
            "source": entry.spec.source,
        },
        "cost": asdict(entry.cost),
        "preprocessing": asdict(entry.preprocessing),
        "classes": entry.classes,
        "source_dataset": entry.source_dataset,
        "source_digest": entry.source_digest,
        "accuracy": None if entry.accuracy != entry.accuracy else float(entry.accuracy),
        "license": entry.license,
        "provenance": _plain(entry.provenance.to_json()),
    }
    if not isinstance(entry.weights, StoredWeights):  # left out there, so that older zoos keep their digests
        found["weights_at"] = {"kind": entry.weights.kind, **asdict(entry.weights)}
    if entry.published:
        found["published"] = {name: float(value) for name, value in entry.published.items()}
    return found


def _plain(value: Json) -> dict[str, Any]:
    return {key: _plain(item) if isinstance(item, Mapping) else item for key, item in value.items()}


def _array(value: NDArray[Any], dtype: str) -> dict[str, Any]:
    array = np.ascontiguousarray(value, dtype=dtype)
    return {"shape": array.shape, "sha256": hashlib.sha256(array.tobytes()).hexdigest()}


def network_content_digest(entry: NetworkEntry, fingerprint: Fingerprint | None, weights_sha256: str) -> str:
    """Digest one network: its entry without timing, its fingerprint bit for bit, its weights.

    Args:
        entry: Numbers and provenance.
        fingerprint: Float32 arrays; None if the zoo has none.
        weights_sha256: Hex digest of the safetensors bytes.

    Returns:
        Hex sha256.
    """
    content = entry_json(entry)
    content["provenance"] = without_timing(content["provenance"])
    content["fingerprint"] = fingerprint and {n: _array(getattr(fingerprint, n), "<f4") for n in FINGERPRINT_PARTS}
    content["weights"] = weights_sha256
    return hashlib.sha256(canonical_json(content)).hexdigest()


def dataset_content_digest(record: DatasetRecord) -> str:
    """Digest one dataset as a zoo knows it: name, digest, classes, features, labels. Hex sha256."""
    content = {
        "name": record.name,
        "digest": record.digest,
        "classes": record.classes,
        "images": record.images,
        "extractor": record.extractor,
        "features": _array(record.features, "<f4"),
        "labels": _array(record.labels, "<i8"),
    }
    return hashlib.sha256(canonical_json(content)).hexdigest()


def supernet_content_digest(entry: NetworkEntry, weights_sha256: str) -> str:
    """Digest one supernet: its entry without timing, and its weights. Hex sha256."""
    content = entry_json(entry)
    content["provenance"] = without_timing(content["provenance"])
    content["weights"] = weights_sha256
    return hashlib.sha256(canonical_json(content)).hexdigest()


def transfer_json(record: TransferRecord) -> dict[str, Any]:
    """Turn a transfer into a JSON-able dict."""
    return {**asdict(record), "accuracy": float(record.accuracy), "recipe": _plain(record.recipe)}


def transfer_key(record: TransferRecord) -> tuple[str, str, bytes]:
    """Return what makes two transfers the same measurement: network, dataset, recipe without timing."""
    return record.network_id, record.dataset_digest, canonical_json(without_timing(record.recipe))


def transfer_content_digest(record: TransferRecord) -> str:
    """Digest one transfer: all of it but the timing in its recipe. Hex sha256."""
    content = {**transfer_json(record), "recipe": without_timing(record.recipe)}
    return hashlib.sha256(canonical_json(content)).hexdigest()


def zoo_digest(
    networks: NDArray[np.uint8],
    datasets: Iterable[str],
    supernets: NDArray[np.uint8] = NOTHING,
    transfers: Iterable[str] = (),
) -> str:
    """Digest a zoo from the content digests of what is in it, in whatever order they come.

    Args:
        networks: (n, 32), as bytes; of millions no strings are made.
        datasets: In hex.
        supernets: As networks.
        transfers: In hex.
    """
    found = hashlib.sha256(b"nns-zoo-digest 1")
    _add_lines(found, b"\nnetwork ", networks)
    found.update("".join(f"\ndataset {digest}" for digest in sorted(datasets)).encode())
    _add_lines(found, b"\nsupernet ", supernets)
    found.update("".join(f"\ntransfer {digest}" for digest in sorted(transfers)).encode())
    return found.hexdigest()


def _add_lines(found: Any, beginning: bytes, digests: NDArray[np.uint8]) -> None:
    """Add a line for each digest in hex, sorted: as bytes they sort as their hex does."""
    words = np.ascontiguousarray(digests).view(">u8").astype(np.uint64)  # (n, 4), most significant first
    order = np.argsort(words[:, 0], kind="stable")
    if (words[order[1:], 0] == words[order[:-1], 0]).any():  # a chance of 2e-6 among ten million, or equal digests
        order = np.lexsort(words.T[::-1])
    for start in range(0, len(order), LINES):
        rows = order[start : start + LINES]
        lines = np.empty((len(rows), len(beginning) + 64), np.uint8)
        lines[:, : len(beginning)] = np.frombuffer(beginning, np.uint8)
        lines[:, len(beginning) :] = np.frombuffer(digests[rows].tobytes().hex().encode(), np.uint8).reshape(-1, 64)
        found.update(lines)

"""Records whose content follows from a number and a seed, and what a store shows of them.

What a store holds is told as *keys* and *values*: ``"network 12"`` to the seed its content was made from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from hashlib import sha256
from typing import Any

import numpy as np
from safetensors.numpy import save

from nns.errors import UnknownNameError, ZooError
from nns.stores import HDF5Store, network_content_digest
from nns.testing._store import assert_same, sample_dataset, sample_network, sample_space
from nns.types import (
    DatasetRecord,
    LatencyRecord,
    NetworkRecord,
    Provenance,
    SpaceRecord,
    SupernetRecord,
    TransferRecord,
)

DEVICE = "cpu"
BODIES = (512, 8192, 65536)
"""Values in the body of supernets 0, 1, 2, and so on in turn."""


def network_id(number: int) -> str:
    """Name a network."""
    return f"{number:016x}"


def supernet_id(number: int) -> str:
    """Name a supernet."""
    return f"supernet-{number}"


def parent(number: int) -> int | None:
    """Return the number of the supernet that a network is cut from, if it is."""
    return None if number % 3 else number // 3 % len(BODIES)


def network(number: int, seed: int) -> NetworkRecord:
    """Make a network of 2 KB to 300 KB; some share a tensor, every third is cut from a supernet."""
    random = np.random.default_rng([number, seed])
    tensors = {"stem": _floats(number % 4, 300), "norm": random.standard_normal(7).astype(np.float32)}
    provenance: dict[str, Any] = {"seed": seed, "number": number}
    base = parent(number)
    if base is None:
        tensors["own"] = random.standard_normal(int(2 ** random.uniform(8, 16.1))).astype(np.float32)
    else:
        provenance["base"] = supernet_id(base)
        tensors["body"] = _floats(100 + base, BODIES[base]).copy()
        tensors["body"][random.integers(0, BODIES[base], BODIES[base] // 50)] += np.float32(1e-3)
    sample = sample_network(number % 50, seed)
    entry = replace(
        sample.entry, id=network_id(number), accuracy=number % 100 / 100, provenance=Provenance.of(provenance)
    )
    return NetworkRecord(entry, sample.fingerprint, save(tensors))


def supernet(number: int) -> SupernetRecord:
    """Make a supernet; it has no seed, there is only one of a number."""
    entry = replace(
        network(1, 0).entry, id=supernet_id(number), provenance=Provenance(extra={"seed": 0, "number": number})
    )
    tensors = {"body": _floats(100 + number, BODIES[number % len(BODIES)]), "stem": _floats(number % 4, 300)}
    return SupernetRecord(entry, save(tensors))


def dataset(number: int) -> DatasetRecord:
    """Make a dataset."""
    return sample_dataset(str(number), 0)


def space(name: str, seed: int) -> SpaceRecord:
    """Make a space."""
    return replace(sample_space(name, seed % 256), settings={"seed": seed})


def transfer(number: int, seed: int) -> TransferRecord:
    """Make a transfer of a network to one dataset; the seed is in the accuracy."""
    return TransferRecord(network_id(number), "flowers", "ab" * 32, seed / (1 << 20), 3, {"lr": 0.01})


def latency(number: int, seed: int) -> LatencyRecord:
    """Make a measured latency; the seed is in the seconds."""
    return LatencyRecord(network_id(number), DEVICE, (seed + 1) / (1 << 20))


@cache
def _floats(seed: int, count: int) -> Any:
    return np.random.default_rng([1, seed]).standard_normal(count).astype(np.float32)


@cache
def _expected(number: int, seed: int) -> tuple[Any, str, bytes]:
    record = network(number, seed)
    weights = sha256(record.weights).hexdigest()
    digest = network_content_digest(record.entry, record.fingerprint, weights)
    return record.entry, digest, record.fingerprint.surprise.tobytes()


@cache
def _supernet(number: int) -> tuple[Any, bytes]:
    record = supernet(number)
    return record.entry, sha256(record.weights).digest()


def look(store: HDF5Store) -> tuple[dict[str, int], list[str]]:
    """Read all that a store holds.

    Returns:
        Values by key, and a line for each record that is not as it was written.
    """
    seen: dict[str, int] = {}
    wrong: list[str] = []

    def attempt(key: str, read: Callable[[], int]) -> None:
        try:
            seen[key] = read()
        except UnknownNameError:  # removed while we looked; whether it may be gone is checked with the others
            seen.pop(key, None)
        except (ZooError, AssertionError, KeyError, ValueError) as error:
            wrong.append(f"{key}: {' '.join(str(error).split())[:300] or type(error).__name__}")

    for entry in store.entries():
        number = int(entry.id, 16)
        attempt(f"network {number}", lambda entry=entry: _network(store, entry))
    for entry in store.supernets():
        number = int(entry.id.rpartition("-")[2])
        attempt(f"supernet {number}", lambda entry=entry, number=number: _read_supernet(store, entry, number))
    for record in store.datasets():
        attempt(f"dataset {record.name}", lambda record=record: _same(record, dataset(int(record.name)), 1))
    for name in store.spaces():
        attempt(f"space {name}", lambda name=name: _space(store, name))
    for found in store.transfers():
        number, seed = int(found.network_id, 16), round(found.accuracy * (1 << 20))
        key = f"transfer {number}"
        attempt(key, lambda f=found, number=number, seed=seed: _same(f, transfer(number, seed), seed))
    for network, seconds in store.latencies(DEVICE).items():
        seen[f"latency {int(network, 16)}"] = round(seconds * (1 << 20)) - 1
    return seen, wrong


def _network(store: HDF5Store, listed: Any) -> int:
    seed = int(listed.provenance.extra["seed"])
    entry, digest, surprise = _expected(int(listed.id, 16), seed)
    found = store.fingerprint(listed.id)
    weights = sha256(store.weights(listed.id)).hexdigest()
    assert listed == entry, "the entry is not as it was written"
    assert network_content_digest(listed, found, weights) == digest, "weights or fingerprint are not as written"
    assert found.surprise.tobytes() == surprise, "the surprise is not as it was written"
    return seed


def _read_supernet(store: HDF5Store, listed: Any, number: int) -> int:
    entry, weights = _supernet(number)
    assert listed == entry, "the entry is not as it was written"
    assert sha256(store.supernet_weights(listed.id)).digest() == weights, "the weights are not as they were written"
    return 1


def _space(store: HDF5Store, name: str) -> int:
    found = store.space(name)
    seed = int(found.settings["seed"])
    return _same(found, space(name, seed), seed)


def _same(found: Any, expected: Any, value: int) -> int:
    assert_same(found, expected)
    return value

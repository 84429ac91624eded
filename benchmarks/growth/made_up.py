"""Zoos of made-up networks: those that a hub has, some hundred times each under other names, by reference."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from nns.networks.fingerprints.graph import GRAPH_DIM
from nns.networks.fingerprints.reference import REFERENCE_COUNT
from nns.networks.fingerprints.surprise import SURPRISE_ROWS
from nns.places import HubWeights
from nns.plugins import installed_plugins
from nns.stores import HDF5Store
from nns.stores._digest import canonical_json, entry_json
from nns.stores.hdf5.columns import Column, write_file
from nns.stores.hdf5.networks import NO_FINGERPRINTS, NUMBERS, RAGGED_PARTS, numbers_of
from nns.stores.hdf5.schema import FINGERPRINTED
from nns.stores.hdf5.shards import header
from nns.types import Fingerprint, NetworkEntry, NetworkRecord

ID, REPOSITORY = "0123456789abcdef", "a-team/network-number-0123456789ab"
NOTHING = hashlib.sha256(b"").digest()


def real_entries() -> list[NetworkEntry]:
    """Return the networks of the starter zoo whose weights are on the hub, with an id and a repository to replace."""
    path = installed_plugins().default_zoo()
    entries = [entry for entry in HDF5Store(path).entries() if isinstance(entry.weights, HubWeights)]
    where = HubWeights(repo=REPOSITORY, file="model.safetensors", revision=None, bytes=None, sha256=None)
    return [replace(entry, id=ID, weights=where) for entry in entries]


def id_of(number: int) -> str:
    """Return an id; they ascend with the numbers."""
    return f"{number:016x}"


def record(entries: list[NetworkEntry], number: int, fingerprint: bool) -> NetworkRecord:
    """Make one network, to be added as any other."""
    entry = entries[number % len(entries)]
    entry = replace(
        entry, id=id_of(number), weights=replace(entry.weights, repo=f"a-team/network-number-{number:012x}")
    )
    return NetworkRecord(entry, print_of(number) if fingerprint else None, b"")


def print_of(number: int) -> Fingerprint:
    """Make a fingerprint as large as a real one."""
    random = np.random.default_rng(number)
    kernel = random.standard_normal((REFERENCE_COUNT, REFERENCE_COUNT), np.float32)
    return Fingerprint(
        topology=random.standard_normal(45, np.float32),
        functional=random.standard_normal(640, np.float32),
        graph=random.standard_normal(GRAPH_DIM, np.float32),
        kernel=kernel @ kernel.T / REFERENCE_COUNT,
        surprise=random.standard_normal((SURPRISE_ROWS, REFERENCE_COUNT), np.float32),
    )


def write_zoo(path: Path, count: int) -> None:
    """Write a zoo of so many networks as a merge would leave it, but a thousand times as fast as it is built."""
    entries = real_entries()
    rows, digested = zip(*map(_templates, entries), strict=True)
    metas, digests = [], bytearray()
    for number in range(count):
        at = number % len(entries)
        names = {b"id": id_of(number).encode(), b"repository": b"a-team/network-number-%012x" % number}
        metas.append(rows[at] % names)
        digests += hashlib.sha256(digested[at] % names).digest()
    lengths = np.fromiter(map(len, metas), np.uint64, count)
    numbers = [numbers_of(entry) for entry in entries]
    which = np.arange(count) % len(entries)
    columns: dict[str, Column] = {
        "networks/id": np.array([id_of(number).encode() for number in range(count)], "S64"),
        "networks/meta": np.frombuffer(b"".join(metas), "<u1"),
        "networks/meta_offset": np.append(np.uint64(0), np.cumsum(lengths, dtype=np.uint64)),
        "networks/frames": np.zeros(0, "<u8"),
        "networks/frames_offset": np.zeros(count + 1, "<u8"),
        "networks/weights_length": np.zeros(count, "<u8"),
        "networks/weights_sha256": np.tile(np.frombuffer(NOTHING, "<u1"), (count, 1)),
        "networks/digest": np.frombuffer(bytes(digests), "<u1").reshape(-1, 32),
        FINGERPRINTED: np.zeros(count, "<u1"),
    }
    del metas
    for (name, dtype), values in zip(NUMBERS.items(), zip(*numbers, strict=True), strict=True):
        columns[f"networks/{name}"] = np.array(values, dtype)[which]
    columns |= {f"networks/{name}": empty for name, empty in NO_FINGERPRINTS.items()}
    for name in RAGGED_PARTS:
        columns |= {f"networks/{name}": np.zeros(0, "<f4"), f"networks/{name}_offset": np.zeros(count + 1, "<u8")}
    write_file(path, columns, header({"networks": count}))


def _templates(entry: NetworkEntry) -> tuple[bytes, bytes]:
    """Return the description of a network and what its digest is of, with places for its names."""
    description = entry_json(entry)
    digested = {**description, "fingerprint": None, "weights": NOTHING.hex()}
    lines = canonical_json(description) + b"\n", canonical_json(digested)
    found = [line.replace(b"%", b"%%").replace(ID.encode(), b"%(id)s") for line in lines]
    return tuple(line.replace(REPOSITORY.encode(), b"%(repository)s") for line in found)  # type: ignore[return-value]


def powers(first: int, last: int) -> Iterator[int]:
    """Count from 10**first to 10**last in powers of ten."""
    return (10**exponent for exponent in range(first, last + 1))


def slope(found: dict[int, float]) -> float:
    """Return how fast a number grows between the two largest zoos: 1 is with the networks, 0 not at all."""
    if len(found) < 2:
        return float("nan")
    (few, before), (many, after) = list(pairwise(sorted(found.items())))[-1]
    return float(np.log(max(after, 1e-9) / max(before, 1e-9)) / np.log(many / few))

"""Records for tests: small networks, datasets, spaces and transfers as a zoo holds them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.stores.hdf5.ids import Ids
from nns.types import (
    ArchitectureSpec,
    DatasetRecord,
    Fingerprint,
    NetworkCost,
    NetworkEntry,
    NetworkRecord,
    Preprocessing,
    Provenance,
    SpaceRecord,
    SupernetRecord,
    TransferRecord,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

REFERENCES = 8
"""Side of the sample kernels."""

SURPRISE = 2
"""Rows of the sample surprises."""

GRAPH = 12
"""Width of the sample graph statistics."""


def sample_network(number: int, seed: int = 0, **changes: Any) -> NetworkRecord:
    """Make a small network record; ``number`` gives the id, ``changes`` replace fields of the entry."""
    from safetensors.numpy import save

    random = np.random.default_rng([number, seed])
    entry = NetworkEntry(
        id=f"{number:016x}",
        spec=ArchitectureSpec("sample", f"net-{number}", {"depths": [2, 3], "width": 0.5}, "random"),
        cost=NetworkCost(1000 + number, 2000, 4000 + 4 * number, 16),
        preprocessing=Preprocessing(32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
        classes=("cat", "dög", "snow man"),
        source_dataset=f"data-{number % 2}",
        source_digest="ab" * 32,
        accuracy=min(0.1 + 0.01 * number, 1.0),
        license="Apache-2.0",
        provenance=Provenance(epochs=3, extra={"seed": seed, "seconds": 1.25, "recipe": {"lr": 0.01}}),
    )
    fingerprint = Fingerprint(
        topology=random.standard_normal(number % 3).astype(np.float32),
        functional=random.standard_normal(10 + number).astype(np.float32),
        graph=random.standard_normal(GRAPH).astype(np.float32),
        kernel=random.standard_normal((REFERENCES, REFERENCES)).astype(np.float32),
        surprise=random.standard_normal((SURPRISE, REFERENCES)).astype(np.float32),
    )
    weights = save({"w": random.standard_normal((4, 5 + number)).astype(np.float32)})
    return NetworkRecord(replace(entry, **changes), fingerprint, weights)


def sample_dataset(name: str, seed: int = 0) -> DatasetRecord:
    """Make a small dataset record."""
    random = np.random.default_rng(seed)
    features = random.standard_normal((6, 20)).astype(np.float32)
    labels = np.array([0, 0, 1, 1, 2, -1], dtype=np.int64)
    return DatasetRecord(name, f"digest-{name}-{seed}", ("a", "b", "c"), features, labels, 600, "lite0")


def sample_space(name: str, seed: int = 0) -> SpaceRecord:
    """Make a small fitted space."""
    embeddings = np.random.default_rng(seed).standard_normal((3, 4)).astype(np.float32)
    ids = tuple(f"{number:016x}" for number in range(3))
    report = {"recall": [0.5, 1.0], "seconds": 2.0}
    return SpaceRecord(name, "tans", {"dim": 4, "seed": seed}, bytes([seed]) * 40, ids, embeddings, report)


def sample_supernet(number: int, seed: int = 0) -> SupernetRecord:
    """Make a small supernet of which :func:`sample_subnet` cuts subnets; ``number`` gives the id."""
    from safetensors.numpy import save

    entry = replace(sample_network(number, seed).entry, id=f"{number:015x}f")
    return SupernetRecord(entry, save({"big": _supernet_array(number, seed), "bias": np.zeros(3, np.float32)}))


def _supernet_array(number: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng([number, seed, 1]).standard_normal((64, 96, 3, 3)).astype(np.float32)


def sample_subnet(number: int, supernet: int, rows: int = 40) -> NetworkRecord:
    """Make a network whose one tensor is a corner of a sample supernet's."""
    from safetensors.numpy import save

    base = sample_supernet(supernet).entry.id
    weights = save({"other.name": _supernet_array(supernet, 0)[:rows, :80].copy()})
    return replace(sample_network(number, provenance=Provenance(base=base)), weights=weights)


def sample_transfer(network: int, dataset: str, **changes: Any) -> TransferRecord:
    """Make a transfer."""
    record = TransferRecord(f"{network:016x}", dataset, f"digest-{dataset}", 0.75, 3, {"lr": 0.01, "seconds": 1.5})
    return replace(record, **changes)


def assert_same(found: Any, expected: Any) -> None:
    """Compare two records of one type field by field, arrays bit for bit, NaN equal to NaN."""
    if isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    elif hasattr(expected, "__dataclass_fields__"):
        assert type(found) is type(expected)
        for name in expected.__dataclass_fields__:
            assert_same(getattr(found, name), getattr(expected, name))
    elif isinstance(expected, float) and math.isnan(expected):
        assert math.isnan(found)
    elif isinstance(expected, tuple) and isinstance(found, Ids):  # a column of the file, for a sequence of any kind
        assert found == expected
        assert tuple(found) == expected
    else:
        assert found == expected
        assert type(found) is type(expected)

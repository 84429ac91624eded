"""Numbers and texts out of a zoo: bounded and finite in the one place that reads records, and verify says the same."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from nns.errors import UsageError, ZooError
from nns.stores import HDF5Store
from nns.stores._codec import decode_entry, parse_json
from nns.stores._digest import entry_json
from nns.stores._numbers import LARGEST, are_bounded, odd_tensor
from nns.testing._store import sample_dataset, sample_network, sample_space
from nns.types import Fingerprint, NetworkCost, NetworkRecord, Preprocessing
from nns.zoo import verify

GOOD = sample_network(1).entry
COST = GOOD.cost

ENTRIES = {
    "accuracy above 1": {"accuracy": 1.5},
    "accuracy below 0": {"accuracy": -0.1},
    "no input": {"preprocessing": Preprocessing(0)},
    "an input of 10^5": {"preprocessing": Preprocessing(10**5)},
    "an input of 2^61": {"preprocessing": Preprocessing(2**61)},
    "no deviation": {"preprocessing": Preprocessing(32, std=(0.0, 1.0, 1.0))},
    "a negative deviation": {"preprocessing": Preprocessing(32, std=(1.0, -1.0, 1.0))},
    "a mean of 1e30": {"preprocessing": Preprocessing(32, mean=(1e30, 0.0, 0.0))},
    "parameters": {"cost": replace(COST, body_params=2**61)},
    "macs": {"cost": replace(COST, body_macs=2**61)},
    "bytes": {"cost": replace(COST, body_bytes=2**61)},
    "features": {"cost": replace(COST, feature_dim=10**7)},
    "negative parameters": {"cost": NetworkCost(-1, 1, 1, 1)},
    "a licence of 100 kB": {"license": "x" * 100_000},
    "a dataset of 100 kB": {"source_dataset": "x" * 100_000},
    "a digest of 100 kB": {"source_digest": "x" * 100_000},
    "a class of 100 kB": {"classes": ("a", "x" * 100_000)},
    "200,000 classes": {"classes": tuple(str(number) for number in range(100_001))},
    "a name of 100 kB": {"spec": replace(GOOD.spec, name="x" * 100_000)},
    "a source of 100 kB": {"spec": replace(GOOD.spec, source="x" * 100_000)},
    "a whole number of 400 digits": {"spec": replace(GOOD.spec, config={"width": 10**400})},
    "a published accuracy of 7": {"published": {"imagenet": 7.0}},
}


@pytest.mark.parametrize("what", ENTRIES)
def test_records(what, tmp_path):
    """Not written, and not read where somebody else wrote it."""
    entry = replace(GOOD, **ENTRIES[what])
    with pytest.raises(UsageError):
        HDF5Store(tmp_path / "zoo.h5").add_network(replace(sample_network(1), entry=entry))
    with pytest.raises((ZooError, TypeError, ValueError, KeyError)):
        decode_entry(parse_json(json.dumps(entry_json(entry)).encode(), "a description"))


@pytest.fixture
def lenient(monkeypatch):
    """A writer that lets anything in."""
    from nns.stores import _records
    from nns.stores.hdf5 import networks, tables

    def write(tmp_path, *records):
        with monkeypatch.context() as patched:
            patched.setattr(_records, "_floats", lambda what, value, rank: np.asarray(value, "<f4"))
            patched.setattr(networks, "are_bounded", lambda values: True)
            for module in (_records, tables):
                patched.setattr(module, "odd_tensor", lambda tensors: None)
                patched.setattr(module, "parse_json", lambda data, what: json.loads(data))
            store = HDF5Store(tmp_path / "zoo.h5")
            for record in records:
                if isinstance(record, NetworkRecord):
                    store.add_network(record)
                else:
                    store.put_space(record)
            store.merge()
        return HDF5Store(tmp_path / "zoo.h5")

    return write


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("part", ["topology", "functional", "graph", "kernel", "surprise"])
def test_fingerprints(part, value, tmp_path, lenient):
    record = sample_network(1)
    assert record.fingerprint is not None
    parts = {name: getattr(record.fingerprint, name).copy() for name in Fingerprint.__dataclass_fields__}
    parts[part].flat[0] = value
    store = lenient(tmp_path, replace(record, fingerprint=Fingerprint(**parts)))
    with pytest.raises(ZooError, match=f"fingerprint: {part}.*holds NaN or infinity"):
        store.fingerprint(record.entry.id)
    assert any(f"fingerprint: {part}" in problem.what for problem in verify(store))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_tensors_of_a_space(value, tmp_path, lenient):
    from safetensors.numpy import save

    tensors = save({"fine": np.ones(3, np.float32), "w": np.array([1, value], np.float32)})
    store = lenient(tmp_path, sample_network(0), replace(sample_space("default"), tensors=tensors))
    with pytest.raises(ZooError, match="tensor 'w' holds NaN or infinity"):
        store.space("default")
    assert any("tensor 'w'" in problem.what for problem in verify(store))


def test_a_report_of_400_digits(tmp_path, lenient):
    """``interval80`` of 10^400 is a whole number to JSON, and none to anything that computes with it."""
    with pytest.raises(UsageError):
        HDF5Store(tmp_path / "mine.h5").put_space(replace(sample_space("default"), report={"interval80": 10**400}))
    store = lenient(tmp_path, sample_network(0), replace(sample_space("default"), report={"interval80": 10**400}))
    with pytest.raises(ZooError, match="not valid JSON"):
        store.space("default")
    assert any(problem.id == "space:default" for problem in verify(store))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
@pytest.mark.parametrize("dtype", ["F16", "F32", "F64", "BF16"])
def test_verify_looks_at_weights(dtype, value, tmp_path):
    import torch
    from safetensors.torch import save

    types = {"F16": torch.float16, "F32": torch.float32, "F64": torch.float64, "BF16": torch.bfloat16}
    good, bad = torch.ones(4, dtype=types[dtype]), torch.tensor([1.0, value], dtype=types[dtype])
    store = HDF5Store(tmp_path / "zoo.h5")
    store.add_network(replace(sample_network(1), weights=save({"good": good})))
    store.add_network(replace(sample_network(2), weights=save({"good": good, "bad": bad})))
    (problem,) = verify(store)
    assert problem.id == sample_network(2).entry.id
    assert "weights hold NaN or infinity in 'bad'" in problem.what


def test_datasets(tmp_path, monkeypatch):
    from nns.stores import _records

    record = sample_dataset("birds")
    features = record.features.copy()
    features[0, 0] = 1e30
    store = HDF5Store(tmp_path / "zoo.h5")
    for odd in ({"features": features}, {"name": "x" * 2000}, {"classes": ("a", "x" * 2000, "c")}):
        with pytest.raises(UsageError):
            store.add_dataset(replace(record, **odd))
    monkeypatch.setattr(_records, "are_bounded", lambda values: True)
    store.add_dataset(replace(record, features=features))
    with pytest.raises(ZooError, match="NaN or infinity"):
        HDF5Store(tmp_path / "zoo.h5").datasets()


@pytest.mark.parametrize(
    ("values", "fits"),
    [([], True), ([1e7, -1e15], True), ([2e15], False), ([np.nan], False), ([1.0, np.inf], False), ([-1e30], False)],
)
def test_bounds(values, fits):
    for dtype in (np.float32, np.float64):
        assert are_bounded(np.array(values, dtype)) == fits
    assert are_bounded(np.full((1000, 1000), LARGEST / 2, np.float32))
    assert odd_tensor(b"no tensors") is None


def test_whole_numbers_from_outside():
    from nns.documents import parse_json as parse

    assert parse(b'{"seed": 340282366920938463463374607431768211455}')["seed"] == 2**128 - 1
    for digits in (50, 600, 10_000):
        with pytest.raises(ValueError, match="digits|limit"):
            parse(b"[" + b"9" * digits + b"]")

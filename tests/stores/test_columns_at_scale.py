"""What is read of millions of networks without an object for each is what their entries say."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from nns.errors import ZooError
from nns.priors import Facts
from nns.stores import HDF5Store
from nns.stores._digest import canonical_json, entry_json, zoo_digest
from nns.stores.hdf5 import file, networks
from nns.stores.hdf5.ids import Ids, rows_of, same_ids
from nns.testing._store import sample_network
from nns.types import Provenance


@pytest.fixture(params=["merged", "journal"])
def store(request, tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "ROWS_AT_ONCE", 3)
    changes = [
        {"source_dataset": "imagenet-1k", "published": {"imagenet": 0.7}, "accuracy": float("nan")},
        {"source_dataset": "imagenet-21k", "license": "MIT"},
        {"provenance": Provenance(images_seen=30_000, extra={"teachers": ["a"], "note": [1, {"b": None}]})},
        {"provenance": Provenance(extra={"images_seen": "many"})},
        {"accuracy": 0.5, "source_dataset": "späte-äpfel"},
    ]
    records = [sample_network(number, **changes[number % len(changes)]) for number in range(8)]
    with HDF5Store(tmp_path / "zoo.h5") as store:
        for record in records[:: -1 if request.param == "journal" else 1]:
            store.add_network(record)
        if request.param == "merged":
            store.merge()
        yield store


def test_descriptions_give_the_facts_of_entries_in_their_order(store):
    found = store.describe(lambda some: np.array([Facts.of(each).features() for each in some]))
    np.testing.assert_array_equal(found, [Facts.of(entry).features() for entry in store.entries()])
    names = store.describe(lambda some: np.array([f"{e.id} {e.license} {e.source_digest} {e.spec}" for e in some]))
    assert [name.split()[0] for name in names.tolist()] == list(store.ids())


def test_a_damaged_description_is_named(store, monkeypatch):
    real = networks.WeightsTable.meta
    monkeypatch.setattr(networks.WeightsTable, "meta", lambda *where: real(*where).replace(b'"spec"', b'"spam"'))
    with pytest.raises(ZooError, match="damaged description of 0000000000000000"):
        store.describe(lambda some: np.zeros(len(some)))
    monkeypatch.setattr(networks.WeightsTable, "meta", lambda *where: real(*where) + b"\n" + real(*where))
    with pytest.raises(ZooError, match="damaged"):
        store.describe(lambda some: np.zeros(len(some)))


def test_an_empty_zoo_is_described_by_nothing(tmp_path):
    assert HDF5Store(tmp_path / "zoo.h5").describe(lambda some: np.zeros(len(some))).shape == (0,)


def test_what_was_trained_on_a_dataset_is_found_in_any_block(tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "ROWS_AT_ONCE", 3)
    with HDF5Store(tmp_path / "zoo.h5") as store:
        records = [sample_network(number, source_digest=f"digest{number}", accuracy=0.1) for number in range(8)]
        store.add_all(records)
        for record in records:
            assert store.best_trained_on(record.entry.source_digest) == record.entry


def test_entries_are_parsed_some_at_a_time(store, monkeypatch):
    monkeypatch.setattr(file, "ROWS_AT_ONCE", 3)
    # together the descriptions have more bytes than are parsed at once
    monkeypatch.setattr(file.schema, "MAX_JSON", 4 * max(len(canonical_json(entry_json(e))) for e in store.entries()))
    with HDF5Store(store.path) as again:
        assert list(again.entries()) == [again.entry(name) for name in again.ids()]
        monkeypatch.setattr(file.schema, "MAX_JSON", 10)
        with HDF5Store(store.path) as third, pytest.raises(ZooError, match="rows of networks/meta have more than 10"):
            third.entries()


def test_ids_are_a_sequence_of_strings(store):
    ids = store.ids()
    expected = tuple(f"{number:016x}" for number in range(8))
    assert ids == expected == tuple(ids) and ids != expected[:-1] and ids != "text"
    assert (ids[0], ids[-1], ids[2:4], len(ids)) == (expected[0], expected[-1], expected[2:4], 8)
    assert expected[3] in ids and "x" not in ids
    assert Ids(ids.keys.copy()) == ids != Ids(ids.keys[::-1].copy())
    assert not same_ids(ids.keys, ids.keys.astype("S32")) or ids.keys.astype("S32").tolist() == ids.keys.tolist()


def test_rows_of_ids(store):
    wanted = ["0000000000000003", "nobody", "", "0000000000000000", "f" * 70, "äpfel", "0" * 64]
    assert store.rows_of(wanted).tolist() == [3, -1, -1, 0, -1, -1, -1]
    assert store.rows_of([]).tolist() == []
    long = np.array([b"f" * 64], "S64")
    assert rows_of(long, ["f" * 64, "f" * 65]).tolist() == [0, -1]


@pytest.mark.parametrize("equal_beginnings", [False, True])
def test_a_zoo_s_digest_is_that_of_its_lines(equal_beginnings):
    random = np.random.default_rng(0)
    digests = random.integers(0, 256, (50, 32), np.uint8)
    if equal_beginnings:
        digests[:, :8] = digests[0, :8]
        digests[7] = digests[3]
    supernets, datasets, transfers = digests[:5], ["ff", "0a"], ["b0", "a0"]
    lines = ["nns-zoo-digest 1", *(f"network {each}" for each in sorted(row.tobytes().hex() for row in digests))]
    lines += ["dataset 0a", "dataset ff"]
    lines += [f"supernet {each}" for each in sorted(row.tobytes().hex() for row in supernets)]
    lines += ["transfer a0", "transfer b0"]
    expected = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert zoo_digest(digests, datasets, supernets, transfers) == expected


def test_numbers_of_a_file_are_signed(store):
    columns = store.columns()
    assert {columns.body_params.dtype, columns.feature_dim.dtype} == {np.dtype(np.int64)}
    assert columns.body_params.tolist() == [entry.cost.body_params for entry in store.entries()]


def test_a_space_is_of_ids_as_a_column_or_as_strings(store):
    from nns.types import SpaceRecord

    embeddings = np.eye(8, 3, dtype=np.float32)
    store.put_space(SpaceRecord("some", "mixed", {}, b"", store.ids(), embeddings))
    store.merge()
    record = store.space("some")
    assert record.network_ids == store.ids() == tuple(store.ids())
    store.put_space(replace(record, name="other", network_ids=tuple(record.network_ids)))
    assert store.space("other").network_ids == record.network_ids

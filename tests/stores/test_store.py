from __future__ import annotations

import hashlib
import math
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from nns.errors import UnknownNameError, UsageError, ZooError
from nns.stores import HDF5Store, network_content_digest, supernet_content_digest
from nns.testing._store import (
    GRAPH,
    assert_same,
    sample_dataset,
    sample_network,
    sample_space,
    sample_subnet,
    sample_supernet,
    sample_transfer,
)
from nns.types import LatencyRecord, Provenance


class StoreTests:
    """What a store promises, whether it is read as it was opened or opened anew for each read."""

    def test_empty(self, store):
        """An empty store answers with nothing."""
        assert list(store.entries()) == [] == list(store.ids())
        assert len(store.graphs()) == len(store.kernels()) == len(store.surprises()) == 0
        assert list(store.datasets()) == [] == list(store.devices())
        assert list(store.spaces()) == []
        assert store.latencies("cpu") == {}
        assert len(store.digest()) == 64
        assert sum(store.sizes().values()) == 0

    def test_network_round_trip(self, store):
        """What goes in comes out, tuples as tuples, arrays bit for bit."""
        record = sample_network(7)
        store.add_network(record)
        network_id = record.entry.id
        assert_same(store.entries()[0], record.entry)
        assert_same(store.entry(network_id), record.entry)
        assert_same(store.fingerprint(network_id), record.fingerprint)
        assert store.weights(network_id) == record.weights
        assert type(store.weights(network_id)) is bytes

    def test_unknown_accuracy(self, store):
        """NaN survives."""
        store.add_network(sample_network(1, accuracy=math.nan))
        assert math.isnan(store.entries()[0].accuracy)

    @pytest.mark.parametrize("merged", [False, True])
    def test_order(self, store, merged):
        """Entries are sorted by id, and the bulk arrays have their order."""
        records = {record.entry.id: record for record in map(sample_network, (5, 1, 9, 3))}
        for at, record in enumerate(records.values()):
            store.add_network(record)
            if merged and at == 1:
                store.merge()
        ids = [entry.id for entry in store.entries()]
        assert ids == sorted(records) == list(store.ids())
        assert store.graphs().dtype == store.kernels().dtype == np.float32
        for row, network_id in enumerate(ids):
            np.testing.assert_array_equal(store.graphs()[row], records[network_id].fingerprint.graph)
            np.testing.assert_array_equal(store.kernels()[row], records[network_id].fingerprint.kernel)
            np.testing.assert_array_equal(store.surprises()[row], records[network_id].fingerprint.surprise)
            assert store.weights(network_id) == records[network_id].weights

    @pytest.mark.parametrize("merged", [False, True])
    def test_columns(self, store, merged):
        """The columns say what the entries say, in their order."""
        assert len(store.columns()) == 0
        for number in (5, 1, 9, 3):
            store.add_network(sample_network(number, accuracy=math.nan if number == 9 else number / 10))
            if merged and number == 1:
                store.merge()
        columns, entries = store.columns(), store.entries()
        assert [columns.id(row) for row in range(len(columns))] == list(store.ids())
        for name in ("body_params", "body_macs", "body_bytes", "feature_dim"):
            assert getattr(columns, name).tolist() == [getattr(entry.cost, name) for entry in entries]
            assert getattr(columns, name).dtype == np.int64
        assert columns.classes.tolist() == [len(entry.classes) for entry in entries]
        np.testing.assert_array_equal(columns.accuracy, [entry.accuracy for entry in entries])

    def test_unknown_names(self, store):
        """A name that is not there is named in an UnknownNameError."""
        store.add_network(sample_network(1))
        missing = "feedfacefeedface"
        for read in (store.entry, store.fingerprint, store.weights, store.network_digest, store.weights_sha256):
            with pytest.raises(UnknownNameError, match=missing):
                read(missing)
        with pytest.raises(UnknownNameError, match="nowhere"):
            store.space("nowhere")

    def test_adding_twice(self, store):
        """The same content changes nothing, also when only its timing differs."""
        record = sample_network(2)
        store.add_network(record)
        before = store.digest()
        store.add_network(record)
        provenance = record.entry.provenance
        slower = replace(provenance, extra={**provenance.extra, "seconds": 99.0})
        store.add_network(replace(record, entry=replace(record.entry, provenance=slower)))
        assert len(store.entries()) == 1
        assert store.digest() == before

    @pytest.mark.parametrize("merged", [False, True])
    def test_other_content_under_one_id(self, store, merged):
        """Another network under a taken id is refused, and the first stays."""
        first = sample_network(2)
        store.add_network(first)
        if merged:
            store.merge()
        for other in (sample_network(2, seed=1), sample_network(2, accuracy=0.9)):
            with pytest.raises(ZooError, match=first.entry.id):
                store.add_network(other)
        assert_same(store.entries()[0], first.entry)
        assert store.weights(first.entry.id) == first.weights

    def test_other_shapes(self, store):
        """Kernels and graph statistics have one shape in the whole store."""
        store.add_network(sample_network(1))
        odd = sample_network(2)
        odd = replace(odd, fingerprint=replace(odd.fingerprint, graph=np.zeros(GRAPH + 1, np.float32)))
        with pytest.raises(ZooError, match=odd.entry.id):
            store.add_network(odd)

    @pytest.mark.parametrize("bad", ["", "../up", "a/b", "x" * 65, "nul\0", "ü"])
    def test_unsafe_names(self, store, bad):
        """Names that could leave a folder or a column are refused."""
        with pytest.raises(UsageError):
            store.add_network(sample_network(1, id=bad))
        with pytest.raises(UsageError):
            store.put_space(sample_space(bad))
        with pytest.raises(UsageError):
            store.put_latencies([LatencyRecord(bad, "cpu", 0.1)])
        assert list(store.ids()) == []

    def test_not_finite(self, store):
        """A fingerprint with NaN is refused: nothing could be compared with it."""
        record = sample_network(1)
        broken = replace(record.fingerprint, functional=np.array([1, np.nan], np.float32))
        with pytest.raises(UsageError, match="NaN"):
            store.add_network(replace(record, fingerprint=broken))

    def test_not_json(self, store):
        """A provenance that is not JSON-able is refused."""
        for value in (object(), math.nan, b"bytes"):
            with pytest.raises(UsageError, match="JSON"):
                store.add_network(sample_network(1, provenance=Provenance(extra={"value": value})))

    @pytest.mark.parametrize("merged", [False, True])
    def test_datasets(self, store, merged):
        """Datasets come back sorted by name; one of the same digest and extractor is left as it is."""
        first, second = sample_dataset("zebras", 1), sample_dataset("apples", 2)
        for record in (first, second, replace(first, name="renamed")):
            store.add_dataset(record)
            if merged:
                store.merge()
        found = store.datasets()
        assert [record.name for record in found] == ["apples", "zebras"]
        assert_same(found[0], second)
        assert_same(found[1], first)
        for other in (
            replace(first, extractor="other"),
            replace(sample_dataset("figs"), features=first.features[:, :9]),
        ):
            with pytest.raises(ZooError, match=r"the zoo's are of 'lite0' \(20 numbers\)"):
                store.add_dataset(other)
        assert len(store.datasets()) == 2

    @pytest.mark.parametrize("merged", [False, True])
    def test_spaces_are_replaced(self, store, merged):
        """The latest space of a name counts."""
        for seed in (1, 2, 3):
            store.put_space(sample_space("default", seed))
            if merged:
                store.merge()
        store.put_space(sample_space("other", 9))
        assert list(store.spaces()) == ["default", "other"]
        assert_same(store.space("default"), sample_space("default", 3))
        assert_same(store.space("other"), sample_space("other", 9))

    @pytest.mark.parametrize("merged", [False, True])
    def test_latencies_are_replaced(self, store, merged):
        """The latest latency of a network and device counts; the others stay."""
        store.put_latencies([LatencyRecord("a", "cpu x2", 0.5), LatencyRecord("b", "cpu x2", 0.25)])
        if merged:
            store.merge()
        store.put_latencies([LatencyRecord("a", "cpu x2", 0.125), LatencyRecord("a", "gpu", 0.001)])
        store.put_latencies([])
        assert store.latencies("cpu x2") == {"a": 0.125, "b": 0.25}
        assert store.latencies("gpu") == {"a": 0.001}
        assert store.latencies("tpu") == {}
        assert list(store.devices()) == ["cpu x2", "gpu"]

    def test_digest(self, store):
        """The digest tells content: not spaces, latencies or merging, but every network and dataset."""
        seen = [store.digest()]
        store.add_network(sample_network(1))
        seen.append(store.digest())
        store.add_network(sample_network(2))
        seen.append(store.digest())
        store.add_dataset(sample_dataset("a"))
        seen.append(store.digest())
        assert len(set(seen)) == 4
        store.put_space(sample_space("default"))
        store.put_latencies([LatencyRecord("a", "cpu", 0.5)])
        store.merge()
        store.refresh()
        assert store.digest() == seen[-1]

    def test_digest_knows_no_order(self, store):
        """Another store, filled in another order, has the same digest."""
        other = HDF5Store(store.path.with_name("other.h5"))
        for number in range(4):
            store.add_network(sample_network(number))
            other.add_network(sample_network(3 - number))
            if number == 1:
                store.merge()
        for name in ("a", "b"):
            store.add_dataset(sample_dataset(name))
        for name in ("b", "a"):
            other.add_dataset(sample_dataset(name))
        assert store.digest() == other.digest()

    def test_caller_keeps_its_arrays(self, store):
        """Changing an array after it was added does not change the store."""
        record = sample_network(1)
        expected = record.fingerprint.kernel.copy()
        store.add_network(record)
        record.fingerprint.kernel[:] = 0
        np.testing.assert_array_equal(store.fingerprint(record.entry.id).kernel, expected)

    def test_recorded_digests(self, store):
        """The digests of content and weights are those of what was added."""
        record = sample_network(4)
        store.add_network(record)
        sha256 = hashlib.sha256(record.weights).hexdigest()
        assert store.weights_sha256(record.entry.id) == sha256
        expected = network_content_digest(record.entry, record.fingerprint, sha256)
        assert store.network_digest(record.entry.id) == expected

    def test_no_weights(self, store):
        """A network may be described without its weights."""
        store.add_network(replace(sample_network(1), weights=b""))
        assert store.weights(sample_network(1).entry.id) == b""

    def test_closing(self, store):
        """A closed store can be used again."""
        with store:
            store.add_network(sample_network(1))
        assert len(store.ids()) == 1

    @pytest.mark.parametrize("merged", [False, True])
    def test_removing(self, store, merged):
        """What is removed is gone, the rest stays bit for bit, and the same or another may be added again."""
        records = [sample_network(number) for number in range(4)]
        for record in records:
            store.add_network(record)
        digest = store.digest()
        if merged:
            store.merge()
        store.put_space(sample_space("default"))
        gone, other = records[1].entry.id, records[3].entry.id
        store.remove([gone, other])
        assert list(store.ids()) == [records[0].entry.id, records[2].entry.id]
        with pytest.raises(UnknownNameError, match=gone):
            store.weights(gone)
        assert store.weights(records[2].entry.id) == records[2].weights
        assert_same(store.fingerprint(records[2].entry.id), records[2].fingerprint)
        assert list(store.spaces()) == ["default"]
        with pytest.raises(UnknownNameError, match=gone):
            store.remove([records[0].entry.id, gone])
        assert len(store.ids()) == 2
        store.add_network(records[3])
        changed = sample_network(1, seed=5)
        store.add_network(changed)
        if merged:
            store.merge()
        assert store.weights(gone) == changed.weights
        store.remove([gone])
        store.merge()
        store.add_network(records[1])
        assert store.digest() == digest
        store.merge()
        assert store.weights(gone) == records[1].weights
        assert store.digest() == digest

    @pytest.mark.parametrize("merged", [False, True])
    def test_supernets(self, store, merged):
        """Supernets are no networks; subnets stay what they are, also when their supernet goes."""
        supernet, subnets = sample_supernet(1), [sample_subnet(number, 1, 30 + number) for number in range(3)]
        before = store.digest()
        store.add_supernet(supernet)
        assert store.digest() != before
        for subnet in subnets:
            store.add_network(subnet)
        store.add_supernet(supernet)
        with pytest.raises(ZooError, match=supernet.entry.id):
            store.add_supernet(replace(supernet, weights=b"other"))
        if merged:
            store.merge()
        assert len(store.ids()) == 3
        assert_same(store.supernets()[0], supernet.entry)
        assert store.supernet_weights(supernet.entry.id) == supernet.weights
        sha256 = hashlib.sha256(supernet.weights).hexdigest()
        assert store.supernet_digest(supernet.entry.id) == supernet_content_digest(supernet.entry, sha256)
        for read in (store.supernet_weights, store.supernet_digest):
            with pytest.raises(UnknownNameError, match="nowhere"):
                read("nowhere")
        store.remove([supernet.entry.id])
        assert list(store.supernets()) == []
        for subnet in subnets:
            assert store.weights(subnet.entry.id) == subnet.weights

    @pytest.mark.parametrize("merged", [False, True])
    def test_transfers(self, store, merged):
        """The latest transfer of a network, dataset and recipe counts; timing is no part of the recipe."""
        store.add_network(sample_network(1))
        digest = store.digest()
        store.put_transfers([sample_transfer(1, "birds"), sample_transfer(1, "apples")])
        if merged:
            store.merge()
        assert store.digest() != digest
        later = sample_transfer(1, "birds", accuracy=0.5, recipe={"lr": 0.01, "seconds": 9.0})
        store.put_transfers([later, sample_transfer(1, "birds", recipe={"lr": 0.1})])
        store.put_transfers([])
        found = store.transfers()
        assert [record.dataset for record in found] == ["apples", "birds", "birds"]
        assert_same(found[1], later)
        for bad in ({"accuracy": 1.5}, {"accuracy": math.nan}, {"epochs": -1}, {"network_id": "../x"}):
            with pytest.raises(UsageError):
                store.put_transfers([sample_transfer(1, "birds", **bad)])

    def test_collecting_garbage(self, store):
        """What nothing refers to goes: supernets without subnets, numbers of networks that are gone."""
        odd = sample_network(4, provenance=Provenance.of({"base": ["no", "id"]}))
        records = [sample_network(1), sample_network(2), sample_subnet(3, 1), odd]
        store.add_supernet(sample_supernet(1))
        store.add_supernet(sample_supernet(2))
        for record in records:
            store.add_network(record)
        ids = [record.entry.id for record in records]
        store.put_latencies([LatencyRecord(network_id, "cpu", 0.5) for network_id in ids])
        store.put_transfers([sample_transfer(1, "birds"), sample_transfer(2, "birds")])
        store.remove([ids[0]])
        garbage = store.collect_garbage()
        assert garbage.supernets == (sample_supernet(2).entry.id,)
        assert (garbage.latencies, garbage.transfers) == (1, 1)
        assert [entry.id for entry in store.supernets()] == [sample_supernet(1).entry.id]
        assert list(store.latencies("cpu")) == ids[1:]
        assert [record.network_id for record in store.transfers()] == [ids[1]]
        assert store.weights(ids[2]) == records[2].weights
        assert store.collect_garbage().supernets == ()

    def test_many_at_once(self, store):
        """Many networks at once are the same as one after another; a conflict names the network."""
        records = [sample_network(number) for number in range(30)]
        store.add_network(records[3])
        store.add_all(iter(records))
        store.add_all([])
        assert list(store.ids()) == [record.entry.id for record in records]
        for record in records:
            assert store.weights(record.entry.id) == record.weights
            assert_same(store.fingerprint(record.entry.id), record.fingerprint)
        with pytest.raises(ZooError, match=records[2].entry.id):
            store.add_all([sample_network(40), sample_network(2, seed=1)])

    def test_absorbing(self, store):
        """Another store's networks, supernets, datasets and transfers come over; a conflict adds nothing."""
        other = HDF5Store(store.path.with_name("other.h5"))
        for each in (store, other):
            each.add_network(sample_network(1))
        other.add_network(sample_network(2))
        other.add_supernet(sample_supernet(1))
        other.add_network(sample_subnet(3, 1))
        other.add_dataset(sample_dataset("birds"))
        other.put_transfers([sample_transfer(2, "birds")])
        other.put_space(sample_space("default"))
        store.absorb(other)
        assert store.digest() == other.digest()
        assert list(store.spaces()) == []
        store.absorb(other)
        assert store.digest() == other.digest()
        bad = HDF5Store(store.path.with_name("bad.h5"))
        bad.add_all([sample_network(0), sample_network(2, seed=7)])
        with pytest.raises(ZooError, match=sample_network(2).entry.id):
            store.absorb(bad)
        assert store.digest() == other.digest()

    def test_packing(self, store):
        """The bytes of all weights are counted, whole and as they are kept, and nothing is damaged."""
        store.add_supernet(sample_supernet(1))
        for number in range(3):
            store.add_network(sample_subnet(number, 1, 40 + number))
        store.merge()
        packing = store.packing()
        whole = [store.weights(network_id) for network_id in store.ids()] + [sample_supernet(1).weights]
        assert packing.decoded == sum(map(len, whole))
        assert packing.stored == sum(stored for _, _, stored in packing.codecs.values()) <= packing.decoded
        assert packing.ratio >= 1
        assert store.sizes()["weights"] == packing.stored
        assert list(store.damage()) == []


class TestHDF5Store(StoreTests):
    @pytest.fixture
    def store(self, tmp_path):
        return HDF5Store(tmp_path / "zoo.h5")


class TestHDF5StoreReopened(StoreTests):
    """Each read comes from a store that was just opened."""

    @pytest.fixture
    def store(self, tmp_path):
        class Reopened(HDF5Store):
            def _current(self):
                self.close()
                return super()._current()

        return Reopened(tmp_path / "zoo.h5")


def test_pickled_store_is_its_path(tmp_path):
    store = HDF5Store(tmp_path / "zoo.h5")
    store.add_network(sample_network(1))
    assert_same(pickle.loads(pickle.dumps(store)).entries()[0], sample_network(1).entry)


def test_import_is_light():
    code = "import sys, nns.stores, nns.zoo; print(sorted({'h5py', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"

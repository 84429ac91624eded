"""What merging and counting bytes are made of; tests/cli/test_zoo_writing.py merges through the command line."""

from __future__ import annotations

import os
from importlib import import_module

import pytest

from nns.errors import MissingZooError, UnknownNameError, ZooError
from nns.networks import Network, Supernet
from nns.stores import HDF5Store
from nns.testing._store import sample_dataset, sample_network, sample_subnet, sample_supernet, sample_transfer
from nns.types import LatencyRecord
from nns.zoo import MergeConflictError, Zoo, merge_zoos


def test_everything_but_spaces_and_latencies_is_merged(tmp_path):
    with HDF5Store(tmp_path / "a.h5") as store:
        store.add_supernet(sample_supernet(1))
        store.add_network(sample_subnet(1, 1))
        store.add_dataset(sample_dataset("birds"))
        store.put_transfers([sample_transfer(1, "birds")])
        store.put_latencies([LatencyRecord(f"{1:016x}", "cpu", 0.1)])
    (merged,) = merge_zoos(tmp_path / "out.h5", [tmp_path / "a.h5"])
    assert (merged.networks, merged.added, merged.known, merged.same) == (1, 1, 0, False)
    with Zoo(tmp_path / "out.h5") as out, Zoo(tmp_path / "a.h5") as source:
        assert out.store.digest() == source.store.digest()
        assert len(out.store.supernets()) == len(out.datasets()) == len(out.store.transfers()) == 1
        assert out.info().devices == ()


def test_a_missing_source_or_a_conflict_makes_no_file(tmp_path):
    for name, seed in (("a.h5", 0), ("b.h5", 1)):
        HDF5Store(tmp_path / name).add_network(sample_network(1, seed))
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(MissingZooError, match=r"none\.h5"):
        merge_zoos(tmp_path / "out.h5", [tmp_path / "a.h5", tmp_path / "none.h5"])
    with pytest.raises(MergeConflictError, match=r"a\.h5 and .*b\.h5 differ in network 0+1; remove one") as caught:
        merge_zoos(tmp_path / "out.h5", [tmp_path / "a.h5", tmp_path / "b.h5"])
    assert isinstance(caught.value, ZooError)
    assert [(each.kind, each.id) for each in caught.value.conflicts] == [("network", f"{1:016x}")]
    assert sorted(os.listdir(tmp_path)) == before


def test_a_source_whose_journal_is_merged_meanwhile_is_read_again(tmp_path, monkeypatch):
    merging = import_module("nns.stores.hdf5.merge")
    source = HDF5Store(tmp_path / "a.h5")
    source.add_network(sample_network(1))
    absorb, calls = merging.absorb, []

    def slow(path, others):
        if not calls:
            source.merge()
        calls.append(path)
        absorb(path, others)

    monkeypatch.setattr(merging, "absorb", slow)
    assert merge_zoos(tmp_path / "out.h5", [tmp_path / "a.h5"])[0].added == 1
    assert len(calls) == 2
    assert HDF5Store(tmp_path / "out.h5").weights(f"{1:016x}") == sample_network(1).weights


@pytest.fixture
def family(tmp_path):
    zoo = Zoo(tmp_path / "zoo.h5", must_exist=False)
    zoo.store.add_supernet(sample_supernet(1))
    zoo.store.add_all([sample_subnet(1, 1), sample_subnet(2, 1), sample_network(3)])
    zoo.store.merge()
    return zoo


def test_find_networks_and_supernets(family):
    supernet = sample_supernet(1).entry.id
    found = family.find(supernet)
    assert (type(found), found.entry) == (Supernet, sample_supernet(1).entry)
    found = family.find(f"{3:016x}")
    assert (type(found), found.entry) == (Network, family.store.entry(f"{3:016x}"))
    with pytest.raises(UnknownNameError, match="may be any of"):
        family.find("0")
    with pytest.raises(UnknownNameError, match="unknown network"):
        family.resolve(supernet)


def test_what_weights_take(family):
    supernet = sample_supernet(1).entry.id
    subnet, other, base = (family.weights_bytes([name]) for name in (f"{1:016x}", f"{2:016x}", supernet))
    assert (subnet.bases, base.bases) == ((supernet,), ())
    assert subnet.codecs["slice"] == 1
    assert subnet.decoded == len(sample_subnet(1, 1).weights)
    assert subnet.stored < subnet.decoded / 10
    assert base.own < base.stored, "what subnets are slices of stays when the supernet goes"
    assert subnet.own < subnet.stored == other.stored, "two equal subnets share their frames"
    both = family.weights_bytes([f"{1:016x}", f"{2:016x}"])
    assert (both.own, both.stored, both.decoded) == (subnet.stored, subnet.stored, subnet.decoded + other.decoded)
    everything = family.weights_bytes([*family.store.ids(), supernet, "unknown"])
    packing = family.info().packing
    assert (everything.own, everything.decoded) == (packing.stored, packing.decoded)
    assert everything.frames == sum(frames for frames, _, _ in packing.codecs.values())
    before = family.disk_bytes()
    alone = family.weights_bytes([f"{3:016x}"]).own
    family.store.remove([f"{3:016x}"])
    assert before - family.disk_bytes() >= alone > 0


def test_what_weights_take_in_memory_and_in_a_journal(tmp_path):
    waiting = Zoo(tmp_path / "zoo.h5", must_exist=False)
    for zoo in (Zoo(tmp_path / "other.h5", must_exist=False), waiting):
        zoo.store.add_supernet(sample_supernet(1))
        zoo.store.add_network(sample_subnet(1, 1))
        kept = zoo.weights_bytes([f"{1:016x}"])
        assert kept.decoded == len(sample_subnet(1, 1).weights)
        assert 0 < kept.own == kept.stored
        assert zoo.weights_bytes(["unknown"]).decoded == 0
        assert zoo.info().packing.decoded > 0
    assert waiting.info().waiting == 2


def test_garbage_is_what_a_collection_removes(family):
    assert family.garbage().supernets == ()
    family.store.put_transfers([sample_transfer(1, "birds"), sample_transfer(3, "birds")])
    family.store.put_latencies([LatencyRecord(f"{n:016x}", device, 0.1) for n in (1, 3) for device in ("cpu", "gpu")])
    family.store.remove([f"{1:016x}", f"{2:016x}"])
    expected = family.garbage()
    assert (expected.supernets, expected.latencies, expected.transfers) == ((sample_supernet(1).entry.id,), 2, 1)
    done = family.store.collect_garbage()
    assert (done.supernets, done.latencies, done.transfers) == (expected.supernets, 2, 1)
    assert (expected.bytes_before, family.disk_bytes()) == (done.bytes_before, done.bytes_after)
    after = family.garbage()
    assert (after.supernets, after.latencies, after.transfers) == ((), 0, 0)


def test_transfers_of_one_network(family):
    family.store.put_transfers([sample_transfer(1, "birds"), sample_transfer(1, "apples"), sample_transfer(3, "birds")])
    assert len(family.store.transfers()) == 3
    assert [record.dataset for record in family.network(f"{1:016x}").transfers] == ["apples", "birds"]

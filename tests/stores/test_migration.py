"""Zoos of format version 1: refused with the way out, and brought to the current version by it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from nns.errors import ZooError
from nns.stores import HDF5Store, migrate
from nns.testing._store import assert_same, sample_dataset, sample_network, sample_space
from nns.types import LatencyRecord

OLD = Path(__file__).parent / "data" / "zoo-v1.h5"
"""Networks 0, 1, 2, dataset birds, space default and one latency; network 7 in the journal."""
DIGEST = "48cc350854d9066c1a69affabf8dfc8522ec39b62fa87c1dc250ec49d29344f5"


@pytest.fixture
def path(tmp_path):
    shutil.copytree(f"{OLD}.journal", tmp_path / "zoo.h5.journal")
    return Path(shutil.copy(OLD, tmp_path / "zoo.h5"))


def check(store):
    assert store.digest() == DIGEST
    for number in (0, 1, 2, 7):
        record = sample_network(number)
        assert store.weights(record.entry.id) == record.weights
        assert_same(store.fingerprint(record.entry.id), record.fingerprint)
        assert_same(store.entry(record.entry.id), record.entry)
    assert_same(store.datasets()[0], sample_dataset("birds"))
    assert_same(store.space("default"), sample_space("default"))
    assert store.latencies("cpu") == {"a": 0.5}


def test_an_old_zoo_is_refused_with_the_way_out(path):
    with pytest.raises(ZooError, match="format version 1, .* `nns zoo migrate"):
        HDF5Store(path).ids()
    with pytest.raises(ZooError, match="format version 1"):
        HDF5Store(path).add_network(sample_network(5))


def test_migrating(path):
    before = path.read_bytes()
    done = migrate(path)
    assert (done.version, done.networks, done.backup) == (1, 4, path.with_name("zoo.h5.v1"))
    check(HDF5Store(path))
    assert list(HDF5Store(path).damage()) == []
    assert done.backup.read_bytes() == before
    assert sorted(os.listdir(path.parent)) == ["zoo.h5", "zoo.h5.v1", "zoo.h5.v1.journal"]
    again = migrate(path)
    assert (again.version, again.backup) == (2, None)
    HDF5Store(path).add_network(sample_network(5))
    HDF5Store(path).merge()
    assert len(HDF5Store(path).ids()) == 5


def test_a_migration_that_ends_before_it_has_cleaned_up(path, monkeypatch):
    from nns.stores.hdf5.journal import Journal

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "remove", lambda self, names: None)
        migrate(path)
    assert "network-0000000000000007.h5" in os.listdir(path.with_name("zoo.h5.journal"))
    check(HDF5Store(path))
    store = HDF5Store(path)
    store.add_network(sample_network(5))
    store.merge()
    assert not path.with_name("zoo.h5.journal").exists()
    assert len(store.ids()) == 5


def test_a_journal_of_version_1_alone(path):
    path.unlink()
    with pytest.raises(ZooError, match="nns zoo migrate"):
        HDF5Store(path).ids()
    assert migrate(path).networks == 1
    assert HDF5Store(path).weights(sample_network(7).entry.id) == sample_network(7).weights


def test_a_damaged_old_zoo_stays_as_it_was(path):
    whole = bytearray(path.read_bytes())
    at = whole.index(sample_network(1).weights)
    whole[at + 100] ^= 1
    path.write_bytes(whole)
    with pytest.raises(ZooError, match="damaged"):
        migrate(path)
    assert path.read_bytes() == whole
    assert sorted(os.listdir(path.parent)) == ["zoo.h5", "zoo.h5.journal"]


def test_both_versions_at_once(path):
    """Shards of version 1 beside a file of version 2, as when a worker of an older nns wrote into it."""
    store = HDF5Store(path.with_name("other.h5"))
    store.add_network(sample_network(9))
    store.merge()
    os.replace(store.path, path)
    with pytest.raises(ZooError, match="nns zoo migrate"):
        HDF5Store(path).ids()
    assert migrate(path).networks == 2
    assert len(HDF5Store(path).ids()) == 2
    assert list(HDF5Store(path).spaces()) == []


def test_latencies_and_spaces_of_shards_come_over(tmp_path):
    store = HDF5Store(tmp_path / "zoo.h5")
    store.put_latencies([LatencyRecord("a", "cpu", 0.5)])
    assert migrate(store.path).version == 2

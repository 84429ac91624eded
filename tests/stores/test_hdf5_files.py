"""What lies on the disk, and when."""

from __future__ import annotations

import os
import time

import h5py
import numpy as np
import pytest

from nns.errors import MissingZooError, ZooError
from nns.stores import HDF5Store
from nns.stores.hdf5 import journal as journal_module
from nns.stores.hdf5.file import ZooFile
from nns.testing._store import sample_dataset, sample_network, sample_space
from nns.types import LatencyRecord


@pytest.fixture
def path(tmp_path):
    return tmp_path / "zoo.h5"


def journal(path):
    folder = path.with_name("zoo.h5.journal")
    return sorted(os.listdir(folder)) if folder.exists() else None


def test_nothing_is_created_by_looking(path):
    assert list(HDF5Store(path).entries()) == []
    HDF5Store(path).merge()
    assert os.listdir(path.parent) == []
    with pytest.raises(MissingZooError, match="zoo.h5"):
        HDF5Store(path, must_exist=True)


def test_journal_then_one_file(path):
    store = HDF5Store(path)
    store.add_network(sample_network(1))
    store.add_dataset(sample_dataset("a"))
    assert not path.exists()
    assert len(journal(path)) == 2
    assert HDF5Store(path, must_exist=True).ids() == store.ids()
    store.merge()
    assert os.listdir(path.parent) == ["zoo.h5"]


def test_the_file_is_plain_hdf5(path):
    store = HDF5Store(path)
    for number in range(40):
        store.add_network(sample_network(number))
    store.put_space(sample_space("default"))
    store.put_latencies([LatencyRecord("a", "cpu", 0.5)])
    store.merge()
    with h5py.File(path, "r") as file:
        found = []
        file.visititems(lambda name, item: found.append((name, item)))
        assert {name for name, _ in found} >= {"frames/data", "spaces/default/embeddings", "latencies/seconds"}
        for _, item in found:
            assert len(item.attrs) == 0
            if isinstance(item, h5py.Dataset):
                assert item.chunks is None
                assert item.compression is None
        assert file["networks/id"][3] == b"0000000000000003"
        np.testing.assert_array_equal(file["networks/kernel"][3], sample_network(3).fingerprint.kernel)


def test_big_columns_are_page_aligned_and_not_copied(path):
    store = HDF5Store(path)
    kernel = np.random.default_rng(0).standard_normal((300, 300)).astype(np.float32)
    for number in range(4):
        record = sample_network(number)
        object.__setattr__(record.fingerprint, "kernel", kernel + number)
        store.add_network(record)
    store.merge()
    assert ZooFile(path).part("networks/kernel", 0, 0).offset % 4096 == 0
    kernels = store.kernels()
    assert not kernels.flags.owndata
    np.testing.assert_array_equal(kernels[2], kernel + 2)
    with pytest.raises(ValueError, match="read-only"):
        kernels[0, 0, 0] = 1


def test_writing_what_is_small_does_not_rewrite_weights(path):
    store = HDF5Store(path)
    store.add_network(sample_network(1))
    store.merge()
    before = os.stat(path)
    store.put_space(sample_space("default"))
    store.put_latencies([LatencyRecord("a", "cpu", 0.5)])
    assert os.stat(path) == before
    assert list(HDF5Store(path).spaces()) == ["default"]


def test_a_snapshot_stays(path):
    writer, reader = HDF5Store(path), HDF5Store(path)
    writer.add_network(sample_network(1))
    writer.add_network(sample_network(3))
    assert len(reader.entries()) == 2
    writer.add_network(sample_network(2))
    writer.merge()
    writer.add_network(sample_network(4))
    assert len(reader.entries()) == len(reader.graphs()) == 2
    assert reader.weights(sample_network(3).entry.id) == sample_network(3).weights
    reader.refresh()
    assert len(reader.entries()) == 4


def test_a_replaced_file_stays_readable(path):
    writer = HDF5Store(path)
    writer.add_network(sample_network(1))
    writer.merge()
    reader = HDF5Store(path)
    kernels = reader.kernels()
    writer.add_network(sample_network(2))
    writer.merge()
    os.unlink(path)
    assert reader.weights(sample_network(1).entry.id) == sample_network(1).weights
    np.testing.assert_array_equal(kernels[0], sample_network(1).fingerprint.kernel)


def test_spaces_left_by_a_crash_do_not_come_back(path):
    store = HDF5Store(path)
    store.put_space(sample_space("default", 1))
    folder = path.with_name("zoo.h5.journal")
    (name,) = journal(path)
    old = (folder / name).read_bytes()
    store.put_space(sample_space("default", 2))
    store.merge()
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(old)
    assert HDF5Store(path).space("default").settings["seed"] == 2
    store.merge()
    assert not folder.exists()
    assert HDF5Store(path).space("default").settings["seed"] == 2


def test_later_spaces_win_with_a_clock_that_goes_back(path, monkeypatch):
    store = HDF5Store(path)
    for seed in (1, 2, 3):
        monkeypatch.setattr(journal_module.time, "time_ns", lambda seed=seed: 10**18 - seed)
        HDF5Store(path).put_space(sample_space("default", seed))
    assert store.space("default").settings["seed"] == 3


def test_two_networks_under_one_id(path):
    """Two shards that cannot both be right: neither is chosen silently."""
    one, two = HDF5Store(path), HDF5Store(path.with_name("other.h5"))
    one.add_network(sample_network(1))
    one.merge()
    two.add_network(sample_network(1, seed=1))
    os.rename(two.path.with_name("other.h5.journal"), path.with_name("zoo.h5.journal"))
    one.refresh()
    with pytest.raises(ZooError, match=r"0000000000000001 differs between .*zoo.h5.* and .*journal"):
        one.entries()


def test_rests_of_crashes_are_swept(path):
    store = HDF5Store(path)
    store.add_network(sample_network(1))
    old, new = (path.with_name("zoo.h5.journal") / f"tmp-1-{name}.h5" for name in ("old", "new"))
    for item in (old, new):
        item.write_bytes(b"unfinished")
    os.utime(old, (time.time() - 7200,) * 2)
    store.merge()
    assert not old.exists()
    assert new.exists()
    assert len(store.ids()) == 1


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ZooError, match="cannot be opened: Not a dir"):
        HDF5Store(tmp_path / "file" / "zoo.h5").add_network(sample_network(1))


def test_failed_write_leaves_nothing(path, monkeypatch):
    store = HDF5Store(path)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ZooError, match="No space left"):
        store.add_network(sample_network(1))
    assert journal(path) == []
    assert list(store.ids()) == []


def test_copying_without_kernel_support(path, monkeypatch):
    store = HDF5Store(path)
    store.add_network(sample_network(1))
    store.merge()
    monkeypatch.delattr(os, "copy_file_range")
    store.add_network(sample_network(2))
    store.merge()
    assert store.weights(sample_network(1).entry.id) == sample_network(1).weights


def test_file_system_without_hard_links(path, monkeypatch):
    def refuse(source, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    store = HDF5Store(path)
    store.add_network(sample_network(1))
    store.add_network(sample_network(1))
    with pytest.raises(ZooError, match="other content"):
        store.add_network(sample_network(1, seed=1))
    assert len(store.ids()) == 1


def test_journal_that_is_no_folder(path):
    path.with_name("zoo.h5.journal").write_text("")
    with pytest.raises(ZooError, match="journal cannot be read: Not a directory"):
        HDF5Store(path).add_network(sample_network(1))

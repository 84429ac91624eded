"""What lies on the disk, and when."""

from __future__ import annotations

import os
import sys
import threading
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


def other_shard(path, name="network-0000000000000001.h5"):
    """Put a shard with another network 1 into the journal, as a writer leaves that was killed while it looked."""
    other = HDF5Store(path.with_name("other.h5"))
    other.add_network(sample_network(1, seed=1))
    folder = path.with_name("zoo.h5.journal")
    folder.mkdir(exist_ok=True)
    os.rename(path.with_name("other.h5.journal") / "network-0000000000000001.h5", folder / name)


def test_a_shard_that_differs_from_the_file_was_never_acknowledged(path):
    store = HDF5Store(path)
    store.add_network(sample_network(1))
    store.merge()
    other_shard(path)
    store.refresh()
    assert store.weights(sample_network(1).entry.id) == sample_network(1).weights
    store.merge()
    assert os.listdir(path.parent).count("zoo.h5.journal") == 0
    assert store.weights(sample_network(1).entry.id) == sample_network(1).weights


def test_two_shards_under_one_id(path):
    """Two that cannot both be right: neither is chosen silently."""
    store = HDF5Store(path)
    store.add_network(sample_network(1))
    other_shard(path, "network-0000000000000001~1.h5")
    store.refresh()
    with pytest.raises(ZooError, match="0000000000000001 differs between .* and .*journal"):
        store.entries()


def test_a_writer_waits_for_what_is_being_added_at_once(path, monkeypatch):
    """Whoever adds another network of an id that is just being brought into the file is refused, not believed."""
    merging = sys.modules["nns.stores.hdf5.merge"]  # in the package the name is that of a function
    store, late = HDF5Store(path), HDF5Store(path)
    write, ends = merging.write_file, []

    def add_meanwhile(*arguments):
        def add():
            try:
                late.add_network(sample_network(2, seed=1))
                ends.append("added")
            except ZooError as error:
                ends.append(str(error))

        thread = threading.Thread(target=add)
        thread.start()
        thread.join(0.3)
        write(*arguments)
        threads.append(thread)

    threads = []
    monkeypatch.setattr(merging, "write_file", add_meanwhile)
    store.add_all([sample_network(number) for number in range(4)])
    threads[0].join()
    assert "in the zoo already" in ends[0]
    assert HDF5Store(path).weights(sample_network(2).entry.id) == sample_network(2).weights


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

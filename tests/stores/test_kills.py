"""A short run of benchmarks/store/kills.py and power_loss.py, the proof that they see what they look for, and
what they have found: each as short as it can be told.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from nns.errors import UnknownNameError, ZooError
from nns.stores import HDF5Store
from nns.stores.hdf5 import journal
from nns.testing._store import sample_network
from nns.zoo import verify

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from store import kills, power_loss, records

FAST_KILLS, ALL_KILLS = 8, 240


class Hasty(HDF5Store):
    """Acknowledges networks that it only keeps in memory: what a killed process had is lost."""

    def add_network(self, record):
        """Write every other network with the one after it."""
        waiting = self.__dict__.setdefault("waiting", [])
        waiting.append(record)
        if len(waiting) == 2:
            for each in waiting:
                super().add_network(each)
            waiting.clear()


class Reviving(HDF5Store):
    """Removes nothing."""

    def remove(self, ids):
        """Only look."""
        self.ids()


class Careless(HDF5Store):
    """Drops a shard before it is in the new file."""

    def merge(self):
        folder = self.path.with_name(self.path.name + ".journal")
        for shard in sorted(folder.glob("network-*.h5"))[:1]:
            shard.unlink(missing_ok=True)
        super().merge()


class Garbling(HDF5Store):
    """Writes other weights than it was given."""

    def add_network(self, record):
        super().add_network(type(record)(record.entry, record.fingerprint, record.weights[:-4] + bytes(4)))


class Choosy(HDF5Store):
    """Refuses what nothing stands in the way of."""

    def add_network(self, record):
        if int(record.entry.id, 16) % 3 == 2:
            raise ZooError(f"network {record.entry.id!r} is in the zoo already, with other content")
        super().add_network(record)


@pytest.fixture
def disk(tmp_path_factory):
    """A folder on a real disk, where inode numbers come again as they do not in memory."""
    return tmp_path_factory.mktemp("disk")


def nothing_wrong(report):
    assert report.wrong == []
    assert report.looks > 5
    assert report.records_compared > 50


@pytest.mark.timeout(300)
def test_nothing_acknowledged_is_lost(tmp_path):
    report = kills.run(tmp_path, FAST_KILLS, seed=1, seconds=60)
    nothing_wrong(report)
    assert report.killed >= FAST_KILLS
    assert {"network", "merge"} <= set(report.steps)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_nothing_acknowledged_is_lost_in_hundreds_of_kills(tmp_path):
    report = kills.run(tmp_path, ALL_KILLS, seed=0, seconds=1000)
    nothing_wrong(report)
    assert report.killed >= ALL_KILLS


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("broken", "kind"), [(Hasty, "network"), (Reviving, "network")])
def test_the_harness_sees_what_is_lost(tmp_path, broken, kind):
    report = kills.run(tmp_path, 60, seed=1, seconds=60, open_store=broken)
    assert any(f" {kind} " in line for line in report.lost), report.wrong


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("broken", "kind"), [(Careless, "lost"), (Garbling, "half"), (Choosy, "errors")])
def test_the_harness_sees_what_else_is_wrong(tmp_path, broken, kind):
    assert getattr(kills.run(tmp_path, 60, seed=1, seconds=60, open_store=broken), kind)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_harness_sees_files_that_are_written_in_place(tmp_path, monkeypatch):
    def link_slowly(source, target):
        data = source.read_bytes()
        with target.open("xb") as file:
            file.write(data[: len(data) // 2])
            file.flush()
            time.sleep(0.01)
            file.write(data[len(data) // 2 :])
        return True

    monkeypatch.setattr(journal, "_link", link_slowly)
    assert kills.run(tmp_path, 60, seed=1, seconds=60).errors


@pytest.mark.timeout(300)
def test_a_power_loss_loses_nothing(disk):
    report = power_loss.run(disk, power_loss.play_briefly, states=1)
    assert report.wrong == []
    assert report.disks > 30


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_power_loss_at_any_step_loses_nothing(disk):
    assert power_loss.run(disk, states=9).wrong == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("deaf", ["file", "folder"])
def test_a_disk_that_does_not_flush_is_found_out(disk, deaf):
    assert power_loss.run(disk, power_loss.play_briefly, states=1, share=0.5, deaf=deaf).wrong


def test_records_are_told_apart(tmp_path):
    store = HDF5Store(tmp_path / "zoo.h5")
    store.add_network(records.network(3, 0))
    seen, wrong = records.look(store)
    assert (seen, wrong) == ({"network 3": 0}, [])
    store.add_network(sample_network(7))
    assert records.look(store)[1]


def test_a_journal_that_another_writer_makes_again_is_flushed_again(disk):
    """Its name in the folder of the zoo is a new one, also where the inode number is the old one."""

    def play(script):
        for number in (1, 2, 4):
            script.add(number)
            script.merge()
            script.store.path.with_name("zoo.h5.journal").mkdir()
        script.add(7)

    assert power_loss.run(disk, play, states=0).wrong == []


class Other:
    """A fork that waits for the word to do something. Made before a lock is held: a fork would hold it as well."""

    def __init__(self, work):
        gate, self._gate = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            code = 1
            try:
                os.read(gate, 1)
                work()
                code = 0
            except ZooError:
                code = 3
            finally:
                os._exit(code)
        os.close(gate)
        self._code = None

    def go(self):
        os.write(self._gate, b"x")

    def wait(self, seconds=60.0):
        """Wait for its end; gives its exit code, None if it goes on, -9 if it had to be killed at the end."""
        until = time.monotonic() + seconds
        while self._code is None and time.monotonic() < until:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        return self._code


def before_the_replacement(monkeypatch, work):
    """Do something when a new main file is written, and not yet in its place."""
    replace = os.replace

    def late(*paths):
        monkeypatch.setattr(os, "replace", replace)
        work()
        replace(*paths)

    monkeypatch.setattr(os, "replace", late)


def test_one_id_added_alone_and_in_a_batch_at_once(tmp_path, monkeypatch):
    """Of two contents under one id one is acknowledged and the other one refused."""
    path = tmp_path / "zoo.h5"
    alone, batch = sample_network(1, seed=1), [sample_network(1, seed=0), sample_network(2)]
    other = Other(lambda: HDF5Store(path).add_network(alone))

    def interfere():
        other.go()
        other.wait(0.3)  # for it may wait for the batch

    before_the_replacement(monkeypatch, interfere)
    try:
        HDF5Store(path).add_all(batch)
        first = True
    except ZooError:
        first = False
    second = other.wait() == 0
    assert first != second
    expected = batch[0] if first else alone
    assert HDF5Store(path).weights(expected.entry.id) == expected.weights
    assert not verify(HDF5Store(path))


def test_a_writer_that_is_killed_before_it_takes_its_shard_back(tmp_path):
    """It met another network of its id that a merge brought into the file, and had acknowledged nothing."""
    path = tmp_path / "zoo.h5"

    def work():
        link = os.link

        def late(source, target):
            os.link = link
            other = HDF5Store(path)
            other.add_network(sample_network(1))
            other.merge()
            source.parent.mkdir(exist_ok=True)
            link(source, target)
            os._exit(9)

        os.link = late
        store = HDF5Store(path)
        store.add_network(sample_network(2))  # so that the journal is not removed
        os.link = late
        store.add_network(sample_network(1, seed=1))

    killed = Other(work)
    killed.go()
    assert killed.wait() in (0, 9)
    store = HDF5Store(path)
    assert store.weights(sample_network(1).entry.id) == sample_network(1).weights
    store.merge()
    assert store.weights(sample_network(1).entry.id) == sample_network(1).weights
    assert not verify(HDF5Store(path))


def test_a_supernet_is_added_while_garbage_is_collected(tmp_path, monkeypatch):
    """It is there already, and of no use, when the collection begins; and of use when it is added once more."""
    path = tmp_path / "zoo.h5"
    store = HDF5Store(path)
    store.add_supernet(records.supernet(0))
    store.merge()

    def add():
        HDF5Store(path).add_network(records.network(0, 0))
        HDF5Store(path).add_supernet(records.supernet(0))

    other = Other(add)

    def interfere():
        other.go()
        other.wait(0.3)

    before_the_replacement(monkeypatch, interfere)
    store.collect_garbage()
    assert other.wait() == 0
    assert len(HDF5Store(path).supernets()) == 1


def test_an_id_that_comes_again_with_other_content(disk):
    """A store that is open sees the new network after a refresh, not what it remembers of the old shard."""
    mine, other = HDF5Store(disk / "zoo.h5"), HDF5Store(disk / "zoo.h5")
    old, new = sample_network(1, seed=0), sample_network(1, seed=1)
    other.add_network(old)
    assert mine.entry(old.entry.id).provenance.extra["seed"] == 0
    other.merge()
    other.remove([old.entry.id])
    other.add_network(new)
    mine.refresh()
    assert mine.entry(old.entry.id).provenance.extra["seed"] == 1
    assert mine.weights(old.entry.id) == new.weights


@pytest.mark.parametrize("merged", [False, True])
def test_a_network_that_is_replaced_while_it_is_read(disk, merged):
    """The weights of a new network are not given out with the description of the old one, nor called damaged."""
    for number in range(10):  # the inode number does not come again each time
        path = disk / str(number) / "zoo.h5"
        mine, other = HDF5Store(path), HDF5Store(path)
        old, new = sample_network(1, seed=0), sample_network(1, seed=1)
        other.add_network(old)
        assert mine.entry(old.entry.id).provenance.extra["seed"] == 0
        other.merge()
        other.remove([old.entry.id])
        other.add_network(new)
        if merged:
            other.merge()
        try:
            assert mine.weights(old.entry.id) == old.weights
        except UnknownNameError:
            continue


def test_verifying_while_networks_are_removed(tmp_path):
    """What is gone is not damaged."""
    path = tmp_path / "zoo.h5"
    store, other = HDF5Store(path), HDF5Store(path)
    for number in range(3):
        other.add_network(sample_network(number))
    assert len(store.ids()) == 3
    other.merge()
    other.remove([sample_network(1).entry.id])
    assert verify(store) == ()


def test_a_batch_whose_journal_a_merge_removes(tmp_path, monkeypatch):
    """The folder was empty, and goes between its making and the first file in it."""
    mkdir = os.mkdir

    def undone(path, *mode):
        monkeypatch.setattr(os, "mkdir", mkdir)
        mkdir(path, *mode)
        os.rmdir(path)

    monkeypatch.setattr(os, "mkdir", undone)
    HDF5Store(tmp_path / "zoo.h5").add_all([sample_network(1), sample_network(2)])
    assert len(HDF5Store(tmp_path / "zoo.h5").ids()) == 2


def test_a_batch_is_refused_as_a_network_is(tmp_path):
    """The message names the network, not a temporary file."""
    store = HDF5Store(tmp_path / "zoo.h5")
    store.add_network(sample_network(1))
    with pytest.raises(ZooError, match=r"network '?0000000000000001'? is in the zoo already, with other content"):
        store.add_all([sample_network(1, seed=1), sample_network(2)])

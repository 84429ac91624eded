"""Processes that are killed and disks that lose power, by the harness in ``benchmarks/store``; and what it has found.

The harness would be worth nothing if it let a careless store pass, so it is tried on several.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

_BENCHMARKS = str(Path(__file__).resolve().parents[2] / "benchmarks")
if _BENCHMARKS not in sys.path:
    sys.path.insert(0, _BENCHMARKS)

from nns.errors import UnknownNameError, ZooError  # noqa: E402
from nns.stores import HDF5Store  # noqa: E402
from nns.stores.hdf5 import journal as journal_module  # noqa: E402
from nns.testing._store import sample_network, sample_space  # noqa: E402
from nns.zoo import verify  # noqa: E402
from store import kills, power_loss, records  # noqa: E402


@pytest.fixture
def disk(tmp_path_factory):
    """A folder on a real disk, where inode numbers come again as they do not in memory."""
    return tmp_path_factory.mktemp("disk")


# killed processes


def test_nothing_is_lost_when_processes_are_killed(tmp_path):
    report = kills.run(tmp_path, kills=10, seed=int(time.time()))
    assert report.wrong == []
    assert report.killed >= 10
    assert report.steps.total() > 20


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_nothing_is_lost_in_200_kills(disk):
    report = kills.run(disk, kills=200, seed=int(time.time()))
    assert report.wrong == []
    assert report.killed >= 200
    assert report.strace == kills.strace_works()


class AcknowledgesEarly(HDF5Store):
    """Keeps a network in memory until the next one is added."""

    _late = None

    def add_network(self, record):
        if self._late is not None:
            super().add_network(self._late)
        self._late = record


class ForgetsShards(HDF5Store):
    """Drops a shard before it is in the new file."""

    def merge(self):
        folder = self.path.with_name(self.path.name + ".journal")
        for shard in sorted(folder.glob("network-*.h5"))[:1]:
            shard.unlink(missing_ok=True)
        super().merge()


class DoesNotRemove(HDF5Store):
    """Says that it has removed a network."""

    def remove(self, ids):
        self.refresh()


class ReplacesContent(HDF5Store):
    """Writes other weights than it was given."""

    def add_network(self, record):
        super().add_network(type(record)(record.entry, record.fingerprint, record.weights[:-4] + bytes(4)))


class RefusesAtRandom(HDF5Store):
    """Refuses a network that nothing stands in the way of."""

    def add_network(self, record):
        if int(record.entry.id, 16) % 3 == 2:
            raise ZooError(f"network {record.entry.id!r} is in the zoo already, with other content")
        super().add_network(record)


@pytest.mark.parametrize(
    ("careless", "where"),
    [
        (AcknowledgesEarly, "lost"),
        (ForgetsShards, "lost"),
        (DoesNotRemove, "lost"),
        (ReplacesContent, "half"),
        (RefusesAtRandom, "errors"),
    ],
)
def test_a_careless_store_is_found_out(tmp_path, careless, where):
    report = kills.run(tmp_path, kills=40, seconds=20, open_store=careless)
    assert getattr(report, where)


def test_files_written_in_place_are_found_out(tmp_path, monkeypatch):
    """Readers must not see a shard that is half there."""

    def link_slowly(source, target):
        data = source.read_bytes()
        with target.open("xb") as file:
            file.write(data[: len(data) // 2])
            file.flush()
            time.sleep(0.01)
            file.write(data[len(data) // 2 :])
        return True

    monkeypatch.setattr(journal_module, "_link", link_slowly)
    report = kills.run(tmp_path, kills=40, seconds=20)
    assert report.errors


# power loss


def test_nothing_is_lost_with_the_power(disk):
    report = power_loss.run(disk, power_loss.play_briefly, states=2, seed=int(time.time()))
    assert report.wrong == []
    assert report.disks > 40


def test_a_migration_that_loses_power(disk):
    report = power_loss.run_migration(disk, power_loss.OLD, states=2, share=0.25, seed=int(time.time()))
    assert report.wrong == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_nothing_is_lost_with_the_power_at_any_step(disk):
    report = power_loss.run(disk, states=9, seed=int(time.time()))
    assert report.wrong == []
    assert report.disks > 400
    report = power_loss.run_migration(disk, power_loss.OLD, states=9, seed=int(time.time()))
    assert report.wrong == []


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_store_that_does_not_flush_is_found_out(disk, kind):
    """As if the store had never called fsync of files, or of folders."""
    report = power_loss.run(disk, power_loss.play_briefly, states=1, share=0.5, deaf=kind)
    assert report.wrong


def test_a_store_that_flushes_late_is_found_out(disk, monkeypatch):
    """The folder of the main file is flushed only after the shards are gone."""
    monkeypatch.setattr(sys.modules["nns.stores.hdf5.merge"], "fsync_folder", lambda folder: None)
    report = power_loss.run(disk, power_loss.play_briefly, states=6)
    assert any("is not there" in line or "is gone" in line for line in report.wrong)


def test_a_journal_that_is_made_again_is_flushed_again(disk):
    """Its name in the folder is another one, also where the inode number comes again."""

    def play(script):
        for number in (1, 2, 4, 5):
            script.add(number)
            script.merge()
        script.add(7)

    report = power_loss.run(disk, play, states=0)
    assert report.wrong == []


# what the harness has found


def in_another_process(work):
    """Begin to do something in a fork; gives a function that waits some seconds for its end, and gives the status."""
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        except ZooError:
            code = 3
        finally:
            os._exit(code)
    ended = []

    def wait(seconds=60.0):
        until = time.monotonic() + seconds
        while not ended and time.monotonic() < until:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                ended.append(os.waitstatus_to_exitcode(status))
            time.sleep(0.002)
        return ended[0] if ended else None

    return wait


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
    path, others = tmp_path / "zoo.h5", []
    alone, batch = sample_network(1, seed=1), [sample_network(1, seed=0), sample_network(2)]

    def interfere():
        others.append(in_another_process(lambda: HDF5Store(path).add_network(alone)))
        others[0](0.3)  # it may wait for the batch

    before_the_replacement(monkeypatch, interfere)
    try:
        HDF5Store(path).add_networks(batch)
        first = True
    except ZooError:
        first = False
    second = others[0]() == 0
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

    assert in_another_process(work)() in (0, 9)
    store = HDF5Store(path)
    assert store.weights(sample_network(1).entry.id) == sample_network(1).weights
    store.merge()
    assert store.weights(sample_network(1).entry.id) == sample_network(1).weights
    assert not verify(HDF5Store(path))


def test_a_supernet_is_added_while_garbage_is_collected(tmp_path, monkeypatch):
    """It is there already, and of no use, when the collection begins; and of use when it is added once more."""
    path, others = tmp_path / "zoo.h5", []
    store = HDF5Store(path)
    store.add_supernet(records.supernet(0))
    store.merge()

    def add():
        other = HDF5Store(path)
        other.add_network(records.network(0, 0))
        other.add_supernet(records.supernet(0))

    def interfere():
        others.append(in_another_process(add))
        others[0](0.3)

    before_the_replacement(monkeypatch, interfere)
    store.collect_garbage()
    assert others[0]() == 0
    assert len(HDF5Store(path).supernets()) == 1


def test_an_id_that_comes_again_with_other_content(disk):
    """A store that is open sees the new network after a refresh, not what it remembers of the old shard."""
    mine, other = HDF5Store(disk / "zoo.h5"), HDF5Store(disk / "zoo.h5")
    old, new = sample_network(1, seed=0), sample_network(1, seed=1)
    other.add_network(old)
    assert mine.entry(old.entry.id).provenance["seed"] == 0
    other.merge()
    other.remove([old.entry.id])
    other.add_network(new)
    mine.refresh()
    assert mine.entry(old.entry.id).provenance["seed"] == 1
    assert mine.weights(old.entry.id) == new.weights


@pytest.mark.parametrize("merged", [False, True])
def test_a_network_that_is_replaced_while_it_is_read(disk, merged):
    """The weights of a new network are not given out with the description of the old one, nor called damaged."""
    for number in range(10):  # the inode number does not come again each time
        path = disk / str(number) / "zoo.h5"
        mine, other = HDF5Store(path), HDF5Store(path)
        old, new = sample_network(1, seed=0), sample_network(1, seed=1)
        other.add_network(old)
        assert mine.entry(old.entry.id).provenance["seed"] == 0
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


def test_a_batch_is_refused_as_a_network_is(tmp_path):
    """The message names the network, not a temporary file."""
    store = HDF5Store(tmp_path / "zoo.h5")
    store.add_network(sample_network(1))
    with pytest.raises(ZooError, match=r"'0000000000000001' is in the zoo already, with other content"):
        store.add_networks([sample_network(1, seed=1), sample_network(2)])


def test_later_writes_win_beside_a_file_whose_shards_had_a_clock_ahead(tmp_path, monkeypatch):
    """The sequence of a merged shard is forgotten with it; the file is older than any shard all the same."""
    path, real = tmp_path / "zoo.h5", time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 10**15)
    HDF5Store(path).put_space(sample_space("default", 1))
    HDF5Store(path).merge()
    monkeypatch.setattr(time, "time_ns", real)
    HDF5Store(path).put_space(sample_space("default", 2))
    assert HDF5Store(path).space("default").settings["seed"] == 2

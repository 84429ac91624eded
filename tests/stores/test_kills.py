"""A short run of benchmarks/store/kills.py and power_loss.py, and the proof that they see what they look for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nns.stores import HDF5Store
from nns.testing._store import sample_network

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from store import kills, power_loss, records

FAST_KILLS, ALL_KILLS = 14, 240


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


@pytest.mark.timeout(300)
def test_a_power_loss_loses_nothing(tmp_path):
    report = power_loss.run(tmp_path, states=1, share=0.15)
    assert report.wrong == []
    assert report.disks > 30


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_power_loss_at_any_step_loses_nothing(tmp_path):
    assert power_loss.run(tmp_path, states=6).wrong == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("deaf", ["file", "folder"])
def test_a_disk_that_does_not_flush_is_found_out(tmp_path, deaf):
    assert power_loss.run(tmp_path, states=1, share=0.15, deaf=deaf).wrong


def test_records_are_told_apart(tmp_path):
    store = HDF5Store(tmp_path / "zoo.h5")
    store.add_network(records.network(3, 0))
    seen, wrong = records.look(store)
    assert (seen, wrong) == ({"network 3": 0}, [])
    store.add_network(sample_network(7))
    assert records.look(store)[1]

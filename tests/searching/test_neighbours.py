"""Nearest datasets and what won there."""

import math

import numpy as np
import pytest

from nns.searching.neighbours import Surroundings
from nns.types import DatasetRecord


def neighbourhood(query, zoo, count=3):
    return Surroundings(zoo).of(query, count)


class FakeZoo:
    def __init__(self, records, entries=(), transfers=()):
        self._records, self._entries, self._transfers, self.store = records, entries, transfers, self

    def datasets(self):
        return self._records

    def best_trained_on(self, digest):
        own = [entry for entry in self._entries if entry.source_digest == digest]
        return max(own, key=lambda entry: entry.accuracy, default=None)

    def transfers(self):
        return self._transfers


class Row:
    def __init__(self, **values):
        self.__dict__.update(values)


def record(name, direction, spread=0.01, seed=0):
    rng = np.random.default_rng(seed)
    features = (np.asarray(direction, float) + spread * rng.standard_normal((6, 3))).astype(np.float32)
    return DatasetRecord(name, f"d-{name}", ("a",), features, np.zeros(6, np.int64), 6, "x")


RECORDS = [record("east", [1, 0, 0]), record("east2", [1, 0.1, 0], seed=1), record("north", [0, 1, 0], seed=2),
           record("north2", [0.1, 1, 0], seed=3)]  # fmt: skip


def test_nearest_first_and_the_winner_of_own_and_moved_networks():
    entries = [Row(id="n1", source_digest="d-east", accuracy=0.5), Row(id="n2", source_digest="d-east", accuracy=0.6)]
    moved = [Row(network_id="n9", dataset_digest="d-east", accuracy=0.7), Row(network_id="n1", dataset_digest="d-north",
             accuracy=math.nan)]  # fmt: skip
    hood = neighbourhood(record("q", [1, 0.02, 0], seed=9), FakeZoo(RECORDS, entries, moved), 3)
    assert [n.name for n in hood.nearest][:2] in (["east", "east2"], ["east2", "east"])
    found = {n.name: n for n in hood.nearest}
    assert found["east"].winner == "n9" and found["east"].accuracy == 0.7
    assert not hood.far
    assert all(n.winner == "" and math.isnan(n.accuracy) for n in hood.nearest if n.name != "east")


def test_what_is_like_nothing_is_far():
    hood = neighbourhood(record("q", [0, 0, 1], seed=9), FakeZoo(RECORDS))
    assert hood.far
    assert hood.nearest[0].distance > hood.usual


def test_the_query_itself_does_not_count():
    hood = neighbourhood(RECORDS[0], FakeZoo(RECORDS))
    assert "east" not in [n.name for n in hood.nearest]
    assert hood.nearest[0].name == "east2"


@pytest.mark.parametrize("records", [[], [record("other", [1, 0, 0])], RECORDS[:2]])
def test_few_datasets(records):
    hood = neighbourhood(record("q", [1, 0, 0], seed=5), FakeZoo(records))
    assert len(hood.nearest) == len(records)
    assert math.isnan(hood.usual)
    assert hood.far == (not records)

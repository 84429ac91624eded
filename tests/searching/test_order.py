"""Only the beginning of a long ranking is sorted, and it is the beginning of the whole order."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nns.searching import candidates
from nns.searching.candidates import Ranking
from nns.searching.limits import CostColumns
from nns.searching.order import best_first
from nns.stores import HDF5Store
from nns.testing._store import sample_network
from nns.types import Limits, NetworkColumns


def whole_order(scores, first, loadable):
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    order = [*first, *(i for i in order if i not in first)]
    return order if loadable is None else sorted(order, key=lambda i: not loadable[i])


@st.composite
def rankings(draw):
    scores = draw(st.lists(st.sampled_from([-1.5, 0.0, 0.25, 1.0, 3.0]), min_size=1, max_size=30))
    first = draw(st.lists(st.integers(0, len(scores) - 1), unique=True, max_size=3))
    loadable = draw(st.none() | st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))
    return scores, first, loadable, draw(st.integers(1, 12))


@given(rankings())
def test_the_beginning_is_that_of_the_whole_order(case):
    scores, first, loadable, count = case
    mask = None if loadable is None else np.array(loadable)
    found = best_first(np.array(scores, np.float32), count, np.array(first, np.int64), mask).tolist()
    assert len(found) >= min(count, len(scores))
    assert found == whole_order(scores, first, loadable)[: len(found)]


@given(rankings())
def test_the_rank_of_any_network_is_its_place_in_the_whole_order(case):
    scores, first, loadable, count = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "SORTED", count)
        values = np.array(scores, np.float32)
        known = SimpleNamespace(score=values, static=lambda: 0)
        mask = None if loadable is None else np.array(loadable)
        rows = np.arange(len(scores))
        own = SimpleNamespace(results=0, added=np.zeros(len(scores)))
        ranking = Ranking(None, None, {}, None, rows, known, own, loadable=mask)
        ranking._sort(first)
        order = whole_order(scores, first, loadable)
        assert [ranking._rank(index) for index in order] == list(range(1, len(order) + 1))


@pytest.mark.parametrize("order", ["random", "rising", "falling", "equal", "nan"])
def test_a_bound_from_a_sample_changes_nothing(order, monkeypatch):
    monkeypatch.setattr("nns.searching.order.SAMPLE", 50)
    random = np.random.default_rng(0)
    scores = random.standard_normal(2000).astype(np.float32)
    scores = {"rising": np.sort(scores), "falling": -np.sort(scores), "equal": np.round(scores, 1)}.get(order, scores)
    if order == "nan":
        scores[[3, 700]] = np.nan
    for count in (1, 10, 100, 700):
        found = best_first(scores, count)
        assert len(found) >= count
        assert found.tolist() == np.argsort(-scores, kind="stable")[: len(found)].tolist()


def test_a_score_that_is_no_number_comes_last():
    assert best_first(np.array([np.nan, 1, 2, 0, 0, 0], np.float32), 2).tolist() == [2, 1, 3, 4, 5, 0]


@pytest.mark.parametrize("classes", [None, 7])
def test_limits_are_compared_in_blocks(classes, tmp_path, monkeypatch):
    monkeypatch.setattr("nns.searching.limits.AT_ONCE", 3)
    with HDF5Store(tmp_path / "zoo.h5") as store:
        store.add_all(sample_network(number) for number in range(8))
        columns, entries = store.columns(), store.entries()
    costs = CostColumns(columns, classes)
    heads = [len(entry.classes) if classes is None else classes for entry in entries]
    for limits, of in [
        (Limits(max_params=int(np.median(costs.params))), "params"),
        (Limits(max_macs=int(np.median(costs.macs))), "macs"),
        (Limits(max_size=int(np.median(costs.bytes))), "bytes"),
    ]:
        limit = next(value for value in (limits.max_params, limits.max_macs, limits.max_size) if value is not None)
        expected = [getattr(e.cost, of)(head) <= limit for e, head in zip(entries, heads, strict=True)]
        assert costs.all_within(limits).tolist() == expected
    assert costs.all_within(Limits()).all()
    expected = [tuple(getattr(e.cost, of)(h) for of in ("params", "macs", "bytes")) for e, h in zip(entries, heads)]
    assert [costs.of(row) for row in range(8)] == expected
    assert isinstance(columns, NetworkColumns)

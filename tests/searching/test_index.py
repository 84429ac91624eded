"""An index finds what an exact pass finds, within the same limits."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from nns.errors import UsageError
from nns.searching import index
from nns.searching.index import NetworkIndex
from nns.searching.limits import CostColumns
from nns.types import Limits, NetworkColumns

COUNT, DIM, GROUPS = 20_000, 12, 200


class Product:
    """Ranks by an inner product."""

    def ranking_vector(self, query):
        return query

    def score(self, query, embeddings):
        return embeddings @ query


@pytest.fixture(scope="module")
def made():
    random = np.random.default_rng(0)
    centres = random.standard_normal((GROUPS, DIM)).astype(np.float32)
    embeddings = centres[random.integers(0, GROUPS, COUNT)] + 0.3 * random.standard_normal((COUNT, DIM), np.float32)
    queries = centres[:60] + 0.3 * random.standard_normal((60, DIM), np.float32)
    params = (10 ** random.uniform(5, 9, COUNT)).astype(np.int64)
    macs = (10 ** random.uniform(6, 10, COUNT)).astype(np.int64)
    widths, classes = random.integers(100, 2000, COUNT), np.full(COUNT, 1000)
    columns = NetworkColumns(
        np.zeros(COUNT, "S64"), params, macs, 4 * params, widths, classes, np.ones(COUNT), np.ones(COUNT, bool)
    )
    return embeddings, queries, columns


@pytest.fixture(scope="module")
def found(made):
    pytest.importorskip("faiss")
    embeddings, queries, columns = made
    return NetworkIndex.build(Product(), embeddings, columns, queries[:30])


def exactly(made, query, limits, classes, count=10):
    embeddings, _, columns = made
    rows = np.flatnonzero(CostColumns(columns, classes).all_within(limits))
    scores = embeddings[rows] @ query
    return rows[np.argsort(-scores, kind="stable")[:count]]


@pytest.mark.parametrize("few", [index.FEW, 500, 0])
@pytest.mark.parametrize("classes", [None, 10])
@pytest.mark.parametrize(
    "limits",
    [
        Limits(),
        Limits(max_params=10**7),
        Limits(max_size=4 * 10**7, max_macs=10**8),
        Limits(max_params=2 * 10**6, max_macs=10**7),
        Limits(max_params=101_000),
        Limits(max_params=1),
    ],
)
def test_it_finds_the_best_within_limits(made, found, limits, classes, few, monkeypatch):
    monkeypatch.setattr(index, "FEW", few)
    recalls = []
    for query in made[1][30:]:
        answer, expected = found.search(query, 10, limits, classes), exactly(made, query, limits, classes)
        costs = CostColumns(made[2], classes)
        assert costs.within(limits, answer.rows).all()  # a limit is never broken, and as many are found as there are
        assert len(answer.rows) == len(expected)
        np.testing.assert_allclose(answer.scores, made[0][answer.rows] @ query, rtol=1e-4)  # and scores are exact
        assert (np.diff(answer.scores) <= 0).all()
        if answer.how == "exact":
            assert answer.rows.tolist() == expected.tolist()
        recalls.append(np.isin(expected, answer.rows).mean() if len(expected) else 1.0)
    assert np.mean(recalls) >= 0.95


def test_where_few_are_within_limits_those_alone_are_scored(made, found, monkeypatch):
    monkeypatch.setattr(index, "FEW", 500)
    query = made[1][0]
    rare = Limits(max_params=int(np.partition(CostColumns(made[2], 10).params, 2)[2]))
    answer = found.search(query, 10, rare, 10)
    assert (answer.how, answer.looked_at) == ("exact", 3)
    # each limit alone leaves a quarter, both together a sixteenth
    both = Limits(max_params=10**6, max_macs=10**7)
    monkeypatch.setattr(index, "FEW", 2_000)
    answer = found.search(query, 10, both, 10)
    assert answer.how == "exact" and answer.looked_at < 2_000
    assert found.search(query, 10, Limits(max_params=10**8), 10).how == "cells"


def test_it_looks_at_more_cells_where_fewer_are_within_limits(found):
    assert found.looked == sorted(found.looked)
    assert min(found.recalls) >= 0.95


def test_few_networks_need_no_index(made):
    pytest.importorskip("faiss")
    embeddings, queries, columns = made
    with pytest.raises(UsageError, match="an index of 10 networks is slower"):
        NetworkIndex.build(Product(), embeddings[:10], columns, queries)


def test_without_faiss_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UsageError, match=r'pip install "nns\[faiss\]"'):
        index.make_faiss()

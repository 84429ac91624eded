"""Scores of many networks: the same in blocks, of a few gathered ones, and on any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

from nns.space import _scanning
from nns.space._scanning import in_blocks, score_rows
from nns.threads import reading_threads


class Product:
    """Scores by an inner product, and keeps how many rows it was asked for at a time."""

    def __init__(self):
        self.asked = []

    def score(self, query, embeddings):
        self.asked.append(len(embeddings))
        return embeddings @ query


@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize("rows", [np.arange(1000), np.arange(0, 1000, 3), np.array([5, 17, 999]), np.arange(0)])
def test_they_are_those_of_one_product(rows, threads, monkeypatch):
    monkeypatch.setattr(_scanning, "AT_ONCE", 64)
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    random = np.random.default_rng(0)
    embeddings, query = random.standard_normal((1000, 17), np.float32), random.standard_normal(17).astype(np.float32)
    method = Product()
    found = score_rows(method, query, embeddings, rows)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, (embeddings @ query)[rows], rtol=1e-5, atol=1e-5)
    assert max(method.asked, default=0) <= 64  # never more memory than a block
    few = len(rows) * _scanning.SCATTERED < 1000
    assert sum(method.asked) == (len(rows) if few else 1000)


def test_a_zoo_of_usual_size_is_scored_by_one_product():
    method, embeddings = Product(), np.eye(1000, 3, dtype=np.float32)
    score_rows(method, np.ones(3, np.float32), embeddings, np.array([1]))
    assert method.asked == [1000]


def test_each_row_is_in_one_block(monkeypatch):
    monkeypatch.setattr(_scanning, "AT_ONCE", 64)
    for count in (0, 1, 64, 65, 1000):
        seen = np.zeros(count, int)

        def work(part, seen=seen):
            seen[part] += 1

        in_blocks(work, count)
        assert (seen == 1).all()


def test_an_error_in_a_block_is_raised(monkeypatch):
    monkeypatch.setattr(_scanning, "AT_ONCE", 64)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with pytest.raises(ZeroDivisionError):
        in_blocks(lambda part: 1 // 0, 1000)


def test_threads_are_those_that_the_user_sets(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert reading_threads() == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    assert reading_threads() >= 1


def test_facts_of_few_and_of_many_networks_are_the_same(tmp_path, monkeypatch):
    from nns.space import space
    from nns.testing._store import sample_network
    from nns.zoo import Zoo

    with Zoo(tmp_path / "zoo.h5", must_exist=False) as zoo:
        zoo.store.add_all(
            sample_network(number, source_dataset=["imagenet-1k", "a"][number % 2]) for number in range(6)
        )
        rows = np.array([1, 2, 5])
        monkeypatch.setattr(space, "MANY", 1)
        few = space._facts(zoo, rows)
        monkeypatch.setattr(space, "MANY", 100)
        assert space._facts(zoo, rows) == few
        assert len(set(few)) > 1

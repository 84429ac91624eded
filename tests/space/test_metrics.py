"""Measures against plain counting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from nns.errors import UsageError
from nns.space import Mixed, evaluate_held_out, held_out_folds
from nns.space._base import SpaceMethod
from nns.space.metrics import (
    hit_chance,
    paired_recall,
    prediction_errors,
    ranks_of,
    spearman,
    summarise_ranks,
)
from nns.testing import planted_zoo


def test_ranks_count_from_one_and_ties_share_the_middle():
    scores = np.array([0.9, 0.1, 0.5, 0.5])
    assert ranks_of(scores, np.array([0, 1, 2, 3])).tolist() == [1, 4, 2.5, 2.5]
    assert ranks_of(np.zeros(9), np.array([4])).tolist() == [5]


def test_collapsed_embeddings_are_worth_chance():
    same = np.ones((50, 3), np.float32)
    report = paired_recall(same, same)
    assert report["recall"][1] == 0
    assert report["mean_rank"] == 25.5


@pytest.mark.parametrize(("wanted", "cut"), [(1, 1), (3, 5), (2, 40)])
def test_hit_chance_against_drawing(wanted, cut):
    rng = np.random.default_rng(0)
    hits = np.mean([(rng.permutation(12)[:cut] < wanted).any() for _ in range(4000)])
    assert hit_chance(12, wanted, cut) == pytest.approx(hits, abs=0.03)


def test_summary_of_perfect_and_of_worst_ranks():
    best = summarise_ranks([np.array([1.0, 2.0]), np.array([1.0])], 10)
    assert (best["auc"], best["recall"]["1"], best["mean_best_rank"]) == (1.0, 1.0, 1.0)
    worst = summarise_ranks([np.array([9.0, 10.0])], 10)
    assert (worst["auc"], worst["recall"]["5"]) == (0.0, 0.0)


def test_spearman_equals_scipy_with_ties():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 6, 40).astype(float), rng.integers(0, 6, 40).astype(float)
    assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert spearman(np.ones(5), np.arange(5.0)) == 0


def test_prediction_errors():
    report = prediction_errors(np.array([0.1, 0.5, 0.9]), np.array([0.2, 0.5, 0.6]))
    assert report["mae"] == pytest.approx(0.4 / 3)
    assert report["rmse"] == pytest.approx(np.sqrt(0.1 / 3))
    assert report["spearman"] == pytest.approx(1.0)


def test_folds_hold_every_dataset_once_and_families_together():
    zoo = planted_zoo(datasets=20, networks=1)
    folds = held_out_folds(zoo, 5, seed=0)
    assert sorted(np.concatenate(folds)) == list(range(20))
    where = {int(d): i for i, fold in enumerate(folds) for d in fold}
    for d, family in enumerate(zoo.families):
        assert where[d] == where[zoo.families.index(family)]


def test_few_families_are_split_by_dataset():
    folds = held_out_folds(planted_zoo(datasets=6, networks=1), 5, seed=0)
    assert len(folds) == 5


def test_too_few_datasets():
    with pytest.raises(UsageError, match="at least 3 datasets"):
        held_out_folds(planted_zoo(datasets=2, networks=1), 5, seed=0)


class Spy(SpaceMethod):
    """Scores nothing, remembers what it was fitted on."""

    name = "spy"
    seen: list

    def fit(self, data):
        self.seen.append(data)
        self.tensors_ = {"datasets": np.ones((1, 2), np.float32)}
        return self

    def embed_networks(self, blocks):
        return np.ones((len(blocks["graph"]), 2), np.float32)

    def embed_query(self, features, labels=None):
        return np.ones(2, np.float32)

    def similarity(self, query_embedding, network_embeddings):
        return network_embeddings @ query_embedding

    def ranking_vector(self, query_embedding):
        return query_embedding

    def predict_accuracy(self, query_embedding, network_embeddings):
        return np.full(len(network_embeddings), 0.5, np.float32)


def test_held_out_networks_are_candidates_but_not_fitted_on():
    zoo = planted_zoo(datasets=10, networks=3, transfers=60)
    Spy.seen = []
    report = evaluate_held_out(Spy, zoo, folds=5, seed=2)
    assert len(Spy.seen) == 5
    for data in Spy.seen:
        assert len(data.dataset_names) == 8
        assert len(data.network_ids) == 8 * 3 + 4
        assert set(data.dataset_names) < set(zoo.dataset_names)
    assert report["retrieval"]["candidates"] == 34
    assert report["retrieval"]["auc"] == pytest.approx(0.5)
    assert report["accuracy"]["pairs"] == 30
    assert report["transfer"]["pairs"] == 60


def test_datasets_without_networks_of_their_own_are_held_out_for_their_results():
    zoo = planted_zoo(datasets=12, networks=4, transfers=400)
    last = 10
    kept = zoo.dataset_index < last
    position = np.cumsum(kept) - 1
    rows = kept[zoo.transfer_network]
    bare = replace(
        zoo,
        network_ids=tuple(np.array(zoo.network_ids, object)[kept]),
        blocks={name: block[kept] for name, block in zoo.blocks.items()},
        accuracy=zoo.accuracy[kept],
        dataset_index=zoo.dataset_index[kept],
        transfer_network=position[zoo.transfer_network[rows]],
        transfer_dataset=zoo.transfer_dataset[rows],
        transfer_accuracy=zoo.transfer_accuracy[rows],
    )
    moved = (bare.transfer_dataset >= last).sum()
    assert moved > 10
    plain, every = (np.concatenate(held_out_folds(bare, 3, 0, transfers=more)) for more in (False, True))
    assert sorted(plain) == list(range(last))
    assert sorted(every) == list(range(12))
    report = evaluate_held_out(Mixed, bare, folds=3)
    assert report["transfer"]["pairs"] == len(bare.transfer_network)
    assert report["retrieval"]["candidates"] == kept.sum()

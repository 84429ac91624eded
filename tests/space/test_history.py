"""The static ranking from transfers, and the terms beside it, on planted results."""

import numpy as np
import pytest

from nns.space.mixed.history import History, fit_levels, kernel_weights, learn
from nns.space.mixed.ridge import centre_within

FAMILIES, PER_FAMILY, NETWORKS, KINDS = 8, 2, 24, 3


def planted(match=0.0, noise=0.05, seed=0):
    """Networks of three kinds on datasets of three kinds; a match of kinds adds logits."""
    rng = np.random.default_rng(seed)
    datasets = FAMILIES * PER_FAMILY
    of_family = rng.permutation(np.arange(FAMILIES) % KINDS)
    kind_d, kind_n = np.repeat(of_family, PER_FAMILY), np.arange(NETWORKS) % KINDS
    directions = np.eye(KINDS) - 1 / KINDS
    units = directions[kind_d] + 0.1 * rng.standard_normal((datasets, KINDS))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    quality = rng.normal(0, 0.5, NETWORKS)
    level = rng.normal(0, 0.5, datasets)
    dataset, network = (part.ravel() for part in np.indices((datasets, NETWORKS)))
    target = level[dataset] + quality[network] + match * (kind_d[dataset] == kind_n[network])
    target = target + noise * rng.standard_normal(len(target))
    families = np.repeat(np.arange(FAMILIES), PER_FAMILY)
    cosines = np.zeros((datasets, NETWORKS), np.float32)
    inputs = rng.standard_normal((NETWORKS, 4)).astype(np.float32)
    source = np.full(NETWORKS, -1)
    history = History(network, dataset, target, np.ones(len(target)), families, inputs,
                      units.astype(np.float32), source, cosines)  # fmt: skip
    return history, quality, (kind_d[:, None] == kind_n[None]).astype(float)


def test_quality_is_the_networks_own_level():
    history, quality, _ = planted()
    levels = fit_levels(history, 0.3)
    assert np.corrcoef(levels.quality, quality)[0, 1] > 0.99
    assert levels.known.tolist() == list(range(FAMILIES * PER_FAMILY))


def test_what_is_missing_does_not_tilt_the_quality():
    history, quality, _ = planted()
    rng = np.random.default_rng(3)
    easy = history.target > np.median(history.target)
    kept = rng.random(len(history.target)) < np.where(easy, 0.9, 0.4)
    assert np.corrcoef(fit_levels(history.only(kept), 0.3).quality, quality)[0, 1] > 0.97


def test_similar_datasets_teach_where_there_is_something_to_learn():
    history, _, match = planted(match=1.0)
    learned = learn(history)
    assert learned.weights[0] > 0.5
    assert learned.explained > 0.5
    levels = learned.levels
    weights = kernel_weights(history.units[0], history.units[levels.known[2:]], learned.temperature)
    predicted = weights @ levels.residuals[levels.known[2:]]
    assert np.corrcoef(predicted, match[0])[0, 1] > 0.9


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_learned_from_noise(seed):
    history, _, _ = planted(match=0.0, noise=0.5, seed=seed)
    learned = learn(history)
    assert learned.explained < 0.05
    assert learned.weights[1:].tolist() == [0.0, 0.0]


def test_being_trained_on_a_similar_dataset_counts_if_it_helps():
    history, *_ = planted(match=0.0)
    datasets = len(history.families)
    source = np.arange(NETWORKS) % datasets
    likeness = (history.units[history.dataset] * history.units[source[history.network]]).sum(axis=1)
    helped = History(**{**history.__dict__, "source": source, "target": history.target + 0.8 * likeness})
    # only networks of one dataset have results on it and on two others: too few to learn each network's own profile
    rng = np.random.default_rng(5)
    learned = learn(helped.only(rng.random(len(history.target)) < 0.2))
    assert learned.weights[1] > 0.3
    assert learned.explained > 0.2


def test_few_families_leave_the_static_ranking_alone():
    history, _, _ = planted(match=1.0)
    kept = history.families[history.dataset] < 2
    assert learn(history.only(kept)).weights.tolist() == [0.0, 0.0, 0.0]


def test_uncertain_results_count_less():
    history, quality, _ = planted()
    wrong = history.dataset == 3
    target = np.where(wrong, 10 * np.random.default_rng(0).standard_normal(len(wrong)), history.target)
    weights = np.where(wrong, 0.01, 1.0)
    spoiled = History(**{**history.__dict__, "target": target, "weight": weights})
    trusting = History(**{**spoiled.__dict__, "weight": np.ones(len(wrong))})
    right = np.corrcoef(fit_levels(spoiled, 0.3).quality, quality)[0, 1]
    assert right > 0.98 > np.corrcoef(fit_levels(trusting, 0.3).quality, quality)[0, 1]


def test_kernel_weights_leave_room_for_nothing_known():
    far = kernel_weights(np.array([1.0, 0]), np.array([[-1.0, 0]]), 0.1)
    near = kernel_weights(np.array([1.0, 0]), np.array([[1.0, 0], [-1.0, 0]]), 0.1)
    assert far[0] < 0.01 < near[0] < 0.7
    assert near[1] < 1e-6
    assert centre_within(np.ones(3), np.zeros(3, int), np.ones(3)).tolist() == [0, 0, 0]

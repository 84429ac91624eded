"""Shares of variance of made-up accuracies, and winners."""

from __future__ import annotations

import numpy as np
import pytest

from nns.bench.choosers import Scene
from nns.bench.separability import separability, variance_shares

from .planted import plant_matrix, with_truth


def test_additive_accuracies_are_due_to_dataset_and_network_alone():
    accuracy = np.array([[0.2], [0.5], [0.9]]) + np.array([0.0, 0.05, 0.1, 0.02])
    found = variance_shares(accuracy)
    assert found["network"] == pytest.approx(1)
    assert found["residual"] == pytest.approx(0, abs=1e-12)
    between = accuracy.mean(axis=1).var() / accuracy.var()
    assert found["task"] == pytest.approx(between)
    accuracy[0, 1] = accuracy[2, 3] = np.nan
    assert variance_shares(accuracy)["network"] == pytest.approx(1)


def test_without_a_common_order_networks_explain_nothing():
    accuracy = np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]])
    found = variance_shares(accuracy)
    assert found["network"] == pytest.approx(0, abs=1e-12)
    assert found["residual"] == pytest.approx(1)
    random = variance_shares(np.random.default_rng(0).random((40, 30)))
    assert random["network"] > 0.01  # as many numbers explain this much of noise
    assert abs(random["network_adjusted"]) < 0.02


def test_noise_is_the_variance_of_the_mean_of_repetitions():
    rng = np.random.default_rng(0)
    repeated = 0.5 + 0.1 * rng.standard_normal((4, 30, 20))
    found = variance_shares(repeated.mean(axis=0), repeated)
    assert found["noise"] == pytest.approx(1, abs=0.1)  # there is nothing else
    repeated[1:, :, 5:] = np.nan
    assert np.isfinite(variance_shares(np.nanmean(repeated, axis=0), repeated)["noise"])
    assert np.isnan(variance_shares(repeated[0], repeated[:1])["noise"])


@pytest.mark.parametrize("accuracy", [np.full((2, 3), np.nan), np.full((2, 3), 0.5)])
def test_nothing_to_explain(accuracy):
    assert all(np.isnan(value) for value in variance_shares(accuracy).values())


def test_winners_within_limits():
    base = plant_matrix(3, 1, 4)
    params = np.array([[1, 2, 3, 4]] * 3) * 10**6
    truth = [[0.1, 0.2, 0.3, 0.9], [0.1, 0.9, 0.3, 0.9], [0.1, 0.2, 0.4, np.nan]]
    scene = Scene(with_truth(base, truth, params=params))
    found = separability(scene, (None, 2e6, 1e6))
    # on the second dataset two are best: the one counts that is best elsewhere too
    assert (found["limits"]["none"]["winners"], found["limits"]["none"]["wins"]) == (2, 2)
    assert (found["limits"]["2M"]["winners"], found["limits"]["2M"]["wins"]) == (1, 3)
    assert found["limits"]["2M"]["random_regret"] == pytest.approx(np.mean([5, 40, 5]))
    assert (found["limits"]["1M"]["datasets"], found["limits"]["1M"]["skipped"]) == (0, 3)
    assert "cannot tell methods apart" in found["sentence"]
    assert base.candidates[1].id[:8] in found["sentence"]


def test_a_matrix_of_many_winners_says_so():
    matrix = plant_matrix(6, 2, quality=0.0, match=0.3)
    found = separability(Scene(matrix), (None,))
    assert found["limits"]["none"]["winners"] > 2
    assert found["sentence"].startswith("No network")

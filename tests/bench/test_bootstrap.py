"""Differences that are planted are found, and few datasets decide nothing."""

from __future__ import annotations

import numpy as np
import pytest

from nns.bench.bootstrap import compare


def test_a_planted_difference_is_found():
    rng = np.random.default_rng(0)
    static = rng.random(20) * 10
    method = static - 1 + 0.5 * rng.standard_normal(20)
    found = compare(method, static)
    assert found.mean == pytest.approx((method - static).mean())
    assert found.low < found.mean < found.high < 0
    assert -1.4 < found.low < found.high < -0.6  # about two standard errors of 0.11
    assert found.verdict == "better"
    assert found.wins + found.ties + found.losses == 20
    assert compare(static, method).verdict == "worse"
    assert compare(method, static) == found
    assert compare(method, static, seed=1) != found


def test_noise_is_no_difference():
    noise = np.random.default_rng(0).standard_normal(30)
    assert compare(noise - noise.mean(), np.zeros(30)).verdict == "undecided"


def test_few_datasets_decide_nothing():
    assert compare(np.arange(7) - 100.0, np.zeros(7)).verdict == "undecided"
    assert compare(np.arange(8) - 100.0, np.zeros(8)).verdict == "better"


def test_wins_ties_and_losses():
    found = compare(np.array([1.0, 2.0, 3.0, 3.0]), np.array([2.0, 2.0 + 1e-12, 1.0, 1.0]))
    assert (found.wins, found.ties, found.losses) == (1, 1, 2)


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0, 2.0]])
def test_what_cannot_be_drawn_from(values):
    found = compare(np.array(values), np.zeros(len(values)))
    assert found.low == found.high or np.isnan(found.mean)

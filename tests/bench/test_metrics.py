"""Measures against numbers worked out by hand, and expectations against all orders of equals."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest
from scipy.stats import weightedtau

from nns.bench.choosers._base import Answer
from nns.bench.metrics import (
    average,
    expected_sum,
    expected_top,
    fidelity,
    headline_limits,
    limit_name,
    measure,
    per_task,
    weighted_tau,
)

TRUTH = np.array([0.5, 0.9, 0.7, 0.8])
VAL = np.array([0.6, 0.7, 0.8, 0.75])
ALL = np.ones(4, bool)
SECONDS = np.array([1.0, 2.0, 3.0, 4.0])


def test_fidelity_is_the_slope_of_what_came_over_what_was_promised():
    promised = np.array([0.5, 0.6, 0.8])
    assert fidelity(promised, 0.3 + promised) == pytest.approx(1.0)
    assert fidelity(promised, 0.1 + 0.25 * promised) == pytest.approx(0.25)
    assert fidelity(promised, 0.9 - promised) == pytest.approx(-1.0)
    assert np.isnan(fidelity(np.array([0.5, 0.5]), np.array([0.1, 0.9])))


def measured(scores, feasible=ALL, **of_answer):
    return measure(Answer(np.array(scores, float), **of_answer), TRUTH, VAL, feasible, SECONDS)


def test_a_choice_by_hand():
    found = measured([4, 1, 3, 2])  # the order 0, 2, 3, 1
    assert found["regret"] == pytest.approx(40)
    assert found["rel1"] == pytest.approx(0.5 / 0.9)
    assert found["rel3"] == pytest.approx(0.8 / 0.9)
    assert found["rel5"] == pytest.approx(1)
    assert found["regret_top3"] == pytest.approx(20)  # validation takes the third network, 0.7
    assert (found["accuracy"], found["accuracy_top3"]) == (pytest.approx(0.5), pytest.approx(0.7))
    assert (found["tuning1"], found["tuning3"]) == (1.0, 8.0)
    assert found["feasible"] == 1
    assert np.isnan(found["mae"])
    assert np.isnan(found["coverage"])


def test_only_what_is_within_the_limit_counts():
    feasible = np.array([True, False, True, False])
    found = measured([1, 9, 2, 3], feasible)
    assert found["regret"] == 0  # of 0.5 and 0.7
    assert found["rel3"] == 1
    assert found["feasible"] == 0  # but the answer was a network outside
    assert measured([1, -np.inf, 2, np.nan], feasible)["feasible"] == 1


def test_predicted_accuracies_and_their_interval():
    predicted = TRUTH + np.array([0.1, -0.1, 0.0, 0.2])
    interval = predicted[:, None] + np.array([-0.1, 0.1001])
    found = measured([1, 2, 3, 4], predicted=predicted, interval=interval)
    assert found["mae"] == pytest.approx(10)
    assert found["coverage"] == pytest.approx(0.75)


def test_training_that_is_paid_for_costs_no_more():
    found = measured([1, 2, 3, 4], paid=np.array([0.0, 0.5, 3.0, 4.0]))
    assert (found["tuning1"], found["tuning3"]) == (0.0, 1.5)


def test_equal_scores_are_a_random_order():
    found = measured([0, 0, 0, 0])
    assert found["regret"] == pytest.approx(100 * (0.9 - TRUTH.mean()))
    assert found["rel3"] == pytest.approx((0.9 * 3 + 0.8) / 4 / 0.9)
    assert found["tuning3"] == pytest.approx(3 * SECONDS.mean())
    assert found["tau"] == 0


def by_all_orders(scores, key, value, k):
    """Average over all orders that the scores allow; equal keys share the mean of their values."""
    found = []
    for order in permutations(range(len(scores))):
        if all(scores[a] >= scores[b] for a, b in pairwise(order)):
            top = list(order[:k])
            found.append(value[max(top, key=lambda c: key[c])])
    return np.mean(found)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("k", [1, 3, 5])
def test_expectations_are_those_over_all_orders(seed, k):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 3, 6).astype(float)
    scores[scores == 0] = -np.inf
    key, value = rng.permutation(6) / 6, rng.random(6)
    assert expected_top(scores, key, value, k) == pytest.approx(by_all_orders(scores, key, value, k))
    ordered = [order for order in permutations(range(6)) if all(scores[a] >= scores[b] for a, b in pairwise(order))]
    sums = [value[list(order[:k])].sum() for order in ordered]
    assert expected_sum(scores, value, k) == pytest.approx(np.mean(sums))


def test_equal_keys_share_their_value():
    assert expected_top(np.array([2.0, 1.0]), np.array([0.5, 0.5]), np.array([0.2, 0.4]), 2) == pytest.approx(0.3)


def test_the_correlation_is_that_of_scipy():
    scores = np.array([0.1, 0.4, 0.2, -np.inf])
    assert weighted_tau(scores, TRUTH) == pytest.approx(weightedtau([1, 3, 2, 0], TRUTH, rank=True).statistic)
    assert weighted_tau(TRUTH, TRUTH) == pytest.approx(1)
    assert weighted_tau(-TRUTH, TRUTH) == pytest.approx(-1)


def test_averages_leave_out_what_is_not_there():
    rows = [{"a": 1.0, "b": float("nan")}, {"a": 3.0, "b": 2.0}]
    assert average(rows, ["a", "b"]) == {"a": 2.0, "b": 2.0}
    assert np.isnan(average([], ["a"])["a"])


def test_averages_over_limits_leave_out_datasets_without_any():
    row = measured([1, 2, 3, 4])
    rows = {(0, "1M"): row | {"regret": 1.0}, (0, "5M"): row | {"regret": 3.0}, (1, "10M"): row}
    found = per_task(rows, [1e6, 2e6, 5e6])
    assert list(found) == [0]
    assert found[0]["regret"] == 2


def test_limits_and_the_headline():
    assert [limit_name(limit) for limit in (None, 5e5, 1e6, 1e7)] == ["none", "0.5M", "1M", "10M"]
    assert headline_limits([None, 1e6, 5e6]) == [1e6, 5e6]
    assert headline_limits([None, 3e6]) == [None, 3e6]

"""Choosing a few networks that do not fail on the same datasets."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit

from nns.errors import UsageError
from nns.searching.ready import ReadyZoo
from nns.searching.together import POOL, choose_together


def value(chosen, predicted, residuals):
    """Accuracy of the best of those chosen, mean over scenarios: plainly, one by one."""
    scenarios = [[expit(logit(predicted[i]) + row[i]) for i in chosen] for row in residuals]
    return np.mean([max(row) for row in scenarios])


def test_two_of_a_kind_are_no_insurance_for_each_other():
    predicted = np.array([0.80, 0.79, 0.78, 0.60])
    residuals = np.array([[1.0, 1.0, 1.0, -1.0], [-1.0, -1.0, -1.0, 2.0]])
    assert choose_together([0, 1, 2, 3], predicted, residuals, 2) == [0, 3]
    assert choose_together([0, 1, 2, 3], predicted, residuals, 3) == [0, 3, 1]


def test_what_is_bad_everywhere_is_not_taken_for_being_different():
    predicted = np.array([0.80, 0.79, 0.10])
    residuals = np.array([[0.2, 0.1, 0.5], [0.0, 0.2, -0.5]])
    assert choose_together([0, 1, 2], predicted, residuals, 2) == [0, 1]


@pytest.mark.parametrize("count", [1, 3, 9])
def test_without_known_results_it_is_the_beginning_of_the_order(count):
    order = [4, 2, 0, 1, 3]
    assert choose_together(order, np.linspace(0.1, 0.9, 5), np.zeros((0, 5)), count) == order[:count]


def test_all_are_taken_where_there_are_no_more_than_asked_for():
    assert choose_together([1, 0], np.array([0.5, 0.6]), np.ones((3, 2)), 3) == [1, 0]


def test_only_the_best_of_the_ranking_are_looked_at():
    predicted = np.full(POOL + 1, 0.5)
    residuals = np.zeros((2, POOL + 1))
    residuals[0, POOL] = 9
    assert POOL not in choose_together(np.arange(POOL + 1), predicted, residuals, 2)
    assert choose_together(np.arange(POOL + 1)[::-1], predicted, residuals, 1) == [POOL]


def test_certain_predictions_do_not_end_in_infinities():
    predicted = np.array([1.0, 0.0, 1.0])
    assert choose_together([0, 2, 1], predicted, np.array([[0.0, 0.0, 0.0], [-50.0, 0.0, 50.0]]), 2) == [0, 2]


def test_a_network_without_results_may_be_as_different_as_those_with_results():
    predicted = np.array([0.80, 0.70, 0.70, 0.70])
    rng = np.random.default_rng(0)
    residuals = np.full((30, 4), np.nan)
    residuals[:, 0] = rng.normal(0, 1, 30)
    residuals[:, 1] = residuals[:, 0]  # fails where the first fails
    residuals[::2, 2] = residuals[::2, 0]
    assert choose_together([0, 1, 2, 3], predicted, residuals, 2) == [0, 3]
    assert choose_together([0, 1, 2, 3], predicted, residuals, 3) == [0, 3, 2]


def test_networks_that_are_left_out_at_the_end_change_nothing_for_the_others():
    rng = np.random.default_rng(0)
    predicted = np.sort(rng.uniform(0.3, 0.9, 40))[::-1]
    residuals = np.where(rng.random((5, 40)) < 0.2, rng.normal(0, 1, (5, 40)), np.nan)
    order = np.arange(40)
    chosen = choose_together(order, predicted, residuals, 3)
    assert chosen == choose_together(order[: max(chosen) + 1], predicted, residuals, 3)


def test_where_nothing_is_known_it_is_the_beginning_of_the_order():
    assert choose_together([2, 0, 1], np.array([0.9, 0.5, 0.1]), np.full((2, 3), np.nan), 2) == [2, 0]


@pytest.mark.parametrize("count", [0, -1])
def test_fewer_than_one_cannot_be_chosen(count):
    with pytest.raises(UsageError, match=str(count)):
        choose_together([0, 1], np.array([0.5, 0.6]), np.ones((3, 2)), count)


@given(st.integers(0, 2**32 - 1), st.integers(2, 8), st.integers(1, 5), st.integers(1, 4))
def test_each_step_adds_most_and_the_whole_is_near_the_best_set(seed, networks, datasets, count):
    rng = np.random.default_rng(seed)
    predicted, residuals = rng.uniform(0.05, 0.95, networks), rng.normal(0, 2, (datasets, networks))
    order = np.argsort(-predicted)
    chosen = choose_together(order, predicted, residuals, count)
    assert chosen[0] == order[0]
    assert len(set(chosen)) == len(chosen) == min(count, networks)
    if networks <= count:
        return
    for step in range(1, len(chosen)):
        others = [value([*chosen[:step], i], predicted, residuals) for i in order if i not in chosen[:step]]
        assert value(chosen[: step + 1], predicted, residuals) == pytest.approx(max(others))
    first = value(chosen[:1], predicted, residuals)
    rest = [i for i in order if i != chosen[0]]
    best = max(value([chosen[0], *more], predicted, residuals) for more in combinations(rest, count - 1))
    assert value(chosen, predicted, residuals) - first >= (1 - 1 / np.e) * (best - first) - 1e-9


def test_equal_weights_take_one_place(tmp_path):
    """The same checkpoint under two names is no second chance; the same architecture with other weights is."""
    from dataclasses import replace
    from types import SimpleNamespace

    from nns.searching.candidates import Ranking
    from nns.testing._store import sample_network
    from nns.zoo import Zoo

    first, other = sample_network(1), sample_network(2)
    again = replace(first, entry=replace(first.entry, id=f"{3:016x}", source_dataset="another name"))
    named = replace(first, entry=replace(first.entry, id=f"{4:016x}", spec=replace(first.entry.spec, name="wider")))
    with Zoo(tmp_path / "zoo.h5", must_exist=False) as zoo:
        records = [first, other, again, named]
        zoo.store.add_all(records)
        ids = [record.entry.id for record in records]
        assert zoo.network(ids[0]).weights_name == zoo.network(ids[2]).weights_name
        ranking = SimpleNamespace(
            ready=ReadyZoo(zoo, None), entries=lambda pool: {i: zoo.network(ids[i]).entry for i in pool}
        )
        assert Ranking._different(ranking, [2, 1, 0, 3]) == [2, 1, 3]

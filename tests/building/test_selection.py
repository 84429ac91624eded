"""Choosing pairs: the volume, the surrogate, the choosers, the rounds."""

from __future__ import annotations

import numpy as np
import pytest

from nns.building.selection import AtRandom, ByGain, InOrder, Rounds, Volume
from nns.building.selection.surrogate import Surrogate

COSTS = np.array([[1.0], [10.0], [100.0]])


def made_up(datasets=12, architectures=10, seed=0):
    """Accuracies that follow from descriptors: how hard a dataset is, how good an architecture, and both."""
    rng = np.random.default_rng(seed)
    d, a = rng.normal(size=(datasets, 3)), rng.normal(size=(architectures, 3))
    table = (
        0.5
        + 0.12 * d[:, :1]
        + 0.12 * a[:, 0]
        + 0.06 * np.tanh(d @ a.T)
        + 0.01 * rng.normal(size=(datasets, architectures))
    )
    return d, a, np.exp(2 * rng.normal(size=(architectures, 1))), np.clip(table, 0, 1)


def volume_of(volume, accuracies):
    return float(volume.curve(range(len(accuracies)), accuracies).mean())


def test_the_volume_is_the_area_under_the_best_accuracy_within_each_limit():
    volume = Volume.of(COSTS)
    assert volume.curve([], []).sum() == 0
    assert volume_of(volume, [0.6, 0, 0]) == pytest.approx(0.6)
    assert volume_of(volume, [0.6, 0.5, 0.4]) == pytest.approx(0.6)  # larger and worse adds nothing
    assert volume_of(volume, [0.0, 0.8, 0.0]) == pytest.approx(0.4, abs=0.01)  # half of the range of log costs
    assert volume_of(volume, [0.2, 0.6, 0.0]) == pytest.approx(0.4, abs=0.01)


def test_the_volume_of_two_costs():
    volume = Volume.of(np.array([[1.0, 100.0], [100.0, 1.0], [1.0, 1.0]]))
    assert volume_of(volume, [0, 0, 0.5]) == pytest.approx(0.5)
    assert volume_of(volume, [0.9, 0, 0]) < 0.02
    assert 0 <= volume_of(volume, [0.9, 0.9, 0.5]) <= 1


def test_the_expected_gain_is_what_is_gained_on_average():
    rng = np.random.default_rng(0)
    volume = Volume.of(COSTS)
    curve = volume.curve([0], [0.5])
    mean, deviation = np.array([0.4, 0.55, 0.7]), np.array([0.1, 0.1, 0.2])
    expected = volume.expected_gain(curve, mean, deviation)
    for a in range(3):
        drawn = rng.normal(mean[a], deviation[a], 20_000)
        gains = [np.maximum(np.where(volume.within[a], y, 0) - curve, 0).mean() for y in drawn[:4000]]
        assert np.mean(gains) == pytest.approx(expected[a], rel=0.1)


def test_the_surrogate_learns_what_pairs_share():
    d, a, _, table = made_up()
    rng = np.random.default_rng(1)
    order = rng.permutation(table.size)
    known, unknown = (np.stack(np.unravel_index(part, table.shape), 1) for part in (order[:40], order[40:]))
    surrogate = Surrogate(d, a).fit(known, table[known[:, 0], known[:, 1]])
    mean, deviation = surrogate.predict(unknown)
    truth = table[unknown[:, 0], unknown[:, 1]]
    assert np.sqrt(np.mean((mean - truth) ** 2)) < 0.6 * truth.std()
    assert 0.4 < np.std((truth - mean) / deviation) < 2.0
    again, _ = surrogate.predict(known)
    assert np.abs(again - table[known[:, 0], known[:, 1]]).mean() < 0.03


def choosers(seed=0):
    d, a, costs, table = made_up()
    return [InOrder(*table.shape, seed), AtRandom(*table.shape, seed), ByGain(d, a, costs, seed)], table


@pytest.mark.parametrize("which", [0, 1, 2])
def test_choosing(which):
    found, table = choosers()
    chooser = found[which]
    known = {(d, a): table[d, a] for d, a in AtRandom(*table.shape, 5).order[:24]}
    taken = [*known, (0, 0), (1, 1)]
    few, many = (chooser.choose(3, count, known, taken) for count in (5, 20))
    assert few == many[:5]  # the proposal of fewer pairs is the beginning of that of more
    assert len(set(many)) == 20
    assert not set(many) & set(taken)
    backwards = dict(reversed(known.items()))
    assert chooser.choose(3, 20, backwards, taken[::-1]) == many
    everything = chooser.choose(3, 1000, known, taken)
    assert len(everything) == table.size - len(taken)
    assert set(everything) | set(taken) == set(np.ndindex(*table.shape))


def test_seeds_and_rounds_draw_otherwise():
    d, a, costs, table = made_up()
    known = {(d, a): table[d, a] for d, a in AtRandom(*table.shape, 5).order[:24]}
    proposals = {
        tuple(ByGain(d, a, costs, seed).choose(number, 10, known, known)) for seed in (0, 1) for number in (2, 3)
    }
    assert len(proposals) == 4


def test_random_pairs_are_spread_over_the_datasets():
    order = AtRandom(4, 6, 0).order
    for turn in range(6):
        assert sorted(d for d, _ in order[4 * turn : 4 * turn + 4]) == [0, 1, 2, 3]
    assert len(set(order)) == 24


def play(rounds, table, order=lambda pairs: pairs):
    """Settle whatever is out in some order, as workers might, and give the rounds."""
    out = []
    while True:
        out += [pair for _, pairs in rounds.advance() for pair in pairs]
        if not out:
            return rounds.rounds
        pair = order(out)[0]
        out.remove(pair)
        rounds.record(pair, table[pair])


def test_rounds_are_the_same_whatever_finishes_first():
    (_, _, _), table = choosers()
    found = [
        play(Rounds(choosers()[0][2], 12, 60), table, order)
        for order in (lambda pairs: pairs, lambda pairs: pairs[::-1], sorted)
    ]
    assert found[0] == found[1] == found[2]
    assert list(map(len, found[0])) == [12] * 5


def test_a_smaller_budget_is_a_beginning():
    _, table = choosers()
    small, large = (play(Rounds(choosers()[0][2], 12, budget), table) for budget in (30, 60))
    assert [p for r in large for p in r][:30] == [p for r in small for p in r]


def test_the_round_before_may_be_running():
    _, table = choosers()
    rounds = Rounds(choosers()[0][2], 12, 60)
    assert [number for number, _ in rounds.advance()] == [0, 1]
    for pair in rounds.rounds[0][1:]:
        rounds.record(pair, table[pair])
    assert rounds.advance() == []
    rounds.record(rounds.rounds[0][0], None)  # it failed
    ((number, _),) = rounds.advance()
    assert number == 2
    assert rounds.known(1).keys() == set(rounds.rounds[0][1:])
    assert rounds.succeeded == 11


def test_gain_needs_fewer_pairs_than_chance():
    """With a budget of a quarter of all pairs, the volume is larger than with one of half of them at random."""
    d, a, costs, table = made_up(datasets=16, architectures=16, seed=3)
    volume = Volume.of(costs)

    def reached(chooser, budget):
        done = {pair for each in play(Rounds(chooser, 16, budget), table) for pair in each}
        curves = [
            volume.curve([a for e, a in done if e == d], [table[e, a] for e, a in done if e == d]) for d in range(16)
        ]
        return float(np.mean(curves))

    half = np.mean([reached(AtRandom(*table.shape, seed), table.size // 2) for seed in range(5)])
    quarter = np.mean([reached(ByGain(d, a, costs, seed), table.size // 4) for seed in range(2)])
    assert quarter > half

"""What own results add to the scores: little from few, more from many, nothing from what says nothing."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from nns.history import FineTuning, KnownDataset, KnownResult, OwnResults, own_results, scoring
from nns.history.scoring import finished_accuracies, match_networks
from nns.places import PackagedWeights
from nns.types import DatasetRecord
from nns.zoo import Zoo

RNG = np.random.default_rng(1)
KIND, OTHER_KIND = RNG.gamma(0.5, 1.0, (2, 64))


def dataset(kind=KIND, number=0):
    rng = np.random.default_rng(number)
    rows = np.maximum(kind + 0.05 * rng.standard_normal((30, 64)), 0).astype(np.float32)
    return DatasetRecord(f"data-{number}", f"{number:064x}", ("a", "b"), rows, np.arange(30) % 2, 300, "lite0")


def run(accuracies, number=0, kind=KIND, **more):
    best = max(accuracies.values())
    results = [
        KnownResult(network, "b", f"architecture of {network}", "random", "s", "", 10**5, accuracy, 5, best)
        for network, accuracy in sorted(accuracies.items(), key=lambda each: -each[1])
    ]
    date = f"2026-11-29T08:00:{number % 60:02d}Z"
    made = FineTuning(
        date, "0.1", KnownDataset.of(dataset(kind, number)), {}, 1.0, "cpu", 200, tuple(results)
    )  # fmt: skip
    return replace(made, **more)


@pytest.fixture
def zoo(small_zoo):
    with Zoo(small_zoo.path) as opened:
        yield opened


@pytest.fixture
def score(zoo):
    def found(records, query=None, base=lambda data, rows: np.zeros(len(rows))) -> OwnResults:
        rows = np.arange(len(zoo))
        return own_results(records, dataset(number=99) if query is None else query, zoo, rows, base)

    return found


def test_it_starts_small_and_grows_with_the_results(zoo, score):
    good, bad = zoo.store.ids()[:2]
    added = [score([run({good: 0.9, bad: 0.6}, n) for n in range(count)]) for count in (0, 1, 3, 10, 30)]
    ahead = [each.added[0] - each.added[1] for each in added]
    assert ahead[0] == 0
    assert np.all(np.diff(ahead) > 0)
    full = 2 * np.log(0.9 / 0.1) - np.log(0.9 / 0.1) - np.log(0.6 / 0.4)
    assert ahead[1] < 0.65 * full  # of images as like as can be
    assert full / 2 < ahead[-1] < full
    assert added[-1].results == 60
    assert added[-1].datasets == 30


def test_no_step_between_few_and_many(zoo, score):
    good, bad = zoo.store.ids()[:2]
    ahead = np.array(
        [np.subtract(*score([run({good: 0.9, bad: 0.6}, n) for n in range(k)]).added[:2]) for k in range(40)]
    )
    steps = np.diff(ahead)
    assert (steps > 0).all()
    assert steps[0] == steps.max()  # it slows down; there is no threshold at which it jumps


def test_results_on_unlike_images_count_less(zoo, score):
    good, bad = zoo.store.ids()[:2]
    near, far = (score([run({good: 0.9, bad: 0.6}, n, kind) for n in range(5)]) for kind in (KIND, OTHER_KIND))
    assert near.added[0] > 2 * far.added[0] > 0
    assert near.likeness > 0.9 > far.likeness


def test_what_the_search_expected_says_nothing(zoo, score):
    good, bad = zoo.store.ids()[:2]
    logits = {0: np.log(0.9 / 0.1), 1: np.log(0.6 / 0.4)}
    found = score(
        [run({good: 0.9, bad: 0.6}, n, validation=10**6) for n in range(5)],
        base=lambda data, rows: np.array([logits[row] for row in rows.tolist()]) + data.images,
    )
    np.testing.assert_allclose(found.added, 0, atol=1e-4)


def test_one_result_alone_says_nothing_since_its_level_is_unknown(zoo, score):
    found = score([run({zoo.store.ids()[0]: 0.99})])
    assert found.results == 1
    np.testing.assert_allclose(found.added, 0, atol=1e-12)


def test_kin_gain_too_but_less(zoo, score):
    entries = zoo.store.entries()
    sources = {entry.source_dataset for entry in entries}
    one, other = sorted(sources)[:2]
    of_one = [e.id for e in entries if e.source_dataset == one]
    of_other = next(e.id for e in entries if e.source_dataset == other)
    found = score([run({of_one[0]: 0.9, of_other: 0.6}, n) for n in range(10)])
    rows = {network: row for row, network in enumerate(zoo.store.ids())}
    assert found.added[rows[of_one[0]]] > found.added[rows[of_one[1]]] > found.added[rows[of_other]]


def test_features_of_another_extractor_and_unknown_networks_are_left_out(zoo, score):
    good, bad = zoo.store.ids()[:2]
    strange = run({good: 0.9, bad: 0.6})
    strange = replace(strange, dataset=replace(strange.dataset, extractor="another"))
    assert score([strange, run({"f" * 16: 0.9})]).results == 0
    assert not score([strange]).added.any()


def test_what_was_left_out_early_stands_as_far_behind_as_it_was_then():
    winner = KnownResult("a", "b", "x", "random", "s", "", 1, 0.9, 8, 0.9)
    loser = KnownResult("c", "b", "y", "random", "s", "", 1, 0.5, 2, 0.6, stopped="halved")
    done = run({"a": 0.9}, validation=10**6, results=(winner, loser))
    first, second = finished_accuracies(done)
    assert first == pytest.approx(0.9, abs=1e-3)
    assert second / (1 - second) == pytest.approx(9 * (0.5 / 0.5) / (0.6 / 0.4), rel=1e-3)


def test_in_a_large_zoo_networks_are_found_without_parsing_all(zoo, monkeypatch):
    entries = zoo.store.entries()
    monkeypatch.setattr(scoring, "weights_of", lambda entry: f"sha256:{entry.id}")
    known, weights = entries[1], f"sha256:{entries[1].id}"
    results = (
        KnownResult(entries[3].id, "x", "y", "x", "s", "", 1, 0.5, 1, 0.5),
        KnownResult("0" * 16, known.spec.backend, known.spec.name, "x", "s", weights, 1, 0.5, 1, 0.5),
        KnownResult("nobody", known.spec.backend, "another", "x", "s", weights, 1, 0.5, 1, 0.5),
    )
    records = [run({"a": 0.5}, results=results)]
    expected = match_networks(records, zoo)
    assert expected == {(0, 0): 3, (0, 1): 1}
    monkeypatch.setattr(scoring, "FEW", 1)
    assert match_networks(records, zoo) == expected


def test_a_network_is_known_by_its_weights_in_another_zoo(zoo):
    entry = replace(zoo.store.entries()[0], weights=PackagedWeights("package", "file", 1, "a" * 64))
    other = SimpleNamespace(store=SimpleNamespace(ids=lambda: [entry.id], entries=lambda: [entry]))
    result = KnownResult("0" * 16, entry.spec.backend, entry.spec.name, "x", "s", f"sha256:{'a' * 64}", 1, 0.5, 1, 0.5)
    records = [run({"a": 0.5}, results=(result, replace(result, architecture="another")))]
    assert match_networks(records, other) == {(0, 0): 0}

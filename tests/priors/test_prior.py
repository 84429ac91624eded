"""The prior of networks at large: what it was learned from, what it knows, and how results move it."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from nns.priors import Facts, Results, shipped_prior
from nns.priors.learning import FOLDER, Table, learn

BENCHMARKS = Path(__file__).parents[2] / "benchmarks" / "priors"

LITE = Facts("imagenet", 3.4e6, macs=3.8e8, imagenet=0.748)
SCRATCH = Facts("small", 1e6, images=4500, accuracy=0.9)
TAUGHT = Facts("taught", 0.57e6, images=3.9e6)


@pytest.fixture
def foreign(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import foreign

    yield foreign
    sys.modules.pop("foreign")


def test_what_is_shipped_is_what_the_tables_give():
    shipped = json.loads((FOLDER / "prior.json").read_text())
    found = learn(Table.read(), tuple(shipped["filling"])).to_dict()
    assert found["rests_on"] == shipped["rests_on"]
    assert found["mean"] == pytest.approx(shipped["mean"], abs=2e-4)
    assert [found[name] for name in ("network", "error")] == [shipped[name] for name in ("network", "error")]
    assert np.allclose(found["covariance"], shipped["covariance"], atol=2e-5)


def test_published_facts_alone_choose_among_networks_that_are_not_known(foreign):
    losses = foreign.losses(Table.read())
    mean = {limit: {way: np.mean(list(found.values())) for way, found in by.items()} for limit, by in losses.items()}
    for way in ("prior, without the dataset", "prior, without the table"):
        assert mean["5M"][way] <= mean["5M"]["always EfficientNet-B0"] + 0.5
        assert mean["none"][way] <= 1.0
        assert mean["none"][way] <= mean["none"]["best published ImageNet accuracy"]


def test_order_of_what_networks_have_seen():
    quality = shipped_prior().of_facts([LITE, TAUGHT, SCRATCH, Facts("random", 1e6)]).quality
    assert quality.tolist() == sorted(quality, reverse=True)


def test_wide_where_little_is_known():
    unknown = Facts("imagenet", 3.4e6)
    larger = Facts("larger", 3.4e6, macs=3.8e8, imagenet=0.748)
    lite, no_facts, foreign = shipped_prior().of_facts([LITE, unknown, larger]).deviation
    assert lite < no_facts
    assert lite < foreign


def test_results_move_a_network_by_bayes_rule():
    prior = shipped_prior()
    facts = [LITE, SCRATCH, TAUGHT]
    before = prior.of_facts(facts)
    datasets = np.arange(8)
    # on each dataset the scratch network is ten points ahead of the Lite
    results = Results(np.repeat([0, 1], 8), np.tile(datasets, 2), np.repeat([0.6, 0.7], 8))
    after = prior.of_facts(facts, results)
    assert before.quality[0] > before.quality[1]
    assert after.quality[1] > after.quality[0]
    assert (after.deviation[:2] < before.deviation[:2]).all()
    assert after.results.tolist() == [8, 8, 0]


def test_results_one_at_a_time_never_jump():
    prior = shipped_prior()
    rng = np.random.default_rng(0)
    facts = [Facts("small", 10**size, images=4500) for size in rng.uniform(5.5, 6.5, 20)] + [LITE]
    network, dataset = (part.ravel() for part in np.indices((21, 6)))
    order = rng.permutation(len(network))
    quality, level = rng.normal(0, 0.4, 21), rng.normal(0, 1, 6)
    accuracy = 1 / (1 + np.exp(-quality[network] - level[dataset] - rng.normal(0, 0.2, len(network))))
    last = prior.of_facts(facts).quality
    for count in range(1, len(order) + 1):
        some = order[:count]
        now = prior.of_facts(facts, Results(network[some], dataset[some], accuracy[some])).quality
        steps = (now - last) - (now - last).mean()
        assert np.abs(steps).max() < 0.35
        last = now
    assert np.corrcoef(now[:20], quality[:20])[0, 1] > 0.9


def test_no_result_is_as_no_results():
    prior = shipped_prior()
    empty = Results(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    assert np.array_equal(prior.of_facts([LITE], empty).quality, prior.of_facts([LITE]).quality)


def test_a_fact_that_is_not_known_is_filled_in():
    rows, unsure = shipped_prior().features([Facts("small", 1e6), Facts("imagenet", 1e6)])
    assert np.isfinite(rows).all()
    assert (unsure.sum(axis=1) > 0).all()
    assert math.isfinite(shipped_prior().of_facts([Facts("larger", math.pi * 1e8)]).quality[0])

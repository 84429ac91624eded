"""Searching by what is known of networks at large: without a fitted space or results, far from all that is known."""

from dataclasses import replace

import numpy as np
import pytest

from nns import Limits, Zoo
from nns.priors import Facts
from nns.searching import search
from nns.space import Mixed, SpaceData
from nns.space.mixed.method import MATCH_AT_LARGE
from nns.testing import planted_zoo
from nns.types import NetworkRecord, TransferRecord


@pytest.fixture
def no_space(small_zoo, tmp_path):
    """Networks of the small zoo, without its spaces, datasets and results."""
    with Zoo(small_zoo.path) as known, Zoo(tmp_path / "no-space.h5", must_exist=False) as zoo:
        zoo.store.add_all(
            NetworkRecord(each.entry, each.fingerprint, known.store.weights(each.id)) for each in known.networks()
        )
        yield zoo


def from_scratch(candidate):
    return candidate.entry.spec.source != "imagenet"


def test_a_zoo_without_a_space_is_searched_by_what_is_known_of_networks_at_large(no_space, small_zoo):
    found = search(str(small_zoo.query), no_space, top=len(no_space))
    assert found.space == "at large"
    assert found.rests_on == "by what is known of networks at large"  # no fit is named: it would take two datasets
    assert "match" not in dict(found.table().columns), "without a space all of them would be +0.00"
    assert len(found.candidates) == len(no_space)
    order = [from_scratch(each) for each in found.candidates]
    assert order == sorted(order)
    for each in found.candidates:
        low, high = each.interval
        assert low < each.predicted_accuracy < high
        assert set(each.terms) == {"prior"}


def test_results_of_the_zoo_move_it(no_space, small_zoo):
    before = search(str(small_zoo.query), no_space, top=len(no_space))
    last, first = before.candidates[-1].entry.id, before.candidates[0].entry.id
    for dataset in range(12):
        for network, accuracy in ((last, 0.9), (first, 0.4)):
            record = TransferRecord(network, f"task-{dataset}", f"{dataset:064x}", accuracy, epochs=8)
            no_space.store.put_transfers([record])
    after = {each.entry.id: each for each in search(str(small_zoo.query), no_space, top=len(no_space)).candidates}
    assert after[last].rank < after[first].rank
    assert after[last].score > before.candidates[-1].score


def test_never_from_scratch_before_imagenet_on_images_of_another_kind(small_zoo, tmp_path):
    """As in the zoo that a new user builds: digits from scratch beside EfficientNet-Lites, and no results."""
    rng = np.random.default_rng(0)
    images = [(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8), label) for label in ("noise", "grain") * 8]
    with Zoo(small_zoo.path) as zoo:
        for limit in (Limits(), Limits(max_params=1_000_000)):
            found = search(images, zoo, limit, top=len(zoo))
            order = [from_scratch(each) for each in found.candidates]
            assert order == sorted(order)
            assert from_scratch(found.together[0]) == all(order)


def test_far_from_everything_known_the_prior_s_best_is_one_of_those_chosen_together(small_zoo, monkeypatch):
    from nns.searching import candidates
    from nns.searching.neighbours import Surroundings

    real = Surroundings.of
    monkeypatch.setattr(candidates, "choose_together", lambda order, *_: list(order)[5:8])
    with Zoo(small_zoo.path) as zoo:
        for far in (True, False):
            monkeypatch.setattr(Surroundings, "of", lambda *a, far=far: replace(real(*a), far=far))
            found = search(str(small_zoo.query), zoo)
            assert len(found.together) == 3
            assert (found.static_choice.entry.id in {each.entry.id for each in found.together}) is far


@pytest.mark.parametrize("with_facts", [True, False])
def test_the_ranking_never_jumps_when_results_are_added_one_at_a_time(with_facts):
    zoo = planted_zoo(datasets=8, networks=3, transfers=120)
    rng = np.random.default_rng(0)
    if with_facts:
        sizes = rng.uniform(5.5, 6.5, len(zoo.network_ids))
        facts = [Facts("small", 10**size, accuracy=each) for size, each in zip(sizes, zoo.accuracy, strict=True)]
        zoo = replace(zoo, facts=tuple(facts))
    query = zoo.queries[0]

    def score(count: int) -> np.ndarray:
        parts = {name: getattr(zoo, name)[:count] for name in PARTS}
        some = replace(zoo, **parts)
        method = Mixed(epochs=5).fit(some)
        found = method.score(method.embed_query(query), method.embed_zoo(some))
        return found - found.mean()

    scores = np.array([score(count) for count in range(41)])
    steps = np.abs(np.diff(scores, axis=0))
    # a result says something of the networks with results on its dataset: of its own, and of those beside which it is
    told = np.zeros(steps.shape, bool)
    for step in range(40):
        same = zoo.transfer_dataset[: step + 1] == zoo.transfer_dataset[step]
        told[step, zoo.transfer_network[: step + 1][same]] = True
    assert steps[told].max() < 1.0
    # arrays without facts, which no zoo is, have no prior to hold them
    assert steps[~told].max() < (0.5 if with_facts else 0.8)
    assert steps.mean() < 0.1


PARTS = ("transfer_network", "transfer_dataset", "transfer_accuracy")


def test_without_results_the_match_never_outweighs_what_a_network_knows(small_zoo):
    with Zoo(small_zoo.path) as zoo:
        data = SpaceData.of(zoo)
    nothing = {name: getattr(data, name)[:0] for name in PARTS}
    method = Mixed(epochs=5).fit(replace(data, **nothing))
    assert method.tensors_["ranking_weight"][0] == pytest.approx(MATCH_AT_LARGE)
    quality = method.embed_zoo(replace(data, **nothing))[:, method.dim]
    lite = np.array([each.start == "imagenet" for each in data.facts])
    assert quality[lite].min() - quality[~lite].max() > 2 * MATCH_AT_LARGE

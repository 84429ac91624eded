"""What both built-in methods promise: the contract, and that they learn."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from nns.errors import UsageError
from nns.space import Mixed, Tans, evaluate_held_out
from nns.testing import SpaceMethodContract, planted_zoo

METHODS = {"tans": lambda **kw: Tans(epochs=150, **kw), "mixed": lambda **kw: Mixed(epochs=40, **kw)}


@pytest.fixture(scope="module")
def zoo():
    return planted_zoo()


@pytest.fixture(scope="module", params=sorted(METHODS))
def factory(request):
    return METHODS[request.param]


@pytest.fixture(scope="module")
def fitted(factory, zoo):
    return factory().fit(zoo)


class TestTans(SpaceMethodContract):
    @pytest.fixture
    def factory(self):
        return lambda **settings: Tans(**{"epochs": 20, **settings})


class TestMixed(SpaceMethodContract):
    @pytest.fixture
    def factory(self):
        return lambda **settings: Mixed(**{"epochs": 5, **settings})


class TestMixedWithoutTransfers(TestMixed):
    @pytest.fixture
    def zoo(self):
        return planted_zoo(20)


def test_the_loss_falls(factory, zoo):
    losses = [h.get("contrastive", h.get("loss")) for h in factory().fit(zoo).history_]
    losses = [x for x in losses if x is not None]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:3])


def test_prior_is_the_mean_prediction_over_the_zoo(fitted, zoo):
    embeddings = fitted.embed_networks(zoo.blocks)
    expected = np.mean([fitted.predict_accuracy(q, embeddings) for q in fitted.tensors_["datasets"]], axis=0)
    np.testing.assert_allclose(fitted.prior(embeddings), expected, rtol=1e-5)


def test_another_seed_gives_other_tensors(factory, fitted, zoo):
    assert factory(seed=1).fit(zoo).to_tensors() != fitted.to_tensors()


def test_a_new_network_is_near_the_dataset_that_it_was_trained_on(factory, zoo):
    last = len(zoo.network_ids) - 5  # the last network that has a dataset
    keep = np.delete(np.arange(len(zoo.network_ids)), last)
    smaller = replace(
        zoo,
        network_ids=tuple(zoo.network_ids[i] for i in keep),
        blocks={name: block[keep] for name, block in zoo.blocks.items()},
        accuracy=zoo.accuracy[keep],
        dataset_index=zoo.dataset_index[keep],
    )
    method = factory().fit(smaller)
    together = method.embed_networks(zoo.blocks)
    query = method.embed_query(zoo.queries[int(zoo.dataset_index[last])])
    similarities = method.similarity(query, together)
    assert (similarities > similarities[last]).mean() < 0.2


def test_held_out_datasets_find_their_networks(factory, zoo):
    report = evaluate_held_out(factory, zoo)
    retrieval = report["retrieval"]
    assert retrieval["datasets"] == 40
    assert retrieval["candidates"] == len(zoo.network_ids)
    assert retrieval["recall"]["5"] > 4 * retrieval["recall_chance"]["5"]
    assert retrieval["mean_rank"] < 0.3 * retrieval["rank_chance"]
    json.dumps(report)


def test_unfitted_says_what_to_do(factory, zoo):
    with pytest.raises(UsageError, match="call fit or load_tensors"):
        factory().embed_networks(zoo.blocks)
    with pytest.raises(UsageError, match="call fit or load_tensors"):
        factory().to_tensors()


def test_one_dataset_is_too_few(factory):
    with pytest.raises(UsageError, match="at least 2 datasets"):
        factory().fit(planted_zoo(datasets=1))


def test_missing_block_names_the_way_out(factory, zoo):
    with pytest.raises(UsageError, match="block"):
        factory().fit(replace(zoo, blocks={"none": zoo.blocks["graph"]}))


def test_a_fit_on_transfers_knows_which_results_it_missed_by_how_much():
    zoo = planted_zoo(20, transfers=200)
    method = Mixed(epochs=5).fit(zoo)
    left = method.residuals(method.embed_zoo(zoo))
    pairs = set(zip(zoo.transfer_network.tolist(), zoo.transfer_dataset.tolist(), strict=True))
    assert np.isfinite(left).sum() == len(pairs) < left.size
    assert 0.01 < np.nanstd(left) < 1

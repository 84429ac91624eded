"""What both built-in methods promise."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from nns.errors import UsageError
from nns.space import Mixed, SpaceMethod, Tans, builtin_methods, evaluate_held_out

from .planted import plant_zoo

METHODS = {"tans": lambda **kw: Tans(epochs=150, **kw), "mixed": lambda **kw: Mixed(epochs=40, **kw)}


@pytest.fixture(scope="module")
def zoo():
    return plant_zoo()


@pytest.fixture(scope="module", params=sorted(METHODS))
def factory(request):
    return METHODS[request.param]


@pytest.fixture(scope="module")
def fitted(factory, zoo):
    return factory().fit(zoo)


def test_fit_returns_self_and_keeps_history(factory, zoo):
    method = factory()
    assert method.fit(zoo) is method
    losses = [h.get("contrastive", h.get("loss")) for h in method.history_]
    losses = [x for x in losses if x is not None]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:3])


def test_shapes_and_types(fitted, zoo):
    embeddings = fitted.embed_networks(zoo.blocks)
    query = fitted.embed_query(zoo.queries[0], zoo.query_labels[0])
    assert embeddings.shape == (len(zoo.network_ids), len(query))
    assert embeddings.dtype == query.dtype == np.float32
    for values in (
        fitted.score(query, embeddings),
        fitted.similarity(query, embeddings),
        fitted.predict_accuracy(query, embeddings),
        fitted.prior(embeddings),
    ):
        assert values.shape == (len(embeddings),)
        assert values.dtype == np.float32
        assert np.isfinite(values).all()


def test_score_is_the_inner_product_with_the_ranking_vector(fitted, zoo):
    embeddings = fitted.embed_networks(zoo.blocks)
    query = fitted.embed_query(zoo.queries[3])
    np.testing.assert_allclose(fitted.score(query, embeddings), embeddings @ fitted.ranking_vector(query))


def test_prior_is_the_mean_prediction_over_the_zoo(fitted, zoo):
    embeddings = fitted.embed_networks(zoo.blocks)
    expected = np.mean([fitted.predict_accuracy(q, embeddings) for q in fitted.tensors_["datasets"]], axis=0)
    np.testing.assert_allclose(fitted.prior(embeddings), expected, rtol=1e-5)


def test_roundtrip_gives_identical_numbers(fitted, zoo):
    settings = json.loads(json.dumps(fitted.settings()))
    again = builtin_methods()[fitted.name](**settings).load_tensors(fitted.to_tensors())
    other = type(fitted).from_tensors(settings, fitted.to_tensors())
    for method in (again, other):
        embeddings = method.embed_networks(zoo.blocks)
        np.testing.assert_array_equal(embeddings, fitted.embed_networks(zoo.blocks))
        query = method.embed_query(zoo.queries[1], zoo.query_labels[1])
        np.testing.assert_array_equal(query, fitted.embed_query(zoo.queries[1], zoo.query_labels[1]))
        np.testing.assert_array_equal(method.score(query, embeddings), fitted.score(query, embeddings))
        np.testing.assert_array_equal(method.prior(embeddings), fitted.prior(embeddings))


def test_same_seed_same_tensors_other_seed_others(factory, fitted, zoo):
    assert factory().fit(zoo).to_tensors() == fitted.to_tensors()
    assert factory(seed=1).fit(zoo).to_tensors() != fitted.to_tensors()


def test_global_random_state_is_left_alone(factory, zoo):
    import torch

    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    factory().fit(zoo)
    assert torch.equal(before, torch.get_rng_state())
    assert (numpy_before == np.random.get_state()[1]).all()


def test_new_network_enters_without_refit(factory, zoo):
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
    before = method.to_tensors()
    new = method.embed_networks({name: block[last : last + 1] for name, block in zoo.blocks.items()})
    together = method.embed_networks(zoo.blocks)
    np.testing.assert_allclose(new[0], together[last], rtol=1e-4, atol=1e-5)
    assert method.to_tensors() == before
    query = method.embed_query(zoo.queries[int(zoo.dataset_index[last])])
    similarities = method.similarity(query, together)
    assert (similarities > similarities[last]).mean() < 0.2


def test_order_of_images_does_not_matter(fitted, zoo):
    order = np.random.default_rng(0).permutation(len(zoo.queries[0]))
    np.testing.assert_allclose(
        fitted.embed_query(zoo.queries[0], zoo.query_labels[0]),
        fitted.embed_query(zoo.queries[0][order], zoo.query_labels[0][order]),
        atol=1e-5,
    )


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
        factory().fit(plant_zoo(datasets=1))


def test_missing_block_names_the_way_out(factory, zoo):
    with pytest.raises(UsageError, match="block"):
        factory().fit(replace(zoo, blocks={"none": zoo.blocks["graph"]}))


def test_settings_are_the_constructor_arguments(factory):
    method = factory(seed=7)
    assert method.settings()["seed"] == 7
    assert isinstance(method, SpaceMethod)
    assert type(method)(**method.settings()).settings() == method.settings()

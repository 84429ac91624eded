"""The conformance suite of space methods, and a zoo to fit them on.

An implementer derives from :class:`SpaceMethodContract` and supplies one fixture, a factory that takes the settings::

    class TestMyMethod(SpaceMethodContract):
        @pytest.fixture
        def factory(self):
            return MyMethod
"""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from nns.errors import UsageError
from nns.space import SpaceData, SpaceMethod

STYLES = 6
"""Numbers of the hidden style of a planted dataset."""


def planted_zoo(
    datasets: int = 40,
    networks: int = 5,
    *,
    images: int = 60,
    feature_dim: int = 96,
    references: int = 12,
    pretrained: int = 4,
    noise: float = 0.3,
    transfers: int = 0,
    seed: int = 0,
) -> SpaceData:
    """Draw a zoo with planted structure, without images and weights.

    A dataset's hidden style (STYLES numbers) shifts the features of its images and the features that its
    networks give to the reference images. A network's architecture sets its graph statistics and its quality.

    Args:
        datasets: How many; two form a family.
        networks: Networks trained on each.
        images: Images a dataset, of four classes.
        feature_dim: Width of the query features.
        references: Reference images; kernels are (n, references, references).
        pretrained: Networks more, whose own dataset is not in the zoo.
        noise: Deviation of the noise on the networks' features of the reference images.
        transfers: Results of networks drawn at random on datasets drawn at random.
        seed: Of everything drawn.
    """
    rng = np.random.default_rng(seed)
    styles = rng.standard_normal((datasets, STYLES))
    to_features = rng.standard_normal((STYLES, feature_dim))
    queries, labels = [], []
    for style in styles:
        of_image = np.arange(images) % 4
        classes = rng.standard_normal((4, feature_dim))
        features = style @ to_features + classes[of_image] + rng.standard_normal((images, feature_dim))
        queries.append(features.astype(np.float32))
        labels.append(of_image.astype(np.int64))
    owner = np.append(np.repeat(np.arange(datasets), networks), np.full(pretrained, -1)).astype(np.int64)
    total = len(owner)
    network_styles = np.where(owner[:, None] >= 0, styles[owner], rng.standard_normal((total, STYLES)))
    architecture = rng.standard_normal((total, 3))
    image_basis = rng.standard_normal((STYLES + 3, references, 8))
    hidden = np.concatenate([network_styles, architecture], axis=1)
    features = np.einsum("nh,hpf->npf", hidden, image_basis) + noise * rng.standard_normal((total, references, 8))
    features += rng.standard_normal((references, 8)) * 3
    features -= features.mean(axis=1, keepdims=True)
    kernel = features @ features.transpose(0, 2, 1)
    graph = np.concatenate([architecture @ rng.standard_normal((3, 6)), architecture, np.full((total, 1), 7.0)], axis=1)
    level = styles[:, 0] * 0.8
    quality = architecture[:, 0] * 0.5
    logits = np.where(owner >= 0, level[owner], 0) + quality + 0.1 * rng.standard_normal(total)
    accuracy = np.where(owner >= 0, 1 / (1 + np.exp(-logits)), np.nan)
    moved_n, moved_d = rng.integers(0, total, transfers), rng.integers(0, max(datasets, 1), transfers)
    distance = ((network_styles[moved_n] - styles[moved_d]) ** 2).mean(axis=1)
    moved = level[moved_d] + quality[moved_n] - 0.5 * distance + 0.1 * rng.standard_normal(transfers)
    return SpaceData(
        network_ids=tuple(f"net{i:05d}" for i in range(total)),
        blocks={
            "graph": graph.astype(np.float32),
            "kernel": kernel.astype(np.float32),
            "topology": rng.integers(2, 8, (total, 5)).astype(np.float32),
            "functional": (
                network_styles @ rng.standard_normal((STYLES, 40)) + 0.5 * rng.standard_normal((total, 40))
            ).astype(np.float32),
        },
        accuracy=accuracy,
        dataset_index=owner,
        dataset_names=tuple(f"family{d % max(datasets // 2, 1)}-part{d}" for d in range(datasets)),
        queries=tuple(queries),
        query_labels=tuple(labels),
        transfer_network=moved_n.astype(np.int64),
        transfer_dataset=moved_d.astype(np.int64),
        transfer_accuracy=1 / (1 + np.exp(-moved)),
    )


Factory = Callable[..., SpaceMethod]


class SpaceMethodContract:
    """What ``nns space fit``, ``nns search`` and ``nns bench`` rely on; supply the fixture ``factory``.

    The factory takes the settings of the method as keywords, ``seed`` among them. Fits are on :func:`planted_zoo`, so
    settings that make them short (few epochs) may be filled in by the factory.
    """

    @pytest.fixture
    def zoo(self) -> SpaceData:
        """A zoo with transfers; override it for a method that needs other fingerprint blocks."""
        return planted_zoo(20, transfers=200)

    @pytest.fixture
    def fitted(self, factory: Factory, zoo: SpaceData) -> SpaceMethod:
        """Fit once a test."""
        return factory(seed=0).fit(zoo)

    def test_settings_are_the_arguments_of_the_constructor(self, factory: Factory) -> None:
        """Settings are JSON-able and make the same method again."""
        method = factory(seed=7)
        assert isinstance(method, SpaceMethod)
        assert method.settings()["seed"] == 7
        again = type(method)(**json.loads(json.dumps(method.settings())))
        assert again.settings() == method.settings()

    def test_fit_returns_self(self, factory: Factory, zoo: SpaceData) -> None:
        """So that ``factory().fit(data)`` is a fitted method; it keeps its history as data."""
        method = factory(seed=0)
        assert method.fit(zoo) is method
        json.dumps(method.history_)

    def test_shapes(self, fitted: SpaceMethod, zoo: SpaceData) -> None:
        """Embeddings (n, dim) and (dim,), scores (n,), all float32 and finite."""
        query = fitted.embed_query(zoo.queries[0], zoo.query_labels[0])
        for embeddings in (fitted.embed_networks(zoo.blocks), fitted.embed_zoo(zoo)):
            assert embeddings.shape == (len(zoo.network_ids), len(query))
            assert embeddings.dtype == query.dtype == np.float32
            terms = fitted.terms(query, embeddings)
            for values in (
                fitted.score(query, embeddings),
                fitted.similarity(query, embeddings),
                fitted.predict_accuracy(query, embeddings),
                fitted.prior(embeddings),
                *terms.values(),
            ):
                assert values.shape == (len(embeddings),)
                assert np.isfinite(values).all()
            assert (np.abs(fitted.similarity(query, embeddings)) <= 1 + 1e-5).all()
            for accuracies in (fitted.predict_accuracy(query, embeddings), fitted.prior(embeddings)):
                assert ((accuracies >= 0) & (accuracies <= 1)).all()

    def test_score_is_an_inner_product(self, fitted: SpaceMethod, zoo: SpaceData) -> None:
        """Any inner-product index gives the order of the score; the terms sum up to it but for a constant."""
        embeddings = fitted.embed_zoo(zoo)
        query = fitted.embed_query(zoo.queries[3], zoo.query_labels[3])
        scores = fitted.score(query, embeddings)
        np.testing.assert_allclose(scores, embeddings @ fitted.ranking_vector(query), rtol=1e-5, atol=1e-5)
        rest = scores - sum(fitted.terms(query, embeddings).values(), np.zeros(len(scores)))
        np.testing.assert_allclose(rest, rest[0], atol=1e-3)

    def test_prior_is_blind(self, fitted: SpaceMethod, zoo: SpaceData) -> None:
        """The prior of a network does not depend on which others are asked about."""
        embeddings = fitted.embed_zoo(zoo)
        np.testing.assert_allclose(fitted.prior(embeddings[2:5]), fitted.prior(embeddings)[2:5], rtol=1e-5)

    def test_residuals(self, fitted: SpaceMethod, zoo: SpaceData) -> None:
        """(d, n) logits for d datasets with results, possibly none; NaN where a network has none, never infinite."""
        left = fitted.residuals(fitted.embed_zoo(zoo))
        assert left.ndim == 2
        assert left.shape[1] == len(zoo.network_ids)
        assert len(left) <= len(zoo.dataset_names)
        assert not np.isinf(left).any()
        known = np.isfinite(left)
        assert known.any(axis=1).all(), "a dataset of which no network has a result says nothing"
        tried = np.isin(np.arange(len(zoo.network_ids)), zoo.transfer_network) | (zoo.dataset_index >= 0)
        assert not known[:, ~tried].any(), "a network without any result has none that could be off"
        strangers = fitted.residuals(fitted.embed_networks(zoo.blocks))
        assert not np.isfinite(strangers).any(), "nothing is known of networks that come in by their fingerprint"

    def test_saving_and_loading(self, fitted: SpaceMethod, zoo: SpaceData) -> None:
        """Settings and tensors are the whole method."""
        again = type(fitted).from_tensors(json.loads(json.dumps(fitted.settings())), fitted.to_tensors())
        embeddings = again.embed_networks(zoo.blocks)
        np.testing.assert_array_equal(embeddings, fitted.embed_networks(zoo.blocks))
        query = again.embed_query(zoo.queries[1], zoo.query_labels[1])
        np.testing.assert_array_equal(query, fitted.embed_query(zoo.queries[1], zoo.query_labels[1]))
        np.testing.assert_array_equal(again.score(query, embeddings), fitted.score(query, embeddings))
        np.testing.assert_array_equal(again.prior(embeddings), fitted.prior(embeddings))

    def test_the_seed_decides(self, factory: Factory, fitted: SpaceMethod, zoo: SpaceData) -> None:
        """The same seed gives the same bytes."""
        assert factory(seed=0).fit(zoo).to_tensors() == fitted.to_tensors()

    def test_global_generators_are_left_alone(self, factory: Factory, zoo: SpaceData) -> None:
        """A fit has a generator of its own."""
        import torch

        before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
        factory(seed=0).fit(zoo)
        assert torch.equal(before, torch.get_rng_state())
        assert (numpy_before == np.random.get_state()[1]).all()  # type: ignore[index]

    def test_a_new_network_enters_by_one_forward_pass(self, fitted: SpaceMethod, zoo: SpaceData) -> None:
        """Its embedding does not depend on what comes with it, and nothing is refitted."""
        before = fitted.to_tensors()
        alone = fitted.embed_networks({name: block[5:6] for name, block in zoo.blocks.items()})
        np.testing.assert_allclose(alone[0], fitted.embed_networks(zoo.blocks)[5], rtol=1e-4, atol=1e-5)
        assert fitted.to_tensors() == before

    def test_the_order_of_images_does_not_matter(self, fitted: SpaceMethod, zoo: SpaceData) -> None:
        """A dataset is a set."""
        features, labels = zoo.queries[0], zoo.query_labels[0]
        order = np.random.default_rng(0).permutation(len(features))
        mixed = fitted.embed_query(features[order], labels[order])
        np.testing.assert_allclose(fitted.embed_query(features, labels), mixed, atol=1e-5)

    def test_images_without_labels(self, fitted: SpaceMethod, zoo: SpaceData) -> None:
        """A flat folder can be searched with; -1 is no label either."""
        features = zoo.queries[0]
        bare = fitted.embed_query(features)
        assert np.isfinite(bare).all()
        np.testing.assert_array_equal(bare, fitted.embed_query(features, np.full(len(features), -1)))

    def test_what_cannot_be_fitted_is_refused(self, factory: Factory, zoo: SpaceData) -> None:
        """By an error of nns: what is not fitted, one dataset alone."""
        for use in (lambda: factory(seed=0).embed_networks(zoo.blocks), lambda: factory(seed=0).to_tensors()):
            with pytest.raises(UsageError):
                use()
        with pytest.raises(UsageError):
            factory(seed=0).fit(zoo.without(range(1, len(zoo.dataset_names))))

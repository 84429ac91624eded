"""What only the mixed method does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nns.errors import UsageError
from nns.space import Mixed, evaluate_held_out
from nns.space.mixed.inputs import Projection, describe_query, flat_kernels, share_between
from nns.testing import planted_zoo


def test_epochs_are_chosen_on_held_out_datasets():
    method = Mixed().fit(planted_zoo(datasets=20, networks=4))
    aucs = {h["epoch"]: h["held_out_auc"] for h in method.history_ if "held_out_auc" in h}
    trained = sum("loss" in h for h in method.history_)
    assert trained == max(aucs, key=aucs.get)
    assert aucs[trained] > 0.8


def test_demo_size_zoo_can_be_fitted_and_evaluated():
    report = evaluate_held_out(Mixed, planted_zoo(datasets=6, networks=12))
    assert report["retrieval"]["datasets"] == 6
    assert report["accuracy"]["spearman_within_dataset"] > 0.7


def test_odd_network_stays_within_what_the_zoo_has_seen():
    zoo = planted_zoo(datasets=12)
    method = Mixed(epochs=10).fit(zoo)
    known = method.embed_networks(zoo.blocks)[:-4, -1]
    odd = method.embed_networks({name: 1e3 * block[:2] for name, block in zoo.blocks.items()})
    assert np.isfinite(odd).all()
    assert known.min() - 1e-5 <= odd[:, -1].min() <= odd[:, -1].max() <= known.max() + 1e-5


def test_quality_is_free_of_how_easy_a_network_s_dataset_is():
    zoo = planted_zoo(datasets=30, networks=6)
    method = Mixed(epochs=20).fit(zoo)
    quality = method.embed_networks(zoo.blocks)[:180, -1]
    of_dataset = zoo.accuracy[:180].reshape(30, 6).mean(axis=1)
    assert abs(np.corrcoef(quality.reshape(30, 6).mean(axis=1), of_dataset)[0, 1]) < 0.5
    assert evaluate_held_out(lambda: Mixed(epochs=20), zoo)["accuracy"]["mae"] < 0.06


def test_transfer_results_decide_how_much_similarity_counts():
    helped = Mixed().fit(planted_zoo(datasets=20, transfers=300))
    assert helped.tensors_["ranking_weight"][0] > 0.3
    zoo = planted_zoo(datasets=20, transfers=300)
    shuffled = np.random.default_rng(1).permutation(zoo.transfer_accuracy)
    useless = Mixed().fit(replace(zoo, transfer_accuracy=shuffled))
    assert useless.tensors_["ranking_weight"][0] < 0.3 * helped.tensors_["ranking_weight"][0]


def test_transfer_results_are_predicted_for_held_out_datasets():
    report = evaluate_held_out(Mixed, planted_zoo(datasets=16, transfers=300), folds=2)["transfer"]
    assert report["spearman_within_dataset"] > report["spearman_within_dataset_prior"] > 0.3


def spoil(zoo):
    """Put in what real zoos have: constants, NaNs, unknown accuracies, an empty query, unlabelled ones."""
    graph, kernel = zoo.blocks["graph"].copy(), zoo.blocks["kernel"].copy()
    graph[:, 0], graph[1, 1], kernel[2], kernel[3] = 3.0, np.nan, 0.0, np.nan
    accuracy = zoo.accuracy.copy()
    accuracy[::3] = np.nan
    accuracy[0], accuracy[1] = 0.0, 1.0
    queries = (zoo.queries[0][:0], zoo.queries[1][:1], *zoo.queries[2:])
    labels = (
        zoo.query_labels[0][:0],
        zoo.query_labels[1][:1],
        *(-np.ones_like(x) for x in zoo.query_labels[2:]),
    )
    blocks = {"graph": graph, "kernel": kernel}
    return replace(zoo, blocks=blocks, accuracy=accuracy, queries=queries, query_labels=labels)


@pytest.mark.parametrize("datasets", [3, 6, 14])
def test_spoilt_zoo_gives_finite_numbers(datasets):
    zoo = spoil(planted_zoo(datasets=datasets))
    method = Mixed().fit(zoo)
    embeddings = method.embed_networks(zoo.blocks)
    query = method.embed_query(zoo.queries[2])
    for values in (embeddings, query, method.score(query, embeddings), method.prior(embeddings)):
        assert np.isfinite(values).all()


def test_a_zoo_of_generalists_is_fitted_on_results_alone():
    zoo = planted_zoo(datasets=24, networks=1, pretrained=0, transfers=500)
    strangers = replace(
        zoo, dataset_index=np.full(len(zoo.network_ids), -1), accuracy=np.full(len(zoo.network_ids), np.nan)
    )
    found = evaluate_held_out(Mixed, strangers)
    assert found["retrieval"]["datasets"] > 20
    assert found["retrieval"]["auc"] > 0.6, "the space tells which did well on datasets that it has not seen"
    assert found["transfer"]["spearman_within_dataset"] > found["transfer"]["spearman_within_dataset_prior"] + 0.05
    with pytest.raises(UsageError, match="or results"):
        Mixed().fit(replace(strangers, transfer_accuracy=np.full(500, np.nan)))


def test_no_known_accuracy_at_all():
    zoo = planted_zoo(datasets=10)
    zoo = replace(zoo, accuracy=np.full(len(zoo.accuracy), np.nan))
    method = Mixed(epochs=10).fit(zoo)
    assert np.isfinite(method.prior(method.embed_networks(zoo.blocks))).all()
    assert evaluate_held_out(lambda: Mixed(epochs=10), zoo)["accuracy"]["pairs"] == 0


def test_flat_kernels_inner_product_is_centred_kernel_alignment():
    rng = np.random.default_rng(0)
    features = [rng.standard_normal((9, width)) for width in (4, 7)]
    grams = np.stack([(f - f.mean(axis=0)) @ (f - f.mean(axis=0)).T for f in features])
    first, second = flat_kernels(grams.astype(np.float32))
    expected = (grams[0] * grams[1]).sum() / np.sqrt((grams[0] ** 2).sum() * (grams[1] ** 2).sum())
    assert float(first @ second) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", [(30, 8), (8, 30)])
def test_principal_directions_keep_all_distances_when_all_are_kept(shape):
    rows = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    projected = Projection.principal(rows, 64)(rows)
    assert (projected**2).sum(axis=1).mean() == pytest.approx(1.0, rel=1e-4)
    ratio = np.linalg.norm(projected[0] - projected[1]) / np.linalg.norm(projected[2] - projected[3])
    assert ratio == pytest.approx(np.linalg.norm(rows[0] - rows[1]) / np.linalg.norm(rows[2] - rows[3]), rel=1e-3)


def test_class_statistics_are_unknown_without_labels():
    features = np.random.default_rng(0).standard_normal((20, 5)).astype(np.float32)
    labels = np.arange(20) % 2
    assert np.isnan(describe_query(features, None).classes).all()
    assert np.isnan(describe_query(features, -np.ones(20, np.int64)).classes).all()
    separated = features + 100 * labels[:, None]
    log_classes, between = describe_query(separated.astype(np.float32), labels).classes
    assert log_classes == pytest.approx(np.log(2))
    assert between > 0.99


def test_the_share_between_classes_is_the_same_with_few_images():
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((20, 30))
    labels = np.repeat(np.arange(20), 50)
    rows = centres[labels] + 2 * rng.standard_normal((len(labels), 30))
    found = {}
    for count in (2, 3, 50):
        some = [i for c in range(20) for i in rng.permutation(np.flatnonzero(labels == c))[:count]]
        found[count] = share_between(rows[some], labels[some])
    assert found[50] == pytest.approx(0.2, abs=0.03)
    assert found[2] == pytest.approx(found[50], abs=0.08) and found[3] == pytest.approx(found[50], abs=0.06)
    assert share_between(rows, rng.permutation(labels)) == pytest.approx(0, abs=0.02)


def test_one_image_a_class_says_nothing_of_the_share_between_classes():
    features = np.random.default_rng(0).standard_normal((16, 5)).astype(np.float32)
    log_classes, between = describe_query(features, np.arange(16) * 2).classes
    assert log_classes == pytest.approx(np.log(31)), "classes that no image shows count, too"
    assert np.isnan(between)
    assert np.isnan(share_between(np.ones((6, 3)), np.arange(6) % 2))

"""The published modules' numbers, made by them, are reproduced to 1e-5."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import linear, normalize

from nns.space import Tans, paired_recall
from nns.space._tans_step import Batch, step_gradients
from nns.space.tans import join_fingerprint

from .losses import hard_negative_loss

VECTORS = Path(__file__).parent / "data" / "tans_vectors.npz"
WEIGHTS = [
    f"{layer}.fc.{part}" for layer in ("model_encoder", "query_encoder", "predictor") for part in ("weight", "bias")
]
CLOSE = {"rtol": 0, "atol": 1e-5}


@pytest.fixture(scope="module")
def vectors():
    return dict(np.load(VECTORS))


@pytest.fixture(scope="module")
def published(vectors):
    method = Tans()
    method.tensors_ = {name: vectors[name] for name in WEIGHTS} | {"datasets": vectors["query_embedding"]}
    return method


@pytest.fixture(scope="module")
def images(vectors):
    return np.split(vectors["query_features"], np.cumsum(vectors["query_sizes"])[:-1])


def test_model_embedding(published, vectors):
    found = published.embed_networks({"topology": vectors["topology"], "functional": vectors["functional"]})
    np.testing.assert_allclose(found, vectors["model_embedding"], **CLOSE)


def test_query_embedding(published, vectors, images):
    found = np.stack([published.embed_query(features) for features in images])
    np.testing.assert_allclose(found, vectors["query_embedding"], **CLOSE)


def test_predicted_accuracy(published, vectors):
    pairs = zip(vectors["query_embedding"], vectors["model_embedding"], strict=True)
    found = np.stack([published.predict_accuracy(q, m[None]) for q, m in pairs])
    np.testing.assert_allclose(found, vectors["predicted_accuracy"], **CLOSE)


@pytest.mark.parametrize("nmax", [1, 5, 24, None])
@pytest.mark.parametrize("both", [True, False])
def test_written_out_gradient_equals_autograd(vectors, images, nmax, both):
    weights = {name: torch.from_numpy(vectors[name]).double().requires_grad_() for name in WEIGHTS}
    means = torch.from_numpy(np.stack([features.mean(axis=0) for features in images])).double()
    inputs = torch.from_numpy(join_fingerprint(vectors)).double()
    targets = torch.linspace(0, 1, 24, dtype=torch.float64)
    known = (torch.arange(24) % 3 > 0).double()

    def layer(name, rows):
        return linear(rows, weights[f"{name}.fc.weight"], weights[f"{name}.fc.bias"])

    q, m = normalize(layer("query_encoder", means)), normalize(layer("model_encoder", inputs))
    predicted = layer("predictor", torch.cat([q, m], dim=1)).sigmoid()[:, 0]
    contrastive = hard_negative_loss(m @ q.T, nmax=nmax, both=both)
    mse = (predicted - targets)[known > 0].square().mean()
    (contrastive + mse).backward()

    written = {name: torch.full_like(weight, torch.nan) for name, weight in weights.items()}
    with torch.no_grad():
        batch = Batch(means, inputs, targets, known)
        losses = step_gradients(weights, written, batch, margin=0.2, nmax=nmax, both=both)
    torch.testing.assert_close(losses, (contrastive.detach(), mse.detach()))
    for name, weight in weights.items():
        torch.testing.assert_close(written[name], weight.grad, msg=name)


@pytest.mark.parametrize("nmax", [1, 5, 24])
@pytest.mark.parametrize("side", ["model", "both"])
def test_loss(vectors, nmax, side):
    scores = torch.from_numpy(vectors["model_embedding"] @ vectors["query_embedding"].T)
    found = hard_negative_loss(scores, nmax=nmax, both=side == "both")
    expected = vectors[f"loss_nmax{nmax}_{side}"]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5)


def test_recall_and_ranks(vectors):
    report = paired_recall(vectors["recall_queries"], vectors["recall_models"], vectors["recall_at"].tolist())
    assert list(report["recall"].values()) == vectors["recall"].tolist()
    assert report["median_rank"] == vectors["median_rank"]
    assert report["mean_rank"] == pytest.approx(vectors["mean_rank"])

"""What only TANS does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from nns.space import Tans
from nns.space._tans_step import Adam
from nns.space.tans import ROWS_AT_ONCE, join_fingerprint
from nns.testing import planted_zoo


def test_batches_of_some_datasets_fit_too():
    zoo = planted_zoo(datasets=20)
    method = Tans(epochs=200, batch_size=8, nmax=3).fit(zoo)
    assert method.history_[-1]["contrastive"] < 0.3 * method.history_[0]["contrastive"]


def test_unknown_accuracies_do_not_reach_the_weights():
    zoo = planted_zoo(datasets=8)
    accuracy = zoo.accuracy.copy()
    accuracy[::2] = np.nan
    method = Tans(epochs=30).fit(replace(zoo, accuracy=accuracy))
    assert all(np.isfinite(array).all() for array in method.tensors_.values())
    none_known = Tans(epochs=30).fit(replace(zoo, accuracy=np.full(len(accuracy), np.nan)))
    assert {h["mse"] for h in none_known.history_} == {0.0}


def test_order_by_predicted_accuracy_is_the_same_for_every_query():
    zoo = planted_zoo(datasets=12)
    method = Tans(epochs=50).fit(zoo)
    embeddings = method.embed_networks(zoo.blocks)
    orders = {tuple(np.argsort(method.predict_accuracy(q, embeddings))) for q in method.tensors_["datasets"]}
    priors = np.argsort(method.prior(embeddings))
    assert len(orders) <= 2  # rounding may swap near ties
    assert tuple(priors) in orders or len(orders) == 2


@pytest.mark.parametrize("count", [1, ROWS_AT_ONCE, 2 * ROWS_AT_ONCE + 1])
def test_fingerprints_joined_in_parts_are_those_joined_at_once(count):
    rng = np.random.default_rng(0)
    blocks = {name: rng.standard_normal((count, n), np.float32) for name, n in (("topology", 45), ("functional", 99))}
    joined = np.concatenate([blocks["topology"], blocks["functional"]], axis=1)
    expected = joined / np.linalg.norm(joined, axis=1, keepdims=True)
    np.testing.assert_array_equal(join_fingerprint(blocks), expected)
    rows = rng.permutation(count)
    np.testing.assert_array_equal(join_fingerprint(blocks, rows), expected[rows])


def test_adam_is_that_of_torch_bit_for_bit():
    generator = torch.Generator().manual_seed(0)
    ours = torch.rand(1000, generator=generator)
    theirs, gradient = ours.clone(), torch.zeros(1000)
    theirs.grad = torch.zeros(1000)
    adam, optimizer = Adam(ours, gradient, 0.01), torch.optim.Adam([theirs], lr=0.01, fused=True)
    for _ in range(20):
        theirs.grad.copy_(gradient.copy_(torch.rand(1000, generator=generator) - 0.5))
        adam.step()
        optimizer.step()
    assert torch.equal(ours, theirs)

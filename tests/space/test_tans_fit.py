"""What only TANS does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nns.space import Tans

from .planted import plant_zoo


def test_batches_of_some_datasets_fit_too():
    zoo = plant_zoo(datasets=20)
    method = Tans(epochs=200, batch_size=8, nmax=3).fit(zoo)
    assert method.history_[-1]["contrastive"] < 0.3 * method.history_[0]["contrastive"]


def test_unknown_accuracies_do_not_reach_the_weights():
    zoo = plant_zoo(datasets=8)
    accuracy = zoo.accuracy.copy()
    accuracy[::2] = np.nan
    method = Tans(epochs=30).fit(replace(zoo, accuracy=accuracy))
    assert all(np.isfinite(array).all() for array in method.tensors_.values())
    none_known = Tans(epochs=30).fit(replace(zoo, accuracy=np.full(len(accuracy), np.nan)))
    assert {h["mse"] for h in none_known.history_} == {0.0}


def test_order_by_predicted_accuracy_is_the_same_for_every_query():
    zoo = plant_zoo(datasets=12)
    method = Tans(epochs=50).fit(zoo)
    embeddings = method.embed_networks(zoo.blocks)
    orders = {tuple(np.argsort(method.predict_accuracy(q, embeddings))) for q in method.tensors_["datasets"]}
    priors = np.argsort(method.prior(embeddings))
    assert len(orders) <= 2  # rounding may swap near ties
    assert tuple(priors) in orders or len(orders) == 2

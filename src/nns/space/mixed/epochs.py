"""How long to train: as long as retrieval for held-out datasets gets better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nns.space._forward import affine, unit
from nns.space._held_out import held_out_folds
from nns.space._pairs import PairSampler
from nns.space.metrics import ranks_of
from nns.space.mixed.contrastive import Encoders, Training, train_encoders

if TYPE_CHECKING:
    from nns.space._data import FloatArray, IntArray
    from nns.space.mixed.zoo_inputs import ZooInputs

STOPS = (5, 10, 20, 40, 80, 160, 320)
"""Numbers of epochs that are tried."""
FEW_DATASETS = 8
"""Below this many datasets nothing can be chosen."""
EPOCHS_FOR_FEW = 80
INNER_FOLDS = 3


@dataclass(frozen=True, eq=False)
class EpochChoice:
    """What held-out datasets say.

    Attributes:
        epochs: Chosen number of epochs.
        aucs: By number of epochs: probability that a held-out dataset's own network comes before another.
        similarities: (d, n) cosines of each dataset to all networks from encoders that have seen neither it
            nor its networks, after the chosen number of epochs; NaN where there are none.
    """

    epochs: int
    aucs: dict[int, float]
    similarities: FloatArray


def choose_epochs(zoo: ZooInputs, training: Training, epochs: int | None, seed: int) -> EpochChoice:
    """Train on folds, measure the held-out datasets at several stops and choose the best stop.

    Args:
        zoo: Inputs of the zoo; the projections are refitted without the held-out datasets.
        training: How to train.
        epochs: A number that is set already; the folds then give the similarities only.
        seed: Seed of folds and training.

    Returns:
        The choice.
    """
    data = zoo.data
    stops = STOPS if epochs is None else (epochs,)
    shape = (len(data.dataset_names), len(data.network_ids))
    similarities = {stop: np.full(shape, np.nan, np.float32) for stop in stops}
    paired = data.paired_datasets()
    if len(paired) < FEW_DATASETS:
        fixed = epochs or EPOCHS_FOR_FEW
        return EpochChoice(fixed, {}, np.full(shape, np.nan, np.float32))
    for out in held_out_folds(data, INNER_FOLDS, seed):
        _train_without(zoo, training, stops, seed, out, similarities)
    aucs = {stop: _mean_auc(zoo, similarities[stop]) for stop in stops}
    best = max(aucs, key=lambda stop: aucs[stop])
    return EpochChoice(best, aucs, similarities[best])


def _train_without(
    zoo: ZooInputs,
    training: Training,
    stops: tuple[int, ...],
    seed: int,
    out: IntArray,
    similarities: dict[int, FloatArray],
) -> None:
    """Train without a fold and fill in the rows of its datasets."""
    tensors = zoo.fit_projections(out)
    networks, views = zoo.project(tensors)

    def measure(stop: int, encoders: Encoders) -> None:
        m = unit(affine(networks, encoders["network.weight"], encoders["network.bias"]))
        q = unit(affine(views[out, 0], encoders["query.weight"], encoders["query.bias"]))
        similarities[stop][out] = q @ m.T

    sampler = PairSampler(zoo.data, without=out)
    gains = zoo.match_gains(tensors)
    train_encoders(training, sampler, networks, views, gains, stops, seed, measure)


def _mean_auc(zoo: ZooInputs, similarities: FloatArray) -> float:
    """Average over datasets the probability that an own network is more similar than another one."""
    aucs = []
    for d in zoo.data.paired_datasets():
        own = zoo.data.matches(int(d))
        others = similarities.shape[1] - len(own)
        if others and np.isfinite(similarities[d]).all():
            ranks = ranks_of(similarities[d], own)
            aucs.append(1 - (ranks.mean() - (len(own) + 1) / 2) / others)
    return float(np.mean(aucs)) if aucs else 0.5

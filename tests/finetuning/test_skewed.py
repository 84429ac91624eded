"""Skewed classes: drawn alike, and chosen by macro F1."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from nns.backends.seeding import seeded
from nns.finetuning import Epoch, train
from nns.finetuning._run import Run
from nns.finetuning.epochs import rank
from nns.types import LabelledArrays, SplitArrays

from .conftest import PREPROCESSING, RECIPE, entrant_of


def thinned(data: SplitArrays, kept: int) -> SplitArrays:
    """Keep so many training images of the digit 0, all of the others."""
    labels = data.train.labels
    rows = np.concatenate([np.flatnonzero(labels == 0)[:kept], np.flatnonzero(labels != 0)])
    return replace(data, train=LabelledArrays(data.train.images[rows], labels[rows]))


@pytest.mark.parametrize(("kept", "balanced", "share"), [(4, True, 0.1), (4, False, 0.011), (20, True, 0.053)])
def test_as_many_of_each_class_are_drawn_where_they_are_skewed(
    digits: SplitArrays, kept: int, balanced: bool, share: float
) -> None:
    data = thinned(digits, kept)
    run = Run(entrant_of(4).build(), data, PREPROCESSING, replace(RECIPE, balanced=balanced), "cpu")
    assert run.skewed == (kept == 4)
    drawn: Counter[int] = Counter()
    with seeded(0):
        for _ in range(20):
            order = run._draw_order()
            assert len(order) == len(data.train)
            drawn.update(data.train.labels[order].tolist())
    assert drawn[0] / drawn.total() == pytest.approx(share, rel=0.1)


def test_epochs_are_chosen_by_macro_f1_where_classes_are_skewed(digits: SplitArrays) -> None:
    skewed = train(entrant_of(8).build(), thinned(digits, 4), PREPROCESSING, RECIPE)
    scores = [epoch.val_macro_f1 or 0.0 for epoch in skewed.history]
    assert all(0 < score < 1 for score in scores)
    assert skewed.best.val_macro_f1 == max(scores)
    even = train(entrant_of(8).build(), digits, PREPROCESSING, RECIPE)
    assert all(epoch.val_macro_f1 is None for epoch in even.history)


def test_the_rank_of_an_epoch() -> None:
    often, rare = Epoch(1, 1.0, 1.0, 0.9, 0.4), Epoch(2, 1.0, 1.0, 0.8, 0.6)
    assert rank(rare) > rank(often)
    assert rank(Epoch(1, 1.0, 1.0, 0.9)) > rank(Epoch(2, 1.0, 1.0, 0.8))

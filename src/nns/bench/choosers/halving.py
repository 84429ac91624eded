"""Successive halving: train many a little, and of those the better half for longer.

Jamieson, Talwalkar: Non-stochastic Best Arm Identification and Hyperparameter Optimization, AISTATS 2016. Here it is
replayed on the recorded epochs. All candidates share one schedule of the learning rate, so that the first epochs of
a long training are what a short one would have been stopped at.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nns.bench.choosers._base import Answer, Chooser, Floats, Question
from nns.bench.choosers.history import static_scores


class HalvingChooser(Chooser):
    """As many as the budget allows, the statically best first, one epoch; the better half two; its half four...

    What is left alone, or at the last epoch, is trained to the end. The number at the start is the largest with which
    all of this takes no more than the budget; at least one. The rest comes last, in the static order.
    """

    def ask(self, question: Question) -> Sequence[Answer]:
        """Replay each repetition of the fine-tunings that has all candidates within the limit.

        Where only the best were repeated, starting from those that were would be starting from the answer.
        """
        matrix, task = self.scene.matrix, question.task
        static = static_scores(self.scene, task)
        order = np.argsort(-static, kind="stable")
        order = order[question.feasible[order]]
        answers = []
        for curves, seconds in zip(matrix.curves[:, task], matrix.epoch_seconds[:, task], strict=True):
            if len(order) and np.isfinite(curves[order]).any(axis=1).all():
                answers.append(self._replay(order, curves, seconds, question.budget, static))
        if not answers:  # nothing is recorded of these
            answers = [Answer(static)]
        return [answer.within(question.feasible) for answer in answers]

    @staticmethod
    def _replay(order: np.ndarray, curves: np.ndarray, seconds: np.ndarray, budget: float, static: Floats) -> Answer:
        for count in range(len(order), 0, -1):
            reached, paid = halve(order[:count], curves, seconds)
            spent = float(paid.sum())
            if spent <= budget or count == 1:
                break
        scores = np.where(np.isfinite(reached), reached, static - 10)
        return Answer(scores, spent, spent, paid=paid)


def halve(starters: np.ndarray, curves: np.ndarray, seconds: np.ndarray) -> tuple[Floats, Floats]:
    """Replay one successive halving.

    Args:
        starters: (n,) candidates that begin.
        curves: (C, E) validation accuracy after each epoch; NaN after the last.
        seconds: (C, E) processor seconds of each epoch.

    Returns:
        Scores (C,): first how far a candidate came, then how accurate it was; NaN of those that did not begin. And
        the processor seconds (C,) that each was trained for.
    """
    epochs = curves.shape[1]
    best = np.fmax.accumulate(curves.astype(np.float64), axis=1)
    scores, paid, trained = np.full(len(curves), np.nan), np.zeros(len(curves)), 0
    alive, target, rung = starters, 1, 0
    while trained < epochs:
        target = epochs if len(alive) == 1 else min(target, epochs)
        paid[alive] += np.nansum(seconds[alive, trained:target], axis=1, dtype=np.float64)
        trained = target
        scores[alive] = 2 * rung + best[alive, trained - 1]
        alive = alive[np.argsort(-best[alive, trained - 1], kind="stable")][: (len(alive) + 1) // 2]
        target, rung = 2 * target, rung + 1
    return scores, paid

"""Choosers that know how the candidates did on datasets of other families."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from nns.bench.choosers._base import Answer, Chooser, Floats, Question, Scene
from nns.bench.choosers.timing import SearchSeconds


def other_families(scene: Scene, task: int) -> list[int]:
    """List the datasets of other families than that of a dataset."""
    tasks = scene.matrix.tasks
    return [other for other, row in enumerate(tasks) if row.family != tasks[task].family]


def static_scores(scene: Scene, task: int) -> Floats:
    """Average over datasets of other families the rank among the candidates of each.

    Returns:
        (C,) from 0, always the worst, to 1, always the best; -1 for candidates without any result there.
    """
    others = other_families(scene, task)
    total, counts = np.zeros(len(scene.matrix.candidates)), np.zeros(len(scene.matrix.candidates))
    for other in others:
        known = np.isfinite(scene.history[other])
        if known.sum() > 1:
            total[known] += (rankdata(scene.history[other, known]) - 1) / (known.sum() - 1)
            counts += known
    scores: Floats = np.divide(total, counts, out=np.full(len(total), -1.0), where=counts > 0)
    return scores


class StaticChooser(Chooser):
    """The best mean rank over the datasets of other families: the same answer whatever the images."""

    def ask(self, question: Question) -> Sequence[Answer]:
        """Order by mean rank."""
        return [Answer(static_scores(self.scene, question.task)).within(question.feasible)]


class NearestChooser(Chooser):
    """What was best on the most similar dataset of another family.

    Similar is the cosine of mean query features, less the mean of the datasets that are known. Candidates without
    a result there come last, in the static order.
    """

    def __init__(self, name: str, scene: Scene, seconds: SearchSeconds) -> None:
        super().__init__(name, scene)
        self.seconds = seconds

    def ask(self, question: Question) -> Sequence[Answer]:
        """Order by the accuracy on the nearest dataset."""
        nearest = self.nearest(question.task)
        static = static_scores(self.scene, question.task) - 2
        known = np.full(len(static), np.nan) if nearest is None else self.scene.history[nearest]
        scores = np.where(np.isfinite(known), known, static)
        rest = self.seconds.checking(self.scene.matrix.tasks[question.task].images)
        return [Answer(scores, self.seconds.cold + rest, self.seconds.warm + rest).within(question.feasible)]

    def nearest(self, task: int) -> int | None:
        """Find the most similar dataset of another family that has results; None if there is none."""
        matrix, zoo = self.scene.matrix, self.scene.matrix.zoo
        family = matrix.tasks[task].family
        means = np.stack([query.mean(axis=0, dtype=np.float64) for query in zoo.queries])
        known = np.array([each != family for each in zoo.families])
        others = [t for t in other_families(self.scene, task) if np.isfinite(self.scene.history[t]).any()]
        if not others:
            return None
        means -= means[known].mean(axis=0)
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        cosines = means[matrix.offset :] @ means[matrix.offset + task]
        return max(others, key=lambda other: float(cosines[other]))

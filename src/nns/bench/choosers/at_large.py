"""What a search goes by in a zoo without a fitted space: facts of networks, and results on other datasets by Bayes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit

from nns.bench.choosers._base import Answer, Chooser, Question, Scene
from nns.bench.choosers.history import other_families
from nns.bench.choosers.spaces import Probing
from nns.bench.choosers.timing import SearchSeconds
from nns.priors import Results, shipped_prior


class AtLargeChooser(Chooser):
    """The prior of networks at large, moved by what the candidates reached on datasets of other families.

    Args:
        name: What it is called.
        scene: The matrix and its ground truth.
        seconds: Of reading the query images.
        results: Whether results count; otherwise the facts alone decide, as in a new zoo.
    """

    kind = "method"

    def __init__(self, name: str, scene: Scene, seconds: SearchSeconds, results: bool = True) -> None:
        super().__init__(name, scene)
        self.seconds, self.results = seconds, results

    def ask(self, question: Question) -> Sequence[Answer]:
        """Order by quality."""
        matrix = self.scene.matrix
        known = np.full(matrix.params.shape, np.nan)
        if self.results:
            others = other_families(self.scene, question.task)
            known[others] = self.scene.history[others]
        datasets, networks = np.nonzero(np.isfinite(known))
        results = Results(networks, datasets, known[datasets, networks])
        prior = shipped_prior()
        quality = prior.of_facts(matrix.zoo.facts[: len(matrix.candidates)], results).quality
        predicted = expit(prior.level[0] + quality)
        seconds = self.seconds.checking(matrix.tasks[question.task].images)
        answer = Answer(quality, self.seconds.cold + seconds, self.seconds.warm + seconds, predicted=predicted)
        return [answer.within(question.feasible)]


class ProbedAtLargeChooser(Probing, AtLargeChooser):
    """``nns search --probe`` without a space."""

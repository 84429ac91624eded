"""Choosers that compute features of the dataset with every candidate, and score those."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nns.bench.choosers._base import Answer, Chooser, Question, Scene


class ProbeChooser(Chooser):
    """A score of the features that each candidate gives to the training images.

    Its seconds are those of reading the training images once and of the features and scores of all candidates within
    the limit, cold or warm.

    Args:
        score: Name of the probe in the matrix.
        scene: The matrix and its ground truth.
        reading: Seconds of reading one image.
        title: What the probe is called; None: its name.
    """

    def __init__(self, score: str, scene: Scene, reading: float = 0.0, title: str | None = None) -> None:
        super().__init__(title or score, scene)
        self.score, self.reading = score, reading

    def ask(self, question: Question) -> Sequence[Answer]:
        """Order by the score."""
        matrix, task = self.scene.matrix, question.task
        each = matrix.feature_seconds[task] + matrix.score_seconds[self.score][task]
        seconds = self.reading * matrix.tasks[task].images
        seconds += float(np.nansum(each[question.feasible], dtype=np.float64))
        scores = matrix.scores[self.score][task].astype(np.float64)
        return [Answer(scores, seconds, seconds).within(question.feasible)]

"""Choosers that know no history and look at no image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nns.bench.choosers._base import Answer, Chooser, Floats, Question, Scene

GENERAL = ("taught", "imagenet", "larger")
"""First trainings, of :data:`nns.priors.facts.STARTS`, that show a network many kinds of images."""


class RandomChooser(Chooser):
    """A random order: all scores are equal, and the measures are expectations over the order of equals."""

    def ask(self, question: Question) -> Sequence[Answer]:
        """Return every candidate the same score."""
        return [Answer(np.zeros(len(question.feasible))).within(question.feasible)]


class LargestChooser(Chooser):
    """The most parameters that fit; copies of one architecture are equals."""

    def ask(self, question: Question) -> Sequence[Answer]:
        """Order by parameters."""
        params: Floats = self.scene.matrix.params[question.task].astype(np.float64)
        return [Answer(params).within(question.feasible)]


class ImageNetChooser(Chooser):
    """The best accuracy on ImageNet that fits; then the largest, among what has no such accuracy."""

    def ask(self, question: Question) -> Sequence[Answer]:
        """Order by accuracy on ImageNet, where it is unknown by parameters."""
        matrix = self.scene.matrix
        imagenet = np.array([candidate.imagenet for candidate in matrix.candidates], np.float64)
        params = matrix.params[question.task].astype(np.float64)
        scores = np.where(np.isfinite(imagenet), imagenet, params / (params.max() + 1) - 1)
        fits = bool((np.isfinite(imagenet) & question.feasible).any())
        note = "" if fits else "no ImageNet network fits: the largest"
        return [Answer(scores, note=note).within(question.feasible)]


class PublishedChooser(Chooser):
    """The best mean of published accuracies on drawn pictures that fits; then the best on ImageNet, then the largest.

    Sketches and renditions are further from photographs than ImageNet, and so are many users' images.
    """

    PUBLISHED = ("imagenet-sketch", "imagenet-r")

    def ask(self, question: Question) -> Sequence[Answer]:
        """Order by the mean of those accuracies; what has none of them comes after what has."""
        matrix = self.scene.matrix
        figures = [[each.published.get(name, np.nan) for name in self.PUBLISHED] for each in matrix.candidates]
        drawn = np.array(figures, np.float64).mean(axis=1)
        imagenet = np.array([candidate.imagenet for candidate in matrix.candidates], np.float64)
        params = matrix.params[question.task].astype(np.float64)
        second = np.where(np.isfinite(imagenet), imagenet - 1, params / (params.max() + 1) - 2)
        scores = np.where(np.isfinite(drawn), drawn, second)
        note = "" if (np.isfinite(drawn) & question.feasible).any() else "no network with such figures fits"
        return [Answer(scores, note=note).within(question.feasible)]


class GeneralistChooser(Chooser):
    """The largest that fits among networks that have learned from many kinds of images, not from a small set alone."""

    def ask(self, question: Question) -> Sequence[Answer]:
        """Order by parameters, networks of a small set after all others."""
        matrix = self.scene.matrix
        params = matrix.params[question.task].astype(np.float64)
        facts = matrix.zoo.facts[: len(params)]
        general = np.array(
            [each.start in GENERAL and not each.refined for each in facts] or np.zeros(len(params)), bool
        )
        scores: Floats = params + general * (params.max() + 1)
        note = "" if (general & question.feasible).any() else "no generalist fits: the largest"
        return [Answer(scores, note=note).within(question.feasible)]


class ValidationChooser(Chooser):
    """What can be known of the test split: everything fine-tuned, and the best on the validation split taken.

    A choice that is to be better than this has to be luckier, since an accuracy of validation images and of one
    training is a draw. The oracle's advantage over it is what no chooser can be expected to have.
    """

    def ask(self, question: Question) -> Sequence[Answer]:
        """Order by validation accuracy."""
        return [_after_tuning(self.scene, question, self.scene.val[question.task])]


class OracleChooser(Chooser):
    """The best, known only afterwards; its seconds are those of fine-tuning everything that fits."""

    def ask(self, question: Question) -> Sequence[Answer]:
        """Order by the ground truth."""
        return [_after_tuning(self.scene, question, self.scene.accuracy[question.task])]


def _after_tuning(scene: Scene, question: Question, scores: Floats) -> Answer:
    """Order by scores (C,) that are known once everything within the limit is fine-tuned, in the seconds of that."""
    paid = np.nan_to_num(scene.tuning_seconds[question.task])
    seconds = float("nan") if scene.head_only else float(paid[question.feasible].sum())
    return Answer(scores, seconds, seconds, paid=paid).within(question.feasible)

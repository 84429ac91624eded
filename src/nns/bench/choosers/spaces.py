"""Choosers that are space methods: fitted to a zoo and its history, asked with query features."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.bench.choosers._base import Answer, Chooser, Floats, Question, Scene
from nns.bench.choosers.history import other_families
from nns.bench.choosers.timing import SearchSeconds
from nns.data.cache import draw_by_class
from nns.searching.probes import moved_accuracy, probe_terms
from nns.searching.probes.running import PROBED
from nns.searching.together import choose_together
from nns.space import SpaceData, evaluate_held_out
from nns.space.space import MIN_DATASETS_HELD_OUT, accuracy_report
from nns.threads import limited_threads, threads_wanted

if TYPE_CHECKING:
    from nns.plugins import Registry
    from nns.space import SpaceMethod


@dataclass(frozen=True)
class Variant:
    """A space method, or a change to one.

    Attributes:
        method: Name of the method; empty: the one that is measured.
        settings: Arguments of its constructor, beside the seed.
        data: What is done to the data before the fit.
        shuffles: If not 0, the query is that of another dataset of another family, drawn so many times.
        of: Name of the only method that this makes sense for; empty: any.
        images: Query images that it may look at, drawn by class and anew with each seed; 0: all.
        order: Scores (C,) in place of the method's own, from the method, the query and the network embeddings.
    """

    method: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: Callable[[SpaceData], SpaceData] | None = None
    shuffles: int = 0
    of: str = ""
    images: int = 0
    order: Callable[[SpaceMethod, np.ndarray, np.ndarray], np.ndarray] | None = None


def similarity_alone(method: SpaceMethod, query: np.ndarray, networks: np.ndarray) -> np.ndarray:
    """Order by the cosine of dataset and network in the space, as retrieval does without a predictor."""
    return method.similarity(query, networks)


def score_without_prior(method: SpaceMethod, query: np.ndarray, networks: np.ndarray) -> np.ndarray:
    """Order by what reacts to the images: the terms of the score but for the network's own quality."""
    terms = getattr(method, "terms")(query, networks)  # noqa: B009 - not every method has it
    return sum((term for name, term in terms.items() if name != "prior"), np.zeros(len(networks)))


def prior_alone(method: SpaceMethod, query: np.ndarray, networks: np.ndarray) -> np.ndarray:
    """Order by what is expected whatever the images: what ``nns search`` calls its static choice comes first."""
    return method.prior(networks)


def without_history(data: SpaceData) -> SpaceData:
    """Leave out all results of networks on other datasets than their own."""
    return replace(
        data,
        transfer_network=np.zeros(0, np.int64),
        transfer_dataset=np.zeros(0, np.int64),
        transfer_accuracy=np.zeros(0),
    )


def without_functional(data: SpaceData) -> SpaceData:
    """Replace what networks do with reference images by zeros."""
    blanked = {"kernel", "surprise", "functional"}
    return replace(
        data, blocks={name: np.zeros_like(block) if name in blanked else block for name, block in data.blocks.items()}
    )


@dataclass(frozen=True, eq=False)
class Fitted:
    """A method fitted for one family.

    Attributes:
        method: The method.
        networks: (C, dim) embeddings of the candidates.
        seconds: Processor seconds of the fit.
    """

    method: SpaceMethod
    networks: np.ndarray
    seconds: float


class Fits:
    """Fits of methods, each made once: they differ by method and change, family, seed, and kind of history."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.made: dict[tuple[Any, ...], Fitted] = {}
        self._errors: dict[tuple[Any, ...], float] = {}

    def get(self, variant: Variant, scene: Scene, task: int, seed: int) -> Fitted:
        """Fit for the family of a dataset, or give the fit that is there."""
        key = (*self._key(variant, scene, task), seed)
        if key not in self.made:
            data = self._data(variant, scene, task)
            method = self.registry.make("method", variant.method, **variant.settings, seed=seed)
            started = time.process_time()
            with limited_threads(threads_wanted()):
                method.fit(data)
            seconds = time.process_time() - started
            networks = method.embed_zoo(data)[: len(scene.matrix.candidates)]
            self.made[key] = Fitted(method, networks, seconds)
        return self.made[key]

    def error80(self, variant: Variant, scene: Scene, task: int) -> float:
        """Return the error of predicted accuracy that 80 % of held-out pairs stay below, as ``nns space fit`` has it.

        It is measured once for a family, with the first seed; NaN with too few datasets.
        """
        key = self._key(variant, scene, task)
        if key not in self._errors:
            data = self._data(variant, scene, task)
            self._errors[key] = float("nan")
            if len(data.paired_datasets()) >= MIN_DATASETS_HELD_OUT:
                make = partial(self.registry.make, "method", variant.method, **variant.settings)
                report = evaluate_held_out(make, data)
                self._errors[key] = float(accuracy_report(data, report)["error80"])
        return self._errors[key]

    @staticmethod
    def _key(variant: Variant, scene: Scene, task: int) -> tuple[Any, ...]:
        # without history the two ground truths give the same data
        head_only = scene.head_only and variant.data is not without_history
        settings = tuple(sorted((name, repr(value)) for name, value in variant.settings.items()))
        return id(scene.matrix), variant.method, settings, variant.data, scene.matrix.tasks[task].family, head_only

    @staticmethod
    def _data(variant: Variant, scene: Scene, task: int) -> SpaceData:
        data = scene.matrix.training_data(task, scene.head_only)
        return variant.data(data) if variant.data else data


def _own_score(method: SpaceMethod, query: np.ndarray, networks: np.ndarray) -> np.ndarray:
    return method.score(query, networks)


class SpaceChooser(Chooser):
    """A space method with several seeds, each a run of its own.

    Args:
        name: What it is called.
        scene: The matrix and its ground truth.
        variant: The method.
        fits: Where fits are shared.
        seeds: The seeds.
        seconds: Of reading the query images and computing their features.
        kind: ``"method"``, ``"baseline"`` or ``"ablation"``.
    """

    def __init__(
        self,
        name: str,
        scene: Scene,
        variant: Variant,
        fits: Fits,
        seeds: Sequence[int],
        seconds: SearchSeconds,
        kind: str = "method",
    ) -> None:
        super().__init__(name, scene)
        self.variant, self.fits, self.seeds, self.seconds = variant, fits, tuple(seeds), seconds
        self.kind = kind  # type: ignore[misc]
        self._answers: dict[int, list[Answer]] = {}

    def ask(self, question: Question) -> Sequence[Answer]:
        """Order by the method's score."""
        if question.task not in self._answers:  # the limit changes nothing but what is left out
            self._answers[question.task] = [
                self._answer(question.task, self.fits.get(self.variant, self.scene, question.task, seed), query, seed)
                for seed in self.seeds
                for query in self._queries(question.task, seed)
            ]
        return [answer.within(question.feasible) for answer in self._answers[question.task]]

    def _queries(self, task: int, seed: int) -> list[int]:
        if not self.variant.shuffles:
            return [task]
        others = other_families(self.scene, task) or [task]
        rng = np.random.default_rng([seed, task])
        return [int(t) for t in rng.choice(others, min(self.variant.shuffles, len(others)), replace=False)]

    def _answer(self, task: int, fitted: Fitted, query: int, seed: int) -> Answer:
        matrix, method = self.scene.matrix, fitted.method
        row = matrix.offset + query
        features, labels = matrix.zoo.queries[row], matrix.zoo.query_labels[row]
        if self.variant.images:
            drawn = draw_by_class(labels, self.variant.images, seed)
            features, labels = features[drawn], labels[drawn]
        started = time.process_time()
        embedding = method.embed_query(features, labels)
        scores = (self.variant.order or _own_score)(method, embedding, fitted.networks)
        predicted = method.predict_accuracy(embedding, fitted.networks).astype(np.float64)
        seconds = time.process_time() - started + self.seconds.checking(matrix.tasks[task].images)
        return Answer(
            scores.astype(np.float64),
            self.seconds.cold + seconds,
            self.seconds.warm + seconds,
            predicted=predicted,
            interval=self._interval(task, fitted, embedding, predicted),
            residuals=method.residuals(fitted.networks).astype(np.float64),
            prior=method.prior(fitted.networks).astype(np.float64),
        )

    def _interval(self, task: int, fitted: Fitted, embedding: np.ndarray, predicted: Floats) -> Floats | None:
        """Return an 80 % interval of predicted accuracies (C,), (C, 2).

        It is the method's own if it has ``predict_interval(query_embedding, network_embeddings)``; else that of
        ``nns search``, from the errors on held-out datasets, for what is measured on full fine-tuning.
        """
        if self.kind != "method":
            return None
        give = getattr(fitted.method, "predict_interval", None)
        if give is not None:
            return np.asarray(give(embedding, fitted.networks), np.float64)
        if self.scene.head_only:
            return None
        error = self.fits.error80(self.variant, self.scene, task)
        return np.clip(predicted[:, None] + error * np.array([-1.0, 1.0]), 0, 1) if np.isfinite(error) else None


class TogetherChooser(Chooser):
    """Another chooser with its first three replaced by those that ``nns finetune`` takes, chosen together.

    Args:
        chooser: The chooser; its answers have predictions and residuals.
    """

    kind = "method"

    def __init__(self, chooser: SpaceChooser) -> None:
        super().__init__(f"{chooser.name}, three together", chooser.scene)
        self.chooser = chooser

    def ask(self, question: Question) -> Sequence[Answer]:
        """Put the three before all others, in the order in which they were chosen."""
        return [self._together(answer) for answer in self.chooser.ask(question)]

    @staticmethod
    def _together(answer: Answer) -> Answer:
        if answer.predicted is None or answer.residuals is None:
            return answer
        pool = [int(c) for c in np.argsort(-answer.scores, kind="stable") if np.isfinite(answer.scores[c])]
        few = choose_together(pool[: answer.pool], answer.predicted, answer.residuals)
        scores = answer.scores.copy()
        top = float(scores[pool[0]]) if pool else 0.0
        scores[few] = top + np.arange(len(few), 0, -1)
        return replace(answer, scores=scores)


class Probing(Chooser):
    """What ``nns search --probe`` adds to the chooser after it among the bases.

    The best few and the static choice are ranked anew by a linear probe.
    """

    seconds: SearchSeconds

    def ask(self, question: Question) -> Sequence[Answer]:
        """Add the probe's part to the scores of the best few; all others come after those."""
        return [self._probed(answer, question) for answer in super().ask(question)]  # type: ignore[safe-super]

    def _probed(self, answer: Answer, question: Question) -> Answer:
        matrix, task = self.scene.matrix, question.task
        order = np.argsort(-answer.scores, kind="stable")
        best = [int(c) for c in order[:PROBED] if np.isfinite(answer.scores[c])]
        if answer.prior is not None:
            static = int(np.argmax(np.where(np.isfinite(answer.scores), answer.prior, -np.inf)))
            best = list(dict.fromkeys([*best, static]))
        parts = probe_terms({c: float(matrix.scores["ridge"][task, c]) for c in best})
        added = np.array([parts[c] for c in best])
        scores = answer.scores.copy()
        scores[best] += added
        rest = np.isfinite(scores)
        rest[best] = False
        if rest.any():
            scores[best] += max(0.0, float(scores[rest].max() - scores[best].min()) + 1.0)
        each = matrix.feature_seconds[task] + matrix.score_seconds["ridge"][task]
        seconds = self.seconds.reading * matrix.tasks[task].images + float(np.nansum(each[best], dtype=np.float64))
        found = replace(answer, scores=scores, cold=answer.cold + seconds, warm=answer.warm + seconds, pool=len(best))
        if answer.predicted is None:
            return found
        predicted = answer.predicted.copy()
        predicted[best] = [moved_accuracy(*each) for each in zip(predicted[best], added, strict=True)]
        moved = (predicted - answer.predicted)[:, None]
        interval = None if answer.interval is None else np.clip(answer.interval + moved, 0, 1)
        return replace(found, predicted=predicted, interval=interval)


class ProbedSpaceChooser(Probing, SpaceChooser):
    """``nns search --probe`` with a fitted space."""

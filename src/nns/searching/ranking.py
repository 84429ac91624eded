"""The search: a dataset and limits in, ranked networks out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.data import QUERY_IMAGES, Dataset
from nns.errors import UsageError
from nns.searching.limits import CostColumns, NetworkTable, feasible
from nns.searching.measuring import latencies
from nns.searching.neighbours import neighbourhood
from nns.searching.probing import PROBED, check_probe, moved_accuracy, probe, probe_terms
from nns.searching.results import Candidate, Gain, QueryDataset, SearchResult, SearchSeconds
from nns.searching.together import TOGETHER, choose_together
from nns.space import Scores, Space
from nns.types import Limits, NetworkEntry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.zoo import Zoo

Progress = Callable[[str, int, int], None]
"""``progress(what, done, total)``."""


def _part(progress: Progress | None, what: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(what, done, total)


def search(
    data: Any,
    zoo: Zoo,
    limits: Limits | None = None,
    *,
    top: int = 10,
    classes: int | None = None,
    space: str | None = None,
    device: str = "cpu",
    seed: int = 0,
    images: int = QUERY_IMAGES,
    probe_seconds: float | None = None,
    tries: int = TOGETHER,
    progress: Progress | None = None,
) -> SearchResult:
    """Rank the networks of a zoo that meet the limits, for a dataset.

    Args:
        data: What :meth:`nns.data.Dataset.of` takes: a path, ``torchvision:NAME``, images in lists or arrays, with or
            without labels; or an opened dataset.
        zoo: The zoo, with a fitted space.
        limits: Hard limits, each counted with the head that the data needs.
        top: Candidates to give.
        classes: Classes of the head that limits count, where the data does not say (None: each network's own).
        space: Name of the fitted space; None: the default method's.
        device: Where latencies count.
        seed: Of the sample of images.
        images: Images to look at, at most: of each class its first before any second, ten a class.
        probe_seconds: Re-rank the best by a linear probe on the images, within so many seconds; None: do not.
        tries: Networks to choose for being fine-tuned together.
        progress: Called as things go on.

    Raises:
        DatasetError: If the data cannot be read.
        NoNetworkError: If no network meets the limits.
        UsageError: If the zoo has no fitted space, ``top``, ``images`` or ``tries`` is not positive, or a probe is
            asked for without labels.
    """
    started = time.perf_counter()
    for option, value in {"--top": top, "--images": images, "--try": tries}.items():
        if value < 1:
            raise UsageError(f"{option} must be at least 1, not {value}")
    limits = limits or Limits()
    fitted = Space.load(zoo, space)
    if limits.backend is not None:
        zoo.registry.backend(limits.backend)
    extractor = zoo.extractor
    opened = Dataset.of(data, require_labels=False, registry=zoo.registry)
    if probe_seconds is not None:
        check_probe(opened)
    query = opened.features(extractor, images=images, seed=seed, progress=progress)
    unread = opened.unreadable(progress=_part(progress, "checking images"))
    features_done = time.perf_counter()
    entries = zoo.entries()
    table, all_ids = NetworkTable.of(entries), np.array(zoo.ids())
    digest = zoo.digest()
    score_started = time.perf_counter()
    costs = table.costs(len(opened.classes) if opened.labelled else classes)
    measuring = _part(progress, "measuring latency")
    mask, seconds = feasible(table, costs, limits, lambda ids: latencies(zoo, ids, device, measuring))
    rows = np.flatnonzero(mask)
    scores = fitted.score(query, rows)
    ids = all_ids[rows]
    order = np.lexsort((ids, -scores.score))
    score_seconds = time.perf_counter() - score_started
    probed: dict[str, float] = {}
    if probe_seconds is not None:
        best = [entries[int(rows[i])] for i in (*order[:PROBED], _static_index(scores, ids))]
        best = list({entry.id: entry for entry in best}.values())
        part = _part(progress, "probing networks")
        probed = probe(opened, zoo, best, probe_seconds, seed=seed, progress=part)
        order = _reordered(order, scores, ids, probed)
    probe_done = time.perf_counter()
    make = _CandidateMaker(entries, costs, rows, scores, seconds, fitted, probed)
    candidates = tuple(make(int(i), rank) for rank, i in enumerate(order[:top], 1))
    static = _static(make, scores, order, ids)
    ranked = {int(i): rank for rank, i in enumerate(order, 1)}
    few = choose_together(_pool(order, probed, tries), _predicted(scores, order, ids, probed), scores.residuals, tries)
    return SearchResult(
        dataset=QueryDataset(
            path=opened.path,
            classes=len(opened.classes) if opened.labelled else None,
            images=len(opened),
            skipped=tuple((item.path, item.reason) for item in unread),
            digest=opened.digest,
        ),
        zoo_path=str(zoo.path),
        zoo_digest=digest,
        zoo_networks=len(entries),
        space=fitted.name,
        limits=limits,
        feasible=len(rows),
        candidates=candidates,
        static_choice=static,
        seconds=SearchSeconds(
            features=features_done - started,
            score=score_seconds,
            total=time.perf_counter() - started,
            probe=probe_done - score_started - score_seconds,
        ),
        neighbourhood=neighbourhood(query, zoo),
        gain=_gain(candidates[0], static, fitted),
        together=tuple(make(i, ranked[i]) for i in few),
    )


def _reordered(
    order: NDArray[np.int64], scores: Scores, ids: NDArray[np.str_], probed: dict[str, float]
) -> NDArray[np.int64]:
    """Put those that were probed in the order of their new scores, before all others."""
    first = [int(i) for i in order if str(ids[i]) in probed]
    terms = probe_terms(probed)
    first.sort(key=lambda i: (-float(scores.score[i]) - terms[str(ids[i])], str(ids[i])))
    return np.array([*first, *(int(i) for i in order if str(ids[i]) not in probed)], np.int64)


def _pool(order: NDArray[np.int64], probed: dict[str, float], tries: int) -> NDArray[np.int64]:
    """Return those that several to fine-tune are chosen from: the probed ones, unless time was up before all were."""
    complete = len(probed) >= max(min(PROBED, len(order)), tries)
    return order[: len(probed)] if complete else order


def _predicted(
    scores: Scores, order: NDArray[np.int64], ids: NDArray[np.str_], probed: dict[str, float]
) -> NDArray[np.float64]:
    """Return predicted accuracies (n,), 0..1, those of the networks that were probed with what the probe says."""
    predicted, terms = scores.predicted.astype(np.float64), probe_terms(probed)
    for i in order[: len(probed)]:
        predicted[i] = moved_accuracy(float(predicted[i]), terms[str(ids[i])])
    return predicted


def _gain(choice: Candidate, static: Candidate, space: Space) -> Gain:
    points = 100 * (choice.predicted_accuracy - static.predicted_accuracy)
    margin = space.gain_margin()
    if choice.entry.id == static.entry.id:
        return Gain(0.0, (0.0, 0.0))
    return Gain(points, None if margin is None else (points - 100 * margin, points + 100 * margin))


def _static(make: _CandidateMaker, scores: Scores, order: NDArray[np.int64], ids: NDArray[np.str_]) -> Candidate:
    """Pick the network of the highest prior: what a ranking blind to the dataset would give."""
    best = _static_index(scores, ids)
    return make(best, int(np.flatnonzero(order == best)[0]) + 1)


def _static_index(scores: Scores, ids: NDArray[np.str_]) -> int:
    return int(np.lexsort((ids, -scores.prior))[0])


class _CandidateMaker:
    def __init__(
        self,
        entries: Sequence[NetworkEntry],
        costs: CostColumns,
        rows: NDArray[np.int64],
        scores: Scores,
        latency: dict[str, float],
        space: Space,
        probed: dict[str, float],
    ) -> None:
        self.probed, self.probe_terms = probed, probe_terms(probed)
        self.entries, self.costs, self.rows, self.scores = entries, costs, rows, scores
        self.latency, self.margin = latency, space.interval_margin()

    def __call__(self, index: int, rank: int) -> Candidate:
        row = int(self.rows[index])
        entry = self.entries[row]
        added = self.probe_terms.get(entry.id, 0.0)
        predicted = moved_accuracy(float(self.scores.predicted[index]), added)
        interval = None
        if self.margin is not None:
            interval = (max(0.0, predicted - self.margin), min(1.0, predicted + self.margin))
        terms = {name: float(part[index]) for name, part in self.scores.terms.items()}
        if entry.id in self.probed:
            terms["probe"] = added
        return Candidate(
            rank=rank,
            entry=entry,
            params=int(self.costs.params[row]),
            macs=int(self.costs.macs[row]),
            bytes=int(self.costs.bytes[row]),
            latency=self.latency.get(entry.id),
            score=float(self.scores.score[index]) + added,
            similarity=float(self.scores.similarity[index]),
            prior=float(self.scores.prior[index]),
            predicted_accuracy=predicted,
            interval=interval,
            terms=terms,
            probe=self.probed.get(entry.id),
        )

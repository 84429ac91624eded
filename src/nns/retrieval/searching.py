"""The search: a dataset and limits in, ranked networks out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nns.errors import UsageError
from nns.images import load_sample, open_dataset, unreadable_images
from nns.queries import EfficientNetLite0Extractor
from nns.retrieval.limits import CostColumns, NetworkTable, feasible
from nns.retrieval.measuring import latencies
from nns.retrieval.results import Candidate, QueryDataset, SearchResult, SearchSeconds
from nns.retrieval.scoring import LoadedSpace, Scores, choose_space, load_space
from nns.types import DatasetRecord, Limits, NetworkEntry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.plugins import Registry
    from nns.zoo import Zoo

Progress = Callable[[str, int, int], None]
"""``progress(what, done, total)``."""


def _part(progress: Progress | None, what: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(what, done, total)


def query_record(
    data: str, *, seed: int = 0, extractor: EfficientNetLite0Extractor | None = None, progress: Progress | None = None
) -> tuple[DatasetRecord, QueryDataset]:
    """Read a dataset's sample (up to ten images a class) and compute its query features.

    Raises:
        DatasetError: If it cannot be read.
    """
    extractor = extractor or EfficientNetLite0Extractor()
    dataset = open_dataset(data, require_labels=False)
    images, kept, skipped = load_sample(
        dataset,
        extractor.image_size,
        seed=seed,
        progress=_part(progress, "reading images"),
    )
    record = DatasetRecord(
        name=dataset.name,
        digest=dataset.digest,
        classes=dataset.classes,
        features=extractor.extract(images, _part(progress, "computing features")),
        labels=dataset.labels[kept],
        images=len(dataset),
        extractor=extractor.name,
    )
    named = {item.path for item in skipped}
    seen = {index for index, item in enumerate(dataset.items) if item.key in named} | set(kept.tolist())
    skipped += unreadable_images(dataset, exclude=seen, progress=_part(progress, "checking images"))
    unread = tuple((item.path, item.reason) for item in skipped)
    classes = len(dataset.classes) if dataset.labelled else None
    return record, QueryDataset(data, classes, len(dataset), unread, dataset.digest)


def search(
    data: str,
    zoo: Zoo,
    registry: Registry,
    limits: Limits | None = None,
    *,
    top: int = 10,
    classes: int | None = None,
    space: str | None = None,
    device: str = "cpu",
    seed: int = 0,
    progress: Progress | None = None,
) -> SearchResult:
    """Rank the networks of a zoo that meet the limits, for a dataset.

    Args:
        data: DATA: folders of images, a table, ``torchvision:NAME``, or a flat folder without labels.
        zoo: The zoo, with a fitted space.
        registry: Where backends and methods are.
        limits: Hard limits, each counted with the head that the data needs.
        top: Candidates to give.
        classes: Classes of the head that limits count, where the data does not say (None: each network's own).
        space: Name of the fitted space; None: the default method's.
        device: Where latencies count.
        seed: Of the sample of images.
        progress: Called as things go on.

    Raises:
        DatasetError: If the data cannot be read.
        NoNetworkError: If no network meets the limits.
        UsageError: If the zoo has no fitted space, or ``top`` is not positive.
    """
    started = time.perf_counter()
    if top < 1:
        raise UsageError(f"--top must be at least 1, not {top}")
    limits = limits or Limits()
    chosen_space = choose_space(zoo, space)
    if limits.backend is not None:
        registry.backend(limits.backend)
    query, dataset = query_record(data, seed=seed, progress=progress)
    features_done = time.perf_counter()
    loaded = load_space(zoo, registry, chosen_space)
    entries = zoo.entries()
    table, all_ids = NetworkTable.of(entries), np.array(zoo.ids())
    digest = zoo.digest()
    score_started = time.perf_counter()
    costs = table.costs(classes if dataset.classes is None else dataset.classes)
    measuring = _part(progress, "measuring latency")
    mask, seconds = feasible(table, costs, limits, lambda ids: latencies(zoo, registry, ids, device, measuring))
    rows = np.flatnonzero(mask)
    scores = loaded.score(query, rows)
    ids = all_ids[rows]
    order = np.lexsort((ids, -scores.score))
    score_seconds = time.perf_counter() - score_started
    make = _CandidateMaker(entries, costs, rows, scores, seconds, loaded)
    return SearchResult(
        dataset=dataset,
        zoo_path=str(zoo.path),
        zoo_digest=digest,
        zoo_networks=len(entries),
        space=chosen_space,
        limits=limits,
        feasible=len(rows),
        candidates=tuple(make(int(i), rank) for rank, i in enumerate(order[:top], 1)),
        static_choice=_static(make, scores, order, ids),
        seconds=SearchSeconds(features_done - started, score_seconds, time.perf_counter() - started),
    )


def _static(make: _CandidateMaker, scores: Scores, order: NDArray[np.int64], ids: NDArray[np.str_]) -> Candidate:
    """Pick the network of the highest prior: what a ranking blind to the dataset would give."""
    best = int(np.lexsort((ids, -scores.prior))[0])
    return make(best, int(np.flatnonzero(order == best)[0]) + 1)


class _CandidateMaker:
    def __init__(
        self,
        entries: Sequence[NetworkEntry],
        costs: CostColumns,
        rows: NDArray[np.int64],
        scores: Scores,
        latency: dict[str, float],
        space: LoadedSpace,
    ) -> None:
        self.entries, self.costs, self.rows, self.scores = entries, costs, rows, scores
        self.latency, self.margin = latency, space.interval_margin()

    def __call__(self, index: int, rank: int) -> Candidate:
        row = int(self.rows[index])
        entry = self.entries[row]
        predicted = float(self.scores.predicted[index])
        interval = None
        if self.margin is not None:
            interval = (max(0.0, predicted - self.margin), min(1.0, predicted + self.margin))
        return Candidate(
            rank=rank,
            entry=entry,
            params=int(self.costs.params[row]),
            macs=int(self.costs.macs[row]),
            bytes=int(self.costs.bytes[row]),
            latency=self.latency.get(entry.id),
            score=float(self.scores.score[index]),
            similarity=float(self.scores.similarity[index]),
            prior=float(self.scores.prior[index]),
            predicted_accuracy=predicted,
            interval=interval,
        )

"""Evaluation on datasets that the fit has not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.errors import UsageError
from nns.space.metrics import mean_within, prediction_errors, ranks_of, summarise_ranks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.space._base import SpaceMethod
    from nns.space._data import IntArray, SpaceData

MIN_LEFT = 2
"""Datasets that must be left to fit on."""


def held_out_folds(data: SpaceData, folds: int, seed: int, *, transfers: bool = False) -> list[IntArray]:
    """Split the datasets that have networks into folds, whole families together where there are enough.

    Families are dealt, largest first and otherwise in random order, to the fold that has fewest datasets.

    Args:
        data: The zoo.
        folds: Wanted number of folds; fewer where there are fewer datasets.
        seed: Seed of the order.
        transfers: Whether datasets count, too, that have no networks but results of networks trained elsewhere.

    Returns:
        Indices of the datasets of each fold.

    Raises:
        UsageError: If fewer than three such datasets are there.
    """
    paired = data.paired_datasets()
    datasets = _known_datasets(data) if transfers else paired
    folds = min(folds, len(datasets))
    if folds < 2 or len(datasets) <= MIN_LEFT:
        raise UsageError(
            f"a held-out evaluation needs at least {MIN_LEFT + 1} datasets with networks and two folds, "
            f"there are {len(datasets)} datasets"
        )
    members: dict[str, list[int]] = {}
    for d in datasets:
        members.setdefault(data.families[d], []).append(int(d))
    groups = list(members.values()) if len(members) >= folds else [[int(d)] for d in datasets]
    order = np.random.default_rng(seed).permutation(len(groups))
    dealt: list[list[int]] = [[] for _ in range(folds)]
    for group in sorted((groups[i] for i in order), key=len, reverse=True):
        min(dealt, key=len).extend(group)
    return [np.array(sorted(fold), np.int64) for fold in dealt if len(np.setdiff1d(paired, fold)) >= MIN_LEFT]


def _known_datasets(data: SpaceData) -> IntArray:
    moved = np.unique(data.transfer_dataset[np.isfinite(data.transfer_accuracy)])
    described = np.array([d for d in moved if len(data.queries[d])], np.int64)
    return np.union1d(data.paired_datasets(), described)


def evaluate_held_out(
    method_factory: Callable[[], SpaceMethod], data: SpaceData, folds: int = 5, seed: int = 0
) -> dict[str, Any]:
    """Fit without some datasets and their networks, then retrieve for them among ALL networks of the zoo.

    Args:
        method_factory: Makes an unfitted method.
        data: The zoo.
        folds: Number of folds, split by dataset, whole families together.
        seed: Seed of the split.

    Returns:
        A JSON-able report: ``retrieval`` (order by similarity) and ``ranking`` (order by score) as in
        :func:`nns.space.metrics.summarise_ranks`, ``accuracy`` of the predictor on own pairs, and
        ``transfer``, the same where results on other datasets are known, else None.

    Raises:
        UsageError: If there are too few datasets.
    """
    started = perf_counter()
    results = []
    for out in held_out_folds(data, folds, seed, transfers=True):
        kept = data.without(out)
        method = method_factory().fit(kept)
        embeddings = method.add_facts(method.embed_networks(data.blocks), data.facts)
        # networks that stay have what is known of how they did on the datasets that stay
        embeddings[~np.isin(data.dataset_index, out)] = method.embed_zoo(kept)
        known = kept.accuracy[np.isfinite(kept.accuracy)]
        usual = float(known.mean()) if len(known) else 0.5
        results += [_Held(data, method, embeddings, int(d), usual) for d in out]
    candidates, paired = len(data.network_ids), [r for r in results if len(r.similarity_ranks)]
    return {
        "folds": folds,
        "families": len(set(data.families)),
        "retrieval": summarise_ranks([r.similarity_ranks for r in paired], candidates),
        "ranking": summarise_ranks([r.score_ranks for r in paired], candidates),
        "accuracy": _accuracy_report(results),
        "transfer": _transfer_report(results),
        "seconds": round(perf_counter() - started, 3),
    }


class _Held:
    """What a method says of one dataset that it has not seen."""

    def __init__(
        self,
        data: SpaceData,
        method: SpaceMethod,
        embeddings: NDArray[np.float32],
        dataset: int,
        usual: float,
    ) -> None:
        own = data.matches(dataset)
        query = method.embed_query(data.queries[dataset], data.query_labels[dataset])
        self.dataset, self.usual = dataset, usual
        self.similarity_ranks = ranks_of(method.similarity(query, embeddings), own)
        score = method.score(query, embeddings)
        self.score_ranks = ranks_of(score, own)
        known = own[np.isfinite(data.accuracy[own])]
        self.actual = np.asarray(data.accuracy[known], np.float64)
        self.predicted = method.predict_accuracy(query, embeddings[known])
        prior = method.prior(embeddings)
        self.own_prior = prior[known]
        rows = (data.transfer_dataset == dataset) & np.isfinite(data.transfer_accuracy)
        moved = data.transfer_network[rows]
        self.moved_actual = np.asarray(data.transfer_accuracy[rows], np.float64)
        self.moved_score, self.moved_prior = score[moved], prior[moved]
        self.moved_predicted = method.predict_accuracy(query, embeddings[moved])

    def gain_error(self) -> float:
        """Tell how far off the expected gain of the choice over the static choice is, among known transfers."""
        choice, static = int(self.moved_score.argmax()), int(self.moved_prior.argmax())
        expected = self.moved_predicted[choice] - self.moved_predicted[static]
        return float(abs(expected - (self.moved_actual[choice] - self.moved_actual[static])))


def conformal_quantile(errors: NDArray[np.float64], coverage: float = 0.8) -> float:
    """Return the half-width that covers a further error with at least this probability.

    The ceil((n + 1) coverage)-th smallest of n errors; 1 where there are too few to say.

    Source: Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005 (split conformal prediction).
    """
    position = int(np.ceil((len(errors) + 1) * coverage))
    return float(np.sort(errors)[position - 1]) if 0 < position <= len(errors) else 1.0


def _accuracy_report(results: Sequence[_Held]) -> dict[str, float]:
    predicted = np.concatenate([r.predicted for r in results])
    actual = np.concatenate([r.actual for r in results])
    report = prediction_errors(predicted, actual)
    usual = np.concatenate([np.full(len(r.actual), r.usual) for r in results])
    report["error80"] = conformal_quantile(np.abs(predicted - actual))
    report["mae_of_the_mean"] = prediction_errors(usual, actual)["mae"]
    report["spearman_within_dataset"] = mean_within({r.dataset: (r.predicted, r.actual) for r in results})
    report["spearman_within_dataset_prior"] = mean_within({r.dataset: (r.own_prior, r.actual) for r in results})
    return report


def _transfer_report(results: Sequence[_Held]) -> dict[str, float] | None:
    if not any(len(r.moved_actual) for r in results):
        return None
    report = prediction_errors(
        np.concatenate([r.moved_predicted for r in results]),
        np.concatenate([r.moved_actual for r in results]),
    )
    report["error80"] = conformal_quantile(
        np.concatenate([np.abs(r.moved_predicted - r.moved_actual) for r in results])
    )
    report["gain80"] = conformal_quantile(np.array([r.gain_error() for r in results if len(r.moved_actual) > 1]))
    report["spearman_within_dataset"] = mean_within({r.dataset: (r.moved_score, r.moved_actual) for r in results})
    report["spearman_within_dataset_prior"] = mean_within({r.dataset: (r.moved_prior, r.moved_actual) for r in results})
    return report

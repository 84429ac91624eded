"""What the user's own results say of the networks of a search.

Of each result there is left what the scores of the search did not expect::

    logit(accuracy) = score(network, dataset) + level(run) + f(network, dataset) + noise

f is a Gaussian process, whose covariance is the likeness of two networks (the same one, one architecture, pretrained on
the same data, alike in size) times the likeness of two datasets. Its posterior mean at the user's images corrects the
scores. Thus few results move little and many move much, results on unlike images hardly count, and what a run says
counts in comparison of its networks, as the level of its dataset and recipe is unknown: no threshold anywhere. Kriging
with a random effect a group; Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, eq. 2.25.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.history.records import FineTuning, KnownResult, weights_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.stores._description import Description
    from nns.types import DatasetRecord, NetworkEntry
    from nns.zoo import Zoo

    Numbers = NDArray[np.float64]
    Rows = NDArray[np.int64]
    BaseScores = Callable[[DatasetRecord, Rows], NDArray[np.floating]]
    """Scores, in logits, of the networks at some rows of the zoo for a dataset, by what the search ranks with."""

SAME_NETWORK, SAME_ARCHITECTURE, SAME_SOURCE, SIZE = 0.06, 0.02, 0.05, 0.02
"""Variances of f, in squared logits, by what two networks have in common; in all a deviation of 0.4: what an additive
model leaves of benchmarks/history/fine_tunings.jsonl deviates by 0.16 among students, 0.43 with one from scratch."""
SIZE_SCALE = 2.0
"""Powers of two in the number of parameters over which size counts once."""
ANY_DATASET = 0.2
"""Share of f that all datasets of one user have in common, however unlike."""
TEMPERATURE = 0.15
"""Width of the kernel over cosines of mean features. Of tasks of one family of the bank the median cosine is 0.68, of
others 0.55: their likenesses are 0.12 and 0.05, and those of near ones (0.9) 0.51."""
LEVEL = 1.0
"""Variance of the level of a run."""
NOISE = 0.05
"""Variance of a result that another seed or another dataset as alike brings, beside that of few validation images."""
HALVED = 0.1
"""Variance more where a network was left out early: who is behind then need not stay behind."""
COUNTED = 100
"""Fine-tunings that count, those on the most similar datasets: the time of a search is bounded."""
FEW = 2000
"""Networks up to which all descriptions of a zoo are parsed, to find networks by their weights."""
RELATED = 2000
"""Networks up to which architecture and source count, for which every network's description is parsed."""


@dataclass(frozen=True, eq=False)
class OwnResults:
    """What own results add to the scores of k networks.

    Attributes:
        added: (k,) logits.
        results: Results that counted.
        datasets: Datasets on which they were.
        nearest: Name of the one that is most alike; empty without any.
        likeness: Its likeness, 0..1.
    """

    added: Numbers
    results: int = 0
    datasets: int = 0
    nearest: str = ""
    likeness: float = 0.0

    def of(self, some: NDArray[np.intp]) -> OwnResults:
        """Keep what is added to some of the k networks."""
        return replace(self, added=self.added[some])

    def to_dict(self) -> dict[str, Any]:
        """Return what ``nns search --json`` says of it."""
        nearest = {"dataset": self.nearest, "likeness": round(self.likeness, 4)} if self.results else None
        return {"results": self.results, "datasets": self.datasets, "nearest": nearest}


@dataclass(frozen=True, eq=False)
class _Observed:
    """r results: row of the network in the zoo, number of the run, logit, and variance of that."""

    row: Rows
    run: Rows
    logit: Numbers
    noise: Numbers


def own_results(
    records: Sequence[FineTuning], query: DatasetRecord, zoo: Zoo, rows: Rows, base: BaseScores
) -> OwnResults:
    """Compute what the results of a history add to the scores of networks.

    Args:
        records: The history.
        query: Query features of the user's images.
        zoo: Where the networks are; results of others are left out.
        rows: (k,) rows of the networks that are scored.
        base: What the search ranks with.
    """
    runs, likeness = _most_alike(records, query)
    observed = _observe(runs, zoo)
    if not len(observed.row):
        return OwnResults(np.zeros(len(rows)))
    used = np.unique(observed.run)
    expected = np.zeros(len(observed.row))
    for run in used.tolist():
        here = observed.run == run
        expected[here] = base(runs[run].dataset.record(), observed.row[here])
    known = np.isfinite(expected)
    observed = _Observed(*(part[known] for part in vars(observed).values()))
    left = observed.logit - expected[known]
    means = np.stack([runs[run].dataset.means for run in range(len(runs))]).astype(np.float64)
    between = _likeness(means, means)[np.ix_(observed.run, observed.run)]
    related = _Related.of(zoo, np.concatenate([observed.row, rows]))
    seen, wanted = np.arange(len(left)), np.arange(len(left), len(left) + len(rows))
    covariance = related.likeness(seen, seen) * (ANY_DATASET + (1 - ANY_DATASET) * between)
    covariance += LEVEL * (observed.run[:, None] == observed.run) + np.diag(observed.noise)
    # the zero of the scores is arbitrary: what all results have in common says nothing
    weights = _without_mean(covariance, left)
    to_query = ANY_DATASET + (1 - ANY_DATASET) * likeness[observed.run]
    added = related.likeness(wanted, seen) @ (weights * to_query)
    best = int(used[likeness[used].argmax()])
    names = {runs[run].dataset.digest or runs[run].id for run in used.tolist()}
    return OwnResults(added, len(left), len(names), runs[best].dataset.name, float(likeness[best]))


def match_networks(records: Sequence[FineTuning], zoo: Zoo) -> dict[tuple[int, int], int]:
    """Find the networks of results in a zoo: row by record and place of the result; those it has not are left out.

    By the id, which is a hash of what a network is made of; else by its weights and architecture.
    """
    names = {result.network for record in records for result in record.results}
    row_of = _rows_of(names, zoo)
    found, others = {}, {}
    for number, record in enumerate(records):
        for place, result in enumerate(record.results):
            if result.network in row_of:
                found[number, place] = row_of[result.network]
            elif result.weights:
                others[number, place] = (result.backend, result.architecture, result.weights)
    if others:
        entries = _entries_of({(backend, name) for backend, name, _ in others.values()}, zoo)
        rows = {(e.spec.backend, e.spec.name, weights_of(e)): row for row, e in entries}
        found |= {key: rows[name] for key, name in others.items() if name in rows}
    return found


def _rows_of(names: Collection[str], zoo: Zoo) -> dict[str, int]:
    ids = zoo.store.ids()
    if len(ids) <= FEW:
        return {network: row for row, network in enumerate(ids) if network in names}
    ordered = sorted(names)
    return {name: row for name, row in zip(ordered, zoo.store.rows_of(ordered).tolist(), strict=True) if row >= 0}


def _entries_of(kinds: Collection[tuple[str, str]], zoo: Zoo) -> Iterable[tuple[int, NetworkEntry]]:
    """Read the networks of some backends and architectures, with their rows; of a small zoo all are read."""
    if len(zoo.store.ids()) <= FEW:
        return enumerate(zoo.store.entries())

    def wanted(some: Sequence[Description]) -> NDArray[np.bool_]:
        return np.array([(each.spec.backend, each.spec.name) in kinds for each in some], np.bool_)

    rows = np.flatnonzero(zoo.store.describe(wanted)).tolist()
    return zip(rows, zoo.store.entries(rows), strict=True)


def finished_accuracies(run: FineTuning) -> list[float]:
    """Estimate the accuracy of each network of a run had it been trained to the end, 0..1."""
    logits = [_as_if_finished(result, run)[0] for result in run.results]
    return [float(1 / (1 + np.exp(-logit))) for logit in logits]


def _most_alike(records: Sequence[FineTuning], query: DatasetRecord) -> tuple[list[FineTuning], Numbers]:
    """Pick the runs on the most similar datasets, and return their likeness: features of one extractor only."""
    width = np.shape(query.features)[-1]
    runs = [r for r in records if r.dataset.extractor == query.extractor and len(r.dataset.means) == width]
    if not runs or not len(query.features):
        return [], np.zeros(0)
    mean = np.nan_to_num(np.asarray(query.features, np.float64)).mean(axis=0)
    likeness = _likeness(np.stack([run.dataset.means for run in runs]).astype(np.float64), mean[None])[:, 0]
    order = np.argsort(-likeness, kind="stable")[:COUNTED]
    return [runs[i] for i in order.tolist()], likeness[order]


def _likeness(first: Numbers, second: Numbers) -> Numbers:
    unit = [each / np.maximum(np.linalg.norm(each, axis=1, keepdims=True), 1e-12) for each in (first, second)]
    likeness: Numbers = np.exp((unit[0] @ unit[1].T - 1) / TEMPERATURE)
    return likeness


def _observe(runs: Sequence[FineTuning], zoo: Zoo) -> _Observed:
    rows = match_networks(runs, zoo)
    columns: list[tuple[int, int, float, float]] = []
    for (number, place), row in rows.items():
        run, result = runs[number], runs[number].results[place]
        value, noise = _as_if_finished(result, run)
        columns.append((row, number, value, noise))
    table = np.array(columns, np.float64).reshape(-1, 4)
    return _Observed(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2], table[:, 3])


def _as_if_finished(result: KnownResult, run: FineTuning) -> tuple[float, float]:
    """Return the logit of a result and its variance; what was cut short stands as far behind as it was then."""
    winner, images = run.results[0], run.validation
    value, noise = _logit(result.accuracy, images)
    if result.stopped != "finished" and result.network != winner.network:
        last, _ = _logit(winner.accuracy, images)
        value += last - _logit(result.winner_accuracy, images)[0]
        noise += HALVED
    return value, noise


def _logit(accuracy: float, images: int) -> tuple[float, float]:
    """Return the logit of an accuracy on so many images, and its variance, 1 / (n p (1 - p)) and :data:`NOISE`."""
    p = (accuracy * images + 0.5) / (images + 1)  # finite for none and all right
    return float(np.log(p / (1 - p))), NOISE + 1 / (images * p * (1 - p))


def _without_mean(covariance: Numbers, left: Numbers) -> Numbers:
    """Solve for the weights of residuals whose mean is unknown: generalised least squares."""
    solved = np.linalg.solve(covariance, np.column_stack([left, np.ones(len(left))]))
    mean = solved[:, 0].sum() / solved[:, 1].sum()
    weights: Numbers = solved[:, 0] - mean * solved[:, 1]
    return weights


@dataclass(frozen=True, eq=False)
class _Related:
    """m networks: row, size in powers of two, and number of architecture and source; -1 where not looked up."""

    row: Rows
    size: Numbers
    architecture: Rows
    source: Rows

    @classmethod
    def of(cls, zoo: Zoo, rows: Rows) -> _Related:
        size = np.log2(np.maximum(zoo.store.columns().body_params[rows], 1)) / SIZE_SCALE
        if len(np.unique(rows)) > RELATED:
            unknown = np.full(len(rows), -1)
            return cls(rows, _centred(size), unknown, unknown)
        unique, back = np.unique(rows, return_inverse=True)
        entries = zoo.store.entries(unique.tolist())
        architectures = [f"{entry.spec.backend}:{entry.spec.name}" for entry in entries]
        sources = [entry.source_dataset for entry in entries]
        numbered = (np.unique(names, return_inverse=True)[1][back] for names in (architectures, sources))
        return cls(rows, _centred(size), *numbered)

    def likeness(self, first: Rows, second: Rows) -> Numbers:
        """Return the covariance of f of networks at one dataset, (a, b)."""
        found = SIZE * self.size[first][:, None] * self.size[second]
        pairs = ((SAME_NETWORK, self.row), (SAME_ARCHITECTURE, self.architecture), (SAME_SOURCE, self.source))
        for variance, values in pairs:
            one, other = values[first][:, None], values[second]
            found = found + variance * ((one == other) & (one >= 0))
        return found


def _centred(size: Numbers) -> Numbers:
    centred: Numbers = np.clip(size - size.mean(), -1, 1)  # a giant among small networks is not all that counts
    return centred

"""The search: a dataset and limits in, ranked networks out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.data import QUERY_IMAGES, Dataset, Seen
from nns.errors import NoNetworkError, UsageError, WeightsError
from nns.history import OwnResults, own_results
from nns.networks import Network, bring_weights, check_records, latencies
from nns.quantities import counted, limit_for
from nns.searching.candidates import Ranking
from nns.searching.limits import NetworkTable, feasible
from nns.searching.neighbours import neighbourhood
from nns.searching.probes import check_probe, make_probe, run_probe
from nns.searching.probes.running import PROBE_SECONDS, PROBED
from nns.searching.results import QueryDataset, SearchResult, SearchSeconds
from nns.searching.together import TOGETHER
from nns.space import Space
from nns.types import DatasetRecord, Limits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.data import Skipped
    from nns.history import FineTuning
    from nns.searching.probes import Probe
    from nns.types import PartProgress, Progress
    from nns.zoo import Zoo


_log = logging.getLogger("nns")

LEFT_OUT = 3
"""Better networks that are named at most, where a search leaves out what is not on this disk."""


def _part(progress: Progress | None, what: str) -> PartProgress | None:
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
    probe: str | None = None,
    probe_seconds: float = PROBE_SECONDS,
    probed: int | None = None,
    tries: int = TOGETHER,
    offline: bool = False,
    history: Sequence[FineTuning] = (),
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
    on_data: Callable[[Seen], None] | None = None,
) -> SearchResult:
    """Rank the networks of a zoo that meet the limits, for a dataset.

    Args:
        data: What :meth:`nns.data.Dataset.of` takes: a path, ``torchvision:NAME``, images in lists or arrays, with or
            without labels; or an opened dataset.
        zoo: The zoo; without a fitted space, networks are ranked by what is known of networks at large.
        limits: Hard limits, each counted with the head that the data needs.
        top: Candidates to give.
        classes: Classes of the head that limits count, where the data does not say (None: each network's own).
        space: Name of the fitted space; None: the default method's.
        device: Where latencies count.
        seed: Of the sample of images.
        images: Images to look at, at most: of each class its first before any second, ten a class.
        probe: Name of a probe, e.g. ``"ridge"``, to re-rank the best by, on the images; None: do not.
        probe_seconds: Time for that at most.
        probed: Probe only the first so many whose weights are on this disk, and rank the others beside them; None: the
            best twenty, which are fetched for it.
        tries: Networks to choose for being fine-tuned together.
        offline: Rank only networks whose weights are on this disk, and fetch nothing for a probe.
        history: The user's own fine-tunings, which correct the scores.
        progress: Called as things go on.
        tell: Called before weights are fetched for a probe, with what and from where; None: that goes into the log.
        on_data: Called with what is seen in the data, unless that was opened before; None: that goes into the log.

    Raises:
        WeightsError: If none is on this disk, in a search that may not fetch anything.
        DatasetError: If the data cannot be read.
        NoNetworkError: If no network meets the limits.
        UsageError: If ``top``, ``images`` or ``tries`` is not positive, or a probe is
            asked for without labels.
        UnknownNameError: If there is no such space, probe or backend.
    """
    clock = _Clock()
    for name, value in {"top": top, "images": images, "tries": tries}.items():
        if value < 1:
            raise UsageError(f"{name} must be at least 1, not {value}")
    if limits is not None and limits.backend is not None:
        zoo.registry.backend(limits.backend)  # an unknown one is told before anything is read
    probing = None if probe is None else make_probe(zoo.registry, probe)
    search_in = _Search(
        zoo, limits or Limits(), _load_space(zoo, space, clock), device, offline, history, progress, tell
    )
    dataset = Dataset.of(data, require_labels=False, registry=zoo.registry)
    if dataset is not data:  # who opened it has looked at it
        (on_data or Seen.log)(dataset.seen)
    if probing:
        check_probe(dataset)
    query = dataset.features(zoo.extractor, images=images, seed=seed, progress=progress)
    unread = dataset.unreadable(progress=_part(progress, "checking images"))
    dataset.tell_odd_pixels(tell)
    clock.stop("features")
    ranking = search_in.rank(query, len(dataset.classes) if dataset.labelled else classes)
    ranking.put_loadable_first(top)
    clock.stop("score")
    if probing:
        search_in.probe(ranking, probing, dataset, probe_seconds, seed, probed)
        clock.stop("probe")
    around = neighbourhood(query, zoo)

    def shown(ranking: Ranking) -> list[int]:
        chosen = ranking.together(tries, probed or PROBED, safe=around.far)
        return list(dict.fromkeys([*ranking.order[:top].tolist(), ranking.static, *chosen]))

    ranking.put_loadable_first(top)
    ranking = search_in.confirmed(ranking, query, shown)
    best, together = ranking.order[:top].tolist(), ranking.together(tries, probed or PROBED, safe=around.far)
    described = ranking.candidates(shown(ranking))
    static = described[ranking.static]
    return SearchResult(
        dataset=_about(dataset, unread),
        zoo_path=str(zoo.path),
        zoo_digest=zoo.store.digest(),
        zoo_networks=len(zoo),
        space=search_in.space.name,
        rests_on=_rests_on(search_in.space, zoo),
        limits=search_in.limits,
        feasible=len(ranking.rows) + ranking.unscored,
        unscored=ranking.unscored,
        left_out=ranking.left_out,
        candidates=tuple(described[index] for index in best),
        static_choice=static,
        neighbourhood=around,
        gain=ranking.gain(described[best[0]], static),
        together=tuple(described[index] for index in together),
        seconds=clock.seconds(),
        own=ranking.own,
        probe_is_accuracy=probing is None or probing.is_accuracy,
    )


def _about(dataset: Dataset, unread: Sequence[Skipped]) -> QueryDataset:
    return QueryDataset(
        path=dataset.path,
        classes=len(dataset.classes) if dataset.labelled else None,
        images=len(dataset),
        skipped=tuple((item.path, item.reason) for item in unread),
        digest=dataset.digest,
        seen=dataset.seen_decoded,
    )


def _rests_on(space: Space, zoo: Zoo) -> str:
    """Say what a ranking rests on that no fitted space gives; empty where there is one."""
    if space.is_fitted:
        return ""
    results = len(zoo.store.transfers())
    own = f" and {counted(results, 'result')} of this zoo" if results else ""
    known = {record.digest for record in zoo.store.datasets()}
    sources = {entry.source_digest for entry in zoo.store.entries()} & known
    # a fit takes two datasets with networks of their own
    more = f"; fit a space for more: nns space fit {zoo.path}" if len(sources) > 1 else ""
    return f"by what is known of networks at large{own}{more}"


def _load_space(zoo: Zoo, name: str | None, clock: _Clock) -> Space:
    """Load the space, and count that as scoring: all but what a process imports once."""
    clock.skip()
    if name is None and not zoo.spaces():
        space = Space.at_large(zoo)
        clock.stop("score")
        return space
    record = Space.read(zoo, name)
    clock.stop("score")
    method = Space.make_method(zoo, record)
    clock.skip()
    space = Space.of(zoo, record, method)
    clock.stop("score")
    return space


@dataclass(frozen=True, eq=False)
class _Search:
    """What a search needs throughout: where, within which limits, and by which space."""

    zoo: Zoo
    limits: Limits
    space: Space
    device: str
    offline: bool
    history: Sequence[FineTuning]
    progress: Progress | None
    tell: Callable[[str], None] | None

    def rank(self, query: DatasetRecord, classes: int | None) -> Ranking:
        """Filter by the limits, each network with a head for so many classes, and score what is left."""
        table = NetworkTable(self.zoo.store.columns(), self.zoo.store.entries)
        costs = table.costs(classes)
        mask, seconds = feasible(table, costs, self.limits, self._latencies)
        known = mask & self.space.scored
        if not known.any():
            raise NoNetworkError(
                f"of the {mask.sum()} networks within the limits the zoo has no fingerprint, so no space can rank them"
            )
        rows = np.flatnonzero(known)
        unscored = int(mask.sum()) - len(rows)
        scores, own = self.space.score(query, rows), self._own(query, rows)
        ranking = Ranking(
            self.zoo, self.space, costs, seconds, table.columns.fingerprinted, rows, scores, own, unscored
        )
        return self._on_disk(ranking, query) if self.offline else ranking

    def _on_disk(self, ranking: Ranking, query: DatasetRecord) -> Ranking:
        """Rank only what is on this disk, and name what would have come before the first of it."""
        here = ranking.on_disk()
        if here.all():
            return ranking
        if not here.any():
            raise WeightsError(
                f"none of the {len(here)} networks within the limits is on this disk, and nothing may be fetched "
                f"(offline); fetch some while there is a connection: `nns zoo fetch {self.zoo.path} ID`"
            )
        before = ranking.order[: int(here[ranking.order].argmax())][:LEFT_OUT].tolist()
        described = ranking.candidates(before) if before else {}
        kept = ranking.of(np.flatnonzero(here), lambda rows: self.space.score(query, rows))
        kept.left_out = tuple(described[index] for index in before)
        return kept

    def confirmed(self, ranking: Ranking, query: DatasetRecord, shown: Callable[[Ranking], list[int]]) -> Ranking:
        """Hold what is shown against what it must be: a zoo may come from a stranger.

        Args:
            ranking: By what the zoo says.
            query: The dataset.
            shown: Returns the indices that are shown of a ranking.

        Returns:
            The ranking without what proved to be slower than the limit.

        Raises:
            ZooError: If a record is not that of its architecture.
            NoNetworkError: If none is left.
        """
        limit = self.limits.max_latency
        while True:
            entries = ranking.entries(shown(ranking))
            check_records(self.zoo, list(entries.values()), _part(self.progress, "checking networks"))
            if limit is None:
                return ranking
            ids, part = [entry.id for entry in entries.values()], _part(self.progress, "measuring latency")
            seconds = latencies(self.zoo, ids, self.device, part, confirm=True)
            ranking.latencies = {**ranking.latencies, **seconds}
            slow = [index for index, entry in entries.items() if seconds[entry.id] > limit]
            if not slow:
                return ranking
            kept = np.setdiff1d(np.arange(len(ranking.rows)), slow)
            if not len(kept):
                least = limit_for(min(seconds.values()), "latency")
                raise NoNetworkError(f"no network is as fast as asked here; the fastest needs max_latency={least}")
            ranking = ranking.of(kept, lambda rows: self.space.score(query, rows))

    def _own(self, query: DatasetRecord, rows: NDArray[np.int64]) -> OwnResults:
        """Compute what the user's own results add to the scores; without any the history is not even imported."""
        if not self.history:
            return OwnResults(np.zeros(len(rows)))
        return own_results(self.history, query, self.zoo, rows, lambda data, at: self.space.score(data, at).score)

    def probe(
        self, ranking: Ranking, probe: Probe, dataset: Dataset, seconds: float, seed: int, count: int | None
    ) -> None:
        """Re-rank the best by a probe, or ``count`` of those that are on this disk."""
        first = ranking.first(PROBED) if count is None else ranking.first_on_disk(count)
        if not first:
            return
        entries = ranking.entries(first)
        networks = {index: Network(entry, self.zoo) for index, entry in entries.items()}
        say = self.tell or _log.warning
        missing = [each for each in networks.values() if not each.on_disk]
        if missing and missing[0].offline:
            say(f"not probed: {len(missing)} of the best {len(networks)}, which are not on this disk")
        else:
            for error in bring_weights(missing, self.progress, self.tell).values():
                say(f"not probed: {error}")
        entries = {index: entry for index, entry in entries.items() if networks[index].on_disk}
        if not entries:
            return
        part = _part(self.progress, "probing networks")
        by_id = run_probe(probe, dataset, self.zoo, list(entries.values()), seconds, seed=seed, progress=part)
        found = {index: by_id[entry.id] for index, entry in entries.items() if entry.id in by_id}
        # what is elsewhere, and expected to be as good as these, is not behind them for that
        last = max(np.flatnonzero(np.isin(ranking.order, first)), default=0)
        beside = [] if count is None else [i for i in ranking.order[:last].tolist() if i not in found]
        ranking.put_first(found, probe.terms(found), beside)

    def _latencies(self, ids: Sequence[str]) -> Mapping[str, float]:
        return latencies(self.zoo, ids, self.device, _part(self.progress, "measuring latency"))


class _Clock:
    """Seconds by what they were spent on."""

    def __init__(self) -> None:
        self.started = self.last = time.perf_counter()
        self.spent = {"features": 0.0, "score": 0.0, "probe": 0.0}

    def stop(self, what: str) -> None:
        """Count the time since the last stop."""
        before = self.last
        self.skip()
        self.spent[what] += self.last - before

    def skip(self) -> None:
        """Count the time since the last stop for nothing but the total."""
        self.last = time.perf_counter()

    def seconds(self) -> SearchSeconds:
        return SearchSeconds(**self.spent, total=time.perf_counter() - self.started)

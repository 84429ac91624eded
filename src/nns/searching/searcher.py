"""The steps of a search: filter and score, re-rank by a probe, check what is shown, describe it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nns.errors import NoNetworkError, WeightsError
from nns.history import OwnResults, own_results
from nns.networks import Network, bring_weights, latencies
from nns.quantities import limit_for
from nns.searching.candidates import Ranking
from nns.searching.limits import feasible
from nns.searching.probes import run_probe
from nns.searching.probes.running import PROBED
from nns.searching.ready import ReadyZoo
from nns.searching.results import QueryDataset, SearchResult, SearchSeconds
from nns.space import Space
from nns.types import DatasetRecord, Limits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.data import Dataset
    from nns.history import FineTuning
    from nns.searching.probes import Probe
    from nns.types import PartProgress, Progress
    from nns.zoo import Zoo

_log = logging.getLogger("nns")

LEFT_OUT = 3
"""Better networks that are named at most, where a search leaves out what is not on this disk."""


def part_of(progress: Progress | None, what: str) -> PartProgress | None:
    """Return what tells the progress of one thing."""
    return None if progress is None else lambda done, total: progress(what, done, total)


def load_space(zoo: Zoo, name: str | None, clock: Clock) -> Space:
    """Load the space as :meth:`ReadyZoo.of` does, and count that as scoring: all but what a process imports once."""
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
class Searcher:
    """What a search needs throughout: where, within which limits, and by which space."""

    ready: ReadyZoo
    limits: Limits
    device: str = "cpu"
    offline: bool = False
    history: Sequence[FineTuning] = ()
    progress: Progress | None = None
    tell: Callable[[str], None] | None = None

    @property
    def zoo(self) -> Zoo:
        """Where it searches."""
        return self.ready.zoo

    @property
    def space(self) -> Space:
        """What it ranks by."""
        return self.ready.space

    def rank(self, query: DatasetRecord, classes: int | None) -> Ranking:
        """Filter by the limits, each network with a head for so many classes, and score what is left."""
        table = self.ready.table
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
        ranking = Ranking(self.ready, costs, seconds, table.columns.fingerprinted, rows, scores, own, unscored)
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
        first = here[ranking.order]
        before = ranking.order[: int(first.argmax()) if first.any() else None][:LEFT_OUT].tolist()
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
            self.ready.confirm(entries.values(), part_of(self.progress, "checking networks"))
            if limit is None:
                return ranking
            ids, part = [entry.id for entry in entries.values()], part_of(self.progress, "measuring latency")
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

    def answer(
        self,
        ranking: Ranking,
        query: DatasetRecord,
        about: QueryDataset,
        top: int,
        tries: int,
        probed: int | None,
        clock: Clock,
    ) -> SearchResult:
        """Choose those to fine-tune together, check and describe what is shown."""
        around = self.ready.surroundings.of(query)

        def shown(ranking: Ranking) -> list[int]:
            chosen = ranking.together(tries, probed or PROBED, safe=around.far)
            return list(dict.fromkeys([*ranking.order[:top].tolist(), ranking.static, *chosen]))

        ranking.put_loadable_first(top)
        ranking = self.confirmed(ranking, query, shown)
        best, together = ranking.order[:top].tolist(), ranking.together(tries, probed or PROBED, safe=around.far)
        described = ranking.candidates(shown(ranking))
        static = described[ranking.static]
        return SearchResult(
            dataset=about,
            zoo_path=str(self.zoo.path),
            zoo_digest=self.ready.digest,
            zoo_networks=len(self.zoo),
            space=self.space.name,
            rests_on=self.ready.rests_on,
            limits=self.limits,
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
        )

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
        part = part_of(self.progress, "probing networks")
        by_id = run_probe(probe, dataset, self.zoo, list(entries.values()), seconds, seed=seed, progress=part)
        found = {index: by_id[entry.id] for index, entry in entries.items() if entry.id in by_id}
        # what is elsewhere, and expected to be as good as these, is not behind them for that
        last = max(np.flatnonzero(np.isin(ranking.order, first)), default=0)
        beside = [] if count is None else [i for i in ranking.order[:last].tolist() if i not in found]
        ranking.put_first(found, probe.terms(found), beside)

    def _latencies(self, ids: Sequence[str]) -> Mapping[str, float]:
        return latencies(self.zoo, ids, self.device, part_of(self.progress, "measuring latency"))


class Clock:
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
        """Return what was counted."""
        return SearchSeconds(**self.spent, total=time.perf_counter() - self.started)

"""What a fine-tuning tries, and who teaches it: what is named, or what a search within the limits finds."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from nns.errors import NnsError, NoNetworkError, UsageError, WeightsError
from nns.files import real_path
from nns.finetuning import choosing
from nns.finetuning.checkpoint import Checkpoint, Choice
from nns.finetuning.finetune_zoo import PROBED_BEFORE_TRAINING, versions
from nns.finetuning.saved_search import SavedSearch
from nns.finetuning.sizing import check_at_size
from nns.networks import bring_weights, check_records, latencies
from nns.networks.hub import is_offline
from nns.quantities import counted
from nns.searching import SearchResult, ranking
from nns.searching.limits import check_limits
from nns.types import Limits

if TYPE_CHECKING:
    from pathlib import Path

    from nns.data import Dataset
    from nns.finetuning.recipe import Recipe
    from nns.history import FineTuning
    from nns.searching import Candidate
    from nns.zoo import Zoo

MANY = 100
"""Candidates that are looked through for some that meet a limit at a given input size."""

PROBE_SHARE = 0.05
"""Share of a budget that a look at the images before training may take."""


@dataclass(frozen=True)
class Asked:
    """What was asked of a fine-tuning, beside data and zoo.

    Attributes:
        networks: Ids or beginnings of them, or what a search answered; None: search.
        limits: What a network must meet.
        recipe: How it will be trained.
        tries: Networks to try where a search finds them.
        image_size: Side of the input; None: it is chosen.
        seed: Of everything random.
        offline: Whether nothing may be fetched.
        distill: Whether the best of all sizes teaches, or which network does.
        history: The user's own fine-tunings, that a search looks at.
    """

    networks: SearchResult | SavedSearch | Sequence[str] | None
    limits: Limits
    recipe: Recipe
    tries: int = 1
    image_size: int | None = None
    seed: int = 0
    offline: bool = False
    distill: bool | str = False
    history: Callable[[], Sequence[FineTuning]] = tuple


@dataclass(frozen=True)
class Chosen:
    """What is tried.

    Attributes:
        networks: Ids; their weights are on this disk.
        expected: Accuracies that a search expects of them, by id.
        left_out: What the search would rather have tried, where nothing may be fetched.
    """

    networks: list[str]
    expected: Mapping[str, float] = field(default_factory=dict)
    left_out: tuple[Candidate, ...] = ()


class Chooser:
    """Chooses for one fine-tuning.

    Args:
        dataset: The images.
        zoo: Where to choose from.
        target: The folder that will be written: beside it an interrupted run has left what was chosen for it.
        asked: What was asked.
        progress: Called while a search goes on and weights are fetched.
        tell: Called with what a user should know; None: that goes into the log.

    Attributes:
        question: All that the search and the training were asked; None where the networks are named.
    """

    def __init__(
        self,
        dataset: Dataset,
        zoo: Zoo,
        target: Path,
        asked: Asked,
        progress: Callable[[str, int, int], None] | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        """Look for what an interrupted run has left; nothing is searched yet."""
        self.dataset, self.zoo, self.asked = dataset, zoo, asked
        self._progress, self._tell = progress, tell
        self._log = logging.getLogger("nns")
        self.question = None if asked.networks is not None else self._question()
        self._before = None if self.question is None else _chosen_before(target, self.question, zoo)

    def _question(self) -> dict[str, Any]:
        """Return all that the search and the training are asked."""
        asked = self.asked
        return {
            "data": self.dataset.digest, "zoo": str(real_path(self.zoo.path)), "limits": asdict(asked.limits),
            "tries": asked.tries, "recipe": asdict(asked.recipe), "image_size": asked.image_size, "seed": asked.seed,
            "offline": asked.offline, "distill": asked.distill, "versions": versions(),
        }  # fmt: skip

    @property
    def own_size(self) -> bool:
        """Whether each network keeps the input that it was counted at, since a limit holds for that."""
        found = self.asked.networks
        if isinstance(found, SearchResult):
            found = SavedSearch.of(found)
        return self.asked.limits.hold_for_one_size or (isinstance(found, SavedSearch) and found.own_size)

    def networks(self) -> Chosen:
        """Choose what is tried; the weights are here by then.

        Raises:
            NoNetworkError: If no network meets the limits, or one that is named does not.
            UsageError: If none is named.
            WeightsError: If weights cannot be had: of each that a search found, or of one that is named.
        """
        asked, named = self.asked.networks, self.asked.networks is not None
        left_out: tuple[Candidate, ...] = ()
        if asked is None and self._before is not None:
            # an interrupted run is about what was chosen for it: another search has another time, and other results
            asked = SavedSearch(tuple(self._before.networks), self._before.expected, own_size=False)
        elif asked is None:
            self.dataset.check_readable()  # now: the search may keep in the zoo what it measures
            asked = self._search(self._is_offline)
        if isinstance(asked, SearchResult):
            left_out, asked = asked.left_out, self._that_fit(asked)
        expected: Mapping[str, float] = {}
        if isinstance(asked, SavedSearch):
            expected, asked = asked.expected, asked.ids if self._before else self._few_enough(asked.ids)
        chosen = [self.zoo.resolve(network) for network in asked]
        if not chosen:
            raise UsageError("`networks` names none")
        self._check(chosen, named)
        brought = [self.zoo.network(network) for network in chosen]
        missing = bring_weights(brought, self._progress, self._tell)
        if missing and (named or len(missing) == len(chosen)):
            error = next(iter(missing.values()))
            raise error if named else self._with_what_is_here(error)
        for error in missing.values():
            self._warn(f"left out: {error}")
        return Chosen([network for network in chosen if network not in missing], expected, left_out)

    def teacher(self, chosen: Sequence[str]) -> str | None:
        """Return who teaches them, whose weights are here by then; None if nobody does.

        Raises:
            NoNetworkError: If the zoo has nothing under that licence.
            WeightsError: If its weights cannot be had.
        """
        distill = self.asked.distill
        if not distill:
            return None
        if self._before is not None:
            if self._before.teacher is None:
                return None
            teacher = self._before.teacher
        elif distill is True:
            # whose weights may be used does not change with their size
            best = self._search(self._is_offline, Limits(license=self.asked.limits.license), 1).best
            teacher = best.entry.id
            if teacher in chosen:
                self._warn(f"nothing is expected to do better than {teacher[:10]}, so nothing teaches it")
                return None
            (self._tell or self._log.info)(f"{teacher[:10]} ({best.entry.spec.name}) is fine-tuned first, and teaches")
        else:
            teacher = self.zoo.resolve(distill)
        check_records(self.zoo, [self.zoo.network(teacher).entry])
        for error in bring_weights([self.zoo.network(teacher)], self._progress, self._tell).values():
            raise error
        return teacher

    @property
    def _is_offline(self) -> bool:
        return self.asked.offline or is_offline()

    def _warn(self, message: str) -> None:
        (self._tell or self._log.warning)(message)

    @property
    def _size_counts(self) -> bool:
        """Whether limits that depend on the input stand beside a size that is given for it."""
        return self.asked.image_size is not None and self.asked.limits.hold_for_one_size

    def _check_at_size(self, network: str) -> None:
        if self._size_counts and self.asked.image_size is not None:
            classes = len(self.dataset.classes)
            check_at_size(self.zoo.network(network), self.asked.image_size, classes, self.asked.limits)

    def _search(self, offline: bool, limits: Limits | None = None, tries: int | None = None) -> SearchResult:
        asked, seconds = self.asked, self.asked.recipe.seconds
        # a look at the images before training takes a second, and pays far from ImageNet (docs/results.md)
        probe = "ridge" if self.dataset.labelled and len(self.dataset.classes) > 1 else None
        return ranking.search(
            self.dataset, self.zoo, limits or asked.limits,
            top=MANY if self._size_counts else 10, tries=tries or asked.tries, device="cpu", seed=asked.seed,
            offline=offline, probe=probe, probed=PROBED_BEFORE_TRAINING,
            probe_seconds=math.inf if seconds is None else PROBE_SHARE * seconds,
            history=asked.history(), progress=self._progress, tell=self._tell,
        )  # fmt: skip

    def _that_fit(self, found: SearchResult) -> SavedSearch:
        """Note what a search found; of it, what also meets the limits at an input size that is given."""
        if not self._size_counts:
            return SavedSearch.of(found)
        fits: dict[str, float] = {}
        problem: NoNetworkError | None = None
        # those chosen together come first, and are among the candidates, too: each is counted once
        for candidate in {each.entry.id: each for each in (*found.together, *found.candidates)}.values():
            try:
                self._check_at_size(candidate.entry.id)
            except NoNetworkError as error:
                problem = problem or error
                continue
            fits[candidate.entry.id] = candidate.predicted_accuracy
            if len(fits) == len(found.together):
                break
        if problem and not fits:
            raise problem
        return SavedSearch(tuple(fits), fits, own_size=False)

    def _few_enough(self, found: Sequence[str]) -> Sequence[str]:
        """Keep one of a search's networks where validation images cannot tell which is better."""
        if len(found) == 1:
            return found
        validation = len(self.dataset.planned_splits(seed=self.asked.seed).get("val", ()))
        if validation >= choosing.TELLING:
            return found
        self._warn(
            f"trying one network, not {len(found)}: {counted(validation, 'validation image')} cannot tell "
            f"which is better, {choosing.TELLING} could"
        )
        return found[:1]

    def _check(self, chosen: Sequence[str], named: bool) -> None:
        """Check what the zoo says of networks, and limits, before anything large is fetched or trained."""
        entries = [self.zoo.network(network).entry for network in chosen]
        check_records(self.zoo, entries)
        if named:
            measured = partial(latencies, self.zoo, device="cpu")
            check_limits(entries, len(self.dataset.classes), self.asked.limits, measured)
            for network in chosen:
                self._check_at_size(network)

    def _with_what_is_here(self, error: WeightsError) -> WeightsError:
        """Add to why nothing could be fetched which network on this disk would be tried."""
        try:
            best = self._search(True).best
        except NnsError:  # there is none
            return error
        here = f"{best.entry.id[:10]} ({best.entry.spec.name})"
        return WeightsError(f"{error}. Of those on this disk {here} is the first: `offline` tries it")


def _chosen_before(target: Path, question: Mapping[str, Any], zoo: Zoo) -> Choice | None:
    """Return what a search chose for a run that was interrupted before it wrote ``target``: that is what goes on."""
    for file in Checkpoint.files(real_path(target.expanduser())):
        choice = Checkpoint.chosen_for(file, question)
        try:
            if choice is not None:
                for network in (*choice.networks, *filter(None, [choice.teacher])):
                    zoo.resolve(network)
                return choice
        except NnsError:  # it is no longer in the zoo
            continue
    return None

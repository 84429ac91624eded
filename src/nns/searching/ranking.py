"""The search: a dataset and limits in, ranked networks out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nns.data import QUERY_IMAGES, Dataset, Seen
from nns.errors import UsageError
from nns.searching.probes import check_probe, make_probe
from nns.searching.probes.running import PROBE_SECONDS
from nns.searching.ready import ReadyZoo
from nns.searching.results import QueryDataset, SearchResult
from nns.searching.searcher import Clock, Searcher, load_space, part_of
from nns.searching.together import TOGETHER
from nns.types import DatasetRecord, Limits

if TYPE_CHECKING:
    from nns.data import Skipped
    from nns.history import FineTuning
    from nns.types import Progress
    from nns.zoo import Zoo


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
    clock = Clock()
    _check(zoo, limits, top=top, images=images, tries=tries)
    probing = None if probe is None else make_probe(zoo.registry, probe)
    ready = ReadyZoo(zoo, load_space(zoo, space, clock))
    search_in = Searcher(ready, limits or Limits(), device, offline, history, progress, tell)
    dataset = Dataset.of(data, require_labels=False, registry=zoo.registry)
    if dataset is not data:  # who opened it has looked at it
        (on_data or Seen.log)(dataset.seen)
    if probing:
        check_probe(dataset)
    query = dataset.features(zoo.extractor, images=images, seed=seed, progress=progress)
    unread = dataset.unreadable(progress=part_of(progress, "checking images"))
    dataset.tell_odd_pixels(tell)
    clock.stop("features")
    ranking = search_in.rank(query, len(dataset.classes) if dataset.labelled else classes)
    ranking.put_loadable_first(top)
    clock.stop("score")
    if probing:
        search_in.probe(ranking, probing, dataset, probe_seconds, seed, probed)
        clock.stop("probe")
    found = search_in.answer(ranking, query, _about(dataset, unread), top, tries, probed, clock)
    return found if probing is None else replace(found, probe_is_accuracy=probing.is_accuracy)


def search_record(
    query: DatasetRecord,
    about: QueryDataset,
    ready: ReadyZoo,
    limits: Limits | None = None,
    *,
    top: int = 10,
    classes: int | None = None,
    tries: int = TOGETHER,
) -> SearchResult:
    """Rank the networks of a zoo for a dataset of which there are features alone, without its images.

    Args:
        query: The dataset, with features of the zoo's own extractor.
        about: What the answer says of it.
        ready: The zoo.
        limits: Hard limits; latency is measured on this machine.
        top: Candidates to give.
        classes: Classes of the head that limits count, where ``about`` has none (None: each network's own).
        tries: Networks to choose for being fine-tuned together.

    Raises:
        NoNetworkError: If no network meets the limits.
        UsageError: If ``top`` or ``tries`` is not positive, or the features are of another width.
        UnknownNameError: If there is no such backend.
    """
    clock, zoo = Clock(), ready.zoo
    _check(zoo, limits, top=top, tries=tries)
    if query.features.shape[1] != ready.extractor.feature_dim:
        made = f"{ready.extractor.name}, which makes {ready.extractor.feature_dim} numbers an image"
        raise UsageError(f"features of {query.features.shape[1]} numbers an image are not those of {made}")
    search_in = Searcher(ready, limits or Limits())
    ranking = search_in.rank(query, classes if about.classes is None else about.classes)
    ranking.put_loadable_first(top)
    clock.stop("score")
    return search_in.answer(ranking, query, about, top, tries, None, clock)


def _check(zoo: Zoo, limits: Limits | None, **positive: int) -> None:
    for name, value in positive.items():
        if value < 1:
            raise UsageError(f"{name} must be at least 1, not {value}")
    if limits is not None and limits.backend is not None:
        zoo.registry.backend(limits.backend)  # an unknown one is told before anything is read


def _about(dataset: Dataset, unread: Sequence[Skipped]) -> QueryDataset:
    return QueryDataset(
        path=dataset.path,
        classes=len(dataset.classes) if dataset.labelled else None,
        images=len(dataset),
        skipped=tuple((item.path, item.reason) for item in unread),
        digest=dataset.digest,
        seen=dataset.seen_decoded,
    )

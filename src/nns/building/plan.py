"""Planning a build: which architectures compete, and what training a pair of dataset and architecture is called."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from nns.backends import Backend, WorkItem
from nns.building.settings import BuildSettings, SearchSpace
from nns.errors import UsageError
from nns.types import ArchitectureSpec
from nns.zoo import network_id

if TYPE_CHECKING:
    from nns.building.worker import Place
    from nns.data import Dataset
    from nns.plugins import Registry
    from nns.types import SplitArrays

CANDIDATES = 24
"""Architectures of one backend that compete, unless a recipe says otherwise."""


@dataclass(frozen=True)
class BuildItem:
    """Work on one dataset, for one worker.

    Attributes:
        data: The dataset, with its digests, so that no worker hashes it again.
        dataset_name: Its name in the zoo.
        work: What the backend is to do.
        seed: Of weights and batches.
        ids: Id of each network that comes out, in the order of ``work.specs``.
        max_images: Training images at most.
        weights: Precision in which the weights are kept.
        supernet_id: Id of the supernet that they are cut from, empty for none.
        data_seed: Of the splits and of the images that are drawn.
        stop_below: Epoch to validation accuracy: a network that has less then is not trained on.
    """

    data: Dataset
    dataset_name: str
    work: WorkItem
    seed: int
    ids: tuple[str, ...]
    max_images: int | None = None
    weights: str = "fp32"
    supernet_id: str = ""
    data_seed: int = 0
    stop_below: Mapping[int, float] = field(default_factory=dict)

    @property
    def dataset_digest(self) -> str:
        """Content digest of the dataset."""
        return self.data.digest

    def decode(self, place: Place) -> SplitArrays:
        """Return its images, decoded."""
        return place.arrays(self.data, self.work.image_size, self.data_seed, self.max_images)

    @property
    def claim(self) -> str:
        """What no two workers may train at a time, of whichever build of the zoo."""
        return self.supernet_id or self.ids[0]

    @property
    def backend(self) -> str:
        """Name of the backend."""
        return self.work.backend

    @property
    def architectures(self) -> tuple[str, ...]:
        """Names of the architectures."""
        return tuple(spec.name for spec in self.work.specs)


def plan_architectures(settings: BuildSettings, registry: Registry) -> tuple[WorkItem, ...]:
    """List the architectures that compete on each dataset, each as the work of training it alone.

    Args:
        settings: What to build.
        registry: Where the backends are.

    Raises:
        UsageError: If there is no backend.
        UnknownNameError: If a backend or architecture does not exist.
    """
    if not settings.backends:
        raise UsageError("no backend named: give `backends` NAME at least once")
    found: dict[tuple[str, str], WorkItem] = {}
    for named in settings.backends:
        name, _, pattern = named.partition(":")
        for work in _works(registry.backend(name), pattern, settings):
            for spec in work.specs:
                found.setdefault((name, f"{spec.name} {spec.source}"), replace(work, specs=(spec,)))
    return tuple(found.values())


def is_of(work: WorkItem, named: str) -> bool:
    """Return whether an architecture is of a ``BACKEND`` or ``BACKEND:PATTERN``."""
    backend, _, pattern = named.partition(":")
    return work.backend == backend and fnmatchcase(work.specs[0].name, pattern or "*")


def _works(backend: Backend, pattern: str, settings: BuildSettings) -> Sequence[WorkItem]:
    space = settings.spaces.get(backend.name, SearchSpace())
    size = space.image_size or settings.image_size
    count = CANDIDATES if space.candidates is None else space.candidates
    seed = item_seed(settings.seed, backend.name)
    patterns = [pattern] if pattern else list(space.architectures)
    if patterns:
        offered = {spec.name: spec for each in patterns for spec in backend.offers(each)}
        chosen = sorted(offered, key=lambda spec_name: item_seed(seed, spec_name))[:count]
        works = [_like_planned(backend, offered[spec_name], size, seed) for spec_name in chosen]
    else:
        works = list(backend.plan(count, size, seed))
    epochs = space.epochs or settings.epochs
    if epochs is not None:
        works = [replace(work, training=replace(work.training, epochs=epochs)) for work in works]
    return works


def _like_planned(backend: Backend, spec: ArchitectureSpec, image_size: int, seed: int) -> WorkItem:
    """Train a named architecture as the backend trains its own choices from the same source of weights."""
    supernet = backend.supernet_of(spec)
    for work in backend.plan(3, image_size, seed):
        if any(planned.source == spec.source for planned in work.specs):
            return replace(work, specs=(spec,), supernet=supernet)
    return WorkItem(backend.name, (spec,), image_size, supernet=supernet)


def item_seed(seed: int, *parts: str) -> int:
    """Derive a seed of 31 bits from the user's seed and what the item is, whatever its turn."""
    text = "\0".join([str(seed), *parts])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") & 0x7FFFFFFF


def make_item(
    name: str,
    dataset: Dataset,
    works: Sequence[WorkItem],
    settings: BuildSettings,
    stop_below: Mapping[int, float] | None = None,
) -> BuildItem:
    """Join works on one dataset, of one supernet if they are several, into an item.

    Args:
        name: Name of the dataset in the zoo.
        dataset: The dataset.
        works: What to train, one architecture each.
        settings: Of the build.
        stop_below: Epoch to validation accuracy below which a network is given up.
    """
    work = replace(works[0], specs=tuple(spec for each in works for spec in each.specs))
    made_of = {**work.training.to_json(), "image_size": work.image_size, "max_images": settings.max_images}
    if settings.weights != "fp32":
        made_of["weights"] = settings.weights
    supernet = ""
    trained = work.supernet or work.specs[0]
    seed = item_seed(settings.seed, dataset.digest, work.backend, trained.name, trained.source)
    if work.supernet is not None:
        supernet = network_id(work.supernet, dataset.digest, seed, {**made_of, "supernet": True})
    elif stop_below:
        made_of["stop_below"] = {str(epoch): accuracy for epoch, accuracy in stop_below.items()}
    return BuildItem(
        data=dataset,
        dataset_name=name,
        work=work,
        seed=seed,
        ids=tuple(network_id(spec, dataset.digest, seed, made_of) for spec in work.specs),
        max_images=settings.max_images,
        weights=settings.weights,
        supernet_id=supernet,
        data_seed=settings.seed,
        stop_below=dict(stop_below or {}) if work.supernet is None else {},
    )

"""Planning a build: which work items, with which ids and seeds, in which order."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nns.backends import Backend, WorkItem
from nns.errors import UsageError
from nns.pipeline.build.settings import BuildSettings
from nns.types import ArchitectureSpec
from nns.zoo import network_id

if TYPE_CHECKING:
    from nns.images import ImageDataset
    from nns.plugins import Registry


@dataclass(frozen=True)
class BuildItem:
    """One work item on one dataset.

    Attributes:
        data: The dataset, as it is opened.
        dataset_name: Its name in the zoo.
        dataset_digest: Its content digest.
        work: What the backend is to do.
        seed: Of weights, batches and splits.
        ids: Id of each network that comes out, in the order of ``work.specs``.
        recipe: What the ids are made of besides architecture, data and seed.
    """

    data: str
    dataset_name: str
    dataset_digest: str
    work: WorkItem
    seed: int
    ids: tuple[str, ...]
    recipe: Mapping[str, Any]


def plan_build(
    settings: BuildSettings, registry: Registry, datasets: Sequence[tuple[str, ImageDataset]]
) -> tuple[BuildItem, ...]:
    """Spread the networks over datasets and backends; costly items of each dataset come first.

    Args:
        settings: What to build.
        registry: Where the backends are.
        datasets: Name in the zoo and opened dataset.

    Raises:
        UsageError: If there are fewer networks than datasets, or no backend.
        UnknownNameError: If a backend or architecture does not exist.
    """
    if not settings.backends:
        raise UsageError("no backend named: give --backend NAME at least once")
    if settings.networks < len(datasets):
        raise UsageError(
            f"{settings.networks} networks cannot be spread over {len(datasets)} datasets; raise --networks"
        )
    chosen = [(registry.backend(name.partition(":")[0]), name.partition(":")[2]) for name in settings.backends]
    items: list[BuildItem] = []
    for index, (name, dataset) in enumerate(datasets):
        share = _share(settings.networks, len(datasets), index)
        for position, (backend, pattern) in enumerate(chosen):
            count = _share(share, len(chosen), position)
            seed = item_seed(settings.seed, dataset.digest, backend.name)
            for work in _work(backend, pattern, count, settings, seed):
                items.append(_item(name, dataset, work, seed, settings))
    return tuple(items)


def item_seed(seed: int, *parts: str) -> int:
    """Derive a seed of 31 bits from the user's seed and what the item is, whatever its turn."""
    text = "\0".join([str(seed), *parts])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") & 0x7FFFFFFF


def _share(total: int, parts: int, index: int) -> int:
    return total // parts + (index < total % parts)


def _work(backend: Backend, pattern: str, count: int, settings: BuildSettings, seed: int) -> Sequence[WorkItem]:
    if not pattern:
        works = list(backend.plan(count, settings.image_size, seed))
    else:
        offered = backend.offers(pattern)
        specs = [offered[(seed + i) % len(offered)] for i in range(min(count, len(offered)))]
        works = [_like_planned(backend, spec, settings.image_size, seed) for spec in specs]
    if settings.epochs is not None:
        works = [replace(w, settings={**w.settings, "epochs": settings.epochs}) for w in works]
    return sorted(works, key=lambda work: -work.seconds)


def _like_planned(backend: Backend, spec: ArchitectureSpec, image_size: int, seed: int) -> WorkItem:
    """Train a named architecture as the backend trains its own choices from the same source of weights."""
    for work in backend.plan(3, image_size, seed):
        if any(planned.source == spec.source for planned in work.specs):
            return replace(work, specs=(spec,))
    return WorkItem(backend.name, (spec,), image_size)


def _item(name: str, dataset: ImageDataset, work: WorkItem, seed: int, settings: BuildSettings) -> BuildItem:
    recipe = {**work.settings, "image_size": work.image_size, "max_images": settings.max_images}
    if settings.weights != "fp32":
        recipe["weights"] = settings.weights
    seeds = item_seed(seed, *[spec.name for spec in work.specs])
    ids = tuple(network_id(spec, dataset.digest, seeds, recipe) for spec in work.specs)
    return BuildItem(dataset.path, name, dataset.digest, work, seeds, ids, recipe)

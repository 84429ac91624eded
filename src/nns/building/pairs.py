"""Which pairs of dataset and architecture a build trains next, as items for workers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nns.building.plan import BuildItem, is_of, item_seed, make_item
from nns.building.selection import AtRandom, ByGain, InOrder, Pair, PairSelector, Rounds
from nns.errors import UsageError

if TYPE_CHECKING:
    from nns.backends import WorkItem
    from nns.building.folder import BuildFolder
    from nns.building.settings import BuildSettings
    from nns.data import Dataset
    from nns.plugins import Registry
    from nns.stores import HDF5Store

RUNGS = (1 / 3, 2 / 3)
"""Shares of a training after which a network that has fallen behind is given up."""

ENOUGH = 3
"""Networks that one is compared with at a rung, at least."""

CLASSES = 10
"""Classes of the heads with which architectures are compared by size."""


class PairPlan:
    """The pairs of a build: chosen in rounds, turned into items, recorded as results come in.

    Args:
        settings: Of the build.
        registry: Where the backends are.
        datasets: Name in the zoo and opened dataset.
        architectures: The work of training each on a dataset.
        store: The zoo, with the query features of all datasets.
        on_counted: Called after each architecture that was built to count its costs, with its name, how many were
            counted so far, and how many that will be. Strategies that do not ask for costs count none.
        folder: Where what was counted is kept, for a build that is killed.

    Attributes:
        ids: Id of the network of each pair that was chosen.
        broken: Backend, and name and reason, of architectures that cannot even be built, and so do not compete.
        total: Networks in all.

    Raises:
        UsageError: If no architecture is left.
    """

    def __init__(
        self,
        settings: BuildSettings,
        registry: Registry,
        datasets: Sequence[tuple[str, Dataset]],
        architectures: Sequence[WorkItem],
        store: HDF5Store,
        on_counted: Callable[[str, int, int], None] | None = None,
        folder: BuildFolder | None = None,
    ) -> None:
        """Make the chooser of the strategy; nothing is chosen yet."""
        self.settings, self.store = settings, store
        self.datasets = sorted(datasets, key=lambda named: named[1].digest)
        self.architectures = list(architectures)
        self.broken: list[tuple[str, str]] = []
        self.costs: NDArray[np.float64] | None = None
        chooser = self._chooser(registry, on_counted, folder)
        pairs = len(datasets) * len(self.architectures)
        self.total = pairs if settings.strategy == "all" else min(settings.networks, pairs)
        self.ids: dict[Pair, str] = {}
        self._pairs: dict[str, Pair] = {}
        self.rounds = Rounds(chooser, settings.pairs_a_round(len(datasets)), self.total)

    def _chooser(
        self,
        registry: Registry,
        on_counted: Callable[[str, int, int], None] | None,
        folder: BuildFolder | None,
    ) -> PairSelector:
        seed = item_seed(self.settings.seed, "pairs")
        if self.settings.strategy != "pareto":
            make = InOrder if self.settings.strategy == "all" else AtRandom
            return make(len(self.datasets), len(self.architectures), seed)
        rows = {}
        for number, work in enumerate(self.architectures):
            try:
                rows[number] = described_once(work, registry, self.settings.objectives, folder)
            except Exception as error:  # noqa: BLE001 - one that fails here fails on each dataset
                name = work.specs[0].name
                self.broken.append((work.backend, f"{name} cannot be built: {type(error).__name__}: {error}"))
            if on_counted:
                on_counted(f"{work.backend}:{work.specs[0].name}", number + 1, len(self.architectures))
        if not rows:
            raise UsageError(f"no architecture can be built; {self.broken[0][1]}")
        self.architectures = [self.architectures[number] for number in rows]
        descriptors = join_descriptors(self.architectures, [row for row, _ in rows.values()])
        self.costs = np.array([costs for _, costs in rows.values()], np.float64)
        features = {record.digest: record.features.mean(0) for record in self.store.datasets()}
        means = np.stack([features[dataset.digest] for _, dataset in self.datasets])
        return ByGain(means, descriptors, self.costs, seed)

    @property
    def done(self) -> int:
        """Networks that are there."""
        return self.rounds.succeeded

    def untrained(self, backends: Sequence[str]) -> tuple[str, ...]:
        """Return those of ``BACKEND`` and ``BACKEND:PATTERN`` of which no network is in the zoo."""
        present = set(self.store.ids())
        trained = [self.architectures[a] for (_, a), identity in self.ids.items() if identity in present]
        return tuple(name for name in dict.fromkeys(backends) if not any(is_of(work, name) for work in trained))

    def next_items(self) -> list[BuildItem]:
        """Choose what can be chosen now, as items; networks that are in the zoo count at once."""
        items: list[BuildItem] = []
        while fresh := self.rounds.advance():
            present = set(self.store.ids())
            for number, pairs in fresh:
                items += self._items(self.rounds.known(number - 1), pairs, present)
        return items

    def _items(self, known: Mapping[Pair, float], pairs: Sequence[Pair], present: set[str]) -> list[BuildItem]:
        groups: dict[tuple[int, str], list[Pair]] = {}
        for d, a in pairs:
            work = self.architectures[a]
            spec = work.supernet or work.specs[0]
            key = f"{work.backend} {spec.name} {spec.source} {work.supernet is not None}"
            groups.setdefault((d, key), []).append((d, a))
        items = []
        for (d, _), which in groups.items():
            name, dataset = self.datasets[d]
            works = [self.architectures[a] for _, a in which]
            limits = self.stop_below(known, which[0]) if works[0].supernet is None else {}
            item = make_item(name, dataset, works, self.settings, limits)
            for pair, identity in zip(which, item.ids, strict=True):
                self.ids[pair], self._pairs[identity] = identity, pair
            there = [identity for identity in item.ids if identity in present]
            for identity in there:
                self.record(identity, self.store.entry(identity).accuracy)
            if len(there) < len(item.ids):
                items.append(item)
        return sorted(items, key=lambda item: -item.work.seconds)

    def record(self, identity: str, accuracy: float | None) -> None:
        """Note the accuracy of a network, or None if its training failed."""
        self.rounds.record(self._pairs[identity], accuracy)

    def stop_below(self, known: Mapping[Pair, float], pair: Pair) -> dict[int, float]:
        """Return the accuracies that a network must have on its way: the medians of those that are no larger.

        Successive halving (Karnin et al., 2013), but against the networks of earlier rounds, so that it does not
        matter which of them runs at the same time. Larger ones do not count: they may be better and yet leave the
        network its place on the Pareto curve.
        """
        epochs = self.architectures[pair[1]].training.epochs or 0
        if not self.settings.halving or self.costs is None or epochs < ENOUGH:
            return {}
        mine = self.costs[pair[1]]
        curves = []
        for d, a in sorted(known):
            if d == pair[0] and (self.costs[a] <= mine).all():
                provenance = self.store.entry(self.ids[d, a]).provenance
                if curve := provenance.val_curve:
                    curves.append((len(curve) if provenance.epochs is None else provenance.epochs, curve))
        limits = {}
        for share in RUNGS:
            there = [curve[math.ceil(share * n) - 1] for n, curve in curves if len(curve) >= math.ceil(share * n)]
            if len(there) >= ENOUGH:
                limits[math.ceil(share * epochs)] = round(float(np.median(there)), 6)
        return limits


def check_spread(settings: BuildSettings, datasets: int) -> None:
    """See that each dataset can have a network.

    Raises:
        UsageError: If not.
    """
    if settings.networks < datasets and settings.strategy != "all":
        raise UsageError(f"{settings.networks} networks cannot be spread over {datasets} datasets; raise `networks`")


def described_once(
    work: WorkItem, registry: Registry, objectives: Sequence[str], folder: BuildFolder | None
) -> tuple[list[float], list[float]]:
    """Return what :func:`describe_architecture` does, from the folder of the build if it is there."""
    if folder is None:
        return describe_architecture(work, registry, objectives)
    from importlib.metadata import version

    spec = work.specs[0]
    about = {"backend": work.backend, "name": spec.name, "config": dict(spec.config), "size": work.image_size}
    about |= {"objectives": list(objectives), "classes": CLASSES, "versions": [version("nns"), version("torch")]}
    found = folder.counted(about)
    if found is None:
        found = describe_architecture(work, registry, objectives)
        folder.keep(about, found)
    return found


def describe_architecture(
    work: WorkItem, registry: Registry, objectives: Sequence[str]
) -> tuple[list[float], list[float]]:
    """Build an architecture once, untrained, and count it.

    Args:
        work: The work of training it.
        registry: Where its backend is.
        objectives: Costs that count: ``params``, ``macs``, ``latency`` (seconds on this machine).

    Returns:
        Graph statistics, and a cost for each objective.
    """
    import torch

    from nns.networks import count_cost, measure_latency
    from nns.networks.fingerprints.graph import graph_statistics, trace_layers

    backend, spec = registry.backend(work.backend), work.specs[0]
    module = backend.build(replace(spec, source="random"), CLASSES).eval()
    preprocessing = backend.preprocessing(spec, work.image_size)
    cost = count_cost(backend, module, preprocessing, CLASSES)
    size = preprocessing.size
    statistics = graph_statistics(trace_layers(module, torch.zeros(1, 3, size, size)), cost, size)
    found = {"params": float(cost.params(CLASSES)), "macs": float(cost.macs(CLASSES))}
    if "latency" in objectives:
        found["latency"] = measure_latency(module, preprocessing)
    return statistics, [found[name] for name in objectives]


def join_descriptors(architectures: Sequence[WorkItem], statistics: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Join graph statistics, backend and source of weights to descriptors (A, any), each column of deviation 1."""
    kinds = [f"{work.backend} {work.specs[0].source}" for work in architectures]
    flags = np.array([[kind == each for each in sorted(set(kinds))] for kind in kinds], np.float64)
    table = np.hstack([np.array(statistics, np.float64), flags])
    spread = table.std(axis=0)
    found: NDArray[np.float64] = (table - table.mean(axis=0))[:, spread > 0] / spread[spread > 0]
    return found

"""What a space is fitted on: the numbers of a zoo as arrays, without weights and images."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nns.errors import UsageError
from nns.space._forward import logit

if TYPE_CHECKING:
    from nns.priors import Facts
    from nns.zoo import Zoo

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

ENOUGH_TRANSFERS = 30
"""Transfer results of a small zoo of which half is believed."""

TRANSFERS_A_NETWORK = 0.5
"""Transfer results, for each network, of which half is believed: see :func:`transfers_needed`."""


def transfers_needed(networks: int) -> int:
    """Return of how many transfers among so many networks half is believed, see :attr:`SpaceData.trust`.

    With so few, the levels of datasets and networks are guesses, and searches by them alone are worse than without any:
    see benchmarks/space/transfers.py and docs/results.md.
    """
    return max(ENOUGH_TRANSFERS, math.ceil(TRANSFERS_A_NETWORK * networks))


MIN_OWN = 2
"""Datasets with own networks below which results of fine-tunings say what matches, see :meth:`SpaceData.matches`."""

NO_DATASET = -1
"""``dataset_index`` of a network whose own dataset is not in the zoo, e.g. one trained on ImageNet."""


def family_of(name: str) -> str:
    """Return the family of a dataset: its name up to the first ``-`` or ``/``.

    Datasets of one family (class splits of one large set) are near copies of each other, so they are held
    out together.
    """
    return re.split("[-/]", name, maxsplit=1)[0]


class Outcomes(NamedTuple):
    """Known accuracies of networks on datasets, one row a pair.

    Attributes:
        network: (r,) index of the network.
        dataset: (r,) index of the dataset.
        accuracy: (r,) accuracy 0..1, never NaN.
        own: (r,) whether the dataset is the one the network was trained on.
    """

    network: IntArray
    dataset: IntArray
    accuracy: NDArray[np.float64]
    own: NDArray[np.bool_]


def _no_indices() -> IntArray:
    return np.zeros(0, np.int64)


def _no_accuracies() -> NDArray[np.floating[Any]]:
    return np.zeros(0)


@dataclass(frozen=True, eq=False)
class SpaceData:
    """Everything a fit needs.

    Attributes:
        network_ids: Ids of the n networks.
        blocks: Fingerprint blocks: ``"graph"`` (n, G), ``"kernel"`` (n, m, m), ``"surprise"`` (n, r, m);
            ``"topology"`` (n, T) and ``"functional"`` (n, F) only where all networks share the widths.
        accuracy: (n,) accuracy on the network's own dataset, 0..1; NaN unknown.
        dataset_index: (n,) index of the own dataset; ``NO_DATASET`` where it is not in the zoo.
        dataset_names: Names of the datasets.
        queries: One (images, D) float32 array of query features a dataset.
        query_labels: One (images,) array of class indices a dataset; -1 unlabelled.
        families: Family of each dataset; left empty it is :func:`family_of` of the name.
        transfer_network: (t,) network of each known result of fine-tuning on another dataset.
        transfer_dataset: (t,) dataset it was fine-tuned on.
        transfer_accuracy: (t,) validation accuracy it reached, 0..1.
        facts: What is known of each network without looking at it, n or none: what the prior of networks at large
            goes by.

    Raises:
        UsageError: If the lengths do not fit together.
    """

    network_ids: tuple[str, ...]
    blocks: Mapping[str, FloatArray]
    accuracy: NDArray[np.floating[Any]]
    dataset_index: IntArray
    dataset_names: tuple[str, ...]
    queries: tuple[FloatArray, ...]
    query_labels: tuple[IntArray, ...]
    families: tuple[str, ...] = ()
    transfer_network: IntArray = field(default_factory=_no_indices)
    transfer_dataset: IntArray = field(default_factory=_no_indices)
    transfer_accuracy: NDArray[np.floating[Any]] = field(default_factory=_no_accuracies)
    facts: tuple[Facts, ...] = ()

    def __post_init__(self) -> None:
        """Fill in the families and check the lengths."""
        if not self.families:
            object.__setattr__(self, "families", tuple(family_of(name) for name in self.dataset_names))
        networks, datasets = len(self.network_ids), len(self.dataset_names)
        lengths = {f"blocks[{name!r}]": (len(block), networks) for name, block in self.blocks.items()}
        lengths |= {name: (len(getattr(self, name)), networks) for name in ("accuracy", "dataset_index")}
        for name in ("queries", "query_labels", "families"):
            lengths[name] = (len(getattr(self, name)), datasets)
        for name in ("transfer_dataset", "transfer_accuracy"):
            lengths[name] = (len(getattr(self, name)), len(self.transfer_network))
        lengths |= {"facts": (len(self.facts), networks)} if self.facts else {}
        for name, (found, expected) in lengths.items():
            if found != expected:
                raise UsageError(f"{name} has {found} rows, expected {expected}; build SpaceData from one zoo")
        for name, index, limit in (
            ("dataset_index", self.dataset_index, datasets),
            ("transfer_dataset", self.transfer_dataset, datasets),
            ("transfer_network", self.transfer_network, networks),
        ):
            if len(index) and (index.max() >= limit or index.min() < NO_DATASET):
                raise UsageError(f"{name} reaches from {index.min()} to {index.max()}, but there are {limit}")

    @classmethod
    def of(cls, zoo: Zoo) -> SpaceData:
        """Collect from a zoo what a space is fitted on: networks that have a fingerprint, and their results."""
        from nns.priors import Facts
        from nns.space._blocks import fingerprint_blocks

        columns, datasets = zoo.store.columns(), zoo.datasets()
        rows = np.flatnonzero(columns.fingerprinted)
        entries = zoo.store.entries(rows.tolist())
        index = {record.digest: position for position, record in enumerate(datasets)}
        networks, moved_to, accuracy = known_transfers(zoo, index)
        return cls(
            network_ids=tuple(entry.id for entry in entries),
            blocks=fingerprint_blocks(zoo),
            accuracy=np.array([entry.accuracy for entry in entries], dtype=np.float64),
            dataset_index=np.array([index.get(entry.source_digest, -1) for entry in entries], dtype=np.int64),
            dataset_names=tuple(record.name for record in datasets),
            queries=tuple(np.array(record.features) for record in datasets),
            query_labels=tuple(np.array(record.labels) for record in datasets),
            transfer_network=networks,
            transfer_dataset=moved_to,
            transfer_accuracy=accuracy,
            facts=tuple(Facts.of(entry) for entry in entries),
        )

    @property
    def trust(self) -> float:
        """Share of what the transfers say that is believed, 0 (none) to 1 (very many): it never jumps."""
        known = int(np.isfinite(self.transfer_accuracy).sum())
        return known / (known + transfers_needed(len(self.network_ids)))

    @property
    def enough_transfers(self) -> bool:
        """Whether there are so many transfers that errors of predictions are measured on them."""
        return len(self.transfer_network) >= transfers_needed(len(self.network_ids))

    def own_networks(self, dataset: int) -> IntArray:
        """List the networks that were trained on a dataset, (k,) int64."""
        return np.flatnonzero(self.dataset_index == dataset).astype(np.int64)

    def matches(self, dataset: int) -> IntArray:
        """List the networks that should lie near a dataset, (k,) int64: its own, or those that did best beyond usual.

        In a zoo of generalists none was trained on the datasets. Then the quarter of the networks that a result is
        known of counts that is furthest above what it reaches elsewhere.
        """
        return self._by_results.get(dataset, _no_indices()) if self.pairs_by_results else self.own_networks(dataset)

    @cached_property
    def pairs_by_results(self) -> bool:
        """Whether so few datasets have own networks that results say which networks match which."""
        return len(self._datasets_of(self.dataset_index)) < MIN_OWN

    @cached_property
    def _by_results(self) -> dict[int, IntArray]:
        known = np.isfinite(self.transfer_accuracy)
        network, dataset = self.transfer_network[known], self.transfer_dataset[known]
        reached = logit(np.asarray(self.transfer_accuracy[known], np.float64))
        beyond = reached - _mean_by(dataset, reached)[dataset]  # how easy a dataset is says nothing of networks
        beyond -= _mean_by(network, beyond)[network]
        found = {}
        for each in self._datasets_of(dataset):
            of_it = np.flatnonzero(dataset == each)
            first = of_it[np.argsort(-beyond[of_it], kind="stable")][: max(1, len(of_it) // 4)]
            found[int(each)] = np.sort(network[first]).astype(np.int64)
        return found

    def _datasets_of(self, datasets: IntArray) -> IntArray:
        return np.array([d for d in np.unique(datasets) if d >= 0 and len(self.queries[d])], np.int64)

    def paired_datasets(self) -> IntArray:
        """List the datasets that have query features and networks that should lie near them, (d,) int64."""
        return self._datasets_of(np.array(list(self._by_results)) if self.pairs_by_results else self.dataset_index)

    def outcomes(self) -> Outcomes:
        """List all known accuracies: own datasets first, transfers after them."""
        own = np.flatnonzero((self.dataset_index >= 0) & np.isfinite(self.accuracy))
        moved = np.flatnonzero(np.isfinite(self.transfer_accuracy))
        return Outcomes(
            np.concatenate([own, self.transfer_network[moved]]).astype(np.int64),
            np.concatenate([self.dataset_index[own], self.transfer_dataset[moved]]).astype(np.int64),
            np.concatenate([self.accuracy[own], self.transfer_accuracy[moved]]).astype(np.float64),
            np.arange(len(own) + len(moved)) < len(own),
        )

    def without(self, datasets: Sequence[int] | IntArray) -> SpaceData:
        """Leave out datasets, the networks trained on them and every result on them or of those networks."""
        left_out = np.isin(np.arange(len(self.dataset_names)), datasets)
        kept_datasets = np.flatnonzero(~left_out)
        new_index = np.append(np.cumsum(~left_out) - 1, NO_DATASET)
        kept = ~np.append(left_out, False)[self.dataset_index]
        rows = kept[self.transfer_network] & ~left_out[self.transfer_dataset]
        return SpaceData(
            tuple(np.array(self.network_ids, object)[kept]),
            {name: block[kept] for name, block in self.blocks.items()},
            self.accuracy[kept],
            new_index[self.dataset_index[kept]].astype(np.int64),
            tuple(self.dataset_names[d] for d in kept_datasets),
            tuple(self.queries[d] for d in kept_datasets),
            tuple(self.query_labels[d] for d in kept_datasets),
            tuple(self.families[d] for d in kept_datasets),
            (np.cumsum(kept) - 1)[self.transfer_network[rows]].astype(np.int64),
            new_index[self.transfer_dataset[rows]].astype(np.int64),
            self.transfer_accuracy[rows],
            tuple(each for each, stays in zip(self.facts, kept, strict=False) if stays),
        )


def _mean_by(group: IntArray, values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.bincount(group, values) / np.maximum(np.bincount(group), 1)


def known_transfers(zoo: Zoo, index: Mapping[str, int]) -> tuple[IntArray, IntArray, NDArray[np.float64]]:
    """Collect the transfers of a zoo's networks with fingerprints: network, dataset and mean accuracy, each (t,).

    A network is counted among those that have a fingerprint; the mean is over recipes and seeds.

    Args:
        zoo: The zoo.
        index: Position of each dataset by its digest; transfers to others are left out.
    """
    has = zoo.store.columns().fingerprinted
    transfers = zoo.store.transfers()
    rows = zoo.store.rows_of([record.network_id for record in transfers])
    at = np.append(np.where(has, np.cumsum(has) - 1, -1), -1)[rows]
    found: dict[tuple[int, int], list[float]] = {}
    for network, record in zip(at.tolist(), transfers, strict=True):
        if network >= 0 and record.dataset_digest in index and np.isfinite(record.accuracy):
            key = network, index[record.dataset_digest]
            found.setdefault(key, []).append(record.accuracy)
    keys = np.array(sorted(found), np.int64).reshape(-1, 2)
    means = np.array([float(np.mean(found[key])) for key in sorted(found)], np.float64)
    return keys[:, 0], keys[:, 1], means

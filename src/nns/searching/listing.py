"""Listing a zoo within limits, in an order."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.errors import NoNetworkError, UnknownNameError, UsageError
from nns.searching.limits import LatencySource, NetworkTable, feasible
from nns.types import Limits, NetworkEntry

if TYPE_CHECKING:
    from nns.zoo import Zoo

_ORDERS: dict[str, Callable[[NetworkEntry], Any]] = {
    "params": lambda entry: (entry.cost.params(len(entry.classes)), entry.id),
    "macs": lambda entry: (entry.cost.macs(len(entry.classes)), entry.id),
    "size": lambda entry: (entry.cost.bytes(len(entry.classes)), entry.id),
    "accuracy": lambda entry: (math.inf if math.isnan(entry.accuracy) else -entry.accuracy, entry.id),
    "architecture": lambda entry: (entry.spec.backend, entry.spec.name, entry.id),
    "dataset": lambda entry: (entry.source_dataset, entry.spec.backend, entry.spec.name, entry.id),
    "id": lambda entry: entry.id,
}


def list_networks(
    zoo: Zoo,
    limits: Limits,
    sort: str = "dataset",
    *,
    reverse: bool = False,
    dataset: str | None = None,
    latencies: LatencySource | None = None,
) -> list[NetworkEntry]:
    """List the networks that meet the limits, each counted with its own head; none is an empty list.

    Args:
        zoo: The zoo.
        limits: Hard limits.
        sort: Smallest first by ``params``, ``macs`` or ``size``, best first by ``accuracy``, or by ``dataset``,
            ``architecture`` or ``id``.
        reverse: The other way round; what has no accuracy stays last.
        dataset: Only networks trained on the dataset of this name.
        latencies: Where latencies come from, if there is a limit on them.

    Raises:
        UnknownNameError: If there is no such order, or no network trained on that dataset.
        UsageError: If latency is limited and ``latencies`` is not given.
    """
    if sort not in _ORDERS:
        raise UnknownNameError.among("order", sort, _ORDERS)
    if limits.max_latency is not None and latencies is None:
        raise UsageError("a limit on latency needs a source of latencies")
    entries = zoo.store.entries()
    if dataset is not None:
        known = {entry.source_dataset for entry in entries}
        if dataset not in known:
            raise UnknownNameError.among("dataset", dataset, known)
        entries = [entry for entry in entries if entry.source_dataset == dataset]
    if not entries:
        return []
    table = NetworkTable.of(entries)
    try:
        mask, _ = feasible(table, table.costs(None), limits, latencies or (lambda ids: {}))
    except NoNetworkError:
        return []
    found = sorted((entries[i] for i in np.flatnonzero(mask).tolist()), key=_ORDERS[sort], reverse=reverse)
    if sort == "accuracy":
        found.sort(key=lambda entry: math.isnan(entry.accuracy))
    return found

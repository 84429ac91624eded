"""Listing a zoo within limits, in an order."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.errors import NoNetworkError, UnknownNameError
from nns.retrieval.limits import NetworkTable, feasible
from nns.types import Limits, NetworkEntry

if TYPE_CHECKING:
    from nns.zoo import Zoo

_ORDERS: dict[str, Callable[[NetworkEntry], Any]] = {
    "params": lambda entry: (entry.cost.params(len(entry.classes)), entry.id),
    "macs": lambda entry: (entry.cost.macs(len(entry.classes)), entry.id),
    "accuracy": lambda entry: (math.inf if math.isnan(entry.accuracy) else -entry.accuracy, entry.id),
    "dataset": lambda entry: (entry.source_dataset, entry.spec.backend, entry.spec.name, entry.id),
    "id": lambda entry: entry.id,
}


def list_networks(zoo: Zoo, limits: Limits, sort: str = "dataset") -> list[NetworkEntry]:
    """List the networks that meet the limits, each counted with its own head; none is an empty list.

    Raises:
        UnknownNameError: If there is no such order.
    """
    if sort not in _ORDERS:
        raise UnknownNameError.among("order", sort, _ORDERS)
    entries = zoo.entries()
    if not entries:
        return []
    table = NetworkTable.of(entries)
    try:
        mask, _ = feasible(table, table.costs(None), limits, lambda ids: {})
    except NoNetworkError:
        return []
    return sorted((entries[i] for i in np.flatnonzero(mask).tolist()), key=_ORDERS[sort])

"""Hard limits: which networks of a zoo may be considered, and what the nearest limit is where none may."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nns.errors import NoNetworkError
from nns.quantities import limit_for
from nns.types import Limits, NetworkEntry

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class CostColumns:
    """Costs of n networks, each with the head that the user's data needs.

    Attributes:
        params: (n,) int64.
        macs: (n,) int64, of one image.
        bytes: (n,) int64, of the fp32 weights.
    """

    params: NDArray[np.int64]
    macs: NDArray[np.int64]
    bytes: NDArray[np.int64]


@dataclass(frozen=True)
class NetworkTable:
    """What limits are about, of all networks of a zoo, as columns; each (n,).

    Attributes:
        entries: The networks.
        body: Parameters, MACs and bytes without a head, (3, n) int64.
        feature_dim: Inputs of the head, int64.
        own_classes: Classes of each network's own head, int64.
        backends: Names of the backends.
        licenses: Licences, case folded.
    """

    entries: Sequence[NetworkEntry]
    body: NDArray[np.int64]
    feature_dim: NDArray[np.int64]
    own_classes: NDArray[np.int64]
    backends: NDArray[np.str_]
    licenses: NDArray[np.str_]

    @classmethod
    def of(cls, entries: Sequence[NetworkEntry]) -> NetworkTable:
        """Collect the columns."""
        costs = [entry.cost for entry in entries]
        rows = [(c.body_params, c.body_macs, c.body_bytes, c.feature_dim) for c in costs]
        columns = np.array(rows, dtype=np.int64).reshape(len(rows), 4).T
        return cls(
            entries,
            columns[:3],
            columns[3],
            np.array([len(entry.classes) for entry in entries], dtype=np.int64),
            np.array([entry.spec.backend for entry in entries], dtype=np.str_),
            np.array([entry.license.casefold() for entry in entries], dtype=np.str_),
        )

    def costs(self, classes: int | None) -> CostColumns:
        """Count every network with a head for ``classes`` classes; None keeps each network's own head.

        The formula is that of :class:`nns.types.NetworkCost`.
        """
        heads = self.own_classes if classes is None else np.int64(classes)
        head = (self.feature_dim + 1) * heads
        params, macs, size = self.body
        return CostColumns(params + head, macs + self.feature_dim * heads, size + 4 * head)


LatencySource = Callable[[Sequence[str]], Mapping[str, float]]
"""Gives seconds of one image by network id, measuring what is not known yet."""


def feasible(
    table: NetworkTable, costs: CostColumns, limits: Limits, latencies: LatencySource
) -> tuple[NDArray[np.bool_], dict[str, float]]:
    """Return which networks meet every limit; latency is measured only for those that meet the others.

    Args:
        table: The networks.
        costs: Their costs, in the same order.
        limits: The limits.
        latencies: Asked only if there is a latency limit.

    Returns:
        (n,) mask, and the latencies that were asked for.

    Raises:
        NoNetworkError: If none does. The message names the nearest limit that has one.
    """
    mask = np.ones(len(table.entries), dtype=bool)
    if limits.backend is not None:
        mask &= table.backends == limits.backend
    if limits.license is not None:
        mask &= table.licenses == limits.license.casefold()
    if not mask.any():
        raise NoNetworkError(_no_such_kind(table.entries, limits))
    numeric = [
        ("--max-params", "count", costs.params, limits.max_params),
        ("--max-macs", "count", costs.macs, limits.max_macs),
        ("--max-size", "bytes", costs.bytes, limits.max_size),
    ]
    kinds = mask.copy()
    for _, _, column, limit in numeric:
        if limit is not None:
            mask &= column <= limit
    if not mask.any():
        raise NoNetworkError(_nearest(numeric, kinds))
    if limits.max_latency is None:
        return mask, {}
    chosen = np.flatnonzero(mask).tolist()
    known = dict(latencies([table.entries[i].id for i in chosen]))
    seconds = np.array([known[table.entries[i].id] for i in chosen])
    mask[chosen] = seconds <= limits.max_latency
    if not mask.any():
        least = limit_for(float(seconds.min()), "latency")
        raise NoNetworkError(f"no network is as fast as asked here; the fastest needs --max-latency {least}")
    return mask, known


def _no_such_kind(entries: Sequence[NetworkEntry], limits: Limits) -> str:
    backends = ", ".join(sorted({entry.spec.backend for entry in entries}))
    licenses = ", ".join(sorted({entry.license for entry in entries}))
    asked = [f"backend {limits.backend!r}"] if limits.backend else []
    asked += [f"license {limits.license!r}"] if limits.license else []
    return f"no network of {' and '.join(asked)} in this zoo (backends: {backends}; licenses: {licenses})"


def _nearest(numeric: Sequence[tuple[str, str, NDArray[np.int64], int | None]], kinds: NDArray[np.bool_]) -> str:
    """Find the network that exceeds the limits by the smallest factor, and name the limits that admit it."""
    set_limits = [(name, kind, column, limit) for name, kind, column, limit in numeric if limit is not None]
    excess = np.ones(len(kinds))
    for _, _, column, limit in set_limits:
        excess = np.maximum(excess, column / limit)
    excess[~kinds] = np.inf
    nearest = int(np.argmin(excess))
    admitted = [
        f"{name} {limit_for(float(column[nearest]), kind)}"
        for name, kind, column, limit in set_limits
        if column[nearest] > limit
    ]
    return f"no network within the limits; the nearest limit that has one: {' '.join(admitted)}"

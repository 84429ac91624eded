"""Hard limits: which networks of a zoo may be considered, and what the nearest limit is where none may."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nns.errors import NoNetworkError
from nns.quantities import limit_for
from nns.types import Limits, NetworkColumns, NetworkEntry

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


@dataclass(frozen=True, eq=False)
class NetworkTable:
    """What limits are about, of all networks of a zoo.

    Attributes:
        columns: Their numbers; to read them no description of a network is parsed.
        entries: Returns the networks in the same order; called only where a limit is on backend or licence.
    """

    columns: NetworkColumns
    entries: Callable[[], Sequence[NetworkEntry]]

    @classmethod
    def of(cls, entries: Sequence[NetworkEntry]) -> NetworkTable:
        """Collect the columns of networks whose descriptions are there already."""
        return cls(NetworkColumns.of(entries), lambda: entries)

    def costs(self, classes: int | None) -> CostColumns:
        """Count every network with a head for ``classes`` classes; None keeps each network's own head.

        The formula is that of :class:`nns.types.NetworkCost`.
        """
        columns = self.columns
        heads = columns.classes if classes is None else np.int64(classes)
        head = (columns.feature_dim + 1) * heads
        return CostColumns(
            columns.body_params + head, columns.body_macs + columns.feature_dim * heads, columns.body_bytes + 4 * head
        )

    def of_kind(self, backend: str | None, license: str | None) -> NDArray[np.bool_]:
        """Return which networks are of a backend and under a licence (compared without case), (n,); None is any."""
        mask = np.ones(len(self.columns), dtype=bool)
        if backend is not None:
            mask &= np.array([entry.spec.backend == backend for entry in self.entries()], bool)
        if license is not None:
            mask &= np.array([entry.license.casefold() == license.casefold() for entry in self.entries()], bool)
        return mask


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
    mask = table.of_kind(limits.backend, limits.license)
    if not mask.any():
        raise NoNetworkError(_no_such_kind(table.entries(), limits))
    numeric = [
        ("max_params", "count", costs.params, limits.max_params),
        ("max_macs", "count", costs.macs, limits.max_macs),
        ("max_size", "bytes", costs.bytes, limits.max_size),
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
    names = [table.columns.id(row) for row in chosen]
    known = dict(latencies(names))
    seconds = np.array([known[name] for name in names])
    mask[chosen] = seconds <= limits.max_latency
    if not mask.any():
        least = limit_for(float(seconds.min()), "latency")
        raise NoNetworkError(f"no network is as fast as asked here; the fastest needs max_latency={least}")
    return mask, known


def check_limits(entries: Sequence[NetworkEntry], classes: int, limits: Limits, latencies: LatencySource) -> None:
    """Check that networks which nobody searched for meet every limit, with a head for ``classes`` classes.

    Raises:
        NoNetworkError: If one does not.
    """
    for entry in entries:
        table = NetworkTable.of([entry])
        try:
            feasible(table, table.costs(classes), limits, latencies)
        except NoNetworkError as error:
            raise NoNetworkError(
                f"{entry.id[:10]} ({entry.spec.name}) is named beside limits that it does not meet: {error}"
            ) from None


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
        f"{name}={limit_for(float(column[nearest]), kind)}"
        for name, kind, column, limit in set_limits
        if column[nearest] > limit
    ]
    return f"no network within the limits; the nearest limit that has one: {' '.join(admitted)}"

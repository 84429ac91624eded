"""Hard limits: which networks of a zoo may be considered, and what the nearest limit is where none may."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.errors import NoNetworkError
from nns.quantities import limit_for
from nns.types import Limits, NetworkColumns, NetworkEntry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.stores._description import Description


AT_ONCE = 65_536
"""Networks whose costs are compared together: what is computed of them stays in the cache of a core."""

KINDS = 8
"""Backends and licences whose networks are kept, a byte a network."""

EVERY = slice(None)


@dataclass(frozen=True, eq=False)
class CostColumns:
    """Costs of n networks, each with the head that the user's data needs: computed of those that are asked for.

    The formula is that of :class:`nns.types.NetworkCost`.

    Attributes:
        columns: Their numbers without a head.
        classes: Of the head; None: each network's own.
    """

    columns: NetworkColumns
    classes: int | None

    def params_of(self, rows: slice | NDArray[np.int64]) -> NDArray[np.int64]:
        """Return parameters, (k,)."""
        return self.columns.body_params[rows] + self._head(rows)

    def macs_of(self, rows: slice | NDArray[np.int64]) -> NDArray[np.int64]:
        """Return multiply-accumulates of one image, (k,)."""
        return self.columns.body_macs[rows] + self.columns.feature_dim[rows] * self._classes(rows)

    def bytes_of(self, rows: slice | NDArray[np.int64]) -> NDArray[np.int64]:
        """Return bytes of the fp32 weights, (k,)."""
        return self.columns.body_bytes[rows] + 4 * self._head(rows)

    def of(self, row: int) -> tuple[int, int, int]:
        """Return parameters, multiply-accumulates and bytes of one network."""
        rows = slice(row, row + 1)
        return int(self.params_of(rows)[0]), int(self.macs_of(rows)[0]), int(self.bytes_of(rows)[0])

    @property
    def params(self) -> NDArray[np.int64]:
        """Parameters of all, (n,)."""
        return self.params_of(EVERY)

    @property
    def macs(self) -> NDArray[np.int64]:
        """Multiply-accumulates of one image, of all, (n,)."""
        return self.macs_of(EVERY)

    @property
    def bytes(self) -> NDArray[np.int64]:
        """Bytes of the fp32 weights of all, (n,)."""
        return self.bytes_of(EVERY)

    def _classes(self, rows: slice | NDArray[np.int64]) -> NDArray[np.int64] | np.int64:
        return self.columns.classes[rows] if self.classes is None else np.int64(self.classes)

    def _head(self, rows: slice | NDArray[np.int64]) -> NDArray[np.int64]:
        return (self.columns.feature_dim[rows] + 1) * self._classes(rows)

    def within(self, limits: Limits, rows: slice | NDArray[np.int64] = EVERY) -> NDArray[np.bool_]:
        """Return which networks meet the limits on parameters, MACs and bytes, (k,)."""
        mask = np.ones(len(self.columns.body_params[rows]), np.bool_)
        for _, _, read, limit in self.limited(limits):
            mask &= read(rows) <= limit
        return mask

    def all_within(self, limits: Limits) -> NDArray[np.bool_]:
        """Return which of all networks meet those limits, (n,), one block of them after another."""
        count, limited = len(self.columns), self.limited(limits)
        mask = np.ones(count, np.bool_)
        for start in range(0, count if limited else 0, AT_ONCE):
            rows = slice(start, start + AT_ONCE)
            mask[rows] = self.within(limits, rows)
        return mask

    def limited(self, limits: Limits) -> list[tuple[str, str, CostReader, int]]:
        """List the limits that are set: name, kind of the number, what reads it, limit."""
        every = [
            ("max_params", "count", self.params_of, limits.max_params),
            ("max_macs", "count", self.macs_of, limits.max_macs),
            ("max_size", "bytes", self.bytes_of, limits.max_size),
        ]
        return [(name, kind, read, limit) for name, kind, read, limit in every if limit is not None]


CostReader = Callable[["slice | NDArray[np.int64]"], "NDArray[np.int64]"]


@dataclass(frozen=True, eq=False)
class NetworkTable:
    """What limits are about, of all networks of a zoo.

    Attributes:
        columns: Their numbers; to read them no description of a network is parsed.
        describe: Summarises their descriptions, in the same order, as :meth:`nns.stores.HDF5Store.describe` does;
            called only where a limit is on backend or licence.
    """

    columns: NetworkColumns
    describe: Callable[[Callable[[Sequence[NetworkEntry | Description]], NDArray[Any]]], NDArray[Any]]
    _kinds: dict[tuple[str | None, str | None], NDArray[np.bool_]] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Sequence[NetworkEntry]) -> NetworkTable:
        """Collect the columns of networks whose descriptions are there already."""
        return cls(NetworkColumns.of(entries), lambda summarise: summarise(entries))

    def costs(self, classes: int | None) -> CostColumns:
        """Count every network with a head for ``classes`` classes; None keeps each network's own head."""
        return CostColumns(self.columns, classes)

    def of_kind(self, backend: str | None, license: str | None) -> NDArray[np.bool_]:
        """Return which networks are of a backend and under a licence (compared without case), (n,); None is any.

        It is read-only, and kept for a few: the searches of a service often ask for the same.
        """
        if backend is None and license is None:
            return np.ones(len(self.columns), np.bool_)
        folded = license and license.casefold()
        if (known := self._kinds.get((backend, folded))) is not None:
            return known

        def fits(some: Sequence[NetworkEntry | Description]) -> NDArray[np.bool_]:
            mask = np.ones(len(some), np.bool_)
            if backend is not None:
                mask &= np.array([each.spec.backend == backend for each in some], np.bool_)
            if folded is not None:
                mask &= np.array([each.license.casefold() == folded for each in some], np.bool_)
            return mask

        mask = self.describe(fits)
        mask.setflags(write=False)
        if len(self._kinds) >= KINDS:
            self._kinds.clear()
        self._kinds[backend, folded] = mask
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
        raise NoNetworkError(_no_such_kind(table, limits))
    kinds, mask = mask, mask & costs.all_within(limits)
    if not mask.any():
        raise NoNetworkError(_nearest(costs, limits, kinds))
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


def _no_such_kind(table: NetworkTable, limits: Limits) -> str:
    found: tuple[set[str], set[str]] = set(), set()

    def collect(some: Sequence[NetworkEntry | Description]) -> NDArray[np.bool_]:
        found[0].update(each.spec.backend for each in some)
        found[1].update(each.license for each in some)
        return np.zeros(len(some), np.bool_)

    table.describe(collect)
    backends, licenses = (", ".join(sorted(each)) for each in found)
    asked = [f"backend {limits.backend!r}"] if limits.backend else []
    asked += [f"license {limits.license!r}"] if limits.license else []
    return f"no network of {' and '.join(asked)} in this zoo (backends: {backends}; licenses: {licenses})"


def _nearest(costs: CostColumns, limits: Limits, kinds: NDArray[np.bool_]) -> str:
    """Find the network that exceeds the limits by the smallest factor, and name the limits that admit it."""
    set_limits = [(name, kind, read(EVERY), limit) for name, kind, read, limit in costs.limited(limits)]
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

"""A zoo made ready to be searched: what does not depend on the images is read at first use, and once."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from nns.networks import Network, check_records
from nns.quantities import counted
from nns.searching.limits import NetworkTable
from nns.searching.neighbours import Surroundings
from nns.space import Space

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nns.data.extractors import Extractor
    from nns.types import NetworkEntry, PartProgress
    from nns.zoo import Zoo


KEPT_ENTRIES = 20_000
"""Descriptions that are kept, some 100 MB: to parse the 64 that a search looks at takes longer than the rest of it."""


@dataclass(eq=False)
class ReadyZoo:
    """A zoo as it is now, with a space of it.

    It holds as long as the store shows the same snapshot. Of many threads that search in it at once, some may compute
    the same thing twice, none anything else.

    Attributes:
        zoo: The zoo.
        space: What ranks its networks.
    """

    zoo: Zoo
    space: Space
    _confirmed: set[str] = field(default_factory=set)
    _entries: dict[int, NetworkEntry] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, zoo: Zoo, space: str | None = None) -> ReadyZoo:
        """Load a space of a zoo; None: the default method's, or what is known of networks at large.

        Raises:
            UnknownNameError: If there is no such space.
            ZooError: If it is damaged.
        """
        at_large = space is None and not zoo.spaces()
        return cls(zoo, Space.at_large(zoo) if at_large else Space.load(zoo, space))

    @cached_property
    def table(self) -> NetworkTable:
        """What limits are about."""
        return NetworkTable(self.zoo.store.columns(), self.zoo.store.describe)

    @cached_property
    def extractor(self) -> Extractor:
        """The extractor whose features the zoo has."""
        return self.zoo.extractor

    @cached_property
    def surroundings(self) -> Surroundings:
        """The datasets among which a query lies."""
        return Surroundings(self.zoo)

    def entries(self, rows: Sequence[int]) -> list[NetworkEntry]:
        """Read the descriptions of networks; the best of one ranking are often among those of the next."""
        missing = [row for row in dict.fromkeys(rows) if row not in self._entries]
        if missing:
            if len(self._entries) + len(missing) > KEPT_ENTRIES:
                self._entries = {row: entry for row in rows if (entry := self._entries.get(row)) is not None}
            self._entries |= zip(missing, self.zoo.store.entries(missing), strict=True)
        kept = self._entries
        return [kept[row] for row in rows]

    def weights_name(self, entry: NetworkEntry) -> str:
        """Return :attr:`nns.networks.Network.weights_name` of a network, which is looked up once."""
        if entry.id not in self._names:
            self._names[entry.id] = Network(entry, self.zoo).weights_name
        return self._names[entry.id]

    @cached_property
    def digest(self) -> str:
        """Content digest of the zoo."""
        return self.zoo.store.digest()

    @cached_property
    def rests_on(self) -> str:
        """What a ranking rests on that no fitted space gives; empty where there is one."""
        if self.space.is_fitted:
            return ""
        results = len(self.zoo.store.transfers())
        own = f" and {counted(results, 'result')} of this zoo" if results else ""
        known = {record.digest for record in self.zoo.store.datasets()}
        index = {digest: at for at, digest in enumerate(sorted(known))}
        several = len(known) > 1
        if several:  # a fit takes two datasets with networks of their own
            described = self.zoo.store.describe
            sources = described(lambda some: np.array([index.get(each.source_digest, -1) for each in some], np.int64))
            several = len(np.unique(sources[sources >= 0])) > 1
        more = f"; fit a space for more: nns space fit {self.zoo.path}" if several else ""
        return f"by what is known of networks at large{own}{more}"

    def confirm(self, entries: Iterable[NetworkEntry], progress: PartProgress | None = None) -> None:
        """Hold what the zoo says of networks against their architectures, of each once.

        Raises:
            ZooError: If a record is not that of its architecture.
        """
        new = [entry for entry in entries if entry.id not in self._confirmed]
        if new:
            check_records(self.zoo, new, progress)
            self._confirmed.update(entry.id for entry in new)

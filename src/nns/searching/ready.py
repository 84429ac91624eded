"""A zoo made ready to be searched: what does not depend on the images is read at first use, and once."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from nns.networks import check_records
from nns.quantities import counted
from nns.searching.limits import NetworkTable
from nns.searching.neighbours import Surroundings
from nns.space import Space

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nns.data.extractors import Extractor
    from nns.types import NetworkEntry, PartProgress
    from nns.zoo import Zoo


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
        described = self.zoo.store.describe
        sources = described(lambda some: np.array([index.get(each.source_digest, -1) for each in some], np.int64))
        # a fit takes two datasets with networks of their own
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

"""How often one address may ask, whichever of the processes it reaches."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from hashlib import blake2b
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SLOTS = 1 << 16
BURST = 2.0
"""Seconds of the rate that may be used up at once."""


def _slots() -> Any:
    from multiprocessing import get_context

    return get_context("spawn").RawArray("d", SLOTS)


@dataclass(eq=False)
class Rates:
    """The generic cell rate algorithm: one number an address, the time at which it has used up what it had.

    The numbers are in memory that processes share. Two that write one at once lose a count, so the limit may be off by
    one a process. Addresses are told apart by a keyed hash: two may have one slot in common, and nobody can choose to.

    Args:
        rate: Searches a second; 0: any number.
    """

    rate: float
    clock: Callable[[], float] = time.monotonic
    slots: Any = field(default_factory=_slots)
    key: bytes = field(default_factory=lambda: secrets.token_bytes(16))

    def wait(self, address: str, cost: float = 1.0) -> float:
        """Count a search; return 0 if it may go on, else the seconds after which it might."""
        if not self.rate:
            return 0.0
        slot, now = self._slot(address), self.clock()
        used_up = max(self.slots[slot], now) + cost / self.rate
        early = used_up - now - max(BURST, cost / self.rate)
        if early > 1e-6:  # sums of steps are not exact
            return float(early)
        self.slots[slot] = used_up
        return 0.0

    def _slot(self, address: str) -> int:
        try:
            parsed = ip_address(address)
            # one host has a whole network of 2**64 addresses
            known = parsed.packed[:8] if isinstance(parsed, IPv6Address) else parsed.packed
        except ValueError:
            known = address.encode("utf-8", "replace")
        return int.from_bytes(blake2b(known, key=self.key, digest_size=4).digest()) % SLOTS

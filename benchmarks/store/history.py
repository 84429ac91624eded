"""What was asked of a zoo, when, and what it may therefore show.

Each key is a register. An operation gives it a value, or None for *not there*, at some moment between its
beginning and its end. Of an operation that was acknowledged this is certain; of one whose process died the
moment may never have come. A look at the zoo may find the value of any operation that had begun, unless
another one, acknowledged before the look began, began after its end.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass
class Operation:
    """One operation on one key. ``acknowledged``: it took place for certain. ``seen``: it is what a look found."""

    value: int | None
    begin: float
    end: float = math.inf
    acknowledged: bool = False
    seen: bool = False


class History:
    """Operations by key."""

    def __init__(self) -> None:
        self.operations: defaultdict[str, list[Operation]] = defaultdict(list)
        self.collections: list[Operation] = []
        self.held: dict[str, float] = {}

    def begin(self, values: Mapping[str, int | None], time: float) -> list[tuple[str, Operation]]:
        """Note the beginning of an operation, on one key or on several."""
        started = [(key, Operation(value, time)) for key, value in values.items()]
        for key, operation in started:
            self.operations[key].append(operation)
        return started

    def acknowledge(self, started: list[tuple[str, Operation]], time: float) -> None:
        """Note that an operation was acknowledged."""
        for _, operation in started:
            operation.end, operation.acknowledged = time, True

    def abandon(self, started: list[tuple[str, Operation]], time: float) -> None:
        """Note that the process died, or failed, in the middle of an operation: it may have taken place."""
        for _, operation in started:
            operation.end = time

    def refuse(self, started: list[tuple[str, Operation]], time: float) -> bool:
        """Note that an operation was refused, and has not taken place; gives whether anything stood in its way."""
        for key, operation in started:
            self.operations[key].remove(operation)
        return any(self.possible(key, item.begin, time) - {None, item.value} for key, item in started)

    def collect(self, time: float) -> list[tuple[str, Operation]]:
        """Note the beginning of a collection of garbage, which may remove any supernet that is not held."""
        self.collections.append(Operation(None, time))
        return [("", self.collections[-1])]

    def hold(self, started: list[tuple[str, Operation]]) -> None:
        """Note that a network that stays refers to these supernets: no collection may remove what this put there."""
        for key, operation in started:
            self.held.setdefault(key, operation.begin)

    def possible(self, key: str, begin: float, end: float) -> set[int | None]:
        """Return the values that a look between two times may find."""
        operations = self.operations.get(key, [])
        settled = max((item.begin for item in operations if item.acknowledged and item.end < begin), default=None)
        if self.collections and self._garbage(key, settled, begin, end):
            operations = operations + self.collections
        found = {item.value for item in operations if item.begin <= end and (settled is None or item.end >= settled)}
        return found | {None} if settled is None else found

    def _garbage(self, key: str, settled: float | None, begin: float, end: float) -> bool:
        """Whether a collection of garbage may remove it: nothing refers to it for certain."""
        kind, _, name = key.partition(" ")
        if kind == "supernet":
            return settled is None or settled < self.held.get(key, math.inf)
        return kind in {"transfer", "latency"} and None in self.possible(f"network {name}", begin, end)

    def doubly(self, kind: str) -> list[str]:
        """List keys that were never removed and for which more than one value was acknowledged."""
        wrong = []
        for key, operations in self.operations.items():
            values = {item.value for item in operations if item.acknowledged and not item.seen}
            if key.startswith(f"{kind} ") and None not in values and len(values) > 1:
                wrong.append(f"{key}: acknowledged with different contents {sorted(map(str, values))}")
        return wrong

    def check(self, seen: Mapping[str, int], begin: float, end: float, *, last: bool = False) -> list[str]:
        """Compare what was seen between two times with what may be seen.

        Args:
            seen: Values by key; what is missing is not there.
            begin: When the look began.
            end: When it ended.
            last: Whether this look settles what was open: what it saw of operations that are over must stay.

        Returns:
            A line for each difference.
        """
        wrong = []
        for key in {*self.operations, *seen}:
            possible, value = self.possible(key, begin, end), seen.get(key)
            if value not in possible:
                wrong.append(f"{key}: {_say(value)}, must be {' or '.join(map(_say, sorted(possible, key=str)))}")
            elif last and len(possible) > 1:
                self.operations[key].append(Operation(value, begin, end, acknowledged=True, seen=True))
        return sorted(wrong)


def _say(value: int | None) -> str:
    return "is not there" if value is None else f"{value} is there"

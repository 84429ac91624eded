"""The plan of a ladder: how many entrants, epochs and seconds each rung has."""

from __future__ import annotations

from dataclasses import dataclass

FINAL_SHARE = 0.5
"""Share of a time budget that is for the last rung."""


@dataclass(frozen=True)
class Rung:
    """One rung.

    Attributes:
        entrants: Networks trained in it.
        epochs: Epochs each has at most.
        until: Share of the time budget that is over when it ends, 0..1.
    """

    entrants: int
    epochs: int
    until: float


def plan_rungs(entrants: int, epochs: int, keep: float, *, timed: bool = False) -> tuple[Rung, ...]:
    """Plan the rungs from all entrants to one.

    Args:
        entrants: Networks at the start.
        epochs: Epochs of the last rung.
        keep: Share that goes on; always fewer than before, at least one.
        timed: A time budget decides: every rung may have all ``epochs``, ends when its time is over.
    """
    counts = [entrants]
    while counts[-1] > 1:
        counts.append(max(1, int(counts[-1] * keep)))
    last = len(counts) - 1
    rungs = []
    for index, count in enumerate(counts):
        shorter = 1.0 if timed else keep ** (last - index)
        until = 1.0 if index == last else (1 - FINAL_SHARE) * (index + 1) / last
        rungs.append(Rung(count, max(1, round(epochs * shorter)), until))
    return tuple(rungs)


def affordable(entrants: int, epoch_seconds: float, seconds: float, keep: float) -> int:
    """Count the entrants that can have at least one epoch each in the first rung; at least one."""
    for count in range(entrants, 1, -1):
        first = plan_rungs(count, 1, keep, timed=True)[0]
        if count * epoch_seconds <= first.until * seconds:
            return count
    return 1

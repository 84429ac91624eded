"""The wall-clock budget of one training."""

from __future__ import annotations

import time

FORWARD_SHARE = 1 / 3
"""A forward pass costs about a third of a training step (forward, and twice that backward)."""


def clock() -> float:
    """Return what budgets are measured by; a benchmark on a busy machine puts the process's own time in its place."""
    return time.perf_counter()


class Budget:
    """Seconds that a training may take, less what the validation after it will take.

    Args:
        seconds: The budget; None: no end.
        elapsed: What an interrupted run has used of it.
    """

    def __init__(self, seconds: float | None, elapsed: float = 0.0) -> None:
        """Start the clock."""
        self.seconds = seconds
        self.reserve = 0.0
        self._started = clock() - elapsed

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return clock() - self._started

    @property
    def share(self) -> float:
        """Share of the time for training steps that is over, 0..1; 0 without a budget."""
        if self.seconds is None:
            return 0.0
        usable = self.seconds - self.reserve
        return 1.0 if usable <= 0 else min(1.0, self.elapsed / usable)

    @property
    def spent(self) -> bool:
        """Whether no time is left for another training step."""
        return self.share >= 1.0

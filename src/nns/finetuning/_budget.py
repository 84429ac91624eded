"""The wall-clock budget of one training."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

clock: Callable[[], float] = perf_counter
"""What budgets are measured by; benchmarks on a busy machine measure by the process's own time."""

FORWARD_SHARE = 1 / 3
"""A forward pass costs about a third of a training step (forward, and twice that backward)."""


class Budget:
    """Seconds that a training may take, less what the validation after it will take.

    Args:
        seconds: The budget; None: no end.
    """

    def __init__(self, seconds: float | None) -> None:
        """Start the clock."""
        self.seconds = seconds
        self.reserve = 0.0
        self._started = clock()

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

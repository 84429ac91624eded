"""Random weights from a seed, without touching the process's global generators."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Initialise modules inside this block from ``seed``; torch's CPU generator is restored after it.

    PyTorch's initialisers draw from the global generator and take no other, hence the fork.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield

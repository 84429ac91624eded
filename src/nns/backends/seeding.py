"""Random weights from a seed, without touching the process's global generators."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from ``seed`` inside this block; torch's CPU generator and numpy's are restored after it.

    PyTorch's initialisers and timm's mixup draw from the global generators and take no other.
    """
    import numpy as np
    import torch

    before = np.random.get_state()
    np.random.seed(seed % 2**32)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            yield
    finally:
        np.random.set_state(before)

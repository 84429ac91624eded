"""Matched pairs for the contrastive loss: one network of each dataset, drawn anew each step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from nns.errors import UsageError

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from nns.space._data import IntArray, SpaceData

STEPS_AT_ONCE = 256
MIN_DATASETS = 2


class PairSampler:
    """Draws batches of matched pairs.

    Args:
        data: The zoo.
        batch_size: Datasets in a batch; None or 0 for all.
        without: Datasets to leave out.

    Raises:
        UsageError: If fewer than two datasets have networks.
    """

    def __init__(self, data: SpaceData, batch_size: int | None = None, without: IntArray | tuple[()] = ()) -> None:
        paired = data.paired_datasets()
        self.datasets = paired[~np.isin(paired, without)]
        if len(self.datasets) < MIN_DATASETS:
            raise UsageError(
                f"a space needs at least {MIN_DATASETS} datasets with networks trained on them or results of them, "
                f"this zoo has {len(self.datasets)}: build a larger zoo"
            )
        members = [data.matches(int(d)) for d in self.datasets]
        self.networks = np.concatenate(members)
        self.counts = np.array([len(m) for m in members], np.int64)
        self.starts = np.cumsum(self.counts) - self.counts
        self.batch_size = min(batch_size or len(members), len(members))

    def draw(self, steps: int, generator: Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield ``steps`` batches of B pairs: positions in ``networks`` and in ``datasets``, (B,) each."""
        import torch

        counts, starts = torch.from_numpy(self.counts), torch.from_numpy(self.starts)
        everything = torch.arange(len(counts))
        for first in range(0, steps, STEPS_AT_ONCE):
            shape = (min(STEPS_AT_ONCE, steps - first), len(counts))
            picks = torch.rand(shape, generator=generator, dtype=torch.float64)
            networks = starts + (picks * counts).long()
            if self.batch_size == len(counts):
                yield from ((row, everything) for row in networks)
                continue
            chosen = torch.rand(shape, generator=generator).argsort(dim=1)[:, : self.batch_size]
            yield from ((row[some], some) for row, some in zip(networks, chosen, strict=True))

"""Decoded images, and the limits of a search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelledArrays:
    """Decoded images of one split.

    Attributes:
        images: (n, 3, size, size) uint8, RGB.
        labels: (n,) int64 class index.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        """Count the images."""
        return len(self.labels)


@dataclass(frozen=True)
class SplitArrays:
    """A dataset decoded at one size, split; ``test`` is None where the dataset has none."""

    name: str
    classes: tuple[str, ...]
    train: LabelledArrays
    val: LabelledArrays
    test: LabelledArrays | None


@dataclass(frozen=True)
class Limits:
    """Hard limits of a search; None means no limit.

    Attributes:
        max_params: Parameters.
        max_macs: Multiply-accumulates of one image.
        max_size: Bytes of the fp32 weights.
        max_latency: Seconds for one image on ``device``.
        backend: Only networks of this backend.
        license: Only networks under this licence (compared without case).
    """

    max_params: int | None = None
    max_macs: int | None = None
    max_size: int | None = None
    max_latency: float | None = None
    backend: str | None = None
    license: str | None = None

    @property
    def hold_for_one_size(self) -> bool:
        """Whether a network that meets them may miss them with a larger input than it was counted at."""
        return self.max_macs is not None or self.max_latency is not None

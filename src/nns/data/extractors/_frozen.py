"""What all extractors share: weights read at first use, images batch by batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from nns.threads import quickest_threads

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


class FrozenExtractor(ABC):
    """A pretrained network without its classifier.

    Args:
        batch_size: Images of one forward pass.

    Attributes:
        name: Name and image size, as they stand in a zoo: features of other extractors do not compare.
        feature_dim: Width of the features.
        image_size: Side of the square images, in pixels.
    """

    name: str
    feature_dim: int
    image_size: int

    def __init__(self, batch_size: int) -> None:
        """Store the settings; the weights are read at first use."""
        self.batch_size = batch_size
        self._network: torch.nn.Module | None = None

    def extract(
        self, images: NDArray[np.uint8], progress: Callable[[int, int], None] | None = None
    ) -> NDArray[np.float32]:
        """Compute the features of decoded images.

        Args:
            images: (n, 3, image_size, image_size) uint8, RGB.
            progress: ``progress(done, total)`` after each batch.

        Returns:
            (n, feature_dim) float32.

        Raises:
            WeightsError: If the weights cannot be had.
        """
        import torch

        if self._network is None:
            self._network = self._load()
        parts = []
        with torch.inference_mode():
            for start in range(0, len(images), self.batch_size):
                batch = torch.from_numpy(images[start : start + self.batch_size]).float()
                with quickest_threads(self._network, len(batch)):
                    parts.append(self._features(self._network, batch))
                if progress:
                    progress(start + len(batch), len(images))
        features = torch.cat(parts) if parts else torch.empty(0, self.feature_dim)
        array: NDArray[np.float32] = features.numpy()
        return array

    @abstractmethod
    def _load(self) -> torch.nn.Module:
        """Read the network, in eval mode; raises WeightsError."""

    @abstractmethod
    def _features(self, network: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
        """Return the features (b, feature_dim) of a batch (b, 3, image_size, image_size), 0..255."""

"""Features of a network before its classifier, for images at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nns.threads import quickest_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from nns.backends import Backend
    from nns.types import Preprocessing


def features_of(
    backend: Backend,
    module: nn.Module,
    images: NDArray[np.uint8],
    preprocessing: Preprocessing,
    batch_size: int = 128,
) -> NDArray[np.float32]:
    """Compute the features before the classifier.

    Args:
        backend: Backend of the network.
        module: The network, in eval mode, on the CPU.
        images: (n, 3, size, size) uint8.
        preprocessing: The network's input.
        batch_size: Images a forward pass.

    Returns:
        (n, d) float32.
    """
    import torch

    from nns.backends.batches import normalise
    from nns.backends.convolutions import quick_convolutions

    parts = []
    with quick_convolutions(module), torch.inference_mode():
        for start in range(0, len(images), batch_size):
            batch = normalise(images[start : start + batch_size], preprocessing)
            with quickest_threads(module, len(batch)):
                parts.append(backend.features(module, batch.to(memory_format=torch.channels_last)))
    features: NDArray[np.float32] = torch.cat(parts).numpy().astype(np.float32)
    return features

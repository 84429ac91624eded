"""torchvision's ResNet-18 with its ImageNet weights, frozen: what TANS describes datasets with.

Zoos that ``nns zoo import-tans`` makes hold query features of this network, so a search in them needs it. Its weights
come with no package: they are read from the file that $NNS_RESNET18 names, or else from the cache of ``torch.hub``.
A zoo names its extractor, and no file makes nns connect, so they are fetched only where $NNS_RESNET18 is ``download``.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nns.data.extractors._frozen import FrozenExtractor
from nns.errors import WeightsError

if TYPE_CHECKING:
    import torch

RESNET18_DIM = 512
"""Width of the features of ResNet-18 before its classifier."""

RESNET18_SIZE = 224
"""Side of the square query images in pixels."""

RESNET18_EXTRACTOR = f"resnet18@{RESNET18_SIZE}"

RESNET18_VARIABLE = "NNS_RESNET18"
"""A file with the weights, ``.pth`` or ``.safetensors``; or :data:`DOWNLOAD`."""

DOWNLOAD = "download"

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ResNet18Extractor(FrozenExtractor):
    """The extractor of zoos that were imported from TANS: (n, RESNET18_DIM) features.

    Args:
        batch_size: Images of one forward pass.
    """

    name = RESNET18_EXTRACTOR
    feature_dim = RESNET18_DIM
    image_size = RESNET18_SIZE

    def __init__(self, batch_size: int = 16) -> None:
        """Store the settings; the weights are read at first use."""
        super().__init__(batch_size)

    def _load(self) -> torch.nn.Module:
        return _load()

    def _features(self, network: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
        mean, std = (batch.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
        features: torch.Tensor = network((batch / 255 - mean) / std)
        return features


def _load() -> torch.nn.Module:
    """Build the network without its classifier."""
    import torch
    from torchvision.models import resnet18

    file = os.environ.get(RESNET18_VARIABLE)
    network = resnet18(weights=None)
    try:
        own = Path(file).expanduser() if file and file != DOWNLOAD else None
        network.load_state_dict(_read(own) if own else _cached(file == DOWNLOAD))
    except Exception as error:  # the loaders raise whatever urllib and pickle raise
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        where = f"{RESNET18_VARIABLE}={file}" if file else "torchvision's cache"
        raise WeightsError(
            f"this zoo is searched with features of ResNet-18, and {where} gives no weights of it ({reason}); "
            f"set {RESNET18_VARIABLE} to a file that holds torchvision's resnet18 weights (.pth or .safetensors), "
            f"or to {DOWNLOAD!r} to have them fetched once"
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


def _cached(download: bool) -> Mapping[str, Any]:
    """Read what torchvision has fetched before; a zoo names this extractor, and no file makes nns connect."""
    import torch
    from torchvision.models import ResNet18_Weights

    url = ResNet18_Weights.IMAGENET1K_V1.url
    path = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    if not download and not path.is_file():
        raise FileNotFoundError(errno.ENOENT, "it has not been fetched", str(path))
    with redirect_stdout(sys.stderr):  # torch.hub says where it downloads to, and stdout is for results
        weights = ResNet18_Weights.IMAGENET1K_V1
        state: Mapping[str, Any] = weights.get_state_dict(
            progress=False, check_hash=True, weights_only=True, map_location="cpu"
        )
    return state

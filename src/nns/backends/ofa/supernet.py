"""Building, loading and cutting OFA-MobileNetV3 supernets, and recalibrating batch norm."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nns.backends.ofa.space import DEPTHS, EXPAND_RATIOS, KERNEL_SIZES, check_config
from nns.backends.seeding import seeded
from nns.errors import WeightsError
from nns.types import ArchitectureSpec

if TYPE_CHECKING:
    import torch
    from torch import nn

OFA_DIR_VARIABLE = "NNS_OFA_DIR"
"""Folder that holds the published supernets as files, for machines without a network connection."""

SERVER = "https://raw.githubusercontent.com/han-cai/files/master/ofa/ofa_nets/"
"""Where ``ofa.model_zoo.ofa_net`` takes the published supernets from."""

PRETRAINED = {1.0: "ofa_mbv3_d234_e346_k357_w1.0", 1.2: "ofa_mbv3_d234_e346_k357_w1.2"}
"""Width multiplier to the name of the published ImageNet supernet."""


def build_supernet(width: float, classes: int, seed: int) -> Any:
    """Build a supernet with random weights (He, fan-out)."""
    from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3
    from ofa.utils.my_modules import init_models

    with seeded(seed):
        supernet = OFAMobileNetV3(
            n_classes=classes,
            dropout_rate=0.0,
            width_mult=width,
            ks_list=list(KERNEL_SIZES),
            expand_ratio_list=list(EXPAND_RATIOS),
            depth_list=list(DEPTHS),
        )
        init_models(supernet, "he_fout")
    return supernet


def load_pretrained_supernet(width: float) -> Any:
    """Load the published ImageNet supernet from $NNS_OFA_DIR, or by ``ofa_net`` from its own server.

    Raises:
        WeightsError: If there is none of this width, or it cannot be had from here.
    """
    import torch

    name = PRETRAINED.get(width)
    if name is None:
        raise WeightsError(f"no published OFA supernet has width {width:g}; there are {sorted(PRETRAINED)}")
    supernet = build_supernet(width, 1000, seed=0)
    folder = os.environ.get(OFA_DIR_VARIABLE)
    try:
        if folder:
            state = torch.load(Path(folder, name), map_location="cpu", weights_only=True)
        else:
            state = torch.hub.load_state_dict_from_url(SERVER + name, map_location="cpu", weights_only=True)
        state = state.get("state_dict", state)
        _check_complete(supernet, state)
        supernet.load_state_dict(state)
    except Exception as error:  # the loaders raise whatever urllib, pickle and ofa raise
        where = Path(folder, name) if folder else SERVER + name
        raise WeightsError(
            f"cannot read the OFA supernet {where}: {error}; "
            f"put the file {name} into a folder and set {OFA_DIR_VARIABLE} to it"
        ) from error
    return supernet


def _check_complete(supernet: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Refuse a state dict with too few tensors: ofa's own loader leaves what is missing at random, silently."""
    wanted = sum(1 for _ in supernet.parameters())
    if len(state) < wanted:
        raise ValueError(f"{len(state)} tensors where the supernet has {wanted} parameters")


def activate(supernet: Any, spec: ArchitectureSpec) -> None:
    """Make a subnet the active one of its supernet."""
    _, ks, e, d = check_config(spec.config)
    supernet.set_active_subnet(ks=ks, e=e, d=d)


def cut(supernet: Any, spec: ArchitectureSpec, seed: int = 0, keep_weights: bool = True) -> nn.Module:
    """Cut a subnet out of a supernet as a network of its own.

    Its batch-norm statistics are those of the supernet and mean nothing until :func:`recalibrate`.
    """
    from ofa.utils.my_modules import init_models

    activate(supernet, spec)
    with seeded(seed):
        module: nn.Module = supernet.get_active_subnet(preserve_weight=keep_weights)
        if not keep_weights:
            init_models(module, "he_fout")
    return module


def recalibrate(module: nn.Module, batches: Iterable[torch.Tensor]) -> nn.Module:
    """Recompute batch-norm statistics on normalised images, (n, 3, size, size) a batch, in place."""
    from ofa.imagenet_classification.elastic_nn.utils import set_running_statistics

    set_running_statistics(module, [(batch, None) for batch in batches])
    return module.eval()

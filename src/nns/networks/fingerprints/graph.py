"""Statistics of a traced network: size, depth, operators and widths, for any architecture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nns.types import NetworkCost

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class TracedLayer:
    """One convolution, linear layer, norm or activation that ran, with what it saw."""

    kind: str
    in_channels: int
    out_channels: int
    kernel: int
    groups: int
    out_size: int
    outputs: int


ACTIVATIONS = {
    "relu": ("ReLU", "ReLU6"),
    "swish": ("SiLU", "Swish", "Hswish", "Hardswish", "HardSwish", "MemoryEfficientSwish"),
    "gelu": ("GELU", "GELUTanh", "QuickGELU"),
    "gate": ("Sigmoid", "Hsigmoid", "Hardsigmoid", "HardSigmoid"),
}

GRAPH_STATISTICS = (
    "log10_params",
    "log10_macs",
    "log10_activations",
    "log2_feature_dim",
    "log2_image_size",
    "depth",
    "convolutions",
    "pointwise_share",
    "depthwise_share",
    "kernel3_share",
    "kernel5_share",
    "kernel7_share",
    "mean_kernel",
    "linear_layers",
    "attention_layers",
    "norm_layers",
    "relu_count",
    "swish_count",
    "gelu_count",
    "gate_count",
    "log2_mean_width",
    "log2_max_width",
    "log2_first_width",
    "log2_last_width",
    "mean_log2_expansion",
    "log2_downsampling",
)
"""Names of the statistics, in order. Counts are natural logarithms of one plus the count."""

GRAPH_DIM = len(GRAPH_STATISTICS)


def trace_layers(module: nn.Module, image: torch.Tensor) -> list[TracedLayer]:
    """Run one image, (1, 3, size, size), and list the leaf layers in the order they ran."""
    import torch

    layers: list[TracedLayer] = []

    def record(layer: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        if not inputs or not isinstance(inputs[0], torch.Tensor) or not isinstance(output, torch.Tensor):
            return
        kernel = getattr(layer, "kernel_size", 1)
        layers.append(
            TracedLayer(
                kind=_kind(layer),
                in_channels=_channels(inputs[0]),
                out_channels=_channels(output),
                kernel=int(kernel[0] if isinstance(kernel, tuple) else kernel),
                groups=int(getattr(layer, "groups", 1)),
                out_size=int(output.shape[-1]) if output.dim() == 4 else 1,
                outputs=output.numel(),
            )
        )

    hooks = [m.register_forward_hook(record) for m in module.modules() if _kind(m) != "other"]
    try:
        with torch.inference_mode():
            module(image)
    finally:
        for hook in hooks:
            hook.remove()
    return layers


def _kind(layer: nn.Module) -> str:
    from torch import nn

    name = type(layer).__name__
    if isinstance(layer, nn.Conv2d):
        return "conv"
    if isinstance(layer, nn.Linear):
        return "linear"
    if isinstance(layer, nn.MultiheadAttention) or name in {"Attention", "WindowAttention"}:
        return "attention"
    if "Norm" in name and next(layer.children(), None) is None:
        return "norm"
    for kind, names in ACTIVATIONS.items():
        if name in names:
            return kind
    return "other"


def _channels(tensor: torch.Tensor) -> int:
    return int(tensor.shape[1] if tensor.dim() == 4 else tensor.shape[-1])


def graph_statistics(layers: Sequence[TracedLayer], cost: NetworkCost, image_size: int) -> list[float]:
    """Summarise traced layers as the numbers that :data:`GRAPH_STATISTICS` names."""
    convs = [layer for layer in layers if layer.kind == "conv"]
    # a network without classes of its own may have a head of none
    weighted = [layer for layer in layers if layer.kind in {"conv", "linear"} and layer.out_channels > 0]
    dense = [layer for layer in convs if layer.groups == 1]
    widths = [layer.out_channels for layer in weighted] or [1]
    kernels = [layer.kernel for layer in convs if layer.kernel > 1]
    expansions = [math.log2(layer.out_channels / layer.in_channels) for layer in dense if layer.in_channels > 3]
    smallest = min([layer.out_size for layer in convs if layer.out_size > 0] or [1])

    def count(kind: str) -> float:
        return math.log1p(sum(layer.kind == kind for layer in layers))

    def share(chosen: list[TracedLayer]) -> float:
        return len(chosen) / len(convs) if convs else 0.0

    return [
        math.log10(max(1, cost.body_params)),
        math.log10(max(1, cost.body_macs)),
        math.log10(max(1, sum(layer.outputs for layer in weighted))),
        math.log2(max(1, cost.feature_dim)),
        math.log2(image_size),
        math.log1p(len(weighted)),
        count("conv"),
        share([layer for layer in convs if layer.kernel == 1]),
        share([layer for layer in convs if layer.groups == layer.in_channels > 1]),
        share([layer for layer in convs if layer.kernel == 3]),
        share([layer for layer in convs if layer.kernel == 5]),
        share([layer for layer in convs if layer.kernel >= 7]),
        sum(kernels) / len(kernels) if kernels else 1.0,
        count("linear"),
        count("attention"),
        count("norm"),
        count("relu"),
        count("swish"),
        count("gelu"),
        count("gate"),
        math.log2(sum(widths) / len(widths)),
        math.log2(max(widths)),
        math.log2(widths[0]),
        math.log2(widths[-1]),
        sum(expansions) / len(expansions) if expansions else 0.0,
        math.log2(image_size / smallest),
    ]

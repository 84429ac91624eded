from __future__ import annotations

import math

import pytest
import torch
from nns_example import ExampleBackend
from torch import nn

from nns.backends.ofa import OfaBackend, space
from nns.backends.timm import TimmBackend
from nns.networks import count_cost
from nns.networks.fingerprints import GRAPH_DIM, GRAPH_STATISTICS
from nns.networks.fingerprints.graph import graph_statistics, trace_layers
from nns.types import NetworkCost, Preprocessing


def statistics(module, size=32, cost=None):
    layers = trace_layers(module, torch.zeros(1, 3, size, size))
    values = graph_statistics(layers, cost or NetworkCost(1000, 10_000, 4000, 64), size)
    assert len(values) == GRAPH_DIM
    return dict(zip(GRAPH_STATISTICS, values, strict=True))


def counted(value):
    return round(math.expm1(value))


def test_names_are_unique_and_their_order_is_that_of_stored_zoos():
    assert GRAPH_DIM == len(set(GRAPH_STATISTICS)) == 26
    assert GRAPH_STATISTICS[:5] == (
        "log10_params", "log10_macs", "log10_activations", "log2_feature_dim", "log2_image_size",
    )  # fmt: skip
    assert GRAPH_STATISTICS[-1] == "log2_downsampling"


def test_a_plain_network():
    backend = ExampleBackend()
    spec = backend.offers("plain-w16-d4")[0]
    module = backend.build(spec, 7).eval()
    cost = count_cost(backend, module, Preprocessing(32), 7)
    found = statistics(module, cost=cost)
    assert found["log10_params"] == pytest.approx(math.log10(cost.body_params))
    assert found["log10_macs"] == pytest.approx(math.log10(cost.body_macs))
    activations = 16 * 32**2 + 32 * 16**2 + 64 * 8**2 + 128 * 4**2 + 7
    assert found["log10_activations"] == pytest.approx(math.log10(activations))
    assert found["log2_feature_dim"] == 7
    assert found["log2_image_size"] == 5
    names = ("depth", "convolutions", "linear_layers", "attention_layers", "norm_layers", "relu_count", "swish_count")
    assert [counted(found[name]) for name in names] == [5, 4, 1, 0, 4, 4, 0]
    assert found["kernel3_share"] == 1
    assert found["pointwise_share"] == found["depthwise_share"] == found["kernel5_share"] == 0
    assert found["mean_kernel"] == 3
    assert (found["log2_first_width"], found["log2_max_width"], found["log2_last_width"]) == (4, 7, math.log2(7))
    assert found["mean_log2_expansion"] == 1
    assert found["log2_downsampling"] == 3


def test_an_inverted_bottleneck():
    block = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.Conv2d(8, 32, 1),
        nn.Conv2d(32, 32, 5, padding=2, groups=32),
        nn.SiLU(),
        nn.Conv2d(32, 8, 1),
    )
    found = statistics(block)
    assert found["pointwise_share"] == 0.5
    assert found["depthwise_share"] == found["kernel3_share"] == found["kernel5_share"] == 0.25
    assert found["mean_kernel"] == 4
    assert found["mean_log2_expansion"] == 0  # four times wider, then four times narrower
    assert counted(found["swish_count"]) == 1


def test_known_layers_of_mobilenetv3():
    module = TimmBackend().build(TimmBackend().offers("mobilenetv3_small_050")[0], 5).eval()
    found = statistics(module, size=64)
    convolutions = sum(isinstance(layer, nn.Conv2d) for layer in module.modules())
    depthwise = sum(isinstance(m, nn.Conv2d) and m.groups == m.in_channels > 1 for m in module.modules())
    assert counted(found["convolutions"]) == convolutions == 53
    assert found["depthwise_share"] == pytest.approx(depthwise / convolutions)
    assert depthwise == 11
    assert counted(found["linear_layers"]) == 1
    assert found["log2_downsampling"] == 6  # squeeze-and-excitation convolves on one pixel


def test_a_vision_transformer():
    module = TimmBackend().build(TimmBackend().offers("vit_tiny_patch16_224")[0], 5).eval()
    found = statistics(module, size=224)
    assert counted(found["attention_layers"]) == counted(found["gelu_count"]) == 12
    assert counted(found["linear_layers"]) == 12 * 4 + 1
    assert counted(found["convolutions"]) == 1
    assert found["kernel7_share"] == 1


def test_deeper_subnets_are_deeper():
    backend = OfaBackend()
    shallow, deep = (statistics(backend.build(space.uniform_spec(0.25, 5, 3, depth), 3).eval()) for depth in (2, 4))
    assert shallow["convolutions"] < deep["convolutions"]
    assert shallow["log2_first_width"] == deep["log2_first_width"]


def test_a_network_without_convolutions():
    found = statistics(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4)))
    assert all(math.isfinite(value) for value in found.values())
    assert found["mean_kernel"] == 1
    assert counted(found["depth"]) == 1


def test_hooks_are_taken_off_when_a_network_fails():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(5, 5))
    with pytest.raises(RuntimeError):
        trace_layers(module, torch.zeros(1, 3, 8, 8))
    assert not any(layer._forward_hooks for layer in module.modules())

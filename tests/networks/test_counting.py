from __future__ import annotations

import pytest
import torch
from nns_example import ExampleBackend
from torch import nn

from nns.networks import count_cost
from nns.types import Preprocessing

SIZE = 8


class Layers:
    """As much of a backend as counting needs: a body and a linear head in one Sequential."""

    def features(self, module, images):
        return module[:-1](images)


def count(*body, width, classes=5, size=SIZE):
    module = nn.Sequential(*body, nn.Linear(width, classes))
    return count_cost(Layers(), module, Preprocessing(size), classes)


def test_a_network_counted_by_hand():
    cost = count(
        nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), width=4
    )
    assert cost.feature_dim == 4
    assert cost.body_params == (3 * 3 * 3 * 4 + 4) + 2 * 4
    assert cost.body_macs == 4 * 4 * 4 * 3 * 3 * 3
    # running mean and variance as fp32, the count of batches as int64
    assert cost.body_bytes == 4 * cost.body_params + 4 * 2 * 4 + 8


@pytest.mark.parametrize(
    ("convolution", "macs"),
    [
        (nn.Conv2d(3, 10, 1), 10 * 3 * SIZE**2),
        (nn.Conv2d(3, 10, 3, padding=1), 10 * 3 * 9 * SIZE**2),
        (nn.Conv2d(3, 10, 3), 10 * 3 * 9 * (SIZE - 2) ** 2),
        (nn.Conv2d(3, 9, 5, padding=2, groups=3), 9 * 25 * SIZE**2),
        (nn.Conv2d(3, 10, 3, padding=2, dilation=2), 10 * 3 * 9 * SIZE**2),
    ],
)
def test_macs_of_a_convolution(convolution, macs):
    channels = convolution.out_channels
    assert count(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten(), width=channels).body_macs == macs


def test_attention_counts_its_matrix_products():
    """Queries times keys and weights times values: 2 n² d; the CPU's fused kernel is unknown to the counter."""

    class Attention(nn.Module):
        def forward(self, images):
            tokens = images.flatten(2).transpose(1, 2)[:, None]
            return nn.functional.scaled_dot_product_attention(tokens, tokens, tokens).mean((1, 2))

    assert count(Attention(), width=3).body_macs == 2 * (SIZE**2) ** 2 * 3


def test_the_head_is_what_its_formula_says():
    backend = ExampleBackend()
    spec = backend.offers()[0]
    costs = {n: count_cost(backend, backend.build(spec, n), Preprocessing(SIZE), n) for n in (2, 100)}
    assert costs[2] == costs[100]
    cost = costs[2]
    assert cost.params(100) - cost.params(0) == (cost.feature_dim + 1) * 100
    assert cost.macs(100) - cost.macs(0) == cost.feature_dim * 100
    assert cost.bytes(100) - cost.bytes(0) == 4 * (cost.feature_dim + 1) * 100
    assert cost.params(0) == cost.body_params


def test_bytes_are_fp32_whatever_the_weights_are_in():
    backend = ExampleBackend()
    module = backend.build(backend.offers()[0], 3)
    full = count_cost(backend, module, Preprocessing(SIZE), 3)

    class Double(ExampleBackend):
        def features(self, module, images):
            return super().features(module, images.to(torch.float64))

    doubled = nn.Module.double(module)
    doubled.register_forward_pre_hook(lambda _, inputs: (inputs[0].double(),))
    assert count_cost(Double(), doubled, Preprocessing(SIZE), 3) == full

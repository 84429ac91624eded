"""Quick convolutions: the same numbers, and only where they are quicker."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nns.backends.convolutions import (
    DENSE_PIXELS,
    DEPTHWISE_PAIRS,
    POINTWISE_PIXELS,
    _convolve,
    quick_convolutions,
)

CONVOLUTIONS = {  # batch, channels, height, width, out channels, kernel, stride, padding, groups
    "pointwise": (4, 6, 3, 5, 8, 1, 1, 0, 1),
    "pointwise, one pixel": (4, 6, 1, 1, 8, 1, 1, 0, 1),
    "pointwise, large": (2, 3, 80, 80, 4, 1, 1, 0, 1),
    "pointwise, stride 2": (4, 6, 4, 4, 8, 1, 2, 0, 1),
    "pointwise, padded": (4, 6, 4, 4, 8, 1, 1, 1, 1),
    "dense 3x3": (4, 128, 3, 3, 7, 3, 1, 1, 1),
    "dense 3x3 on 2x2": (4, 130, 2, 2, 7, 3, 1, 1, 1),
    "dense 3x3, stride 2": (4, 128, 3, 3, 7, 3, 2, 1, 1),
    "dense 3x2 on 3x2": (4, 128, 3, 2, 7, (3, 2), (2, 1), (1, 0), 1),
    "dense, large": (2, 128, 6, 6, 7, 3, 1, 1, 1),
    "depthwise 5x5": (4, 24, 4, 4, 24, 5, 1, 2, 24),
    "depthwise 7x7, stride 2": (4, 24, 6, 8, 24, 7, 2, 3, 24),
    "depthwise 5x5, not padded": (4, 24, 5, 7, 24, 5, 1, 0, 24),
    "depthwise 3x5": (4, 24, 3, 6, 24, (3, 5), (2, 1), (1, 2), 24),
    "depthwise 3x3 on 2x2": (4, 24, 2, 2, 24, 3, 1, 1, 24),
    "depthwise 3x3 on 1x1": (4, 24, 1, 1, 24, 3, 1, 1, 24),
    "depthwise 3x3": (4, 24, 8, 8, 24, 3, 1, 1, 24),
    "depthwise, large": (2, 16, 12, 12, 16, 5, 1, 2, 16),
    "depthwise, two out": (4, 8, 4, 4, 16, 5, 1, 2, 8),
    "grouped": (4, 16, 4, 4, 16, 5, 1, 2, 2),
    "one channel": (4, 1, 4, 4, 1, 5, 1, 2, 1),
}
LEFT_TO_TORCH = {
    "pointwise, large",
    "pointwise, stride 2",
    "pointwise, padded",
    "dense, large",
    "depthwise 3x3",
    "depthwise, large",
    "depthwise, two out",
    "grouped",
}


def case(name, bias):
    n, channels, height, width, out, kernel, stride, padding, groups = CONVOLUTIONS[name]
    generator = torch.Generator().manual_seed(0)
    layer = nn.Conv2d(channels, out, kernel, stride, padding, groups=groups, bias=bias)
    for parameter in layer.parameters():
        parameter.data.normal_(generator=generator)
    images = torch.randn(n, channels, height, width, generator=generator)
    return (
        layer.to(memory_format=torch.channels_last),
        images.to(memory_format=torch.channels_last).requires_grad_(),
    )


def gradients(layer, images):
    layer.zero_grad()
    images.grad = None
    out = layer(images)
    weights = torch.linspace(-1, 1, out.numel()).view(out.shape).to(memory_format=torch.channels_last)
    (out * weights).sum().backward()
    return [out.detach(), images.grad, *[parameter.grad for parameter in layer.parameters()]]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_quick_convolutions_are_the_same_convolutions(name, bias):
    layer, images = case(name, bias)
    expected = gradients(layer, images)
    with quick_convolutions(layer):
        found = gradients(layer, images)
        again = gradients(layer, images)
    for one, two, three in zip(expected, found, again):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4 * float(one.abs().max()))
        assert torch.equal(two, three)
        assert two.is_contiguous(memory_format=torch.channels_last) or two.dim() != 4


def steps_of(tensor):
    """Names of the steps that made a tensor."""
    names, waiting = set(), [tensor.grad_fn]
    while waiting:
        step = waiting.pop()
        if step is not None:
            names.add(step.name())
            waiting += [before for before, _ in step.next_functions]
    return names


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_which_convolutions_are_matrix_products(name):
    layer, images = case(name, bias=False)
    with quick_convolutions(layer):
        plain = "ConvolutionBackward0" in steps_of(layer(images))
    assert plain == (name in LEFT_TO_TORCH)


def test_the_cases_are_on_both_sides_of_the_limits():
    n, _, height, width, *_ = CONVOLUTIONS["pointwise, large"]
    assert n * height * width > POINTWISE_PIXELS
    assert CONVOLUTIONS["dense, large"][2] ** 2 > DENSE_PIXELS >= CONVOLUTIONS["dense 3x3"][2] ** 2
    assert CONVOLUTIONS["depthwise, large"][2] ** 4 > DEPTHWISE_PAIRS > CONVOLUTIONS["depthwise 5x5"][2] ** 4


@pytest.mark.parametrize("change", ["contiguous", "double", "dilated", "padding by name", "frozen", "no batch"])
def test_what_is_not_replaced_still_works(change):
    layer, images = case("depthwise 5x5", bias=False)
    if change == "contiguous":
        images = images.detach().contiguous()
    elif change == "double":
        layer, images = layer.double(), images.detach().double()
    elif change == "dilated":
        layer.dilation, layer.padding = (2, 2), (4, 4)
    elif change == "padding by name":
        layer.padding = "same"
    elif change == "frozen":
        layer.requires_grad_(False)
    else:
        images = images[0].detach()
    expected = layer(images)
    with quick_convolutions(layer):
        found = layer(images)
    assert torch.equal(found, expected)


class OwnConvolution(nn.Module):
    """Calls F.conv2d itself, has a forward of its own, and counts."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)
        self.calls = 0
        self.forward = self.convolve

    def convolve(self, images):
        self.calls += 1
        return F.conv2d(images, self.conv.weight, self.conv.bias)


def test_layers_are_as_they_were_afterwards():
    own = OwnConvolution()
    network = nn.Sequential(nn.Conv2d(4, 4, 1), own)
    images = torch.randn(2, 4, 3, 3).to(memory_format=torch.channels_last)

    def interrupted():
        with quick_convolutions(network, OwnConvolution):
            assert "ConvolutionBackward0" not in steps_of(network(images))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert "forward" not in vars(network[0])
    assert vars(own)["forward"] == own.convolve
    assert "ConvolutionBackward0" in steps_of(network(images))
    assert own.calls == 2


def test_what_was_made_in_inference_is_of_use_in_training():
    for name in ("dense 3x3", "depthwise 5x5"):
        layer, images = case(name, bias=False)
        images = images.detach()[:, :, :, :2].contiguous(memory_format=torch.channels_last)  # a map of no other test
        with quick_convolutions(layer):
            with torch.inference_mode():
                inferred = layer(images)
            trained = layer(images)
            trained.sum().backward()
        torch.testing.assert_close(inferred, trained)
        assert layer.weight.grad is not None


def test_it_has_the_signature_of_conv2d():
    images, weight = torch.randn(2, 4, 4, 4).to(memory_format=torch.channels_last), torch.randn(4, 1, 5, 5)
    weight.requires_grad_()
    expected = F.conv2d(images, weight, None, 1, 2, 1, 4)
    torch.testing.assert_close(_convolve(images, weight, None, 1, 2, 1, 4), expected)
    torch.testing.assert_close(_convolve(images, weight, stride=1, padding=(2, 2), groups=4), expected)

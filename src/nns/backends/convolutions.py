"""Convolutions on maps of a few pixels, on which oneDNN spends most of its time on anything but arithmetic.

Small images leave such maps to the last stages of a network. On the CPU, training takes 1.2 to 1.5 times less processor
time with :func:`quick_convolutions` (docs/results.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

POINTWISE_PIXELS = 8192
"""Pixels of a batch up to which a 1x1 convolution is a matrix product; on more, oneDNN's own is as quick."""

DENSE_PIXELS, DENSE_CHANNELS = 9, 128
"""Pixels of a map at most, and input channels at least, for a dense convolution to be a matrix product."""

DEPTHWISE_PAIRS = 6000
"""Pairs of an input and an output pixel of a map up to which a depthwise kernel's gradient is made from all of them."""


@contextmanager
def quick_convolutions(module: nn.Module, *kinds: type[nn.Module]) -> Iterator[None]:
    """Within the context, compute those convolutions of a network as matrix products that are quicker so on a CPU.

    They are the same convolutions, up to rounding. Meant for float32 on the CPU in channels-last layout; whatever
    is otherwise, or large, is left to torch.

    - 1x1 on few pixels: a linear layer on the channels, which is what it is.
    - Dense on maps of a few pixels (a 3x3 kernel on 2x2): the columns under the kernel, times the weights.
    - Depthwise, beyond what oneDNN has a quick kernel for (5x5, 7x7, or maps of 2x2): its gradient alone, see
      :func:`_depthwise_kernel_gradient`.

    Args:
        module: The network; its layers are put back as they were afterwards.
        kinds: Classes of layers, besides ``nn.Conv2d``, that call ``F.conv2d``.
    """
    from torch import nn

    layers: list[Any] = [layer for layer in module.modules() if isinstance(layer, (nn.Conv2d, *kinds))]
    own = [vars(layer).get("forward") for layer in layers]
    try:
        for layer in layers:
            layer.forward = partial(_forward, layer.forward)
        yield
    finally:
        for layer, forward in zip(layers, own, strict=True):
            vars(layer).pop("forward", None)
            if forward is not None:
                layer.forward = forward


def _forward(forward: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> torch.Tensor:
    with _conv2d_replaced()():
        return forward(*args, **kwargs)


@cache
def _conv2d_replaced() -> type[Any]:
    """Make the class of contexts in which ``F.conv2d`` is :func:`_convolve`. Here, for the import of torch is slow."""
    import torch
    from torch.overrides import TorchFunctionMode

    class Conv2dReplaced(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            return (_convolve if func is torch.conv2d else func)(*args, **(kwargs or {}))

    return Conv2dReplaced


def _convolve(
    images: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] | str = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> torch.Tensor:
    """Do what ``F.conv2d`` does, (n, channels, height, width) to (n, out channels, out height, out width)."""
    import torch
    from torch.nn import functional as F

    plain = partial(F.conv2d, images, weight, bias, stride, padding, dilation, groups)
    if (
        isinstance(padding, str)
        or images.dim() != 4
        or images.dtype != torch.float32
        or weight.dtype != torch.float32
        or images.device.type != "cpu"
        or not images.is_contiguous(memory_format=torch.channels_last)
    ):
        return plain()
    step, pad, (n, channels, height, width) = _pair(stride), _pair(padding), images.shape
    kernel = (weight.shape[2], weight.shape[3])
    if groups == 1 and kernel == step == (1, 1) and pad == (0, 0):
        if n * height * width > POINTWISE_PIXELS:
            return plain()
        return F.linear(_rows(images), weight.flatten(1), bias).permute(0, 3, 1, 2)
    if _pair(dilation) != (1, 1):
        return plain()
    if groups == 1 and height * width <= DENSE_PIXELS and channels >= DENSE_CHANNELS:
        padded = F.pad(images, (pad[1], pad[1], pad[0], pad[0]))
        under, out = _under_kernel(padded.shape[2], padded.shape[3], kernel, step)
        columns = _rows(padded).flatten(1, 2).index_select(1, under).view(n, *out, -1)
        return F.linear(columns, _rows(weight).flatten(1), bias).permute(0, 3, 1, 2)
    if bias is None and weight.requires_grad and groups == channels == len(weight):
        out = (_out(height + 2 * pad[0], kernel[0], step[0]), _out(width + 2 * pad[1], kernel[1], step[1]))
        small = height * width * out[0] * out[1] <= DEPTHWISE_PAIRS
        if small and (max(kernel) > 3 or min(height, width) < 3):
            result: torch.Tensor = _depthwise().apply(images, weight, step, pad)
            return result
    return plain()


@cache
def _depthwise() -> type[Any]:
    """Make the class of depthwise convolutions whose weights get their gradient by matrix products."""
    import torch
    from torch.autograd.function import once_differentiable
    from torch.nn import functional as F

    class Depthwise(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *args: Any) -> torch.Tensor:
            images, weight, step, pad = args
            ctx.save_for_backward(images, weight)
            ctx.step, ctx.pad = step, pad
            return F.conv2d(images, weight, None, step, pad, groups=len(weight))

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor, None, None]:
            images, weight = ctx.saved_tensors
            arguments = (None, ctx.step, ctx.pad, (1, 1), False, (0, 0), len(weight), (True, False, False))
            of_images = None
            if ctx.needs_input_grad[0]:
                of_images = torch.ops.aten.convolution_backward(gradients[0], images, weight, *arguments)[0]
            kernel = _depthwise_kernel_gradient(images, gradients[0], weight.shape, ctx.step, ctx.pad)
            return of_images, kernel, None, None

    return Depthwise


def _depthwise_kernel_gradient(
    images: torch.Tensor, gradient: torch.Tensor, shape: torch.Size, step: tuple[int, int], pad: tuple[int, int]
) -> torch.Tensor:
    """Compute the gradient of a depthwise kernel from how every input pixel met every output pixel.

    For each channel the (input pixels, output pixels) matrix of products, summed over the batch, is one matrix
    product; an element of the kernel is the sum of those pairs that it connects.

    Args:
        images: (n, channels, height, width) input.
        gradient: (n, channels, out height, out width) gradient of the output.
        shape: (channels, 1, kernel height, kernel width).
        step: Stride.
        pad: Padding.
    """
    import torch

    height, width = images.shape[2:]
    pairs = torch.bmm(_by_channel(images).transpose(1, 2), _by_channel(gradient))
    where = _connected(height, width, gradient.shape[2], gradient.shape[3], (shape[2], shape[3]), step, pad)
    return (pairs.flatten(1) @ where).view(shape)


def _by_channel(images: torch.Tensor) -> torch.Tensor:
    """Copy (n, channels, height, width) to (channels, n, height x width)."""
    n, channels = images.shape[:2]
    return _rows(images).reshape(-1, channels).t().contiguous().view(channels, n, -1)


@lru_cache(maxsize=256)
def _connected(
    height: int,
    width: int,
    out_height: int,
    out_width: int,
    kernel: tuple[int, int],
    step: tuple[int, int],
    pad: tuple[int, int],
) -> torch.Tensor:
    """Return which input pixel meets which output pixel through which element of the kernel: (pairs, elements)."""
    import torch

    def along(size: int, out: int, axis: int) -> torch.Tensor:
        """Compute the same for one axis: (size, out, kernel)."""
        offset = torch.arange(size)[:, None] - (torch.arange(out) * step[axis] - pad[axis])
        return (offset[:, :, None] == torch.arange(kernel[axis])).float()

    with torch.inference_mode(False):  # kept, and used in training later
        both = torch.einsum("yai,xbj->yxabij", along(height, out_height, 0), along(width, out_width, 1))
        return both.reshape(-1, kernel[0] * kernel[1]).contiguous()


@lru_cache(maxsize=256)
def _under_kernel(
    height: int, width: int, kernel: tuple[int, int], step: tuple[int, int]
) -> tuple[torch.Tensor, tuple[int, int]]:
    """List the pixels of a padded map that are under the kernel at each output pixel, and the size of the output."""
    import torch

    out = (_out(height, kernel[0], step[0]), _out(width, kernel[1], step[1]))
    with torch.inference_mode(False):  # as above
        rows = (torch.arange(out[0]) * step[0])[:, None] + torch.arange(kernel[0])
        columns = (torch.arange(out[1]) * step[1])[:, None] + torch.arange(kernel[1])
        return (rows[:, None, :, None] * width + columns[None, :, None, :]).flatten(), out


def _out(size: int, kernel: int, step: int) -> int:
    return (size - kernel) // step + 1


def _rows(images: torch.Tensor) -> torch.Tensor:
    """View (n, channels, height, width) as (n, height, width, channels), which is how channels-last lies."""
    return images.permute(0, 2, 3, 1)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])

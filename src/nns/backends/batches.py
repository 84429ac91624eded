"""Batches of decoded images for training: normalised once, shuffled and augmented a batch at a time."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from nns.files import release_pages
from nns.types import LabelledArrays, Preprocessing

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


T = TypeVar("T")


class Share(Protocol):
    """Processes that train together, of which this is one."""

    @property
    def size(self) -> int:
        """How many there are."""

    def share(self, batch: torch.Tensor) -> torch.Tensor:
        """Return what this one takes of a batch."""


def shared_tensor(array: NDArray[Any]) -> torch.Tensor:
    """Return a tensor on the memory of an array, which may be read-only: nothing may write into the tensor."""
    import torch

    if array.flags.writeable:
        return torch.from_numpy(array)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch knows no read-only tensors
        return torch.from_numpy(array)


def normalise(images: NDArray[np.uint8] | torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    """Turn (n, 3, size, size) of 0 to 255 into float32 with the mean and deviation a network expects."""
    import torch

    mean = torch.tensor(preprocessing.mean).view(1, 3, 1, 1) * 255
    std = torch.tensor(preprocessing.std).view(1, 3, 1, 1) * 255
    pixels = images if isinstance(images, torch.Tensor) else shared_tensor(images)
    return (pixels.float() - mean) / std


def augmenter(size: int, *, flip: bool = False) -> Callable[[torch.Tensor], torch.Tensor]:
    """Make a random crop of 60 to 100 % of the area, stretched by up to 5/4, one draw a batch.

    Mirroring is off by default: it changes the class of letters, digits and arrows. Draws come from
    torch's global generator: call inside :func:`nns.backends.seeding.seeded`.

    Source: the crop of Szegedy et al. 2015 ("Going deeper with convolutions"), as torchvision has it.
    """
    from torchvision.transforms import v2

    steps: list[torch.nn.Module] = [v2.RandomResizedCrop(size, scale=(0.6, 1.0), ratio=(0.8, 1.25), antialias=False)]
    if flip:
        steps.append(v2.RandomHorizontalFlip())
    return v2.Compose(steps)  # type: ignore[no-any-return]


TURN, ZOOM, STRETCH, SHIFT = 10.0, 0.2, 0.1, 0.1
"""Degrees, and shares of the image, that :func:`move_and_tint` draws up to."""
TINT = 0.2
"""Share up to which brightness, contrast and each channel differ."""


def move_and_tint(images: torch.Tensor, *, flip: bool = False) -> torch.Tensor:
    """Turn, zoom, stretch and shift each image of a batch by its own draw, and change its brightness and colours.

    One resampling of the whole batch: about a hundredth of a training step. What comes in from outside is what is at
    the edge. Draws come from torch's global generator.

    Args:
        images: (n, 3, size, size), normalised.
        flip: Mirror half of the images.
    """
    import torch
    from torch.nn import functional as F

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(len(images), *shape, device=images.device) * 2 - 1

    angle = draw() * (TURN * torch.pi / 180)
    zoom, stretch = 1 + ZOOM * draw(), 1 + STRETCH * draw()
    mirror = torch.where(draw() < 0, -1.0, 1.0) if flip else torch.ones_like(angle)
    wide, high = zoom * stretch * mirror, zoom / stretch
    cos, sin, shift = angle.cos(), angle.sin(), 2 * SHIFT * draw(2)
    rows = [
        torch.stack([wide * cos, -high * sin, shift[:, 0]], 1),
        torch.stack([wide * sin, high * cos, shift[:, 1]], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    contrast, colour = 1 + TINT * draw(1, 1, 1), TINT * (draw(1, 1, 1) + 0.5 * draw(3, 1, 1))
    mean = moved.mean(dim=(2, 3), keepdim=True)
    return (moved - mean) * contrast + mean + colour


def batches(
    images: Any,
    labels: torch.Tensor,
    batch_size: int,
    augment: Callable[[torch.Tensor], torch.Tensor] | None = None,
    *,
    order: torch.Tensor | None = None,
    first: int = 0,
    world: Share | None = None,
    ahead: bool = False,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Return shuffled batches of one epoch.

    A last batch of one image is left out, since batch norm cannot train on it. The order comes from torch's
    global generator: call inside :func:`nns.backends.seeding.seeded`.

    Args:
        images: (n, 3, size, size), what :func:`in_parts` takes.
        labels: (n,) int64.
        batch_size: Images a batch.
        augment: Applied to each batch.
        order: (n,) the images in their order; None: it is drawn.
        first: Batches of it that are left out, because they were trained on already.
        world: Takes a part of each batch, ``share(batch)``, where several processes train; a last batch that has no
            two images for each of them is left out.
        ahead: Whether images come from pinned memory, one batch ahead, by another thread: where they go to a GPU.
    """
    import torch

    if order is None:
        order = torch.randperm(len(labels))
    parts = [order[start : start + batch_size] for start in range(first * batch_size, len(labels), batch_size)]
    least = 2 * (world.size if world else 1)
    if parts and len(parts[-1]) < least <= len(labels):
        parts.pop()
    if world:
        parts = [world.share(part) for part in parts]
    found = in_parts(images, parts)
    if ahead:
        found = one_ahead(batch.pin_memory() for batch in found)
    for chosen, batch in zip(parts, found, strict=False):
        yield (augment(batch) if augment else batch), labels[chosen]


def one_ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield items, each made by another thread while the one before is used."""
    nothing = object()
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(next, items, nothing)
        while (item := waiting.result()) is not nothing:
            waiting = thread.submit(next, items, nothing)
            yield item  # type: ignore[misc]


def in_parts(images: Any, parts: Sequence[Any]) -> Iterator[torch.Tensor]:
    """Return parts of images, (n, 3, size, size), one after the other; each is to be used before the next.

    Args:
        images: A tensor, an array, or what decodes them on demand (:class:`nns.data.on_demand.ImagesOnDemand`).
        parts: Tensors of positions, or slices.
    """
    import torch

    if isinstance(images, torch.Tensor):
        yield from (images[part] for part in parts)
        return
    wanted = [part if isinstance(part, slice) else part.numpy() for part in parts]
    if hasattr(images, "in_parts"):
        yield from map(shared_tensor, images.in_parts(wanted))
        return
    for each in wanted:
        yield shared_tensor(images[each])
        release_pages(images)


def top1_accuracy(module: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, batch_size: int = 128) -> float:
    """Compute the share of images whose highest logit is the label's, 0..1 (NaN without images)."""
    import torch

    module.eval()
    hits = 0
    with torch.inference_mode():
        for start in range(0, len(labels), batch_size):
            logits = module(images[start : start + batch_size])
            hits += int((logits.argmax(1) == labels[start : start + batch_size]).sum())
    return hits / len(labels) if len(labels) else float("nan")


def as_tensors(split: LabelledArrays, preprocessing: Preprocessing) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the normalised images and the labels of one split."""
    return normalise(split.images, preprocessing), shared_tensor(split.labels)

"""Training a supernet on one dataset: sandwich rule and in-place distillation.

Sources: Yu and Huang, "Universally Slimmable Networks and Improved Training Techniques", ICCV 2019 (the
sandwich rule: largest, smallest and random subnets in one step, the largest teaching the others in place);
Cai et al., "Once-for-All", ICLR 2020 (the supernet).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from nns.backends.batches import as_tensors, augmenter, batches
from nns.backends.convolutions import quick_convolutions
from nns.backends.ofa.reach import crop_kernels_to_reach
from nns.backends.ofa.space import BLOCKS, DEPTHS, EXPAND_RATIOS, KERNEL_SIZES, STAGES
from nns.backends.seeding import seeded
from nns.types import Preprocessing, SplitArrays


@dataclass(frozen=True)
class SupernetRecipe:
    """How a supernet is trained.

    Attributes:
        epochs: Passes over the training split.
        batch_size: Images a step; each is seen by the largest, the smallest and the random subnets.
        lr: Peak learning rate of SGD with Nesterov momentum 0.9, one warm-up epoch, then cosine.
        weight_decay: Of convolutions and the classifier.
        random_subnets: Random subnets a step.
    """

    epochs: int = 10
    batch_size: int = 32
    lr: float = 0.05
    weight_decay: float = 1e-4
    random_subnets: int = 1


def train_supernet(
    supernet: Any,
    data: SplitArrays,
    preprocessing: Preprocessing,
    recipe: SupernetRecipe,
    seed: int,
    on_epoch: Callable[[int, float], None] | None = None,
    device: str = "cpu",
) -> None:
    """Train in place.

    Args:
        supernet: The supernet; it is on the CPU afterwards, wherever it is trained.
        data: The dataset; only its training split is looked at.
        preprocessing: What the images are normalised for.
        recipe: How to train.
        seed: Of order, augmentation and random subnets: drawn on the CPU, so that they are the same on any device.
        on_epoch: Called after each epoch with its number and the mean loss of the largest subnet.
        device: Where to train; images go there a batch at a time.
    """
    import torch
    from ofa.imagenet_classification.elastic_nn.modules import dynamic_op
    from torch.nn import functional as F

    rng = np.random.default_rng(seed)
    images, labels = as_tensors(data.train, preprocessing)
    steps = recipe.epochs * max(1, math.ceil(len(labels) / recipe.batch_size))
    warmup = max(1, steps // recipe.epochs)
    supernet.to(device)
    optimizer = torch.optim.SGD(
        supernet.parameters(), lr=recipe.lr, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / warmup, 0.5 * (1 + math.cos(math.pi * s / steps)))
    )
    supernet.to(memory_format=torch.channels_last)
    crop_kernels_to_reach(supernet)
    dynamic = (dynamic_op.DynamicConv2d, dynamic_op.DynamicSeparableConv2d, dynamic_op.DynamicSE)
    quick = quick_convolutions(supernet, *dynamic) if device == "cpu" else nullcontext()
    with seeded(seed), quick, _native_activations(supernet):
        augment = augmenter(preprocessing.size)
        for epoch in range(recipe.epochs):
            supernet.train()
            total = 0.0
            for batch, target in batches(images, labels, recipe.batch_size, augment):
                batch = batch.to(device, memory_format=torch.channels_last)
                target = target.to(device)
                optimizer.zero_grad()
                supernet.set_max_net()
                logits = supernet(batch)
                loss = F.cross_entropy(logits, target)
                loss.backward()  # type: ignore[no-untyped-call]
                total += float(loss.detach()) * len(target)
                teacher = logits.detach().softmax(1)
                for settings in _students(rng, recipe.random_subnets):
                    supernet.set_active_subnet(**settings)
                    F.cross_entropy(supernet(batch), teacher).backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(supernet.parameters(), 5.0)
                optimizer.step()
                schedule.step()
            if on_epoch:
                on_epoch(epoch, total / max(1, len(labels)))
    supernet.to("cpu").eval()


@contextmanager
def _native_activations(supernet: Any) -> Iterator[None]:
    """Compute ofa's h-swish and h-sigmoid by torch's own, one operation each instead of five and three."""
    from ofa.utils.pytorch_modules import Hsigmoid, Hswish
    from torch.nn import functional as F

    layers = [layer for layer in supernet.modules() if isinstance(layer, (Hsigmoid, Hswish))]
    for layer in layers:
        layer.forward = F.hardswish if isinstance(layer, Hswish) else F.hardsigmoid
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _students(rng: np.random.Generator, random_subnets: int) -> list[dict[str, Any]]:
    smallest = {"ks": min(KERNEL_SIZES), "e": min(EXPAND_RATIOS), "d": min(DEPTHS)}
    drawn = [
        {
            "ks": rng.choice(KERNEL_SIZES, BLOCKS).tolist(),
            "e": rng.choice(EXPAND_RATIOS, BLOCKS).tolist(),
            "d": rng.choice(DEPTHS, STAGES).tolist(),
        }
        for _ in range(random_subnets)
    ]
    return [smallest, *drawn]

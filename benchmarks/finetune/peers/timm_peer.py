"""The timm recipe of issue 16 as a plain loop, with timm's optimizer, moving average, Mixup and schedule.

AdamW 1e-3, decay 0.05, layer decay 0.8, moving average 0.95, label smoothing 0.1, mixup 0.1, each image turned, moved
and tinted, cosine. Images are decoded once, batches are channels last. As in timm's train.py the best epoch of the
averaged weights by validation counts.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import peer
import timm
import torch
from PIL import Image
from timm.data.mixup import Mixup
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from timm.utils import ModelEmaV3
from torch import nn
from torch.nn import functional as F

BATCH = 32
Split = tuple[torch.Tensor, torch.Tensor]


def main() -> None:
    """Measure the pace, train for as many epochs as fit, test once."""
    torch.set_num_threads(1)
    torch.manual_seed(peer.SEED)
    np.random.seed(peer.SEED)
    classes = sorted(set(peer.images("train")[1]))
    train, val, test = (_decode(split, classes) for split in ("train", "val", "test"))
    began = peer.process_time()
    step, forward = _pace(train, len(classes))
    peer.not_counted(peer.process_time() - began)
    each = len(train[1]) // BATCH
    epochs = peer.fitting_epochs(each * step + len(val[1]) * forward, after=len(test[1]) * forward)
    parts = _parts(len(classes), epochs * each)
    best, weights = -1.0, None
    for epoch in range(epochs):
        order = torch.randperm(len(train[1]))
        for number in range(each):
            _step(parts, train, order[number * BATCH : (number + 1) * BATCH], epoch * each + number)
        accuracy = _accuracy(parts["ema"].module, val)
        if accuracy > best:
            best, weights = accuracy, copy.deepcopy(parts["ema"].module.state_dict())
    parts["model"].load_state_dict(weights)
    peer.finish(test=_accuracy(parts["model"], test), val=best, epochs=epochs, version=timm.__version__)


def _decode(split: str, classes: list[str]) -> Split:
    paths, labels = peer.images(split)
    size = peer.SETTINGS["size"]
    pixels = np.stack([np.asarray(Image.open(path).convert("RGB").resize((size, size), 3)) for path in paths])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.tensor([classes.index(label) for label in labels])


def _parts(classes: int, steps: int) -> dict[str, Any]:
    model = timm.create_model("tf_efficientnet_lite0", pretrained=True, num_classes=classes)
    if peer.SETTINGS.get("head") == "torch":
        model.classifier = nn.Linear(model.num_features, classes)
    model = model.to(memory_format=torch.channels_last)
    optimizer = create_optimizer_v2(model, "adamw", lr=1e-3, weight_decay=0.05, layer_decay=0.8)
    schedule = CosineLRScheduler(
        optimizer, t_initial=steps, warmup_t=steps // 10, warmup_lr_init=1e-5, warmup_prefix=True, t_in_epochs=False
    )
    mixup = Mixup(mixup_alpha=0.1, label_smoothing=0.1, num_classes=classes)
    return {
        "model": model, "optimizer": optimizer, "schedule": schedule, "mixup": mixup,
        "ema": ModelEmaV3(model, decay=0.95),
    }  # fmt: skip


def _step(parts: dict[str, Any], train: Split, chosen: torch.Tensor, number: int) -> None:
    parts["schedule"].step_update(number)
    parts["model"].train()
    images, targets = parts["mixup"](_augment(_normalise(train[0][chosen])), train[1][chosen])
    loss = F.cross_entropy(parts["model"](images.contiguous(memory_format=torch.channels_last)), targets)
    parts["optimizer"].zero_grad()
    loss.backward()
    parts["optimizer"].step()
    parts["ema"].update(parts["model"])


def _normalise(images: torch.Tensor) -> torch.Tensor:
    return images.float().sub_(127.5).div_(127.5)  # the mean and deviation that timm has for this network


def _augment(images: torch.Tensor) -> torch.Tensor:
    """Turn by up to 10 degrees, zoom, stretch and shift, change contrast and colours: each image by its own draw."""

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(len(images), *shape) * 2 - 1

    angle, zoom, stretch, shift = draw() * torch.pi / 18, 1 + 0.2 * draw(), 1 + 0.1 * draw(), 0.2 * draw(2)
    theta = torch.stack([
        torch.stack([zoom * stretch * angle.cos(), -zoom / stretch * angle.sin(), shift[:, 0]], 1),
        torch.stack([zoom * stretch * angle.sin(), zoom / stretch * angle.cos(), shift[:, 1]], 1),
    ], 1)  # fmt: skip
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return images * (1 + 0.2 * draw(1, 1, 1)) + 0.2 * draw(1, 1, 1) + 0.1 * draw(3, 1, 1)


@torch.inference_mode()
def _accuracy(model: nn.Module, split: Split) -> float:
    model.eval()
    right = 0
    for images, labels in zip(split[0].split(128), split[1].split(128), strict=True):
        said = model(_normalise(images).contiguous(memory_format=torch.channels_last)).argmax(1)
        right += int((said == labels).sum())
    return right / len(split[1])


def _pace(train: Split, classes: int) -> tuple[float, float]:
    """Return the seconds of a step, and of a forward pass of one image."""
    state = torch.get_rng_state(), np.random.get_state()
    parts = _parts(classes, 100)
    order = torch.randperm(len(train[1]))[:BATCH]
    seconds = []
    for number in range(7):  # the first pays for allocations
        start = peer.process_time()
        _step(parts, train, order, number)
        seconds.append(peer.process_time() - start)
    start = peer.process_time()
    few = train[0][:128], train[1][:128]
    _accuracy(parts["model"], few)
    forward = (peer.process_time() - start) / len(few[1])
    torch.set_rng_state(state[0])
    np.random.set_state(state[1])
    return sum(seconds[1:]) / len(seconds[1:]), forward


main()

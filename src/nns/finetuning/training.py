"""The training loop: one network, one dataset; the best epoch is chosen on the validation split."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nns.backends.batches import as_tensors, augmenter, batches
from nns.backends.seeding import seeded
from nns.errors import UsageError
from nns.finetuning.recipe import Recipe
from nns.types import LabelledArrays, Preprocessing, SplitArrays

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to. Losses are mean cross-entropies, the accuracy is top-1, 0..1."""

    epoch: int
    train_loss: float
    val_loss: float
    val_accuracy: float


@dataclass(frozen=True)
class TrainingResult:
    """A trained network.

    Attributes:
        module: The network at its best epoch, in eval mode on the CPU.
        val_accuracy: Top-1 accuracy of that epoch on the validation split, 0..1.
        history: All epochs.
        stopped: ``"epochs"``, ``"budget"``, ``"patience"`` or ``"interrupted"``.
        seconds: Wall-clock time.
        device: Where it ran.
    """

    module: nn.Module
    val_accuracy: float
    history: tuple[Epoch, ...]
    stopped: str
    seconds: float
    device: str


def resolve_device(wanted: str) -> str:
    """Turn ``auto`` into ``cuda`` where there is one, else ``cpu``.

    Raises:
        UsageError: If CUDA is asked for and not there, or the name is unknown.
    """
    import torch

    if wanted not in {"auto", "cpu", "cuda"}:
        raise UsageError(f"unknown device {wanted!r}: it must be auto, cpu or cuda")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UsageError("device 'cuda' was asked for, but PyTorch sees no CUDA device here; use --device auto")
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def train(
    module: nn.Module,
    data: SplitArrays,
    preprocessing: Preprocessing,
    recipe: Recipe,
    *,
    seed: int = 0,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_images: Callable[[int], None] | None = None,
) -> TrainingResult:
    """Train a network in place and give it back at its best epoch.

    On CUDA the loop runs in channels-last memory format under autocast. Ctrl-C ends the training and keeps
    the best epoch so far. Two runs on the CPU with the same seed and thread count and no time budget give
    the same weights.

    Args:
        module: The network, with a head for the classes of ``data``.
        data: The dataset; ``test`` is not touched.
        preprocessing: The network's input.
        recipe: How to train.
        seed: Of shuffling and augmentation.
        on_epoch: Called after each epoch.
        on_images: Called after each step with the number of images.

    Returns:
        The network at its best epoch, with the history.
    """
    run = _Run(module, data, preprocessing, recipe)
    started = time.perf_counter()
    stopped = "epochs"
    with seeded(seed):
        try:
            for number in range(1, recipe.epochs + 1):
                train_loss = run.train_epoch(number, started, on_images)
                if run.out_of_budget(started) and run.history and math.isnan(train_loss):
                    stopped = "budget"
                    break
                epoch = run.finish_epoch(number, train_loss)
                if on_epoch:
                    on_epoch(epoch)
                if run.out_of_budget(started):
                    stopped = "budget"
                    break
                if recipe.patience is not None and number - run.best_epoch >= recipe.patience:
                    stopped = "patience"
                    break
        except KeyboardInterrupt:
            stopped = "interrupted"
    run.restore_best()
    seconds = time.perf_counter() - started
    return TrainingResult(
        run.module.to("cpu").eval(), run.best_accuracy, tuple(run.history), stopped, seconds, run.device
    )


class _Run:
    """State of one training: tensors, optimizer, best weights so far."""

    def __init__(self, module: nn.Module, data: SplitArrays, preprocessing: Preprocessing, recipe: Recipe) -> None:
        import torch

        self.recipe = recipe
        self.device = resolve_device(recipe.device)
        self.cuda = self.device == "cuda"
        # depthwise convolutions train up to twice as fast in this layout, on the CPU as well
        self.module: Any = module.to(self.device, memory_format=torch.channels_last)
        self.images, self.labels = as_tensors(data.train, preprocessing)
        self.val = data.val
        self.preprocessing = preprocessing
        self.augment = augmenter(preprocessing.size, flip=recipe.flip)
        self.history: list[Epoch] = []
        self.best_accuracy = float("-inf")
        self.best_epoch = 0
        self._best_loss = float("inf")
        self._best_state: dict[str, torch.Tensor] | None = None
        self._freeze_body(module)
        self.optimizer = _optimizer(self.module, recipe)
        self.scaler = torch.amp.GradScaler("cuda", enabled=self.cuda)

    def _freeze_body(self, module: nn.Module) -> None:
        if not self.recipe.head_only:
            return
        head = {id(p) for p in _head(module).parameters()}
        for parameter in module.parameters():
            parameter.requires_grad_(id(parameter) in head)

    def _autocast(self) -> torch.autocast:
        import torch

        return torch.autocast(self.device, dtype=torch.float16 if self.cuda else torch.bfloat16, enabled=self.cuda)

    def _place(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        placed = images.to(self.device, memory_format=torch.channels_last, non_blocking=True)
        return placed, labels.to(self.device, non_blocking=True)

    def out_of_budget(self, started: float) -> bool:
        return self.recipe.seconds is not None and time.perf_counter() - started >= self.recipe.seconds

    def _progress(self, step: int, steps: int, started: float) -> float:
        by_steps = step / steps
        if self.recipe.seconds is None:
            return by_steps
        return min(1.0, max(by_steps, (time.perf_counter() - started) / self.recipe.seconds))

    def train_epoch(self, number: int, started: float, on_images: Callable[[int], None] | None) -> float:
        """Run one epoch; a budget that ends within it cuts it short (NaN if it ended before any step)."""
        from torch.nn import functional as F

        self.module.train(not self.recipe.head_only)
        each = max(1, math.ceil(len(self.labels) / self.recipe.batch_size))
        total, seen = 0.0, 0
        for index, pair in enumerate(batches(self.images, self.labels, self.recipe.batch_size, self.augment)):
            if self.out_of_budget(started):
                break
            images, labels = self._place(*pair)
            progress = self._progress((number - 1) * each + index, self.recipe.epochs * each, started)
            for group in self.optimizer.param_groups:
                group["lr"] = self.recipe.lr * _cosine(progress, self.recipe.warmup) * group.get("lr_scale", 1.0)
            self.optimizer.zero_grad(set_to_none=True)
            with self._autocast():
                loss = F.cross_entropy(self.module(images), labels, label_smoothing=self.recipe.label_smoothing)
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            total += float(loss.detach()) * len(labels)
            seen += len(labels)
            if on_images:
                on_images(len(labels))
        return total / seen if seen else float("nan")

    def finish_epoch(self, number: int, train_loss: float) -> Epoch:
        """Measure on the validation split and keep the weights if they are the best so far."""
        loss, accuracy = evaluate(self.module, self.val, self.preprocessing, self.device)
        epoch = Epoch(number, train_loss, loss, accuracy)
        self.history.append(epoch)
        if (accuracy, -loss) > (self.best_accuracy, -self._best_loss):
            self.best_accuracy, self._best_loss, self.best_epoch = accuracy, loss, number
            self._best_state = copy.deepcopy(self.module.state_dict())
        return epoch

    def restore_best(self) -> None:
        if self._best_state is not None:
            self.module.load_state_dict(self._best_state)


def _head(module: nn.Module) -> nn.Module:
    """Find the classifier: the last linear layer."""
    from torch import nn

    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)][-1]


def _optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    from timm.optim import create_optimizer_v2

    optimizer: torch.optim.Optimizer = create_optimizer_v2(
        module, opt=recipe.optimizer, lr=recipe.lr, weight_decay=recipe.weight_decay, momentum=recipe.momentum
    )
    return optimizer


def _cosine(progress: float, warmup: float) -> float:
    """Rise linearly over ``warmup``, then fall as half a cosine to zero; ``progress`` runs from 0 to 1."""
    if progress < warmup:
        return max(progress / warmup, 0.05)
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / max(1e-9, 1 - warmup)))


def evaluate(
    module: nn.Module, split: LabelledArrays, preprocessing: Preprocessing, device: str = "cpu", batch_size: int = 128
) -> tuple[float, float]:
    """Compute mean cross-entropy and top-1 accuracy (0..1) of one split; NaN without images."""
    import torch
    from torch.nn import functional as F

    if not len(split):
        return float("nan"), float("nan")
    module.eval()
    images, labels = as_tensors(split, preprocessing)
    loss, hits = 0.0, 0
    with torch.inference_mode(), torch.autocast(device, dtype=torch.float16, enabled=device == "cuda"):
        for start in range(0, len(labels), batch_size):
            target = labels[start : start + batch_size].to(device)
            logits = module(images[start : start + batch_size].to(device)).float()
            loss += float(F.cross_entropy(logits, target, reduction="sum"))
            hits += int((logits.argmax(1) == target).sum())
    return loss / len(labels), hits / len(labels)

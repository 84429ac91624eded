"""One step of training, and measuring a split: the loops that every network goes through, backends' own and others.

They are beside the convolutions that they run through, so that nothing between two batches leaves this package.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

from nns.backends.batches import augmenter, in_parts, move_and_tint, normalise, shared_tensor
from nns.backends.convolutions import quick_convolutions
from nns.types import Augment, LabelledArrays, Precision, Preprocessing

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import nn


TEMPERATURE = 2.0
"""By which logits are divided where one network teaches another: at 1 the wrong classes hardly show."""


class Preparation:
    """Makes float images of a batch of uint8 ones: on the device, normalised, augmented, channels last."""

    def __init__(
        self, preprocessing: Preprocessing, device: str, *, flip: bool = False, augment: Augment = "crop"
    ) -> None:
        """Bring mean and deviation to the device once."""
        import torch

        self.device = device
        self.mean = (torch.tensor(preprocessing.mean).view(1, 3, 1, 1) * 255).to(device)
        self.std = (torch.tensor(preprocessing.std).view(1, 3, 1, 1) * 255).to(device)
        self.augment = (
            partial(move_and_tint, flip=flip) if augment == "affine" else augmenter(preprocessing.size, flip=flip)
        )

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Prepare (n, 3, size, size)."""
        import torch

        # a copy from pinned memory goes on while the GPU computes
        images = (images.to(self.device, non_blocking=True).float() - self.mean) / self.std
        return self.augment(images).to(memory_format=torch.channels_last)


def half_precision(precision: Precision, device: str) -> torch.dtype | None:
    """Return the type that forward passes of a training are computed in on a device; None: float32."""
    import torch

    if precision != "auto":
        return {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]
    if device == "cpu":
        return None
    # emulated it is slower than float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def train_step(
    module: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    label_smoothing: float = 0.0,
    half: torch.dtype | None = None,
    weight: float = 1.0,
    said: torch.Tensor | None = None,
) -> torch.Tensor:
    """Take one step down the cross-entropy of a batch.

    With a teacher the loss is half that, half the cross-entropy from what it said, both at :data:`TEMPERATURE`, which
    is its divergence but for what no weight changes (Hinton, Vinyals & Dean 2015, section 2).

    Args:
        module: The network, on the device of the batch.
        images: (n, 3, size, size) float32.
        labels: (n,) int64, or (n, classes) shares; of the first n images, if there are more.
        optimizer: Of the network's weights.
        scaler: Of the gradients; float16 needs one that is enabled.
        label_smoothing: 0..1.
        half: Of what the forward pass is computed in, where it is not float32.
        weight: Of the gradients, where others compute a part of the batch.
        said: What a teacher says of all the images, (at least n, classes) shares at the temperature; None without one.

    Returns:
        The mean loss, detached; it stays on the device, as reading it would wait for the step.
    """
    import torch
    from torch.nn import functional as F

    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(images.device.type, dtype=half, enabled=half is not None):
        logits = module(images)
        loss = F.cross_entropy(logits[: len(labels)], labels, label_smoothing=label_smoothing)
        if said is not None:  # times its square, so that the gradients of both halves have one scale
            loss = (loss + TEMPERATURE**2 * F.cross_entropy(logits / TEMPERATURE, said)) / 2
    scaler.scale(loss if weight == 1.0 else loss * weight).backward()  # type: ignore[no-untyped-call]
    scaler.step(optimizer)
    scaler.update()
    return loss.detach()


def predict_classes(
    module: nn.Module, split: LabelledArrays, preprocessing: Preprocessing, device: str = "cpu", batch_size: int = 128
) -> NDArray[np.int64]:
    """Predict the class of each image of a split, (n,); as :func:`evaluate` does."""
    return measure_split(module, split, preprocessing, device, batch_size)[1]


def evaluate(
    module: nn.Module, split: LabelledArrays, preprocessing: Preprocessing, device: str = "cpu", batch_size: int = 128
) -> tuple[float, float]:
    """Compute mean cross-entropy and top-1 accuracy (0..1) of one split; NaN without images.

    Args:
        module: The network, on ``device``; it is left in eval mode.
        split: The images.
        preprocessing: The network's input.
        device: ``"cpu"``, or ``"cuda"`` for half precision.
        batch_size: Images a forward pass; only so many are held as floats.
    """
    loss, said = measure_split(module, split, preprocessing, device, batch_size)
    return loss, float((said == split.labels).mean()) if len(split) else float("nan")


def measure_split(
    module: nn.Module, split: LabelledArrays, preprocessing: Preprocessing, device: str = "cpu", batch_size: int = 128
) -> tuple[float, NDArray[np.int64]]:
    """Compute the mean cross-entropy of a split, NaN without images, and predict the class of each image, (n,)."""
    import numpy as np
    from torch.nn import functional as F

    loss, found = 0.0, [np.zeros(0, np.int64)]
    for logits, target in _logits(module, split, preprocessing, device, batch_size):
        loss += float(F.cross_entropy(logits, target, reduction="sum"))
        found.append(logits.argmax(1).cpu().numpy())
    return loss / len(split) if len(split) else float("nan"), np.concatenate(found)


def compute_logits(
    module: nn.Module, split: LabelledArrays, preprocessing: Preprocessing, device: str = "cpu", batch_size: int = 128
) -> NDArray[np.float32]:
    """Compute the logits (n, classes) of a split that has images; as :func:`evaluate` does."""
    import numpy as np

    parts = _logits(module, split, preprocessing, device, batch_size)
    return np.concatenate([logits.cpu().numpy() for logits, _ in parts])


def _logits(
    module: nn.Module, split: LabelledArrays, preprocessing: Preprocessing, device: str, batch_size: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield logits and labels of each batch, on the device."""
    import torch

    module.eval()
    quick = quick_convolutions(module) if device == "cpu" else nullcontext()
    with quick, torch.inference_mode(), torch.autocast(device, dtype=torch.float16, enabled=device == "cuda"):
        parts = [slice(start, start + batch_size) for start in range(0, len(split), batch_size)]
        for part, images in zip(parts, in_parts(split.images, parts), strict=True):
            target = shared_tensor(split.labels[part]).to(device)
            yield module(normalise(images, preprocessing).to(device)).float(), target

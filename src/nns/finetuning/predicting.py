"""Predicting the classes of image files with a fine-tuned network. Needs no zoo."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nns.data import Skipped
from nns.data.parallel import decode_many
from nns.errors import UsageError
from nns.finetuning.handover import FineTuned, load_handover

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nns.plugins import Registry


@dataclass(frozen=True)
class Prediction:
    """What a network says about one image.

    Attributes:
        path: The image.
        label: The most probable class.
        probability: Its probability, 0..1.
        top: The most probable classes with their probabilities, best first.
    """

    path: str
    label: str
    probability: float
    top: tuple[tuple[str, float], ...]


def predict(
    tuned: FineTuned | str | os.PathLike[str],
    paths: Sequence[str | os.PathLike[str]],
    *,
    batch_size: int = 32,
    top: int = 3,
    registry: Registry | None = None,
) -> tuple[tuple[Prediction, ...], tuple[Skipped, ...]]:
    """Predict the classes of images.

    Args:
        tuned: A fine-tuned network, or the folder that holds it.
        paths: Image files.
        batch_size: Images that are decoded and predicted at once.
        top: Classes that are listed for each image at most.
        registry: Plugins in place of the installed ones.

    Returns:
        A prediction for each image that can be read, in the order given; and the others, with the reason.

    Raises:
        UsageError: Settings out of range, or a folder without a fine-tuned network.
        WeightsError: If its files are damaged.
    """
    if batch_size < 1 or top < 1:
        raise UsageError(f"batch_size and top must be 1 or more, not {batch_size} and {top}")
    if not isinstance(tuned, FineTuned):
        tuned = load_handover(tuned, registry=registry)
    rendering = tuned.card.rendering
    predictions: list[Prediction] = []
    skipped: list[Skipped] = []
    for start in range(0, len(paths), batch_size):
        chunk = [Path(path).expanduser() for path in paths[start : start + batch_size]]
        images, reasons = decode_many(
            chunk, tuned.card.preprocessing.size, rendered=(lambda: rendering) if rendering else None
        )
        skipped += [Skipped(str(path), reason) for path, reason in zip(chunk, reasons, strict=True) if reason]
        readable = [index for index, reason in enumerate(reasons) if not reason]
        if readable:
            names = [str(chunk[index]) for index in readable]
            predictions += _predict_batch(tuned, names, images[readable], top)
    return tuple(predictions), tuple(skipped)


def _predict_batch(tuned: FineTuned, names: list[str], images: NDArray[np.uint8], top: int) -> list[Prediction]:
    """Predict (n, 3, size, size) uint8 images."""
    import torch

    from nns.backends.batches import normalise

    with torch.inference_mode():
        probabilities = tuned.module(normalise(images, tuned.card.preprocessing)).float().softmax(1)
    values, indices = probabilities.topk(min(top, len(tuned.card.classes)))
    found = []
    for name, row, order in zip(names, values.tolist(), indices.tolist(), strict=True):
        best = tuple((tuned.card.classes[index], value) for index, value in zip(order, row, strict=True))
        found.append(Prediction(name, best[0][0], best[0][1], best))
    return found

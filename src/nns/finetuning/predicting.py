"""Predicting the classes of image files with a fine-tuned network. Needs no zoo."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nns.data import Skipped
from nns.data.formats._tree import Tree
from nns.data.parallel import decode_many
from nns.errors import UsageError
from nns.finetuning.calibration import softmax
from nns.finetuning.handover import FineTuned, load_handover
from nns.finetuning.onnx_network import OnnxNetwork, exported_beside, load_onnx
from nns.threads import quickest_threads

if TYPE_CHECKING:
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
    onnx: str | os.PathLike[str] | bool = True,
) -> tuple[tuple[Prediction, ...], tuple[Skipped, ...]]:
    """Predict the classes of images.

    Args:
        tuned: A fine-tuned network, or the folder that holds it.
        paths: Image files; of a folder all images in it and below.
        batch_size: Images that are decoded and predicted at once.
        top: Classes that are listed for each image at most.
        registry: Plugins in place of the installed ones.
        onnx: As for :func:`predict_each`.

    Returns:
        A prediction for each image that can be read, in the order given; and the others, with the reason.

    Raises:
        UsageError: Settings out of range, or a folder without a fine-tuned network.
        WeightsError: If its files are damaged.
    """
    found = list(predict_each(tuned, paths, batch_size=batch_size, top=top, registry=registry, onnx=onnx))
    predictions = tuple(each for each in found if isinstance(each, Prediction))
    return predictions, tuple(each for each in found if isinstance(each, Skipped))


def predict_each(
    tuned: FineTuned | str | os.PathLike[str],
    paths: Iterable[str | os.PathLike[str]],
    *,
    batch_size: int = 32,
    top: int = 3,
    registry: Registry | None = None,
    onnx: str | os.PathLike[str] | bool = True,
) -> Iterator[Prediction | Skipped]:
    """Predict the classes of any number of images, a batch at a time: memory does not grow with their number.

    Args:
        tuned: A fine-tuned network, or the folder that holds it.
        paths: Image files; of a folder all images in it and below.
        batch_size: Images that are decoded and predicted at once.
        top: Classes that are listed for each image at most.
        registry: Plugins in place of the installed ones.
        onnx: A file that was exported of the network; True: the one in its folder, if it is there and onnxruntime is
            installed; False: torch.

    Yields:
        What is said of each image, in the order given, or why it could not be read.

    Raises:
        UsageError: Settings out of range, or a folder without a fine-tuned network.
        DatasetError: If a folder cannot be listed.
        WeightsError: If the network's files are damaged.
    """
    if batch_size < 1 or top < 1:
        raise UsageError(f"batch_size and top must be 1 or more, not {batch_size} and {top}")
    network = _opened(tuned, onnx, registry)
    rendering, left = network.card.rendering, _files(paths)
    while chunk := list(islice(left, batch_size)):
        images, reasons = decode_many(
            chunk, network.card.preprocessing.size, rendered=(lambda: rendering) if rendering else None
        )
        readable = [index for index, reason in enumerate(reasons) if not reason]
        found: dict[int, Prediction] = {}
        if readable:
            names = [str(chunk[index]) for index in readable]
            found = dict(zip(readable, _predict_batch(network, names, images[readable], top), strict=True))
        for index, (path, reason) in enumerate(zip(chunk, reasons, strict=True)):
            yield found[index] if index in found else Skipped(str(path), reason)


def _opened(
    tuned: FineTuned | str | os.PathLike[str], onnx: str | os.PathLike[str] | bool, registry: Registry | None
) -> FineTuned | OnnxNetwork:
    if isinstance(tuned, FineTuned):
        return tuned
    if not isinstance(onnx, bool):
        return load_onnx(tuned, onnx)
    return (onnx and exported_beside(tuned)) or load_handover(tuned, registry=registry)


def _files(paths: Iterable[str | os.PathLike[str]]) -> Iterator[Path]:
    for each in paths:
        path = Path(each).expanduser()
        if path.is_dir():
            yield from Tree(path).images_below(path)
        else:
            yield path


def logits_of(tuned: FineTuned | OnnxNetwork, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
    """Compute the logits, (n, classes), of (n, 3, size, size) images; no temperature is in them."""
    if isinstance(tuned, OnnxNetwork):
        return tuned.logits(images)
    import torch

    from nns.backends.batches import normalise

    found = []
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            batch = normalise(images[start : start + batch_size], tuned.card.preprocessing)
            with quickest_threads(tuned.module, len(batch)):
                found.append(tuned.module(batch).float().numpy())
    return np.concatenate(found)


def _predict_batch(
    tuned: FineTuned | OnnxNetwork, names: list[str], images: NDArray[np.uint8], top: int
) -> list[Prediction]:
    """Predict (n, 3, size, size) uint8 images."""
    chances = softmax(logits_of(tuned, images), tuned.card.temperature)
    order_of_all = np.argsort(-chances, axis=1, kind="stable")[:, : min(top, len(tuned.card.classes))]
    found: list[Prediction] = []
    for name, chance, order in zip(names, chances, order_of_all, strict=True):
        row = chance[order].tolist()
        best = tuple((tuned.card.classes[index], value) for index, value in zip(order, row, strict=True))
        found.append(Prediction(name, best[0][0], best[0][1], best))
    return found

"""What an exported network is worth beside the one that it is of: answers, accuracy, latency, size."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.data import Dataset
from nns.errors import DatasetError
from nns.finetuning.card import Card
from nns.finetuning.onnx_export import CALIBRATION_IMAGES
from nns.finetuning.onnx_network import open_session, run_session

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from nns.plugins import Registry

MOST_IMAGES = 1000
"""Validation images at most."""
AT_ONCE = 32
TURNS = 60
"""Images of which each form predicts one after the other for its latency."""
WARMING = 5


@dataclass(frozen=True)
class ExportCheck:
    """One form of a network.

    Attributes:
        name: ``"torch"``, ``"ONNX fp32"`` or ``"ONNX int8"``.
        bytes: Of its file; of torch's the weights.
        accuracy: Top-1 accuracy on the validation images, 0..1; None without images.
        max_difference: Largest difference of its logits from torch's; None for torch.
        mean_difference: Mean of the differences.
        latency_ms: Of one image, one thread, median of processor time.
    """

    name: str
    bytes: int
    accuracy: float | None
    max_difference: float | None
    mean_difference: float | None
    latency_ms: float


@dataclass(frozen=True)
class CheckedImages:
    """Images to quantise and to compare by.

    Attributes:
        calibration: (n, 3, size, size) uint8, of the training split.
        images: (m, 3, size, size) uint8, of the validation split.
        labels: (m,) the network's classes of them.
    """

    calibration: NDArray[np.uint8]
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        """Count the images to compare by."""
        return len(self.images)


def checked_images(
    card: Card, data: Any, tell: Callable[[str, int, int], None], registry: Registry | None = None
) -> CheckedImages:
    """Decode some training and validation images, in the splits of the fine-tuning where it was on these.

    Raises:
        DatasetError: If they have other classes, or none can be read.
    """
    dataset = Dataset.of(data, registry=registry)
    known = {name: index for index, name in enumerate(card.classes)}
    if strange := [name for name in dataset.classes if name not in known]:
        raise DatasetError(f"{dataset.name!r} has classes that the network does not know, first {strange[0]!r}")
    if card.rendering is not None:
        dataset.render_as(card.rendering)
    size, own = card.preprocessing.size, dataset.digest == card.dataset_digest
    # of other data too: what cannot be read is found as it is decoded
    unreadable = (card.unreadable or ()) if own else ()
    placed, _ = dataset.split_indices(size, seed=card.seed, unreadable=unreadable)
    rng = np.random.default_rng(card.seed)

    def some(indices: NDArray[np.int64], most: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        drawn = np.sort(rng.permutation(indices)[:most])
        images, kept, skipped = dataset.decode(
            drawn, size, progress=lambda done, total: tell("reading images", done, total)
        )
        if not len(kept):
            raise DatasetError(f"none of {len(skipped)} images of {dataset.name!r} could be read")
        return images, np.array([known[name] for name in dataset.classes])[dataset.labels[kept]]

    calibration, _ = some(placed["train"], CALIBRATION_IMAGES)
    images, labels = some(placed["val"], MOST_IMAGES)
    return CheckedImages(calibration, images, labels)


def measure_exports(
    module: nn.Module,
    card: Card,
    files: Mapping[str, Path],
    images: CheckedImages | None,
    tell: Callable[[str, int, int], None],
) -> tuple[ExportCheck, ...]:
    """Compare files of ONNX with torch.

    Args:
        module: Takes uint8 images and gives logits.
        card: Of the network.
        files: The files, by name.
        images: What to compare by; None: random images.
        tell: ``tell(what, done, total)``.
    """
    import torch

    from nns.threads import limited_threads

    def torch_logits(part: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            found: NDArray[np.float32] = module(torch.from_numpy(part)).float().numpy()
        return found

    size = card.preprocessing.size
    noise = np.random.default_rng(0).integers(0, 256, (AT_ONCE, 3, size, size), dtype=np.uint8)
    pixels = noise if images is None else images.images
    forms: dict[str, Callable[[NDArray[np.uint8]], NDArray[np.float32]]] = {"torch": torch_logits}
    for name, path in files.items():
        session = open_session(path.read_bytes(), card, path, threads=1)
        forms[name] = lambda part, session=session: run_session(session, part)  # type: ignore[misc]
    with limited_threads(1):
        logits: dict[str, NDArray[np.float32]] = {}
        for name, form in forms.items():
            parts = []
            for start in range(0, len(pixels), AT_ONCE):
                parts.append(form(pixels[start : start + AT_ONCE]))
                tell(f"comparing {name}", min(start + AT_ONCE, len(pixels)), len(pixels))
            logits[name] = np.concatenate(parts)
        latency = _latencies(forms, pixels)
    sizes = {name: path.stat().st_size for name, path in files.items()}
    found = []
    for name, given in logits.items():
        apart = np.abs(given - logits["torch"])
        found.append(
            ExportCheck(
                name,
                sizes.get(name, card.bytes),
                None if images is None else float((given.argmax(1) == images.labels).mean()),
                None if name == "torch" else float(apart.max()),
                None if name == "torch" else float(apart.mean()),
                1000 * latency[name],
            )
        )
    return tuple(found)


def _latencies(
    forms: Mapping[str, Callable[[NDArray[np.uint8]], object]], pixels: NDArray[np.uint8]
) -> dict[str, float]:
    """Time one image at a time, by turns, in seconds of processor time: the wait for a busy core is no part of it."""
    spent: dict[str, list[float]] = {name: [] for name in forms}
    for turn in range(WARMING + TURNS):
        image = pixels[turn % len(pixels)][None]
        for name, form in forms.items():
            began = time.thread_time()  # each computes in the thread that calls
            form(image)
            spent[name].append(time.thread_time() - began)
    return {name: median(each[WARMING:]) for name, each in spent.items()}

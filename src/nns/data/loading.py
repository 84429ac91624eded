"""From an opened dataset to pixels: some images, the sample that stands for it, or all of it, split."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nns.data.checks import check_trainable
from nns.data.dataset import ImageDataset
from nns.data.decoding import Skipped
from nns.data.parallel import Progress, decode_many
from nns.data.splits import assign_splits
from nns.errors import DatasetError
from nns.types import LabelledArrays, SplitArrays, SplitName

CHECKED_BYTES = 50_000_000
"""Bytes of files up to which a search looks at every image of a dataset, not at its sample alone."""

_CHECKED_SIZE = 32
_ROUNDS = 20  # of replacing unreadable images in a sample; after that, the sample is just smaller


def load_images(
    dataset: ImageDataset,
    indices: Sequence[int] | NDArray[np.int64],
    size: int,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.int64], tuple[Skipped, ...]]:
    """Decode some images of a dataset.

    Args:
        dataset: The dataset.
        indices: Positions in ``dataset.items``.
        size: Side of the decoded square in pixels.
        workers: Threads; None chooses by the bytes to decode, 1 is serial.
        progress: ``progress(done, total)``, called after every few images.

    Returns:
        (n, 3, size, size) uint8, the n indices that were read (int64, in the order given), and the
        images that could not be read.
    """
    wanted = np.asarray(indices, dtype=np.int64)
    items = [dataset.items[index] for index in wanted]
    images, reasons = decode_many([item.source for item in items], size, workers, progress)
    skipped = tuple(Skipped(item.key, reason) for item, reason in zip(items, reasons, strict=True) if reason)
    if not skipped:
        return images, wanted, ()
    read = np.array([not reason for reason in reasons], dtype=bool)
    return images[read], wanted[read], skipped


def load_sample(
    dataset: ImageDataset,
    size: int,
    *,
    per_class: int = 10,
    limit: int = 200,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.int64], tuple[Skipped, ...]]:
    """Decode the sample that stands for a dataset; another image of the class replaces an unreadable one.

    Args:
        dataset: The dataset.
        size: Side of the decoded square in pixels.
        per_class: See :meth:`ImageDataset.sample`.
        limit: See :meth:`ImageDataset.sample`.
        seed: See :meth:`ImageDataset.sample`.
        workers: Threads; None chooses.
        progress: ``progress(done, total)``.

    Returns:
        (n, 3, size, size) uint8, the n indices (int64, by class), and the images that could not be read.

    Raises:
        DatasetError: Not one image that was tried can be read.
    """
    skipped: list[Skipped] = []
    read: dict[int, NDArray[np.uint8]] = {}
    bad: set[int] = set()
    for _ in range(_ROUNDS):
        drawn = dataset.sample(per_class, limit, seed, exclude=bad).tolist()
        new = [index for index in drawn if index not in read]
        images, kept, unread = load_images(dataset, new, size, workers=workers, progress=progress)
        read.update(zip(kept.tolist(), images, strict=True))
        skipped += unread
        bad.update(set(new) - read.keys())
        if not unread:
            break
    sample = [index for index in drawn if index in read]
    if not sample:
        raise _nothing_readable(dataset, skipped)
    return np.stack([read[index] for index in sample]), np.array(sample, dtype=np.int64), tuple(skipped)


def unreadable_images(
    dataset: ImageDataset,
    *,
    exclude: Collection[int] = (),
    max_bytes: int = CHECKED_BYTES,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[Skipped, ...]:
    """Find the images of a dataset that cannot be read, by decoding each at a small size.

    Args:
        dataset: The dataset; images in memory are taken as readable.
        exclude: Indices that are not looked at, say because they were decoded already.
        max_bytes: A dataset of larger files in all is not looked at: the answer is then empty.
        workers: Threads; None chooses.
        progress: ``progress(done, total)``.

    Returns:
        Name and reason of each, in the order of ``dataset.items``.
    """
    left_out = set(exclude)
    items = [item for index, item in enumerate(dataset.items) if index not in left_out]
    paths = [(item, item.source) for item in items if isinstance(item.source, Path)]
    if sum(path.stat().st_size for _, path in paths if path.is_file()) > max_bytes:
        return ()
    _, reasons = decode_many([path for _, path in paths], _CHECKED_SIZE, workers, progress)
    return tuple(Skipped(item.key, reason) for (item, _), reason in zip(paths, reasons, strict=True) if reason)


def load_arrays(
    dataset: ImageDataset,
    size: int,
    *,
    seed: int = 0,
    workers: int | None = None,
    val: float = 0.15,
    test: float = 0.15,
    progress: Progress | None = None,
) -> tuple[SplitArrays, tuple[Skipped, ...]]:
    """Decode a whole labelled dataset at one size, split into train, val and test.

    Splits that the dataset has are kept. Where it has none, all three are made, by class; where it has
    ``train`` (and ``test``), ``val`` is carved out of ``train``. A dataset with splits but without
    ``test`` has no test split afterwards. How images are placed: :func:`nns.data.splits.assign_splits`.

    Args:
        dataset: The dataset.
        size: Side of the decoded square in pixels.
        seed: Another seed places other images.
        workers: Threads; None chooses by the bytes to decode, 1 is serial.
        val: Share of each class for validation.
        test: Share of each class for the test; 0: no test split.
        progress: ``progress(done, total)``, called after every few images.

    Returns:
        The arrays, each split in the order of ``dataset.items``; and the images that could not be read.

    Raises:
        DatasetError: No image can be read, or too few of some class; or the dataset is not labelled.
        UsageError: Shares that leave nothing to train on.
    """
    check_trainable(dataset)
    everything = np.arange(len(dataset))
    images, kept, skipped = load_images(dataset, everything, size, workers=workers, progress=progress)
    if not len(kept):
        raise _nothing_readable(dataset, skipped)
    if skipped:
        check_trainable(dataset, kept.tolist(), skipped)
    labels = dataset.labels[kept]
    placed = assign_splits(
        labels.tolist(),
        [dataset.items[index].split for index in kept],
        [dataset.content_digests[index] for index in kept],
        val=val,
        test=test,
        seed=seed,
    )
    splits = np.array(placed)

    def part(split: SplitName) -> LabelledArrays:
        return LabelledArrays(images[splits == split], labels[splits == split])

    has_test = "test" in placed
    arrays = SplitArrays(dataset.name, dataset.classes, part("train"), part("val"), part("test") if has_test else None)
    return arrays, skipped


def _nothing_readable(dataset: ImageDataset, skipped: Sequence[Skipped]) -> DatasetError:
    first = f" (first: {skipped[0].path}: {skipped[0].reason})" if skipped else ""
    tried = f"none of the {len(skipped) or len(dataset)} images tried can be read"
    return DatasetError(f"{dataset.path!r}: {tried}{first}; run 'nns doctor' on it")

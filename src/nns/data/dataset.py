"""A dataset: opened once, hashed once, and handed on to whoever needs its images."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.data.blank import what_are_blank
from nns.data.checks import check_trainable
from nns.data.contents import QUERY_IMAGES
from nns.data.formats import open_data
from nns.data.given import given_items
from nns.data.items import Skipped
from nns.data.parallel import Progress, decode_many
from nns.data.pixels import Pixels
from nns.data.splits import assign_splits, split_members
from nns.errors import DatasetError
from nns.types import DatasetRecord, LabelledArrays, SplitArrays, SplitName

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.data.extractors import Extractor
    from nns.plugins import Registry

CHECKED_BYTES = 50_000_000
"""Bytes of files up to which a search looks at every image of a dataset, not at its sample alone."""

_AT_ONCE = 256
"""Images of which only the reasons are kept that are decoded at a time."""
_CHECKED_SIZE = 32
_ROUNDS = 20  # of replacing unreadable images in a sample; after that, the sample is just smaller

Decoded = tuple["NDArray[np.uint8]", "NDArray[np.int64]", tuple[Skipped, ...]]
"""Images (n, 3, size, size) uint8; the n indices that were read, int64; and the images that could not be read."""


@dataclass(frozen=True, repr=False)
class Dataset(Pixels):
    """An opened dataset.

    What was computed or read is kept: digests, which images cannot be decoded, and the bytes of files as far as there
    is room (:data:`nns.data.reading.KEPT_BYTES`). To another process all of it travels but the bytes of files, so a
    worker hashes nothing again; :attr:`changed` says where it read something else than what was hashed.
    """

    @classmethod
    def open(
        cls, data: str | os.PathLike[str], *, require_labels: bool = True, registry: Registry | None = None
    ) -> Dataset:
        """Open a dataset without decoding an image (docs/datasets.md describes the forms).

        Args:
            data: A folder of class folders; a folder with ``train/``, optionally ``val/`` and ``test/``; a
                ``.csv`` with the columns path,label[,split]; ``torchvision:NAME``; what a plugin opens; or, without
                ``require_labels``, a flat folder of images.
            require_labels: Refuse what cannot be fine-tuned on: no labels, one class, too few images of one.
            registry: Where the formats are; None: the installed plugins.

        Raises:
            DatasetError: Nothing there, no images, or not in one of the forms.
        """
        dataset: Dataset = open_data(os.fspath(data), registry)
        if require_labels:
            check_trainable(dataset)
        return dataset

    @classmethod
    def of(cls, data: Any, *, require_labels: bool = True, registry: Registry | None = None) -> Dataset:
        """Make a dataset of whatever holds images; a dataset is returned as it is.

        Args:
            data: What :meth:`open` takes; a list of ``(image, label)``, or of images; a tuple ``(images, labels)``; or
                a torch dataset. An image is a path, a Pillow image, or an array or tensor of 0..255 or 0..1.
            require_labels: As for :meth:`open`.
            registry: As for :meth:`open`.

        Raises:
            DatasetError: It holds no images, or what cannot be taken for some.
        """
        if isinstance(data, str | os.PathLike):
            return cls.open(data, require_labels=require_labels, registry=registry)
        dataset = data if isinstance(data, cls) else cls(*given_items(data))
        if require_labels:
            check_trainable(dataset)
        return dataset

    def decode(
        self,
        indices: Sequence[int] | NDArray[np.int64],
        size: int,
        *,
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> Decoded:
        """Decode some images.

        Args:
            indices: Positions in ``items``.
            size: Side of the decoded square in pixels.
            workers: Threads; None chooses by the bytes to decode, 1 is serial.
            progress: ``progress(done, total)``, called after every few images.

        Returns:
            See :data:`Decoded`; the indices in the order given.
        """
        wanted = np.asarray(indices, dtype=np.int64)
        items = [self.items[index] for index in wanted]
        images, reasons = decode_many(
            [item.source for item in items], size, workers, progress, self._reader.open, lambda: self.rendering
        )
        self._reasons.update(zip(wanted.tolist(), reasons, strict=True))
        self._blank.update(zip(wanted.tolist(), what_are_blank(images), strict=True))
        skipped = tuple(Skipped(item.key, reason) for item, reason in zip(items, reasons, strict=True) if reason)
        if not skipped:
            return images, wanted, ()
        read = np.array([not reason for reason in reasons], dtype=bool)
        return images[read], wanted[read], skipped

    def decode_sample(
        self,
        size: int,
        *,
        per_class: int = 10,
        limit: int = QUERY_IMAGES,
        seed: int = 0,
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> Decoded:
        """Decode what :meth:`sample` draws; another image of the class replaces an unreadable one.

        Raises:
            DatasetError: Not one image that was tried can be read.
        """
        skipped: list[Skipped] = []
        read: dict[int, NDArray[np.uint8]] = {}
        bad: set[int] = set()
        for _ in range(_ROUNDS):
            drawn = self.sample(per_class, limit, seed, exclude=bad).tolist()
            new = [index for index in drawn if index not in read]
            images, kept, unread = self.decode(new, size, workers=workers, progress=progress)
            read.update(zip(kept.tolist(), images, strict=True))
            skipped += unread
            bad.update(set(new) - read.keys())
            if not unread:
                break
        sample = [index for index in drawn if index in read]
        if not sample:
            raise self._nothing_readable(skipped)
        return np.stack([read[index] for index in sample]), np.array(sample, dtype=np.int64), tuple(skipped)

    def decode_splits(
        self,
        size: int,
        *,
        seed: int = 0,
        workers: int | None = None,
        val: float = 0.15,
        test: float = 0.15,
        progress: Progress | None = None,
    ) -> tuple[SplitArrays, tuple[Skipped, ...]]:
        """Decode all images of a labelled dataset at one size, split into train, val and test.

        Splits that the dataset has are kept. Where it has none, all three are made, by class; where it has
        ``train`` (and ``test``), ``val`` is carved out of ``train``. A dataset with splits but without
        ``test`` has no test split afterwards. How images are placed: :func:`nns.data.splits.assign_splits`.

        Args:
            size: Side of the decoded square in pixels.
            seed: Another seed places other images.
            workers: Threads; None chooses by the bytes to decode, 1 is serial.
            val: Share of each class for validation.
            test: Share of each class for the test; 0: no test split.
            progress: ``progress(done, total)``, called after every few images.

        Returns:
            The arrays, each split in the order of ``items``; and the images that could not be read.

        Raises:
            DatasetError: No image can be read, or too few of some class; or the dataset is not labelled.
            UsageError: Shares that leave nothing to train on.
        """
        check_trainable(self)
        images, kept, skipped = self.decode(range(len(self)), size, workers=workers, progress=progress)
        labels = self.labels[kept]
        members = self._members(kept, skipped, val, test, seed)
        parts = {split: LabelledArrays(images[where], labels[where]) for split, where in members.items()}
        arrays = SplitArrays(self.name, self.classes, parts["train"], parts["val"], parts.get("test"))
        return arrays, skipped

    def split_indices(
        self, size: int, *, seed: int = 0, val: float = 0.15, test: float = 0.15, progress: Progress | None = None
    ) -> tuple[dict[SplitName, NDArray[np.int64]], tuple[Skipped, ...]]:
        """Return which images each split of :meth:`decode_splits` has, and the images that could not be read.

        Which can be read is found by decoding them, a part at a time.
        """
        check_trainable(self)
        kept: list[NDArray[np.int64]] = []
        skipped: list[Skipped] = []
        for start in range(0, len(self), _AT_ONCE):
            _, readable, unread = self.decode(range(start, min(start + _AT_ONCE, len(self))), size)
            kept.append(readable)
            skipped += unread
            if progress:
                progress(min(start + _AT_ONCE, len(self)), len(self))
        indices = np.concatenate(kept) if kept else np.zeros(0, np.int64)
        members = self._members(indices, skipped, val, test, seed)
        return {split: indices[where] for split, where in members.items()}, tuple(skipped)

    def _members(
        self, kept: NDArray[np.int64], skipped: Sequence[Skipped], val: float, test: float, seed: int
    ) -> dict[SplitName, NDArray[np.int64]]:
        """Place readable images in splits; positions among them."""
        if not len(kept):
            raise self._nothing_readable(skipped)
        if skipped:
            check_trainable(self, kept.tolist(), skipped)
        placed = assign_splits(
            self.labels[kept].tolist(),
            [self.items[index].split for index in kept],
            [self._content_as_decoded(index) for index in kept],
            val=val,
            test=test,
            seed=seed,
        )
        return split_members(placed)

    def splits_at(
        self, size: int, *, seed: int = 0, progress: Progress | None = None
    ) -> tuple[SplitArrays, tuple[Skipped, ...]]:
        """Return what :meth:`decode_splits` does; each size is decoded once, and kept as long as the dataset."""
        if (size, seed) not in self._decoded:
            self._decoded[size, seed] = self.decode_splits(size, seed=seed, progress=progress)
        return self._decoded[size, seed]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out decoded images: workers share those in a file."""
        return {**vars(self), "_decoded": {}}

    def unreadable(
        self, *, max_bytes: int = CHECKED_BYTES, workers: int | None = None, progress: Progress | None = None
    ) -> tuple[Skipped, ...]:
        """Find the images that cannot be read, by decoding at a small size each that was not decoded before.

        Args:
            max_bytes: If the files left are larger in all, they are not looked at. Images that are no files never are.
            workers: Threads; None chooses.
            progress: ``progress(done, total)``.

        Returns:
            Name and reason of each that is known by now, in the order in which they were found.
        """
        left = {
            index: item.source
            for index, item in enumerate(self.items)
            if index not in self._reasons and isinstance(item.source, Path)
        }
        if sum(path.stat().st_size for path in left.values() if path.is_file()) <= max_bytes:
            self.decode(list(left), _CHECKED_SIZE, workers=workers, progress=progress)
        return tuple(Skipped(self.items[index].key, reason) for index, reason in self._reasons.items() if reason)

    def check_readable(self, *, progress: Progress | None = None) -> None:
        """Refuse a labelled dataset that cannot be trained on without the images that cannot be read.

        Raises:
            DatasetError: Too few of some class are left.
        """
        if skipped := self.unreadable(progress=progress):
            readable = [index for index in range(len(self)) if not self._reasons.get(index)]
            check_trainable(self, readable, skipped)

    def features(
        self,
        extractor: Extractor,
        *,
        images: int = QUERY_IMAGES,
        seed: int = 0,
        workers: int | None = None,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> DatasetRecord:
        """Compute the query features of a sample: ten images a class, and ``images`` in all, at most; computed once.

        Args:
            extractor: What computes them; a zoo knows which one made those that it holds.
            images: Images at most.
            seed: Another seed draws other images.
            workers: Threads that decode; None chooses.
            progress: ``progress(what, done, total)``.

        Raises:
            DatasetError: If no image can be read.
            WeightsError: If the extractor's weights cannot be had.
        """

        def part(what: str) -> Progress | None:
            return None if progress is None else lambda done, total: progress(what, done, total)

        key = (extractor.name, images, seed)
        if key in self._features:
            return self._features[key]
        pixels, kept, _ = self.decode_sample(
            extractor.image_size, limit=images, seed=seed, workers=workers, progress=part("reading images")
        )
        features = extractor.extract(pixels, part("computing features"))
        labels = self.labels[kept]
        self._features[key] = DatasetRecord(
            self.name, self.digest, self.classes, features, labels, len(self), extractor.name
        )
        return self._features[key]

    def _nothing_readable(self, skipped: Sequence[Skipped]) -> DatasetError:
        first = f" (first: {skipped[0].path}: {skipped[0].reason})" if skipped else ""
        tried = f"none of the {len(skipped) or len(self)} images tried can be read"
        return DatasetError(f"{self.path!r}: {tried}{first}; run 'nns doctor' on it")

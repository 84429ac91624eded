"""A dataset: opened once, hashed once, and handed on to whoever needs its images."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.data.checks import check_trainable
from nns.data.contents import QUERY_IMAGES
from nns.data.formats import open_data
from nns.data.given import given_items
from nns.data.items import Skipped
from nns.data.parallel import Progress
from nns.data.splitting import Decoded, Splitting
from nns.plugins import installed_plugins
from nns.types import DatasetRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.data.extractors import Extractor
    from nns.plugins import Registry

CHECKED_BYTES = 50_000_000
"""Bytes of files up to which a search looks at every image of a dataset, not at its sample alone."""

_CHECKED_SIZE = 32
_ROUNDS = 20  # of replacing unreadable images in a sample; after that, the sample is just smaller


@dataclass(frozen=True, repr=False)
class Dataset(Splitting):
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
            for _ in self._decode_each(np.array(list(left), np.int64), _CHECKED_SIZE, workers, progress):
                pass  # what cannot be read is noted
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
        origin = installed_plugins().origin("extractor", extractor.name)
        self._features[key] = DatasetRecord(
            self.name, self.digest, self.classes, features, labels, len(self), extractor.name, origin
        )
        return self._features[key]

"""What an opened dataset is: names, labels and where the images are; no pixels."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nns.data.decoding import ImageSource, Skipped
from nns.data.digest import content_digests, dataset_digest
from nns.data.sampling import sample_by_class
from nns.types import SplitName

UNLABELLED = -1
"""Label of an image of no known class."""

SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class ImageItem:
    """One image of a dataset.

    Attributes:
        source: A path, or an image held in memory.
        label: Class index, -1 where unlabelled.
        split: The split it was given, None where the dataset has no splits.
        key: Its name within the dataset (relative path with ``/``), for messages.
    """

    source: ImageSource
    label: int
    split: SplitName | None
    key: str


@dataclass(frozen=True)
class ImageDataset:
    """An opened dataset. Digests are computed when first asked for, then kept.

    Attributes:
        name: Folder, table or torchvision name.
        path: DATA as it was given.
        classes: Class names, sorted; empty where unlabelled.
        items: The images, sorted by key.
        ignored: Files and folders that are no part of it, and why (hidden ones are not listed).
    """

    name: str
    path: str
    classes: tuple[str, ...]
    items: tuple[ImageItem, ...]
    ignored: tuple[Skipped, ...] = ()

    def __len__(self) -> int:
        """Count the images, unreadable ones included."""
        return len(self.items)

    @property
    def labelled(self) -> bool:
        """Whether every image has a class."""
        return bool(self.classes)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Class index of each image, (n,) int64; -1 where unlabelled."""
        return np.array([item.label for item in self.items], dtype=np.int64)

    @cached_property
    def splits(self) -> tuple[SplitName, ...]:
        """The splits that the dataset itself has, in the order train, val, test; often none."""
        present = {item.split for item in self.items}
        return tuple(split for split in SPLITS if split in present)

    @cached_property
    def content_digests(self) -> tuple[str, ...]:
        """Hex sha256 of each image's content, ``""`` where it cannot be opened. Reads every file once."""
        return content_digests([item.source for item in self.items])

    @cached_property
    def digest(self) -> str:
        """Hex sha256 of the content: class names, splits and files, whatever their place, name and order."""
        names = (*self.classes, "")  # the label -1 picks the last
        return dataset_digest(
            (names[item.label], item.split or "", content)
            for item, content in zip(self.items, self.content_digests, strict=True)
        )

    def sample(
        self, per_class: int = 10, limit: int = 200, seed: int = 0, *, exclude: Collection[int] = ()
    ) -> NDArray[np.int64]:
        """Draw the images that stand for the dataset, from its training split where it has splits.

        The same content gives the same sample, wherever the files lie and whatever they are called.
        Copies of one image count once. Files that cannot be opened are never drawn.

        Args:
            per_class: Images of one class at most.
            limit: Images in all at most; of an unlabelled dataset this many are drawn.
            seed: Another seed draws other images.
            exclude: Indices not to draw, say because they proved unreadable: others take their place,
                the rest of the sample stays.

        Returns:
            (n,) int64 indices into ``items``, by class.
        """
        pool = [index for index, item in enumerate(self.items) if item.split in (None, "train")]
        return sample_by_class(
            [item.label for item in self.items],
            self.content_digests,
            self.classes,
            pool,
            per_class=per_class,
            limit=limit,
            seed=seed,
            exclude=exclude,
        )

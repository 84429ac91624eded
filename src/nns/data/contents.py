"""What is in a dataset: names, labels, identity, and which images stand for it; no pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nns.data.digest import content_digests, dataset_digest
from nns.data.items import SPLITS, ImageItem, Skipped
from nns.data.reading import ImageReader
from nns.data.rendering import Rendering
from nns.data.report import Finding
from nns.data.sampling import sample_by_class
from nns.data.seen import Seen
from nns.quantities import counted
from nns.types import DatasetRecord, SplitArrays, SplitName

QUERY_IMAGES = 200
"""Images that stand for a dataset, at most."""


@dataclass(frozen=True, repr=False)
class Contents:
    """A dataset as far as it is known without decoding an image.

    Attributes:
        name: Folder, table or torchvision name.
        path: DATA as it was given, for messages.
        classes: Class names; empty where unlabelled.
        items: The images, those of files sorted by key.
        ignored: Files and folders that are no part of it, and why (hidden ones are not listed).
        layout: How it lies there, in words: ``"class folders"``, ``"a table"``.
        notices: What a person should know of how it was read.
    """

    name: str
    path: str
    classes: tuple[str, ...]
    items: tuple[ImageItem, ...]
    ignored: tuple[Skipped, ...] = ()
    layout: str = ""
    notices: tuple[Finding, ...] = ()
    _reader: ImageReader = field(default_factory=ImageReader, init=False, compare=False)
    _reasons: dict[int, str] = field(default_factory=dict, init=False, compare=False)
    _decoded: dict[tuple[int, int], tuple[SplitArrays, tuple[Skipped, ...]]] = field(
        default_factory=dict, init=False, compare=False
    )
    _blank: dict[int, str] = field(default_factory=dict, init=False, compare=False)
    _told: set[str] = field(default_factory=set, init=False, compare=False)
    _renderings: list[Rendering] = field(default_factory=list, init=False, compare=False)
    _features: dict[tuple[str, int, int], DatasetRecord] = field(default_factory=dict, init=False, compare=False)

    def __len__(self) -> int:
        """Count the images, unreadable ones included."""
        return len(self.items)

    def __repr__(self) -> str:
        """Return one line; the items would be thousands."""
        kind = counted(len(self.classes), "class") if self.labelled else "unlabelled"
        return f"Dataset({self.path!r}, {counted(len(self), 'image')}, {kind})"

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
    def split_sizes(self) -> dict[str, int]:
        """Images of each split that the dataset itself has."""
        counts = Counter(item.split for item in self.items)
        return {split: counts[split] for split in self.splits}

    @cached_property
    def class_sizes(self) -> dict[str, int]:
        """Images of each class, unreadable ones included."""
        counts = Counter(self.labels.tolist())
        return {name: counts[label] for label, name in enumerate(self.classes)}

    @cached_property
    def seen(self) -> Seen:
        """What is in it: shown in one line before a search or a fine-tuning."""
        return Seen.of(self)

    @cached_property
    def content_digests(self) -> tuple[str, ...]:
        """Hex sha256 of each image's content, ``""`` where it cannot be opened. Reads every file that was not read."""
        return content_digests([item.source for item in self.items], self._reader)

    @cached_property
    def digest(self) -> str:
        """Hex sha256 of the content: class names, splits and files, whatever their place, name and order."""
        names = (*self.classes, "")  # the label -1 picks the last
        return dataset_digest(
            (names[item.label], item.split or "", content)
            for item, content in zip(self.items, self.content_digests, strict=True)
        )

    def _content_as_decoded(self, index: int) -> str:
        """Return the digest of an image's content, that of the file as it is now where it has changed."""
        source = self.items[index].source
        return self._reader.digest(source) if self._reader.has_changed(source) else self.content_digests[index]

    @property
    def changed(self) -> tuple[str, ...]:
        """Keys of the images whose files held other bytes when they were read again than when they were hashed."""
        return tuple(item.key for item in self.items if self._reader.has_changed(item.source))

    def sample(
        self, per_class: int = 10, limit: int = QUERY_IMAGES, seed: int = 0, *, exclude: Collection[int] = ()
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
        return sample_by_class(
            [item.label for item in self.items],
            self.content_digests,
            self.classes,
            [index for index, item in enumerate(self.items) if item.split in (None, "train")],
            per_class=per_class,
            limit=limit,
            seed=seed,
            exclude=exclude,
        )

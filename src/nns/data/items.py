"""One image of a dataset: its name, its label and where its pixels are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from PIL import Image

from nns.types import SplitName

UNLABELLED = -1
"""Label of an image of no known class."""

SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


@runtime_checkable
class MemoryImage(Protocol):
    """An image that is no file of its own, e.g. one of a torchvision dataset."""

    def open(self) -> Image.Image:
        """Return the image."""
        ...


ImageSource: TypeAlias = Path | MemoryImage
"""Where an image comes from."""


@dataclass(frozen=True)
class Skipped:
    """A file that was left out, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class ImageItem:
    """One image of a dataset.

    Attributes:
        source: A path, or an image that is no file of its own.
        label: Class index, -1 where unlabelled.
        split: The split it was given, None where the dataset has no splits.
        key: Its name within the dataset (relative path with ``/``), for messages.
    """

    source: ImageSource
    label: int
    split: SplitName | None
    key: str

"""The definition of a task, before anything is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bank.drawing import Collected
from bank.packages import Shelf, Source

MIN_CLASSES, MAX_CLASSES = 2, 40
MIN_PER_CLASS = 8
MIN_IMAGES, MAX_IMAGES = 200, 2000


@dataclass(frozen=True)
class Task:
    """A task: where its pictures come from, and how many of them at what size.

    Attributes:
        name: folder name, unique in the bank.
        family: group of like tasks, as ``emoji`` or ``glyphs-thai``.
        sources: packages that it draws from; empty when scikit-learn has the data.
        collect: finds the pictures of each class on the shelf.
        size: side of the square images in pixels.
        per_class: most images of one class.
        min_per_class: classes with fewer different images are left out.
        max_classes: when more classes qualify, those with most images stay.
    """

    name: str
    family: str
    sources: tuple[Source, ...]
    collect: Callable[[Shelf], Collected]
    size: int = 64
    per_class: int = 100
    min_per_class: int = MIN_PER_CLASS
    max_classes: int = MAX_CLASSES

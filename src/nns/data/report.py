"""What ``nns doctor`` reports: plain data, ready for ``dataclasses.asdict`` and JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from nns.data.items import Skipped

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing that a person should know.

    Attributes:
        severity: ``error``: training refuses the dataset. ``warning``: it trains, but the result is worse
            or its accuracy not true. ``note``: what nns does with it.
        what: What was found, in one line.
        next_step: What to do about it.
    """

    severity: Severity
    what: str
    next_step: str


@dataclass(frozen=True)
class DuplicateGroup:
    """Images with the same content, byte for byte.

    Attributes:
        paths: Their names within the dataset.
        classes: The classes they are in, sorted; more than one: the labels contradict each other.
        splits: The splits they are in, sorted; more than one: the model is tested on what it has seen.
    """

    paths: tuple[str, ...]
    classes: tuple[str, ...]
    splits: tuple[str, ...]


@dataclass(frozen=True)
class DoctorReport:
    """The state of a dataset.

    Attributes:
        name: Name of the dataset.
        path: DATA as it was given.
        digest: Content digest, ``""`` if it cannot be opened.
        classes: Class names.
        images: Number of images, unreadable ones included.
        counts: Images by class, then by split (``"all"`` without splits); ``""`` is the class of the unlabelled.
        unreadable: Images that cannot be read, and why.
        duplicates: Groups of identical images, conflicts and leaks among them.
        imbalance: Images of the largest class over those of the smallest, in training; None if unlabelled.
        smallest: (width, height) of the image with the shortest short side, in pixels.
        largest: (width, height) of the image with the most pixels.
        modes: Images by Pillow mode.
        transparent: Images with transparency.
        deep: Images of more than 8 bits a channel.
        rotated: Images whose EXIF orientation is not upright.
        animated: Images of several frames.
        ignored: Files and folders that are no part of the dataset, and why.
        findings: What a person should know, errors first.
        ok: No finding is an error.
    """

    name: str
    path: str
    digest: str = ""
    classes: tuple[str, ...] = ()
    images: int = 0
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    unreadable: tuple[Skipped, ...] = ()
    duplicates: tuple[DuplicateGroup, ...] = ()
    imbalance: float | None = None
    smallest: tuple[int, int] | None = None
    largest: tuple[int, int] | None = None
    modes: dict[str, int] = field(default_factory=dict)
    transparent: int = 0
    deep: int = 0
    rotated: int = 0
    animated: int = 0
    ignored: tuple[Skipped, ...] = ()
    findings: tuple[Finding, ...] = ()
    ok: bool = True

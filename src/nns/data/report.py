"""What ``nns doctor`` reports: plain data, ready for ``dataclasses.asdict`` and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from nns.data.items import Skipped
from nns.data.left_out import by_reason, reasons
from nns.data.rendering import Rendering
from nns.tables import Table

Severity = Literal["error", "warning", "note"]

CLASSES_SHOWN = 40
"""Classes that a table of them has at most."""


def first_few(names: Sequence[str], shown: int = 3) -> str:
    """Name the first few, and count the others."""
    return ", ".join(names[:shown]) + (f", and {len(names) - shown} more" if len(names) > shown else "")


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
        recoloured: Images with a colour profile that is not sRGB.
        blank: Images in whose pixels there is little to see, by what they lack.
        rendering: How deep and transparent images become 8 bits of RGB; None if there are none.
        warnings: What Pillow or a decoder said about files, and the names of these.
        ignored: Files and folders that are no part of the dataset, and why.
        layout: How it lies there, in words: ``"class folders"``, ``"a table"``.
        splits: Images of each split that the dataset has.
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
    recoloured: int = 0
    blank: dict[str, tuple[str, ...]] = field(default_factory=dict)
    rendering: Rendering | None = None
    warnings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    ignored: tuple[Skipped, ...] = ()
    layout: str = ""
    splits: dict[str, int] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    ok: bool = True

    def tables(self) -> list[Table]:
        """Return what is in the dataset, its classes, and what a person should know, as tables."""
        usable = "can be used" if self.ok else "cannot be used as it is"
        rows = [[finding.severity, finding.what, finding.next_step] for finding in self.findings]
        columns = [("", "left"), ("found", "left"), ("what to do", "left")]
        judged = Table(f"{self.path}: {usable}", columns, rows or [["", "nothing wrong", ""]])
        return [self._seen(), *self._by_class(), judged] if self.images else [judged]

    def _seen(self) -> Table:
        rows = [["images", f"{self.images}" + (f", {len(self.unreadable)} unreadable" if self.unreadable else "")]]
        rows += [["layout", self.layout]] if self.layout else []
        rows += [["classes", str(len(self.classes)) if self.classes else "no labels"]]
        rows += [["splits", _counted(self.splits) if self.splits else "none: fine-tuning makes them"]]
        if self.smallest and self.largest:
            rows += [["sizes", " to ".join(dict.fromkeys(f"{w}x{h}" for w, h in (self.smallest, self.largest)))]]
        rows += [["modes", _counted(self.modes)]] if self.modes else []
        rows += [["left out", by_reason(reasons(self.ignored)) or "nothing"]]
        return Table(f"{self.path}: what is in it", [("", "left"), ("", "left")], rows)

    def _by_class(self) -> list[Table]:
        if not self.classes:
            return []
        splits = list(self.splits) or ["all"]
        rows = [[name, *(str(self.counts[name][split]) for split in splits)] for name in self.classes[:CLASSES_SHOWN]]
        more = len(self.classes) - len(rows)
        caption = f"and {more} more" if more else ""
        heads = [("class", "left"), *((split if self.splits else "images", "right") for split in splits)]
        return [Table(f"{self.path}: images by class", heads, rows, caption)]


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())

"""What nns sees in a dataset, in one line and as data: shown before anything is made of it."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nns.data.left_out import by_reason, reasons
from nns.data.names import NO_LABEL, in_line, look_alike, split_of
from nns.data.report import Finding, first_few
from nns.quantities import counted

if TYPE_CHECKING:
    from nns.data.contents import Contents

_BESIDE_ANOTHER = re.compile(
    r"[_\-. ](mask|masks|seg|segmentation|gt|groundtruth|thumb|thumbnail)([_\-]?\d+)?$", re.IGNORECASE
)
_log = logging.getLogger("nns")


@dataclass(frozen=True)
class Seen:
    """What is in a dataset.

    Attributes:
        path: DATA as it was given.
        images: Images, unreadable ones included.
        sizes: Images of each class; empty where unlabelled.
        splits: Images of each split that it has.
        layout: How it lies there, in words.
        left_out: Files and folders that are no part of it, counted by the reason.
        warnings: What is odd about how it was read.
    """

    path: str
    images: int
    sizes: Mapping[str, int] = field(default_factory=dict)
    splits: Mapping[str, int] = field(default_factory=dict)
    layout: str = ""
    left_out: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, dataset: Contents) -> Seen:
        """Look at a dataset; decodes nothing."""
        return cls(
            path=dataset.path,
            images=len(dataset),
            sizes=dataset.class_sizes,
            splits=dataset.split_sizes,
            layout=dataset.layout,
            left_out=reasons(dataset.ignored),
            warnings=tuple(f"{odd.what}; {odd.next_step}" for odd in oddities(dataset) if odd.severity == "warning"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return what the JSON of a search or a fine-tuning says of its dataset."""
        return {
            "layout": self.layout,
            "class_sizes": dict(self.sizes),
            "splits": dict(self.splits),
            "left_out": dict(self.left_out),
            "warnings": list(self.warnings),
        }

    def line(self) -> str:
        """Say it in one line."""
        said = [f"{self.path}: {counted(self.images, 'image')}"]
        if self.sizes:
            sizes = first_few([f"{in_line(name)} {count}" for name, count in self.sizes.items()], 6)
            said.append(f"{counted(len(self.sizes), 'class', 'classes')} ({sizes})")
        else:
            said.append("no labels")
        if self.splits:
            said.append(", ".join(f"{split} {count}" for split, count in self.splits.items()))
        said += [self.layout] if self.layout else []
        return "; ".join(said + ([f"left out: {by_reason(self.left_out)}"] if self.left_out else []))

    def log(self) -> None:
        """Put the line and each warning into the log."""
        _log.info(self.line())
        for warning in self.warnings:
            _log.warning(warning)


def oddities(dataset: Contents) -> Iterator[Finding]:
    """List what is odd about how a dataset was read; decodes nothing."""
    yield from dataset.notices
    for difference, groups in look_alike(dataset.classes).items():
        shown = first_few([" and ".join(map(repr, group)) for group in groups])
        yield Finding("warning", f"classes differ in {difference} alone: {shown}", "give them one name if they are one")
    no_label = NO_LABEL | ({"-1"} if "0" in dataset.classes else set())  # beside 1 alone it is one of two classes
    if without := [name for name in dataset.classes if name.strip().casefold() in no_label]:
        shown = ", ".join(f"{name!r}: {counted(dataset.class_sizes[name], 'image')}" for name in without)
        what = f"{counted(len(without), 'class', 'classes')} with a name that stands for no label ({shown})"
        yield Finding("warning", what, "give these images a label, or take them out; if that is the class, nothing")
    if unseen := [name for name in dataset.classes if not name.isprintable()]:
        what = f"names of classes hold characters that cannot be seen ({first_few([repr(name) for name in unseen])})"
        yield Finding("warning", what, "rename them: such names are hard to type, and look like others")
    if splits := [repr(name) for name in dataset.classes if split_of(name)]:
        what = f"{counted(len(splits), 'class', 'classes')} named like a split ({first_few(splits)})"
        step = "nothing, if that is a class; a split is a folder of class folders, beside train/"
        yield Finding("warning", what, step)
    keys = {os.path.splitext(item.key)[0] for item in dataset.items}
    if beside := sorted(key for key in keys if _BESIDE_ANOTHER.search(key) and _BESIDE_ANOTHER.sub("", key) in keys):
        what = f"{counted(len(beside), 'image')} named like a mask or a thumbnail of another ({first_few(beside)})"
        yield Finding("warning", what, "move them away, unless they are images of the class")

"""Which images of a dataset changed: short digests by class, kept in the lock."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from nns.quantities import counted
from nns.repro.wording import plain

if TYPE_CHECKING:
    from nns.data import Dataset

Images = Mapping[str, Mapping[str, str]]
"""Class to name to the beginning of the sha256 of the content, with the split behind it where there is one."""

MOST_IMAGES = 5000
"""Images of a dataset up to which each is written down: 60 bytes each; of a larger one it is each class."""

DIGITS = 12
"""Of a digest of an image; the digest of the dataset itself is whole."""

NAMED = 10
"""Images and classes of a dataset that are named."""


def image_digests(dataset: Dataset) -> dict[str, dict[str, str]]:
    """Return what tells the images of a dataset apart, by class."""
    names = (*dataset.classes, "")  # the label -1 picks the last
    found: dict[str, dict[str, str]] = {plain(name): {} for name in dataset.classes}
    for item, content in zip(dataset.items, dataset.content_digests, strict=True):
        split = f" {item.split}" if item.split else ""
        found.setdefault(plain(names[item.label]), {})[plain(item.key)] = content[:DIGITS] + split
    if len(dataset) <= MOST_IMAGES:
        return found
    return {
        name: {counted(len(images), "image"): hashlib.sha256("\n".join(sorted(images.values())).encode()).hexdigest()}
        for name, images in found.items()
    }


def image_differences(dataset: str, recorded: Images, now: Images) -> Iterator[str]:
    """Name the classes and images that differ; content and class count, not where a file lies or what it is called."""
    for name in sorted({*recorded, *now}):
        was, here = recorded.get(name, {}), now.get(name, {})
        label = f"{dataset}: class {name}" if name else dataset
        if name not in now:
            yield f"{label} ({counted(len(was), 'image')}) is gone"
        elif name not in recorded:
            yield f"{label} ({counted(len(here), 'image')}) is new"
        elif sorted(was.values()) != sorted(here.values()):
            yield from _cut([f"{label}: {each}" for each in _of_class(name, was, here, recorded, now)], label)


def _of_class(name: str, was: Mapping[str, str], here: Mapping[str, str], recorded: Images, now: Images) -> list[str]:
    # counted, since copies of one image are images, too
    gone, new = Counter(was.values()), Counter(here.values())
    gone, new = gone - new, new - gone
    found = []
    for key, digest in was.items():
        if not gone[digest]:
            continue
        gone[digest] -= 1
        if key in here and here[key] != digest:
            found.append(f"image {key} changed")
        elif (other := _class_of(digest, now)) is not None and other != name:
            found.append(f"image {key} is now in class {other}")
        else:
            found.append(f"image {key} is gone")
    for key, digest in here.items():
        if new[digest] and key not in was:
            new[digest] -= 1
            other = _class_of(digest, recorded)
            found.append(f"image {key} is new" if other in (None, name) else f"image {key} was in class {other}")
    return found


def _class_of(digest: str, images: Images) -> str | None:
    return next((name for name, each in images.items() if digest in each.values()), None)


def _cut(lines: list[str], label: str) -> list[str]:
    more = len(lines) - NAMED
    return lines if more <= 0 else [*lines[:NAMED], f"{label}: {counted(more, 'image')} more"]

"""Decoded datasets on disk, shared by all processes that train on them: decoded once, mapped into memory by each.

An entry is a folder, named by a hash of what it is of. It holds two ``.npy`` files a split and an ``entry.json`` with
the class names and the checksums of all. It is written under another name and renamed whole, so a process sees all of
an entry or none of it; of several that make the same entry at once the first wins. A cache is no more than that: what
is damaged is made anew, and without room on the disk the images stay in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from nns.data.dataset import Dataset
from nns.files import replacing_folder
from nns.types import LabelledArrays, SplitArrays

FORMAT = 2
"""Changes when other pixels come out of the same file, or when the layout of an entry changes."""

_ABOUT = "entry.json"


def cached_arrays(
    folder: Path, dataset: Dataset, size: int, seed: int, max_images: int | None, test: float = 0.0
) -> SplitArrays:
    """Return a labelled dataset decoded at one size, in a training and a validation split, from the cache if there.

    A dataset of the same content counts as the same, whatever its place and name: its images and its name are those
    of the one that came first. Where there is an entry, the images themselves are not looked at.

    Args:
        folder: Where the entries are; made if it is not there. If nothing can be written, nothing is kept.
        dataset: The dataset. Where its files have changed since it was hashed, nothing is kept either.
        size: Side of the decoded square in pixels.
        seed: Of the splits, and of the training images that are drawn.
        max_images: Training images at most, drawn by class; None: all.
        test: Share of each class for a test split, where the dataset has none of its own.

    Returns:
        The splits; a test split only where the dataset has one or ``test`` asks for it. The arrays are read-only, and
        other processes share their memory.

    Raises:
        DatasetError: As :meth:`nns.data.Dataset.decode_splits`.
    """
    about: dict[str, Any] = {
        "format": FORMAT,
        "digest": dataset.digest,
        "size": size,
        "seed": seed,
        "max_images": max_images,
    }
    if test:
        about["test"] = test
    entry = folder / hashlib.sha256(_canonical(about)).hexdigest()[:32]
    kept = _read(entry, about)
    if kept is not None:
        return kept
    arrays, _ = dataset.decode_splits(size, seed=seed, workers=1, test=test)
    if max_images is not None and len(arrays.train) > max_images:
        drawn = draw_by_class(arrays.train.labels, max_images, seed)
        train = LabelledArrays(arrays.train.images[drawn], arrays.train.labels[drawn])
        arrays = SplitArrays(arrays.name, arrays.classes, train, arrays.val, arrays.test)
    if dataset.changed:
        return arrays
    with contextlib.suppress(OSError):  # a full disk, a folder that is not ours: then without
        _write(entry, about, arrays)
    return _read(entry, about) or arrays


def draw_by_class(labels: NDArray[np.int64], limit: int, seed: int) -> NDArray[np.int64]:
    """Draw ``limit`` indices, as evenly over the classes as they allow; sorted."""
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(labels))
    turn = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        turn[members] = np.arange(len(members))
    order = shuffled[np.argsort(turn[shuffled], kind="stable")]
    return np.sort(order[:limit])


def _read(entry: Path, about: dict[str, Any]) -> SplitArrays | None:
    """Map an entry into memory; None if there is none, or not a whole one."""
    try:
        document = json.loads((entry / _ABOUT).read_bytes())
        sums = document["xxh3"]
        if document["about"] != about or sums.pop(_ABOUT) != _checksum(_canonical(document)):
            return None
        # before anything is read out of the files: damaged ones never reach the parser
        if any(_checksum_of(entry / name) != expected for name, expected in sums.items()):
            return None
        splits = {name: _map_split(entry, name) for name in document["splits"]}
        return SplitArrays(
            document["name"], tuple(document["classes"]), splits["train"], splits["val"], splits.get("test")
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _map_split(entry: Path, split: str) -> LabelledArrays:
    # what np.load does with a mmap_mode, less the kinds of file that are none of ours; it knows no objects
    images, labels = (np.lib.format.open_memmap(entry / name, mode="r") for name in _files(split))
    return LabelledArrays(images, labels)


def _write(entry: Path, about: dict[str, Any], arrays: SplitArrays) -> None:
    """Write an entry whole; one that is there and as good is left in place.

    Raises:
        OSError: It cannot be written; nothing is left behind.
    """
    # not flushed: what a cut of power spoils does not have its checksum, and is made again
    with replacing_folder(entry, flushed=False) as folder:
        _fill(folder, about, arrays)
        if entry.exists() and _read(entry, about) is not None:  # another process has made it meanwhile
            raise FileExistsError(entry)


def _fill(folder: Path, about: dict[str, Any], arrays: SplitArrays) -> None:
    splits = {"train": arrays.train, "val": arrays.val, "test": arrays.test}
    present = {name: split for name, split in splits.items() if split is not None}
    sums: dict[str, str] = {}
    for split, part in present.items():
        arrays_of: tuple[NDArray[Any], ...] = (part.images, part.labels)
        for name, array in zip(_files(split), arrays_of, strict=True):
            np.save(folder / name, array, allow_pickle=False)
            sums[name] = _checksum_of(folder / name)
    document = {
        "about": about,
        "name": arrays.name,
        "classes": list(arrays.classes),
        "splits": list(present),
        "xxh3": sums,
    }
    sums[_ABOUT] = _checksum(_canonical(document))
    (folder / _ABOUT).write_bytes(_canonical(document))


def _files(split: str) -> tuple[str, str]:
    return f"{split}-images.npy", f"{split}-labels.npy"


def _canonical(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True).encode()


def _checksum(content: bytes | memoryview) -> str:
    return xxhash.xxh3_64_hexdigest(content)


def _checksum_of(file: Path) -> str:
    return _checksum(np.memmap(file, np.uint8, "r").data)

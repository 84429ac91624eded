"""Walks below one folder: lists each once, and notes what is left out."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nns.data.items import ImageItem, Skipped
from nns.data.left_out import (
    NOT_AN_IMAGE,
    UNNAMED_IMAGE,
    by_reason,
    is_not_read,
    looks_like_image,
    reasons,
    why_no_folder,
    why_no_image,
)
from nns.data.names import clean_name
from nns.data.report import Finding
from nns.errors import DatasetError
from nns.files import real_path
from nns.types import SplitName

_Identity = tuple[int, int]
_LOOKS = 50  # files named like no image that are opened, of those that are none


@dataclass
class Listing:
    """One folder, listed once: its subfolders, those that are hidden, and its images."""

    folders: list[Path] = field(default_factory=list)
    hidden: list[Path] = field(default_factory=list)
    images: list[Path] = field(default_factory=list)


class Tree:
    """Walks below one root; every folder is entered once at most, so links in circles end.

    Attributes:
        root: The folder.
        ignored: What is no part of the dataset, and why, by path.
        notices: What a person should know of how the folder was read.
    """

    def __init__(self, root: Path) -> None:
        """Begin with nothing listed."""
        self.root = root
        self.ignored: dict[Path, str] = {}
        self.notices: list[Finding] = []
        self._looks = _LOOKS
        self._listed: dict[Path, Listing] = {}
        real = real_path(root)
        self._above = {_identity(folder) for folder in (real, *real.parents)}

    def key(self, path: Path) -> str:
        """Name a path by where it lies below the root."""
        return clean_name(path.relative_to(self.root).as_posix())

    def ignore(self, path: Path, reason: str) -> None:
        """Note something that is no part of the dataset."""
        self.ignored[path] = reason

    def skipped(self, below: Path | None = None) -> tuple[Skipped, ...]:
        """Return what is no part of the dataset, all of it or what lies below a folder."""
        return tuple(
            Skipped(self.key(path), reason)
            for path, reason in self.ignored.items()
            if below is None or path.is_relative_to(below)
        )

    def listing(self, folder: Path) -> Listing:
        """List a folder without what is hidden, sorted by name.

        Raises:
            DatasetError: It cannot be listed.
        """
        if folder in self._listed:
            return self._listed[folder]
        found = Listing()
        try:
            with os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if not entry.name.startswith("."):
                        self._sort_in(entry, found)
                    elif why_no_folder(Path(entry.path)) is None and _is_folder(entry):
                        found.hidden.append(Path(entry.path))
        except OSError as error:
            reason = error.strerror or str(error)
            raise DatasetError(f"cannot list {str(folder)!r}: {reason}; check its permissions") from error
        self._listed[folder] = found
        return found

    def _sort_in(self, entry: os.DirEntry[str], found: Listing) -> None:
        path = Path(entry.path)
        if _is_folder(entry):
            if entry.is_symlink() and _identity(path) in self._above:
                self.ignore(path, "a link back to a folder above")
            elif reason := why_no_folder(path):
                self.ignore(path, reason)
            else:
                found.folders.append(path)
        elif reason := why_no_image(entry.name):
            self.ignore(path, UNNAMED_IMAGE if reason == NOT_AN_IMAGE and self._may_be_image(path) else reason)
        elif entry.is_symlink() or entry.is_file():  # a broken link is an image that cannot be read
            found.images.append(path)
        else:
            self.ignore(path, "not a regular file")

    def _may_be_image(self, path: Path) -> bool:
        """Look at the first bytes of a file that is not named like an image, of a few that prove to be none."""
        if self._looks == 0:
            return False
        found = looks_like_image(path)
        self._looks -= not found
        return found

    def images_below(self, folder: Path) -> list[Path]:
        """List all images in a folder and its subfolders, sorted."""
        images: list[Path] = []
        entered: set[_Identity] = set()
        pending = [folder]
        while pending:
            here = pending.pop()
            identity = _identity(here)
            if identity in entered:
                self.ignore(here, "a link to a folder already read")
                continue
            entered.add(identity)
            listed = self.listing(here)
            images += listed.images
            pending += reversed(listed.folders)
        return images

    def items(self, images: list[Path], label: int, split: SplitName | None) -> Iterator[ImageItem]:
        """Make the images of one class and split into items."""
        return (ImageItem(image, label, split, self.key(image)) for image in images)

    def empty_class(self, folder: Path) -> DatasetError:
        """Refuse a class without images, and name what there is in their place."""
        there = self.skipped(folder)
        what = f"class {clean_name(folder.name)!r} has no images in {str(folder)!r}"
        held = f", which holds {by_reason(reasons(there))}" if there else ""
        convert = "convert them to PNG or JPEG, or " if any(map(is_not_read, there)) else "add images or "
        return DatasetError(f"{what}{held}; {convert}remove the folder")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that points at itself
        return False


def _identity(path: Path) -> _Identity:
    """Tell folders apart whatever links lead to them."""
    info = path.stat()
    if not stat.S_ISDIR(info.st_mode):
        raise DatasetError(f"{str(path)!r} is no longer a folder; run again once nothing changes it")
    return info.st_dev, info.st_ino

"""Datasets that are folders: class folders, ``train/ val/ test/`` of class folders, or one flat folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nns.data.dataset import Dataset
from nns.data.formats import Format
from nns.data.items import UNLABELLED, ImageItem, Skipped
from nns.data.names import SPLIT_NAMES, clean_name
from nns.errors import DatasetError
from nns.types import SplitName

IMAGE_EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
"""File names that end so are images; the case of letters does not matter."""

_FORMS = "expected class folders, or train/ (val/ test/) of class folders"

_Identity = tuple[int, int]


@dataclass
class _Listing:
    """One folder, listed once: its subfolders, its images, and what is neither."""

    folders: list[Path] = field(default_factory=list)
    images: list[Path] = field(default_factory=list)


class _Tree:
    """Walks below one root; every folder is entered once at most, so links in circles end."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ignored: list[Skipped] = []
        real = root.resolve()
        self._above = {_identity(folder) for folder in (real, *real.parents)}

    def key(self, path: Path) -> str:
        """Name a path by where it lies below the root."""
        return clean_name(path.relative_to(self.root).as_posix())

    def ignore(self, path: Path, reason: str) -> None:
        """Note something that is no part of the dataset."""
        self.ignored.append(Skipped(self.key(path), reason))

    def listing(self, folder: Path) -> _Listing:
        """List a folder without what is hidden, sorted by name.

        Raises:
            DatasetError: It cannot be listed.
        """
        found = _Listing()
        try:
            with os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if not entry.name.startswith("."):
                        self._sort_in(entry, found)
        except OSError as error:
            reason = error.strerror or str(error)
            raise DatasetError(f"cannot list {str(folder)!r}: {reason}; check its permissions") from error
        return found

    def _sort_in(self, entry: os.DirEntry[str], found: _Listing) -> None:
        path = Path(entry.path)
        if entry.is_dir():
            if entry.is_symlink() and _identity(path) in self._above:
                self.ignore(path, "a link back to a folder above")
            else:
                found.folders.append(path)
        elif os.path.splitext(entry.name)[1].lower() not in IMAGE_EXTENSIONS:
            self.ignore(path, "not an image")
        elif entry.is_file() or entry.is_symlink():  # a broken link is an image that cannot be read
            found.images.append(path)
        else:
            self.ignore(path, "not a regular file")

    def images_below(self, folder: Path, first: _Listing | None = None) -> list[Path]:
        """List all images in a folder and its subfolders, sorted."""
        images: list[Path] = []
        entered: set[_Identity] = set()
        pending = [(folder, first)]
        while pending:
            here, listed = pending.pop()
            identity = _identity(here)
            if identity in entered:
                self.ignore(here, "a link to a folder already read")
                continue
            entered.add(identity)
            listed = listed or self.listing(here)
            images += listed.images
            pending += [(subfolder, None) for subfolder in reversed(listed.folders)]
        return images

    def items(self, images: list[Path], label: int, split: SplitName | None) -> Iterator[ImageItem]:
        """Make the images of one class and split into items."""
        return (ImageItem(image, label, split, self.key(image)) for image in images)


class FolderFormat(Format):
    """A folder, in any of the three forms."""

    example = "a folder"

    def can_open(self, data: str) -> bool:
        """Return whether there is a folder."""
        return bool(data) and Path(data).expanduser().is_dir()

    def open(self, data: str) -> Dataset:
        """Open a folder, see :func:`open_folder`."""
        return open_folder(Path(os.path.abspath(os.path.expanduser(data))), data)


def open_folder(root: Path, data: str) -> Dataset:
    """Open a folder in whichever of the three forms it has.

    Args:
        root: An existing folder.
        data: DATA as it was given.

    Returns:
        The dataset; flat folders come out unlabelled.

    Raises:
        DatasetError: No images, an empty class folder, splits that do not fit together.
    """
    tree = _Tree(root)
    top = tree.listing(root)
    splits = _split_folders(tree, top, data)
    if splits:
        classes, items = _open_splits(tree, splits, data)
    else:
        classes, items = _open_classes(tree, top, data)
    if not items:
        raise DatasetError(f"{data!r} holds no images; {_FORMS}")
    name = clean_name(root.resolve().name) or "dataset"
    ordered = tuple(sorted(items, key=lambda item: item.key))
    return Dataset(name, data, classes, ordered, tuple(tree.ignored))


def _split_folders(tree: _Tree, top: _Listing, data: str) -> list[tuple[SplitName, _Listing]]:
    """Find the folders that are splits; none where ``train`` is a class like any other."""
    named = [(SPLIT_NAMES[f.name.lower()], f) for f in top.folders if f.name.lower() in SPLIT_NAMES]
    others = [folder for folder in top.folders if folder.name.lower() not in SPLIT_NAMES]
    if not named:
        return []
    train = next((folder for split, folder in named if split == "train"), None)
    if train is None:
        if others:
            return []
        found = " and ".join(f"{folder.name}/" for _, folder in named)
        raise DatasetError(f"{data!r} has {found} but no train/; add train/ with one folder a class")
    inside = _Tree(tree.root).listing(train)
    if others and _is_class(inside, others, alone=len(named) == 1, data=data):
        return []
    if not inside.folders:
        raise DatasetError(f"{str(train)!r} holds no class folders; put its images into one folder a class")
    for folder in others:
        tree.ignore(folder, "a folder beside train/ that is no split")
    for image in top.images:
        tree.ignore(image, "an image outside the splits")
    listings = []
    for split, folder in named:
        listing = tree.listing(folder)
        for image in listing.images:
            tree.ignore(image, "an image outside the class folders")
        listings.append((split, listing))
    return listings


def _is_class(train: _Listing, others: list[Path], *, alone: bool, data: str) -> bool:
    """Return whether ``train/`` is a class, given that other folders lie beside it.

    Args:
        train: What it holds.
        others: The folders beside it that are no splits.
        alone: There is neither ``val/`` nor ``test/``.
        data: DATA as it was given.

    Raises:
        DatasetError: It may be either.
    """
    if not train.folders or (alone and train.images):
        return True
    if not alone:
        return False
    for folder in others:
        if _Tree(folder).images_below(folder):
            raise DatasetError(
                f"{data!r}: train/ holds folders like a split, but {folder.name}/ beside it holds images too; "
                f"move {folder.name}/ away if train/ is a split, rename train/ if it is a class"
            )
    return False


def _open_splits(
    tree: _Tree, splits: list[tuple[SplitName, _Listing]], data: str
) -> tuple[tuple[str, ...], list[ImageItem]]:
    """Read the class folders of every split; ``train/`` says which classes there are."""
    classes = tuple(sorted({clean_name(f.name) for split, top in splits if split == "train" for f in top.folders}))
    items: list[ImageItem] = []
    for split, top in splits:
        for folder in top.folders:
            images = tree.images_below(folder)
            name = clean_name(folder.name)
            if not images and split == "train":
                raise _empty_class(name, folder)
            if not images:
                tree.ignore(folder, "a class folder without images")
            elif name not in classes:
                raise DatasetError(f"class {name!r} is in {str(folder)!r} but not in train/; add it there or remove it")
            else:
                items += tree.items(images, classes.index(name), split)
    return classes, items


def _open_classes(tree: _Tree, top: _Listing, data: str) -> tuple[tuple[str, ...], list[ImageItem]]:
    """Read class folders; a folder with images and fewer than two class folders is flat."""
    if not top.folders or (top.images and len(top.folders) < 2):
        return (), list(tree.items(tree.images_below(tree.root, top), UNLABELLED, None))
    found = [(folder, tree.images_below(folder)) for folder in top.folders]
    if not any(images for _, images in found):
        raise DatasetError(f"{data!r} holds no images; {_FORMS}")
    for image in top.images:
        tree.ignore(image, "an image outside the class folders")
    classes = tuple(sorted({clean_name(folder.name) for folder in top.folders}))
    items: list[ImageItem] = []
    for folder, images in found:
        if not images:
            raise _empty_class(clean_name(folder.name), folder)
        items += tree.items(images, classes.index(clean_name(folder.name)), None)
    return classes, items


def _empty_class(name: str, folder: Path) -> DatasetError:
    return DatasetError(f"class {name!r} has no images in {str(folder)!r}; add images or remove the folder")


def _identity(path: Path) -> _Identity:
    """Tell folders apart whatever links lead to them."""
    info = path.stat()
    if not stat.S_ISDIR(info.st_mode):
        raise DatasetError(f"{str(path)!r} is no longer a folder; run again once nothing changes it")
    return info.st_dev, info.st_ino

"""Datasets that are folders: class folders, ``train/ val/ test/`` of class folders, or one flat folder."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from nns.data.dataset import Dataset
from nns.data.formats import Format
from nns.data.formats._layout import Part, describe, find_splits, lists_of_splits, odd_classes, splits_inside
from nns.data.formats._tree import Tree
from nns.data.items import UNLABELLED, ImageItem
from nns.data.left_out import by_reason, holds_images, reasons
from nns.data.names import clean_name, in_line, look_alike, split_of
from nns.data.report import Finding, first_few
from nns.errors import DatasetError
from nns.files import real_path

_FORMS = "expected class folders, or train/ (val/ test/) of class folders"


class FolderFormat(Format):
    """A folder, in any of the forms."""

    example = "a folder"

    def can_open(self, data: str) -> bool:
        """Return whether there is a folder."""
        # not by pathlib, which raises where a name is too long or there is no such user
        return bool(data) and os.path.isdir(os.path.expanduser(data))

    def open(self, data: str) -> Dataset:
        """Open a folder, see :func:`open_folder`."""
        return open_folder(Path(os.path.abspath(os.path.expanduser(data))), data)


def open_folder(root: Path, data: str) -> Dataset:
    """Open a folder in whichever of the forms it has.

    Args:
        root: An existing folder.
        data: DATA as it was given.

    Returns:
        The dataset; flat folders come out unlabelled.

    Raises:
        DatasetError: No images, an empty class folder, splits that do not fit together.
    """
    tree = Tree(root)
    parts = find_splits(tree, data)
    top = tree.listing(root)
    if parts:
        classes, items = _open_splits(tree, parts)
        layout = describe(tree, parts, {item.split for item in items})
    elif not top.folders or (top.images and len(top.folders) < 2):
        layout = "a flat folder"
        classes, items = (), list(tree.items(tree.images_below(root), UNLABELLED, None))
    elif splits_inside(tree, top.folders, data):
        layout = "class folders with splits in each"
        classes, items = _open_splits_inside(tree, top.folders)
    else:
        layout = "class folders"
        classes, items = _open_classes(tree, data)
    if not items:
        raise _no_images(tree, data)
    tree.notices += lists_of_splits(tree, parts)
    name = clean_name(real_path(root).name) or "dataset"
    ordered = tuple(sorted(items, key=lambda item: item.key))
    return Dataset(name, data, classes, ordered, tree.skipped(), layout, tuple(tree.notices))


def _open_splits(tree: Tree, parts: Sequence[Part]) -> tuple[tuple[str, ...], list[ImageItem]]:
    """Read the class folders of every split; ``train/`` says which classes there are."""
    trained = [folder for part in parts if part.split == "train" for folder in part.classes.folders]
    classes = _classes(tree, trained)
    tree.notices += odd_classes(tree, trained)
    items: list[ImageItem] = []
    for part in parts:
        for folder in part.classes.folders:
            images = tree.images_below(folder)
            name = clean_name(folder.name)
            if not images and part.split == "train":
                raise tree.empty_class(folder)
            if not images:
                tree.ignore(folder, "a class folder without images")
            elif name not in classes:
                near = [each for each in classes if len(look_alike((each, name))) == 1]
                meant = f"; is it {near[0]!r}, spelled otherwise? rename it, " if near else "; "
                raise DatasetError(f"class {name!r} is in {str(folder)!r} but not in train/{meant}add it or remove it")
            else:
                items += tree.items(images, classes.index(name), part.split)
    return classes, items


def _open_splits_inside(tree: Tree, folders: Sequence[Path]) -> tuple[tuple[str, ...], list[ImageItem]]:
    """Read class folders that have a folder for each split."""
    classes = _classes(tree, folders)
    for image in tree.listing(tree.root).images:
        tree.ignore(image, "an image outside the class folders")
    items: list[ImageItem] = []
    for folder in folders:
        label = classes.index(clean_name(folder.name))
        if not any(tree.images_below(each) for each in tree.listing(folder).folders if split_of(each.name) == "train"):
            raise tree.empty_class(folder)
        for inner in tree.listing(folder).folders:
            images = tree.images_below(inner)
            if not images:
                tree.ignore(inner, "a split of a class without images")
            items += tree.items(images, label, split_of(inner.name))
    return classes, items


def _open_classes(tree: Tree, data: str) -> tuple[tuple[str, ...], list[ImageItem]]:
    """Read class folders."""
    top = tree.listing(tree.root)
    found = [(folder, tree.images_below(folder)) for folder in top.folders]
    if not any(images for _, images in found):
        raise _no_images(tree, data)
    for image in top.images:
        tree.ignore(image, "an image outside the class folders")
    classes = _classes(tree, top.folders)
    tree.notices += odd_classes(tree, top.folders)
    if hidden := [in_line(folder.name) for folder in top.hidden if holds_images(folder)]:
        what = f"hidden folders with images are no classes ({first_few(hidden)})"
        tree.notices.append(Finding("note", what, "rename one that is meant to be a class"))
    items: list[ImageItem] = []
    for folder, images in found:
        if not images:
            raise tree.empty_class(folder)
        items += tree.items(images, classes.index(clean_name(folder.name)), None)
    return classes, items


def _classes(tree: Tree, folders: Iterable[Path]) -> tuple[str, ...]:
    """Return the names of classes, sorted; two folders that one eye sees as one are one class, and that is said.

    Raises:
        DatasetError: Two folders that are not the same have the same name.
    """
    named: dict[str, list[Path]] = {}
    for folder in folders:
        named.setdefault(clean_name(folder.name), []).append(folder)
    for name, same in named.items():
        if len(same) > 1:
            places = " and ".join(ascii(tree.key(folder)) for folder in same)
            if len({unicodedata.normalize("NFC", folder.name) for folder in same}) > 1:
                raise DatasetError(f"the folders {places} would be one class, {name!r}; rename one")
            what = f"{len(same)} folders are the one class {name!r}: their names differ in Unicode form alone"
            tree.notices.append(Finding("note", what, "nothing, if that is meant; else rename one"))
    return tuple(sorted(named))


def _no_images(tree: Tree, data: str) -> DatasetError:
    there = tree.skipped()
    return DatasetError(f"{data!r} holds no images{f' but {by_reason(reasons(there))}' if there else ''}; {_FORMS}")

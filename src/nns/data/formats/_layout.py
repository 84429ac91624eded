"""Which form a folder has: where its splits are, and what is odd about its classes."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nns.data.formats._tree import Listing, Tree
from nns.data.items import SPLITS
from nns.data.left_out import NO_IMAGES
from nns.data.names import clean_name, in_line, split_of, split_parts
from nns.data.report import Finding, first_few
from nns.errors import DatasetError
from nns.files import real_path
from nns.types import SplitName

_BESIDE = 8  # folders that may lie around the splits: more are classes, and need not be walked for this
_LISTS = frozenset({".txt", ".csv", ".tsv", ".json", ".xlsx", ".lst"})
_LABELS = frozenset({"labels", "label", "annotations", "metadata"})
_WRAPPERS = frozenset({"images", "image", "imgs", "img", "data", "classes"})


@dataclass(frozen=True)
class Part:
    """A folder that is a split, and where its class folders are: in it, or in a folder inside it."""

    split: SplitName
    folder: Path
    classes: Listing


def find_splits(tree: Tree, data: str) -> list[Part]:
    """Find the folders that are splits: right below the root, or in the one folder that there is, however deep.

    Raises:
        DatasetError: There are some that do not fit together.
    """
    here = tree.root
    seen: set[Path] = set()
    beside: list[Path] = []
    while (real := real_path(here)) not in seen:  # links may lead in circles
        seen.add(real)
        top = tree.listing(here)
        if parts := _splits_in(tree, here, top, data):
            for folder in beside:
                tree.ignore(folder, NO_IMAGES)
            return parts
        inner = _only_folder(tree, top)
        if inner is None or top.images:
            return []
        beside += [folder for folder in top.folders if folder != inner]
        here = inner
    return []


def _only_folder(tree: Tree, listing: Listing) -> Path | None:
    """Return the one folder that holds images; None where more do, or there are many."""
    if len(listing.folders) > _BESIDE:
        return None
    holding = [folder for folder in listing.folders if tree.images_below(folder)]
    return holding[0] if len(holding) == 1 else None


def _splits_in(tree: Tree, here: Path, top: Listing, data: str) -> list[Part]:
    """Find the splits in a folder; none where ``train`` is a class like any other."""
    named = _named(tree, top.folders, data)
    others = [folder for folder in top.folders if folder not in named]
    if not named:
        return []
    train = next((folder for folder, split in named.items() if split == "train"), None)
    if train is None:
        if others or here != tree.root:
            return []
        found = " and ".join(f"{in_line(folder.name)}/" for folder in named)
        raise DatasetError(f"{data!r} has {found} but no train/; add train/ with one folder a class")
    inside = _class_folders(tree, train, "train")
    if others and _is_class(tree, inside, others, alone=len(named) == 1, data=data):
        return []
    if not inside.folders:
        if here != tree.root:
            return []  # the splits of the one class that there is
        raise DatasetError(f"{str(train)!r} holds no class folders; put its images into one folder a class")
    for folder in others:
        beside = f"a folder beside {in_line(train.name)}/ that is no split"
        tree.ignore(folder, beside if tree.images_below(folder) else NO_IMAGES)
    for image in top.images:
        tree.ignore(image, "an image outside the splits")
    parts = [Part(split, folder, _class_folders(tree, folder, split)) for folder, split in named.items()]
    for part in parts:
        for image in part.classes.images:
            tree.ignore(image, "an image outside the class folders")
    return parts


def _named(tree: Tree, folders: Sequence[Path], data: str) -> dict[Path, SplitName]:
    """Find folders that are named like splits: ``Train``, or ``seg_train`` where there is a ``seg_test``, too.

    Raises:
        DatasetError: Two are the same split.
    """
    groups: dict[str, list[tuple[Path, SplitName]]] = {}
    for folder in folders:
        if parts := split_parts(folder.name):
            groups.setdefault(parts[1].casefold(), []).append((folder, parts[0]))
    plain = groups.pop("", [])
    if not any(split == "train" for _, split in plain):
        found = [group for group in groups.values() if len(group) > 1 and _holds_train(tree, group)]
        plain = plain if not found else [pair for group in found for pair in group]
    by_split: dict[SplitName, list[Path]] = {}
    for folder, split in plain:
        by_split.setdefault(split, []).append(folder)
    for split in by_split:
        if len(by_split[split]) > 1 and "train" in by_split:
            both = " and ".join(f"{in_line(folder.name)}/" for folder in by_split[split])
            raise DatasetError(f"{data!r}: {both} would both be the split {split}; put them together, or rename one")
    return dict(plain)


def _holds_train(tree: Tree, group: Iterable[tuple[Path, SplitName]]) -> bool:
    """Return whether one of the folders is for training and has folders in it, as a class has not."""
    return any(split == "train" and _class_folders(tree, folder, split).folders for folder, split in group)


def _class_folders(tree: Tree, folder: Path, split: SplitName) -> Listing:
    """List a split; where all of it is in one folder of the same name, or named ``images``, list that."""
    listing = tree.listing(folder)
    while not listing.images and (inner := _only_folder(tree, listing)):
        parts = split_parts(inner.name)
        below, again = tree.listing(inner), parts is not None and parts[0] == split
        # images alone belong to no class; in train/images they may be those of the class images
        if not (again or inner.name.lower() in _WRAPPERS) or not (below.folders or again or split != "train"):
            break
        listing = below
    return listing


def _is_class(tree: Tree, train: Listing, others: Sequence[Path], *, alone: bool, data: str) -> bool:
    """Return whether ``train/`` is a class, given that other folders lie beside it.

    Args:
        tree: Where they are.
        train: What it holds.
        others: The folders beside it that are no splits.
        alone: There is no other split.
        data: DATA as it was given.

    Raises:
        DatasetError: It may be either.
    """
    if not train.folders or (alone and train.images):
        return True
    if not alone:
        return False
    for folder in others:
        if tree.images_below(folder):
            raise DatasetError(
                f"{data!r}: train/ holds folders like a split, but {in_line(folder.name)}/ beside it holds images too; "
                f"move {in_line(folder.name)}/ away if train/ is a split, rename train/ if it is a class"
            )
    return False


def splits_inside(tree: Tree, classes: Sequence[Path], data: str) -> bool:
    """Return whether every class folder has splits of its own, ``cat/train`` and ``cat/test``, and nothing else.

    Raises:
        DatasetError: These have class folders in turn: several datasets lie side by side.
    """
    found = [tree.listing(folder) for folder in classes]
    named = [{split_of(folder.name) for folder in listing.folders} for listing in found]
    if any(
        listing.images or None in names or "train" not in names for listing, names in zip(found, named, strict=True)
    ):
        return False
    trains = [folder for listing in found for folder in listing.folders if split_of(folder.name) == "train"]
    if len(classes) > 1 and all(tree.listing(train).folders and not tree.listing(train).images for train in trains):
        inside = _listed(classes)
        raise DatasetError(
            f"{data!r} holds several datasets, each with a train/ of its own ({inside}); give one of them"
        )
    return True


def odd_classes(tree: Tree, classes: Sequence[Path]) -> list[Finding]:
    """Say where class folders look as if the classes were others: all images lie deeper, or the folders name splits."""
    findings = []
    inside = [{clean_name(folder.name) for folder in tree.listing(each).folders} for each in classes]
    common, every = set.intersection(*inside), set.union(*inside)
    if len(classes) > 1 and len(common) > 1 and 2 * len(common) >= len(every):
        what = f"all {len(classes)} classes ({_listed(classes)}) hold the same subfolders ({_in_order(common)})"
        step = "if these are the classes, give one of the folders, or put folders with one of them each at the top"
        findings.append(Finding("warning", what, step))
    elif len(every) > 1 and (nested := [each for each in classes if not tree.listing(each).images]) == list(classes):
        shown = first_few([in_line(tree.key(folder)) for each in nested for folder in tree.listing(each).folders])
        what = f"all images of {_listed(classes)} lie in folders inside ({shown})"
        findings.append(Finding("warning", what, "nothing, if these are no classes; else move them to the top"))
    names = {clean_name(folder.name) for folder in classes}
    for folder, held in zip(classes, inside, strict=True):
        if len(again := held & names) > 1:
            what = f"the class {clean_name(folder.name)!r} holds folders named like other classes ({_in_order(again)})"
            findings.append(Finding("warning", what, "move it away, if it holds the dataset a second time"))
    for folder in classes:
        splits = [each for each in tree.listing(folder).folders if split_of(each.name)]
        if len({split_of(each.name) for each in splits}) > 1:
            what = f"the class {clean_name(folder.name)!r} holds folders named like splits ({_listed(splits)})"
            findings.append(Finding("warning", what, "give every class such folders and no other images, or none"))
            break
    kinds = [parts for folder in classes if (parts := split_parts(folder.name))]
    if len({rest for _, rest in kinds}) > 1 and len({split for split, _ in kinds}) > 1 and len(kinds) == len(classes):
        what = f"the classes are named like splits of classes ({_listed(classes)})"
        findings.append(Finding("warning", what, "put the folders of each split into one folder: train/, test/"))
    return findings


def lists_of_splits(tree: Tree, parts: Sequence[Part]) -> Iterator[Finding]:
    """Say where files look like lists of splits or labels, which are not read when the folder is given."""
    files = [path for path in tree.ignored if path.parent == tree.root and path.suffix.lower() in _LISTS]
    if not parts and (named := [path for path in files if split_parts(path.stem) or path.stem.lower() in _LABELS]):
        what = f"{_listed(named)} may say which images are in which class or split, and is not read"
        yield Finding("warning", what, "if so, give a table with the columns path,label,split in place of the folder")


def describe(tree: Tree, parts: Sequence[Part], present: Container[SplitName | None]) -> str:
    """Say which folders are the splits, of those that have images."""
    ordered = sorted((part for part in parts if part.split in present), key=lambda part: SPLITS.index(part.split))
    return "class folders in " + ", ".join(f"{in_line(tree.key(part.folder))}/ ({part.split})" for part in ordered)


def _listed(folders: Sequence[Path]) -> str:
    return first_few([in_line(folder.name) for folder in folders])


def _in_order(names: Iterable[str]) -> str:
    return first_few([in_line(name) for name in sorted(names)])

"""May this dataset be trained on? The one place that knows how many images a class needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from nns.data.contents import Contents
from nns.data.items import Skipped
from nns.errors import DatasetError
from nns.quantities import counted


def images_needed(dataset: Contents) -> int:
    """Count the training images that every class must have.

    Three where train, val and test have to be made, two where only val has to be, one where val is given.
    """
    if not dataset.splits:
        return 3
    return 1 if "val" in dataset.splits else 2


def training_counts(dataset: Contents, indices: Iterable[int] | None = None) -> Counter[str]:
    """Count the images of each class that are in ``train``, or in no split yet.

    Args:
        dataset: A labelled dataset.
        indices: Count these only; None counts all.
    """
    counts = Counter(dict.fromkeys(dataset.classes, 0))
    for index in range(len(dataset)) if indices is None else indices:
        item = dataset.items[index]
        if item.split in (None, "train") and item.label >= 0:
            counts[dataset.classes[item.label]] += 1
    return counts


def check_trainable(dataset: Contents, indices: Sequence[int] | None = None, skipped: Sequence[Skipped] = ()) -> None:
    """Refuse a dataset that cannot be fine-tuned on.

    Args:
        dataset: The dataset.
        indices: The images that could be read; None: all count.
        skipped: Those that could not, for the message.

    Raises:
        DatasetError: It is unlabelled, has one class, or a class has too few images.
    """
    data = dataset.path
    if not dataset.labelled:
        raise DatasetError(f"{data!r} has no labels: it can be searched with, not fine-tuned on; {_HOW_TO_LABEL}")
    if len(dataset.classes) == 1:
        only = dataset.classes[0]
        raise DatasetError(f"{data!r} has one class only, {only!r}, at least 2 are needed; {_inside(dataset)}")
    needed = images_needed(dataset)
    counts = training_counts(dataset, indices)
    name, fewest = min(counts.items(), key=lambda pair: pair[1])
    if fewest < needed:
        short = sum(count < needed for count in counts.values())
        readable = f" readable ({skipped[0].path}: {skipped[0].reason})" if skipped else ""
        others = f" ({counted(short - 1, 'other class')} also too few)" if short > 1 else ""
        where = " in train" if dataset.splits else ""
        raise DatasetError(
            f"{data!r}: class {name!r} has {fewest} image{'' if fewest == 1 else 's'}{where}{readable}{others}, "
            f"at least {needed} {'is' if needed == 1 else 'are'} needed; add images or remove the class"
        )
    left = {dataset.items[index].split for index in indices} if indices is not None else set(dataset.splits)
    if gone := [split for split in dataset.splits if split not in left]:
        raise DatasetError(f"{data!r}: no image of {gone[0]} can be read; repair {gone[0]} or remove it")


_HOW_TO_LABEL = "put its images into one folder a class"


def _inside(dataset: Contents) -> str:
    """Advise on a single class; often it is a folder around the real one."""
    folder = dataset.classes[0]
    if all(item.key.startswith(f"{folder}/") and item.key.count("/") > 1 for item in dataset.items):
        return f"did you mean the folder {folder!r} inside it?"
    return "add a folder for another class"

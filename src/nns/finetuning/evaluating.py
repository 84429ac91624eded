"""How good a fine-tuned network is on labelled images, class by class. Needs no zoo."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.data import Dataset, Skipped
from nns.errors import DatasetError
from nns.finetuning.calibration import Reliability, measure_reliability, softmax
from nns.finetuning.handover import FineTuned, load_handover
from nns.finetuning.measures import f1_interval, macro_f1, wilson
from nns.finetuning.predicting import logits_of
from nns.quantities import counted
from nns.tables import Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.plugins import Registry

AT_ONCE = 256
"""Images that are decoded at a time."""
WORST = 20
"""Mistakes that are listed: those that the network was surest of."""
PICTURE = 96
"""Pixels of a side of a picture of a mistake, at least."""
CONFUSED = 5
"""Pairs of classes that are listed."""


@dataclass(frozen=True)
class ClassScore:
    """How one class is told from the others.

    Attributes:
        name: The class.
        images: Images of it.
        precision: Share of the images that were said to be of it that are, 0..1; 0 if none was said to be.
        recall: Share of its images that were found, 0..1.
        f1: Harmonic mean of the two.
        interval: 95 % interval of the recall (Wilson 1927).
        precision_interval: 95 % interval of the precision.
        f1_interval: 95 % interval of F1.
    """

    name: str
    images: int
    precision: float
    recall: float
    f1: float
    interval: tuple[float, float]
    precision_interval: tuple[float, float]
    f1_interval: tuple[float, float]


@dataclass(frozen=True)
class Mistake:
    """An image that was taken for something else."""

    path: str
    said: str
    true: str
    probability: float


@dataclass(frozen=True)
class Evaluation:
    """What came out.

    Attributes:
        data: Name of the dataset.
        split: Which of its images: ``"test"``, ``"val"`` or ``"all"``.
        images: How many were read.
        accuracy: Top-1 accuracy, 0..1.
        interval: 95 % interval of it (Wilson 1927).
        macro_f1: Mean F1 of the classes that have images: each counts as much, however few images it has.
        classes: Of each class of the network, in its order.
        confusion: (classes, classes) images of the class of the row that were said to be of that of the column.
        mistakes: The worst, those that the network was surest of first.
        calibration: How far probabilities are from what they say.
        skipped: Images that could not be read.
        pictures: The images of the mistakes, (3, size, size) uint8 each, if they were asked for.
    """

    data: str
    split: str
    images: int
    accuracy: float
    interval: tuple[float, float]
    macro_f1: float
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    mistakes: tuple[Mistake, ...]
    calibration: Reliability
    skipped: tuple[Skipped, ...]
    pictures: tuple[NDArray[np.uint8], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document of ``nns evaluate``."""
        found = asdict(replace(self, pictures=()))
        del found["pictures"]
        return found

    def confused(self, most: int = CONFUSED) -> list[tuple[str, str, int]]:
        """List the pairs of classes that are taken for one another most: true, said, images."""
        table = np.array(self.confusion)
        np.fill_diagonal(table, 0)
        order = np.argsort(-table, axis=None, kind="stable")[:most]
        pairs = [(int(row), int(column)) for row, column in zip(*np.unravel_index(order, table.shape), strict=True)]
        return [(self.classes[a].name, self.classes[b].name, int(table[a, b])) for a, b in pairs if table[a, b]]

    def tables(self) -> list[Table]:
        """Return the classes, hardest first, and what is confused most."""
        rows = [
            [
                each.name,
                str(each.images),
                _share(each.precision, each.precision_interval),
                _share(each.recall, each.interval),
                _share(each.f1, each.f1_interval),
            ]
            for each in sorted(self.classes, key=lambda each: each.f1)
            if each.images
        ]
        columns = [("class", "left"), ("images", "right"), ("precision", "right"), ("recall", "right"), ("F1", "right")]
        low, high = self.interval
        title = f"{self.data}: {self.accuracy:.1%} of {counted(self.images, 'image')} right ({low:.0%} to {high:.0%})"
        every = (
            "All images: these data are not those that it was fine-tuned on, or have changed since. If it was trained "
        )
        every += "on some of them, it is not as good as this says."
        which = {"test": "The test split.", "val": "The validation split.", "all": every}[self.split]
        caption = f"{which} Macro F1 {self.macro_f1:.1%}. In brackets: 95 %. {self.calibration.sentence()}"
        tables = [Table(title, columns, rows, caption)]
        if pairs := self.confused():
            rows = [[true, said, str(count)] for true, said, count in pairs]
            tables.append(Table("Most confused", [("is", "left"), ("taken for", "left"), ("images", "right")], rows))
        return tables


def _share(share: float, interval: tuple[float, float]) -> str:
    return f"{share:.1%} ({100 * interval[0]:.0f}-{interval[1]:.0%})"


def evaluate_network(
    tuned: FineTuned | str | os.PathLike[str],
    data: Any,
    *,
    registry: Registry | None = None,
    pictures: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Predict labelled images with a fine-tuned network, and count what is right.

    Of the dataset that it was fine-tuned on, that is its test split, as it was made then (without one, the validation
    split, by which it was chosen); of another, its test split if it has one, else all images.

    Args:
        tuned: A fine-tuned network, or the folder that holds it.
        data: What :meth:`nns.data.Dataset.of` takes, labelled with classes of the network.
        registry: Plugins in place of the installed ones.
        pictures: Whether to keep the images of the worst mistakes.
        progress: ``progress(done, total)``.

    Raises:
        DatasetError: If no image can be read, or a class is not one of the network's.
        UsageError: If the folder holds no fine-tuned network.
        WeightsError: If its files are damaged.
    """
    if not isinstance(tuned, FineTuned):
        tuned = load_handover(tuned, registry=registry)
    dataset = Dataset.of(data, require_labels=False, registry=registry)  # one image of a class is enough here
    if not dataset.classes or (dataset.labels < 0).any():
        raise DatasetError(f"{dataset.name!r} has no labels to hold predictions against; `nns predict` needs none")
    known = {name: index for index, name in enumerate(tuned.card.classes)}
    if strange := [name for name in dataset.classes if name not in known]:
        raise DatasetError(
            f"{dataset.name!r} has {len(strange)} classes that the network does not know, first {strange[0]!r} "
            f"(it knows {', '.join(map(repr, list(known)[:5]))}{', …' if len(known) > 5 else ''})"
        )
    if tuned.card.rendering is not None:
        dataset.render_as(tuned.card.rendering)
    split, parts, skipped = _images_of(dataset, tuned, progress)
    rows, found = [], []
    for indices, images in parts:
        rows.append(indices)
        found.append(logits_of(tuned, images))
    if not rows:
        raise DatasetError(f"none of the {len(skipped)} images of {dataset.name!r} could be read")
    place = np.array([known[name] for name in dataset.classes])
    indices = np.concatenate(rows)
    truth = place[dataset.labels[indices]]
    result, worst = _count(tuned, dataset, split, indices, truth, np.concatenate(found), skipped)
    if pictures and worst:
        images, _, _ = dataset.decode(worst, max(PICTURE, tuned.card.preprocessing.size))
        result = replace(result, pictures=tuple(images))
    return result


def _images_of(
    dataset: Dataset, tuned: FineTuned, progress: Callable[[int, int], None] | None
) -> tuple[str, Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]], list[Skipped]]:
    """Return which images are looked at, and parts of them: which (n,) and the images (n, 3, size, size)."""
    size = tuned.card.preprocessing.size
    skipped: list[Skipped] = []
    if dataset.digest == tuned.card.dataset_digest:
        placed, bad = dataset.split_indices(
            size, seed=tuned.card.seed, unreadable=tuned.card.unreadable, progress=progress
        )
        skipped += bad
        split, wanted = ("test", placed["test"]) if "test" in placed else ("val", placed["val"])
    else:
        given = np.flatnonzero([item.split == "test" for item in dataset.items])
        split, wanted = ("test", given) if len(given) else ("all", np.arange(len(dataset)))

    def parts() -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        for start in range(0, len(wanted), AT_ONCE):
            images, kept, bad = dataset.decode(wanted[start : start + AT_ONCE].tolist(), size)
            skipped.extend(bad)
            if len(kept):
                yield kept, images
            if progress:
                progress(min(start + AT_ONCE, len(wanted)), len(wanted))

    return split, parts(), skipped


def _count(
    tuned: FineTuned,
    dataset: Dataset,
    split: str,
    indices: NDArray[np.int64],
    truth: NDArray[np.int64],
    logits: NDArray[np.float32],
    skipped: list[Skipped],
) -> tuple[Evaluation, list[int]]:
    """Count; and list which images the mistakes are."""
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    names, said = tuned.card.classes, logits.argmax(axis=1)
    every = range(len(names))
    table = confusion_matrix(truth, said, labels=every)
    precision, recall, f1, images = precision_recall_fscore_support(truth, said, labels=every, zero_division=0.0)
    hits, of_it, taken = table.diagonal().tolist(), table.sum(axis=1).tolist(), table.sum(axis=0).tolist()
    right = said == truth
    sure = softmax(logits, tuned.card.temperature).max(axis=1)
    worst = [row for row in np.argsort(-sure, kind="stable") if not right[row]][:WORST]
    result = Evaluation(
        data=dataset.name,
        split=split,
        images=len(truth),
        accuracy=float(right.mean()),
        interval=wilson(int(right.sum()), len(right)),
        macro_f1=macro_f1(truth, said),
        classes=tuple(
            ClassScore(
                names[c],
                int(images[c]),
                float(precision[c]),
                float(recall[c]),
                float(f1[c]),
                wilson(hits[c], of_it[c]),
                wilson(hits[c], taken[c]),
                f1_interval(hits[c], of_it[c], taken[c]),
            )
            for c in every
        ),
        confusion=tuple(tuple(map(int, row)) for row in table),
        mistakes=tuple(
            Mistake(dataset.items[indices[row]].key, names[said[row]], names[truth[row]], float(sure[row]))
            for row in worst
        ),
        calibration=measure_reliability(logits, truth, tuned.card.calibration),
        skipped=tuple(skipped),
    )
    return result, [int(indices[row]) for row in worst]

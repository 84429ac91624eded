"""Looks at every image of a dataset before anything is trained on it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from nns.data.checks import training_counts
from nns.data.dataset import Dataset
from nns.data.decoding import ImageFacts
from nns.data.findings import from_error, judge
from nns.data.items import Skipped
from nns.data.parallel import Progress
from nns.data.reading import UNREADABLE
from nns.data.report import DoctorReport, DuplicateGroup
from nns.errors import DatasetError


def diagnose(data: str | Path, *, workers: int | None = None, progress: Progress | None = None) -> DoctorReport:
    """Report on DATA, whatever its state: what cannot even be opened is a report with one error.

    Args:
        data: DATA as :meth:`nns.data.Dataset.of` takes it.
        workers: Threads; None chooses.
        progress: ``progress(done, total)``.

    Returns:
        The report.
    """
    try:
        dataset = Dataset.of(data, require_labels=False)
    except DatasetError as error:
        return DoctorReport(Path(data).name, str(data), findings=(from_error(error),), ok=False)
    return inspect_dataset(dataset, workers=workers, progress=progress)


def inspect_dataset(dataset: Dataset, *, workers: int | None = None, progress: Progress | None = None) -> DoctorReport:
    """Decode and hash every image, count, compare, and judge.

    Args:
        dataset: An opened dataset (``require_labels=False``, or opening already refuses what is wrong).
        workers: Threads; None chooses by the bytes to decode, 1 is serial.
        progress: ``progress(done, total)``, called after every few images.

    Returns:
        The report.
    """
    examined = dataset.examine(workers=workers, progress=progress)
    facts = [result for result in examined if isinstance(result, ImageFacts)]
    readable = [index for index, result in enumerate(examined) if isinstance(result, ImageFacts)]
    sizes = [(fact.width, fact.height) for fact in facts]
    report = DoctorReport(
        name=dataset.name,
        path=dataset.path,
        digest=dataset.digest,
        classes=dataset.classes,
        images=len(dataset),
        counts=_counts(dataset),
        unreadable=tuple(
            Skipped(item.key, result)
            for item, result in zip(dataset.items, examined, strict=True)
            if isinstance(result, str)
        ),
        duplicates=_duplicates(dataset),
        imbalance=_imbalance(dataset, readable),
        smallest=min(sizes, key=min, default=None),
        largest=max(sizes, key=lambda size: size[0] * size[1], default=None),
        modes=dict(sorted(Counter(fact.mode for fact in facts).items())),
        transparent=sum(fact.transparent for fact in facts),
        deep=sum(fact.deep for fact in facts),
        rotated=sum(fact.rotated for fact in facts),
        animated=sum(fact.animated for fact in facts),
        recoloured=sum(fact.recoloured for fact in facts),
        blank=_names(dataset, examined, lambda fact: (fact.blank,) if fact.blank else ()),
        rendering=dataset.used_rendering,
        warnings=_names(dataset, examined, lambda fact: fact.warnings),
        ignored=dataset.ignored,
        layout=dataset.layout,
        splits=dataset.split_sizes,
    )
    findings = judge(dataset, report, readable)
    return replace(report, findings=findings, ok=all(finding.severity != "error" for finding in findings))


def _names(
    dataset: Dataset, examined: Sequence[ImageFacts | str], texts: Callable[[ImageFacts], Iterable[str]]
) -> dict[str, tuple[str, ...]]:
    """Gather the names of images by what is said of them."""
    found = defaultdict(list)
    for item, fact in zip(dataset.items, examined, strict=True):
        for text in texts(fact) if isinstance(fact, ImageFacts) else ():
            found[text].append(item.key)
    return {text: tuple(names) for text, names in sorted(found.items())}


def _counts(dataset: Dataset) -> dict[str, dict[str, int]]:
    names = (*dataset.classes, "")
    counts: dict[str, dict[str, int]] = {
        name: dict.fromkeys(dataset.splits or ("all",), 0) for name in dataset.classes or ("",)
    }
    for item in dataset.items:
        counts[names[item.label]][item.split or "all"] += 1
    return counts


def _duplicates(dataset: Dataset) -> tuple[DuplicateGroup, ...]:
    names = (*dataset.classes, "")
    groups = defaultdict(list)
    for item, content in zip(dataset.items, dataset.content_digests, strict=True):
        if content != UNREADABLE:
            groups[content].append(item)
    return tuple(
        DuplicateGroup(
            paths=tuple(item.key for item in group),
            classes=tuple(sorted({names[item.label] for item in group})),
            splits=tuple(sorted({item.split for item in group if item.split})),
        )
        for group in groups.values()
        if len(group) > 1
    )


def _imbalance(dataset: Dataset, readable: list[int]) -> float | None:
    counts = training_counts(dataset, readable).values()
    return max(counts) / min(counts) if counts and min(counts) else None

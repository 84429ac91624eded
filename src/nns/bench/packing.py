"""From finished cells and their zoo to a matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.bench.environment import environment
from nns.bench.making import CellFile
from nns.bench.matrix import GROUPS, CandidateRow, Matrix, TaskRow
from nns.bench.recipe import CellRecipe
from nns.bench.tasks import TaskGroup
from nns.data.cache import cached_arrays, draw_by_class
from nns.data.extractors import EfficientNetLite0Extractor
from nns.errors import UsageError
from nns.priors import Facts
from nns.space import SpaceData
from nns.space._blocks import fingerprint_blocks, fingerprint_of
from nns.types import NetworkEntry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.data import Dataset
    from nns.zoo import Zoo

QUERY_IMAGES = 128
"""Images at most that stand for a dataset, all from its training split."""


def pack_matrix(
    zoo: Zoo,
    candidates: Sequence[NetworkEntry],
    datasets: Sequence[tuple[str, Dataset]],
    groups: Mapping[str, TaskGroup],
    cells: CellFile,
    recipe: CellRecipe,
    images: Path,
) -> Matrix:
    """Gather a matrix; what has no finished cell is NaN, and a dataset without any is left out.

    Args:
        zoo: The zoo with the candidates.
        candidates: In this order.
        datasets: Name and opened dataset.
        groups: Family and collection of datasets by name.
        cells: The finished cells.
        recipe: How they were made.
        images: Folder of decoded images.

    Raises:
        UsageError: If there is no finished cell at all.
    """
    made = {digest for _, digest, _ in cells.cells}
    kept = [(name, dataset) for name, dataset in datasets if dataset.digest in made]
    if not kept:
        raise UsageError("no cell is finished yet")
    numbers = _gather(cells, [dataset.digest for _, dataset in kept], [entry.id for entry in candidates], recipe)
    described = [_describe(dataset, recipe, images) for _, dataset in kept]
    tasks = [
        TaskRow(name, groups[name].family, groups[name].set, dataset.digest, len(dataset.classes), count)
        for (name, dataset), (_, _, count) in zip(kept, described, strict=True)
    ]
    params = np.array([[entry.cost.params(task.classes) for entry in candidates] for task in tasks], np.int64)
    return Matrix(
        about={**cells.about, **environment()},
        tasks=tuple(tasks),
        candidates=tuple(_candidate(entry, groups) for entry in candidates),
        params=params,
        zoo=_space_data(zoo, candidates, groups, tasks, described),
        **numbers,
    )


def _gather(cells: CellFile, digests: Sequence[str], ids: Sequence[str], recipe: CellRecipe) -> dict[str, Any]:
    seeds = 1 + max(seed for _, _, seed in cells.cells)
    shape = (len(digests), len(ids))

    def empty(*more: int) -> NDArray[np.float32]:
        return np.full(more, np.nan, np.float32)

    found: dict[str, Any] = {name: empty(seeds, *shape) for name in ("val", "test")}
    found |= {name: empty(seeds, *shape, recipe.epochs) for name in ("curves", "epoch_seconds")}
    found |= {name: empty(*shape) for name in ("head_val", "head_test", "feature_seconds")}
    probes = sorted({name for cell in cells.cells.values() for name in cell.get("scores", ())})
    found |= {group: {name: empty(*shape) for name in probes} for group in GROUPS}
    row_of = {digest: row for row, digest in enumerate(digests)}
    column_of = {identity: column for column, identity in enumerate(ids)}
    for (identity, digest, seed), cell in cells.cells.items():
        if digest not in row_of or identity not in column_of:
            continue
        at = row_of[digest], column_of[identity]
        found["val"][seed][at], found["test"][seed][at] = cell["val"], cell["test"]
        length = len(cell["val_curve"])
        found["curves"][seed][at][:length] = cell["val_curve"]
        found["epoch_seconds"][seed][at][:length] = cell["epoch_seconds"]
        if "scores" in cell:
            for name in ("head_val", "head_test", "feature_seconds"):
                found[name][at] = cell[name]
            for group in GROUPS:
                for name, value in cell[group].items():
                    found[group][name][at] = value
    return found


def _describe(dataset: Dataset, recipe: CellRecipe, images: Path) -> tuple[NDArray[np.float32], NDArray[np.int64], int]:
    """Compute query features (n, D) of training images, their labels (n,), and how many images training has."""
    extractor = EfficientNetLite0Extractor()
    arrays = cached_arrays(images, dataset, extractor.image_size, recipe.data_seed, recipe.max_images, recipe.test)
    labels = np.asarray(arrays.train.labels)
    drawn = draw_by_class(labels, QUERY_IMAGES, recipe.data_seed)
    return extractor.extract(arrays.train.images[drawn]), labels[drawn], len(labels)


def _candidate(entry: NetworkEntry, groups: Mapping[str, TaskGroup]) -> CandidateRow:
    own = bool(entry.source_digest)
    return CandidateRow(
        id=entry.id,
        architecture=entry.spec.name,
        backend=entry.spec.backend,
        source=entry.source_dataset,
        source_set=groups[entry.source_dataset].set if own else "",
        imagenet=float("nan") if own else entry.published.get("imagenet", entry.accuracy),
        published={} if own else dict(entry.published),
    )


def _space_data(
    zoo: Zoo,
    candidates: Sequence[NetworkEntry],
    groups: Mapping[str, TaskGroup],
    tasks: Sequence[TaskRow],
    described: Sequence[tuple[NDArray[np.float32], NDArray[np.int64], int]],
) -> SpaceData:
    described_rows = np.flatnonzero(zoo.store.columns().fingerprinted).tolist()
    known = zoo.store.entries(described_rows)
    row_of = {entry.id: row for row, entry in enumerate(known)}
    first = [row_of[entry.id] for entry in candidates]
    order = np.array([*first, *sorted(set(row_of.values()) - set(first))], np.int64)
    entries = [known[row] for row in order]
    sources = zoo.datasets()
    index = {record.digest: position for position, record in enumerate(sources)}
    queries, labels = [], []
    for record in sources:
        members = np.asarray(record.labels)
        drawn = draw_by_class(members, QUERY_IMAGES, 0)
        queries.append(np.asarray(record.features)[drawn])
        labels.append(members[drawn])
    return SpaceData(
        network_ids=tuple(entry.id for entry in entries),
        blocks={
            **{name: block[order] for name, block in fingerprint_blocks(zoo).items()},
            **{name: _padded(zoo, name)[order] for name in ("topology", "functional")},
        },
        accuracy=np.array([entry.accuracy for entry in entries]),
        dataset_index=np.array([index.get(entry.source_digest, -1) for entry in entries], np.int64),
        dataset_names=(*(record.name for record in sources), *(task.name for task in tasks)),
        queries=(*queries, *(features for features, _, _ in described)),
        query_labels=(*labels, *(of_task for _, of_task, _ in described)),
        families=(*(groups[record.name].family for record in sources), *(task.family for task in tasks)),
        facts=tuple(Facts.of(entry) for entry in entries),
    )


def _padded(zoo: Zoo, name: str) -> NDArray[np.float32]:
    """Return a fingerprint block whose width differs from network to network, filled up with zeros to the widest."""
    ids = [identity for identity, has in zip(zoo.store.ids(), zoo.store.columns().fingerprinted, strict=True) if has]
    parts = [np.asarray(getattr(fingerprint_of(zoo, identity), name), np.float32) for identity in ids]
    padded = np.zeros((len(parts), max(part.size for part in parts)), np.float32)
    for row, part in zip(padded, parts, strict=True):
        row[: part.size] = part
    return padded

"""Making a matrix from a zoo and datasets, from the first cell to the packed file."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nns.bench.making import (
    CellEvent,
    CellFile,
    best_cells,
    draw_candidates,
    make_cells,
    named_candidates,
    open_tasks,
    plan_cells,
)
from nns.bench.packing import pack_matrix
from nns.bench.recipe import CellRecipe
from nns.bench.tasks import read_groups
from nns.building.executors import make_executor
from nns.errors import UsageError
from nns.types import Json

if TYPE_CHECKING:
    from nns.zoo import Zoo


@dataclass(frozen=True)
class MatrixReport:
    """What the making of a matrix came to.

    Attributes:
        matrix: The packed file; not written if it was interrupted.
        cells: File of the finished cells, which the next run goes on from.
        done: Cells that are finished.
        total: Cells in all.
        failed: Architecture, network, dataset and reason of each cell that failed.
        interrupted: Whether Ctrl-C ended it.
        seconds: Of this run.
    """

    matrix: str
    cells: str
    done: int
    total: int
    failed: tuple[tuple[str, str, str, str], ...]
    interrupted: bool
    seconds: float

    def document(self) -> Json:
        """Return it JSON-able."""
        names = ("architecture", "network", "dataset", "reason")
        return {**vars(self), "failed": [dict(zip(names, each, strict=True)) for each in self.failed]}


def cells_path(matrix: Path) -> Path:
    """Name the file of finished cells beside a matrix: ``bank.npz`` has ``bank.cells.jsonl``."""
    return matrix.with_suffix(".cells.jsonl")


def make_matrix(
    zoo: Zoo,
    data: Sequence[str],
    tables: Sequence[Path],
    matrix: Path,
    *,
    candidates: int | Path | None = None,
    seeds: int = 1,
    repeat_best: int | None = None,
    recipe: CellRecipe | None = None,
    executor: str = "local",
    workers: int | None = None,
    address: str | None = None,
    device: str = "cpu",
    on_event: Callable[[CellEvent], None] | None = None,
) -> MatrixReport:
    """Fine-tune networks of a zoo on datasets, cell by cell, and pack what is finished into a matrix.

    Cells that an earlier run finished are not made again. Ctrl-C keeps what is finished.

    Args:
        zoo: The zoo.
        data: The query datasets, as they are opened.
        tables: Tables of family and set of all datasets, see :func:`nns.bench.tasks.read_groups`.
        matrix: File to write; the cells go beside it.
        candidates: Networks to draw from the zoo, or a table that names them; None takes all.
        seeds: Repetitions of each cell.
        repeat_best: Repeat only cells among so many best of their dataset within some limit; None repeats all.
        recipe: How cells are made; the default recipe if it is None.
        executor: ``"local"`` or ``"ray"``.
        workers: Cells at a time; None as many as there is room for, 0 in this process.
        address: Of a ray cluster.
        device: What to train on.
        on_event: Called after each cell.

    Raises:
        UsageError: If a table lacks a dataset or names a network that the zoo lacks, a cell file belongs to another
            zoo or recipe, or the matrix cannot be written there.
        DatasetError: If a dataset cannot be read.
    """
    started, recipe = time.perf_counter(), recipe or CellRecipe()
    if matrix.suffix != ".npz":
        raise UsageError(f"{matrix} must end in .npz")
    groups, tasks = read_groups(*tables), open_tasks(data)
    names = [name for name, _ in tasks]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"two datasets are called {twice[0]!r}: rename a folder")
    by_id = {entry.id: entry for entry in zoo.store.entries()}
    if isinstance(candidates, Path):
        ids = named_candidates(list(by_id.values()), candidates)
    else:
        ids = draw_candidates(list(by_id.values()), candidates or len(by_id))
    chosen = [by_id[each] for each in ids]
    items = plan_cells(chosen, tasks, groups, recipe, seeds if repeat_best is None else 1)
    cells = CellFile(cells_path(matrix), {"zoo": zoo.store.digest(), "recipe": dict(recipe.document())})
    images, failed, interrupted = matrix.with_suffix(".images"), [], False
    try:
        with make_executor(executor, workers, 1, address, gpus=device != "cpu") as started_executor:
            make = partial(make_cells, zoo, executor=started_executor, device=device)
            failed = make(items, cells, images=images, on_event=on_event)
            if repeat_best is not None and seeds > 1:
                classes = {dataset.digest: len(dataset.classes) for _, dataset in tasks}
                params = lambda item: by_id[item.network_id].cost.params(classes[item.digest])  # noqa: E731
                every, first = plan_cells(chosen, tasks, groups, recipe, seeds), items
                best = {(network, digest) for network, digest, seed in cells.cells if seed}  # those of earlier runs
                waiting = True
                while waiting:
                    best |= best_cells(first, cells.cells, params, repeat_best)
                    items = [item for item in every if not item.seed or (item.network_id, item.digest) in best]
                    waiting = any(item.key not in cells.cells for item in items)
                    if waiting:
                        failed = make(items, cells, images=images, on_event=on_event)
                        waiting = not failed
        packed = pack_matrix(zoo, chosen, tasks, groups, cells, recipe, images)
        packed.save(matrix)
    except KeyboardInterrupt:
        interrupted = True
    if not interrupted and not failed:
        shutil.rmtree(images, ignore_errors=True)
    reasons = [(by_id[item.network_id].spec.name, item.network_id, item.dataset, why) for item, why in failed]
    return MatrixReport(
        matrix=os.fspath(matrix),
        cells=os.fspath(cells.path),
        done=sum(item.key in cells.cells for item in items),
        total=len(items),
        failed=tuple(reasons),
        interrupted=interrupted,
        seconds=time.perf_counter() - started,
    )


def recipe_of(epochs: int | None, max_images: int | None) -> CellRecipe:
    """Change the default recipe where something was given."""
    changes = {"epochs": epochs, "max_images": max_images}
    return replace(CellRecipe(), **{name: value for name, value in changes.items() if value is not None})

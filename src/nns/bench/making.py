"""Making a matrix: every candidate of a zoo fine-tuned on every dataset, by any executor, resumable."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from nns.bench.cells import CellItem, run_cell
from nns.bench.metrics import LIMITS
from nns.bench.recipe import CellRecipe
from nns.bench.tasks import TaskGroup, read_rows
from nns.building.executors import Executor
from nns.building.plan import item_seed
from nns.building.worker import Place
from nns.data import Dataset
from nns.errors import UsageError
from nns.stores import canonical_json
from nns.types import Json, NetworkEntry

if TYPE_CHECKING:
    from nns.zoo import Zoo


@dataclass(frozen=True)
class CellEvent:
    """What happened: ``"done"`` or ``"failed"``, with the number of cells done, failed and in all."""

    kind: str
    item: CellItem
    done: int
    failed: int
    total: int
    result: Json | None = None
    message: str = ""


def draw_candidates(entries: Sequence[NetworkEntry], count: int, seed: int = 0) -> tuple[str, ...]:
    """Draw networks evenly over the datasets they were trained on and, among those, over the architectures.

    Networks without a dataset of the zoo (ImageNet weights as they are) are taken first, then one network of each
    dataset in turn: that of the architecture that was drawn least so far.

    Args:
        entries: Networks to draw from.
        count: How many.
        seed: Decides between equals.
    """
    chosen = [entry.id for entry in entries if not entry.source_digest][:count]
    waiting: dict[str, list[NetworkEntry]] = {}
    for entry in sorted(entries, key=lambda each: item_seed(seed, each.id)):
        if entry.source_digest:
            waiting.setdefault(entry.source_digest, []).append(entry)
    drawn: Counter[str] = Counter()
    while len(chosen) < count and any(waiting.values()):
        for digest in sorted(waiting, key=lambda each: item_seed(seed, each)):
            networks = waiting[digest]
            if networks and len(chosen) < count:
                entry = min(networks, key=lambda each: drawn[each.spec.name])
                networks.remove(entry)
                drawn[entry.spec.name] += 1
                chosen.append(entry.id)
    return tuple(chosen)


def named_candidates(entries: Sequence[NetworkEntry], table: Path) -> tuple[str, ...]:
    """List the networks that a table names, by architecture and the dataset they were trained on, in its order.

    So the same candidates are found in a zoo that was built anew, where ids are others.

    Args:
        entries: Networks to choose from.
        table: CSV with the columns ``architecture`` and ``source``.

    Raises:
        UsageError: If the table cannot be read, or names what is not there.
    """
    found: list[str] = []
    for number, row in read_rows(table, ("architecture", "source")):
        named = [
            entry.id
            for entry in entries
            if (entry.spec.name, entry.source_dataset) == (row["architecture"], row["source"])
        ]
        if not named:
            raise UsageError(f"{table}, line {number}: the zoo has no {row['architecture']} of {row['source']!r}")
        found += [each for each in named if each not in found]
    return tuple(found)


def plan_cells(
    entries: Sequence[NetworkEntry],
    datasets: Sequence[tuple[str, Dataset]],
    groups: Mapping[str, TaskGroup],
    recipe: CellRecipe,
    seeds: int,
) -> list[CellItem]:
    """List all cells: dataset by dataset, one repetition of everything before the next.

    Networks that were trained on a dataset of the same collection have no cell.

    Args:
        entries: The candidates.
        datasets: Name and opened dataset.
        groups: Family and collection of datasets by name.
        recipe: How cells are made.
        seeds: Repetitions.

    Raises:
        UsageError: If a dataset, or one that a candidate was trained on, is in no group.
    """
    named = {name for name, _ in datasets} | {entry.source_dataset for entry in entries if entry.source_digest}
    if missing := sorted(named - set(groups)):
        raise UsageError(f"no family and set are known of {', '.join(missing[:5])}: add them to the table of tasks")
    return [
        CellItem(entry.id, dataset, name, seed, recipe)
        for seed in range(seeds)
        for name, dataset in datasets
        for entry in entries
        if not entry.source_digest or groups[entry.source_dataset].set != groups[name].set
    ]


def best_cells(
    items: Sequence[CellItem], cells: Mapping[tuple[str, str, int], Json], params: Callable[[CellItem], int], count: int
) -> set[tuple[str, str]]:
    """Find what is worth repeating: the pairs that are among the best of their dataset within some limit, so far.

    A repetition of the others would say little about which network is best. One lucky fine-tuning looks better than it
    is, and worse once it is repeated; then others are the best, and are to be repeated, too. So ask again, with the
    repetitions, until nothing new is found: then the best of each limit is no network that was lucky once.

    Args:
        items: The first repetition.
        cells: The finished cells by key.
        params: Parameters of an item's network, with the head that the dataset needs.
        count: Pairs for each limit of :data:`nns.bench.metrics.LIMITS`.

    Returns:
        Network and digest of the dataset of each.
    """
    found: set[tuple[str, str]] = set()
    rows: dict[str, list[CellItem]] = {}
    for item in items:
        if item.key in cells:
            rows.setdefault(item.digest, []).append(item)
    runs: dict[tuple[str, str], list[float]] = {}
    for (network, digest, _), cell in cells.items():
        runs.setdefault((network, digest), []).append(cell["val"] + cell["test"])
    for row in rows.values():
        ranked = sorted(row, key=lambda item: -fmean(runs[item.network_id, item.digest]))
        for limit in LIMITS:
            within = [item for item in ranked if limit is None or params(item) <= limit]
            found |= {(item.network_id, item.digest) for item in within[:count]}
    return found


class CellFile:
    """Finished cells, a JSON object a line, after a first line that says what they are of.

    A line that was cut off by the end of a process is left out and made anew.
    """

    def __init__(self, path: Path, about: Json) -> None:
        """Read what is there.

        Raises:
            UsageError: If the file holds cells of another zoo or recipe, or is none of nns.
        """
        self.path, self.about = path, about
        self.cells: dict[tuple[str, str, int], Json] = {}
        whole = 0
        if path.exists():
            content = path.read_bytes()
            for number, line in enumerate(content.splitlines(keepends=True)):
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                try:
                    row = json.loads(line)
                    key = (row["network"], row["digest"], row["seed"]) if number else ("", "", 0)
                except (ValueError, KeyError, TypeError) as error:
                    raise UsageError(f"{path}, line {number + 1}: this is no cell of `nns bench make`") from error
                if number:
                    self.cells[key] = row
                elif canonical_json(row) != canonical_json(about):
                    raise UsageError(f"{path} holds cells of another zoo or recipe: give another `out`")
            with path.open("r+b") as stream:
                stream.truncate(whole)
        if not whole:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._append(about)

    def add(self, cell: Json) -> None:
        """Keep a finished cell."""
        self.cells[cell["network"], cell["digest"], cell["seed"]] = cell
        self._append(cell)

    def _append(self, row: Json) -> None:
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
            stream.flush()
            os.fsync(stream.fileno())


def make_cells(
    zoo: Zoo,
    items: Sequence[CellItem],
    cells: CellFile,
    executor: Executor,
    *,
    images: Path,
    device: str = "cpu",
    on_event: Callable[[CellEvent], None] | None = None,
) -> list[tuple[CellItem, str]]:
    """Make the cells that are not there yet; a failed one does not stop the others.

    Args:
        zoo: The zoo with the candidates.
        items: All cells.
        cells: Where finished ones are kept.
        executor: Where cells are made.
        images: Folder of decoded images.
        device: What to train on.
        on_event: Called in this process after each cell.

    Returns:
        The failed cells, with the reason.
    """
    place = Place(os.path.abspath(zoo.path), os.path.abspath(images), device)
    waiting = [item for item in items if item.key not in cells.cells][::-1]
    failed: list[tuple[CellItem, str]] = []
    done, running = len(items) - len(waiting), dict[Future[Any], CellItem]()
    while waiting or running:
        while waiting and len(running) < executor.slots:
            item = waiting.pop()
            known = None if executor.slots_are_processes else zoo.registry
            running[executor.submit(run_cell, place, item, known)] = item
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            item = running.pop(future)
            result, message = None, ""
            try:
                result = future.result()
            except Exception as error:  # noqa: BLE001 - one failed cell does not stop the others
                message = f"{type(error).__name__}: {error}"
                failed.append((item, message))
            if result is not None:
                cells.add(result)
                done += 1
            if on_event:
                kind = "done" if result is not None else "failed"
                on_event(CellEvent(kind, item, done, len(failed), len(items), result, message))
    return failed


def open_tasks(data: Sequence[str]) -> list[tuple[str, Dataset]]:
    """Open datasets by their folders' names.

    Raises:
        DatasetError: If one cannot be read.
    """
    return [(dataset.name, dataset) for dataset in map(Dataset.of, data)]

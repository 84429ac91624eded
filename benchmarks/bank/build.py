"""Build the bank: fetch what the tasks need, lay them out in a few processes, keep the manifest."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from bank.catalogue import all_tasks
from bank.errors import BankError
from bank.fonts import package_faces
from bank.layout import Laid, lay_out
from bank.manifest import read_laid, write_manifest
from bank.packages import Shelf, Source
from bank.progress import Progress, show_progress
from bank.tools import FONT_PACKAGES, absent_tools


@dataclass(frozen=True)
class Built:
    """What a build did: the tasks in the bank, and the ones that could not be made, with the reason."""

    laid: tuple[Laid, ...]
    short: dict[str, str]
    seconds: float


@dataclass(frozen=True)
class Place:
    """Where tasks are laid out, from which packages, with which seed."""

    out: Path
    shelf: Shelf
    seed: int

    def attempt(self, name: str) -> tuple[str, Laid | str]:
        """Lay out one task; what its data do not allow is told, and does not stop the others."""
        try:
            return name, lay_out(all_tasks(name)[name], self.shelf, self.out, self.seed)
        except BankError as error:
            return name, str(error)

    def index(self, package: str) -> None:
        """Index the faces of a font package."""
        package_faces(self.shelf, package)


def build(out: Path, cache: Path, only: str = "*", seed: int = 0, jobs: int = 2) -> Built:
    """Lay out the tasks that match ``only`` under ``out``; tasks that are there already stay.

    Raises:
        BankError: no task matches.
        RegistryError: a package could not be fetched.
    """
    start = time.monotonic()
    tasks = all_tasks(only)
    if not tasks:
        raise BankError(f"no task matches {only!r}; --list shows all names")
    place = Place(out, Shelf(cache.resolve()), seed)
    out.mkdir(parents=True, exist_ok=True)
    with show_progress(len(tasks)) as progress:
        sources = {source for task in tasks.values() for source in task.sources}
        place.shelf.fetch(sources | absent_tools(sources), progress.say)
        results = map(place.attempt, tasks) if jobs == 1 else _in_processes(place, sources, tasks, jobs)
        laid, short = _gather(place, results, progress)
    return Built(laid, short, time.monotonic() - start)


def _in_processes(
    place: Place, sources: Iterable[Source], tasks: Iterable[str], jobs: int
) -> Iterator[tuple[str, Laid | str]]:
    """Results as they come. Fonts are indexed first, so that no two processes index the same one."""
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        fonts = sorted(source.name for source in sources if source.name.startswith(FONT_PACKAGES))
        list(pool.map(place.index, fonts, chunksize=4))
        futures = [pool.submit(place.attempt, name) for name in tasks]
        yield from (future.result() for future in as_completed(futures))


def _gather(
    place: Place, results: Iterable[tuple[str, Laid | str]], progress: Progress
) -> tuple[tuple[Laid, ...], dict[str, str]]:
    laid = {task.name: task for task in read_laid(place.out)}
    short: dict[str, str] = {}
    for name, result in results:
        if isinstance(result, Laid):
            laid[name] = result
            progress.advance(f"{name}: {len(result.classes)} classes, {result.images} images")
        else:
            laid.pop(name, None)
            short[name] = result
            progress.advance(result)
        write_manifest(place.out, laid.values(), place.shelf, short)
    return tuple(laid.values()), short

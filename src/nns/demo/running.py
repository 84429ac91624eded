"""Running the demo: search for two folders of different kinds, fine-tune, compare with simpler choices."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nns.data import Dataset
from nns.demo.data import lay_out
from nns.finetuning import LadderResult, Recipe, climb, named_recipe
from nns.finetuning.finetune_zoo import PROBED_BEFORE_TRAINING, entrant_of, hand_over, input_sizes
from nns.searching import Candidate, SearchResult, search
from nns.types import Limits, Preprocessing, SplitArrays
from nns.zoo import Zoo

Progress = Callable[[str, int, int | None, str], None]
"""``progress(what, done, total, note)``."""

CHOSEN = "nns search"
LARGEST = "largest that fits"
RANDOM = "drawn at random"


@dataclass(frozen=True)
class DemoSettings:
    """Settings of the demo.

    Attributes:
        max_params: Limit of the search.
        epochs: Epochs of each fine-tuning: a budget that gives the same answer on any machine.
        seed: Of everything random.
    """

    max_params: int = 5_000_000
    epochs: int = 6
    seed: int = 0


@dataclass(frozen=True)
class DemoRun:
    """One network, fine-tuned with the demo's budget.

    Attributes:
        choice: How it was chosen.
        candidate: The network, as the search counts it.
        result: What the fine-tuning came to.
    """

    choice: str
    candidate: Candidate
    result: LadderResult


@dataclass(frozen=True)
class DemoTask:
    """What the demo came to on one folder.

    Attributes:
        data: The folder.
        search: The first of the ranking.
        runs: The network that the search chose, the largest that fits and one drawn at random, each fine-tuned with
            the same budget.
        chance: Accuracy of always naming the most frequent class of the test split, 0..1.
        output: Folder of the network that was handed over.
    """

    data: Path
    search: SearchResult
    runs: tuple[DemoRun, ...]
    chance: float
    output: Path


@dataclass(frozen=True)
class DemoReport:
    """What the demo came to.

    Attributes:
        zoo: The zoo that was searched.
        networks: Number of its networks.
        tasks: One a folder.
        seconds: Wall-clock time of everything.
    """

    zoo: Path
    networks: int
    tasks: tuple[DemoTask, ...]
    seconds: float


def run_demo(folder: Path, zoo: Zoo, settings: DemoSettings, progress: Progress) -> DemoReport:
    """Search, fine-tune and compare for two folders, which are laid out below ``folder``; nothing is downloaded.

    Raises:
        UsageError: If the photographs are not installed, or the folder is taken by something else.
        NoNetworkError: If nothing of the zoo fits.
    """
    started = time.perf_counter()
    tasks = tuple(_run(path, folder, zoo, settings, progress) for path in lay_out(folder / "data"))
    return DemoReport(zoo.path, len(zoo), tasks, time.perf_counter() - started)


def _run(path: Path, folder: Path, zoo: Zoo, settings: DemoSettings, progress: Progress) -> DemoTask:
    data = Dataset.of(path)
    # every network that fits and whose weights are here is ranked: the other choices are made among them
    limits = Limits(max_params=settings.max_params)
    found = search(
        data, zoo, limits, top=len(zoo), seed=settings.seed, offline=True, probe="ridge", probed=PROBED_BEFORE_TRAINING
    )
    recipe = replace(named_recipe("default", zoo.registry), epochs=settings.epochs)
    runs = _compare(data, settings.seed, zoo, found, recipe, progress)
    best, output = runs[0], folder / f"{data.name}-nns"
    hand_over(output, zoo, best.result, best.candidate.entry, data, recipe, seed=settings.seed)
    test = data.splits_at(best.result.winner.preprocessing.size, seed=settings.seed)[0].test
    chance = float(np.bincount(test.labels).max() / len(test)) if test is not None else float("nan")
    return DemoTask(path, replace(found, candidates=found.candidates[:5]), runs, chance, output)


def _compare(
    data: Dataset, seed: int, zoo: Zoo, found: SearchResult, recipe: Recipe, progress: Progress
) -> tuple[DemoRun, ...]:
    ranked = found.candidates
    largest = max(ranked, key=lambda c: (c.params, -c.rank))
    drawn = ranked[int(np.random.default_rng(seed).integers(len(ranked)))]
    sizes = input_sizes([zoo.network(each.entry.id) for each in (ranked[0], largest, drawn)], data, recipe)
    runs: list[DemoRun] = []

    def data_of(preprocessing: Preprocessing) -> SplitArrays:
        return data.splits_at(preprocessing.size, seed=seed)[0]

    for choice, picked in ((CHOSEN, ranked[0]), (LARGEST, largest), (RANDOM, drawn)):
        progress(f"fine-tuning on {data.name}", len(runs), 3, f"{choice}: {picked.entry.spec.name}")
        same = next((run for run in runs if run.candidate.entry.id == picked.entry.id), None)
        if same is not None:
            runs.append(replace(same, choice=choice))
            continue
        network = zoo.network(picked.entry.id)
        climber = entrant_of(network, found.dataset.classes or 0, seed=seed, image_size=sizes[network.id])
        runs.append(DemoRun(choice, picked, climb([climber], data_of, recipe, seed=seed)))
        if runs[-1].result.interrupted:
            raise KeyboardInterrupt
    progress(f"fine-tuning on {data.name}", 3, 3, "")
    return tuple(runs)

"""Running the demo: build a zoo, fit a space, search, fine-tune, compare with simpler choices."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nns.building import BuildReport, BuildSettings, SearchSpace, build_zoo
from nns.data import Dataset
from nns.demo.data import lay_out
from nns.finetuning import LadderResult, Recipe, climb
from nns.finetuning.finetune_zoo import entrant_of, hand_over
from nns.searching import Candidate, SearchResult, search
from nns.space import Space
from nns.types import Limits, Preprocessing, SplitArrays
from nns.zoo import Zoo

Progress = Callable[[str, int, int | None, str], None]
"""``progress(what, done, total, note)``."""

CHOSEN = "nns search"
LARGEST = "largest that fits"
RANDOM = "drawn at random"


SPACES = {
    "timm": SearchSpace(("tf_efficientnet_lite0", "mobilenetv3_small_050", "tinynet_e", "resnet10t")),
    "ofa": SearchSpace(candidates=3),
}
"""Few architectures, so that a small zoo has most of them on each dataset."""


@dataclass(frozen=True)
class DemoSettings:
    """Settings of the demo.

    Attributes:
        networks: Networks to train for the zoo.
        image_size: Side of the images in pixels.
        max_images: Training images of each of the zoo's datasets.
        epochs: Epochs of each training for the zoo.
        max_params: Limit of the search.
        finetune_epochs: Epochs of each fine-tuning: a budget that gives the same answer on any machine.
        workers: Processes that build the zoo.
        seed: Of everything random.
    """

    networks: int = 24
    image_size: int = 64
    max_images: int = 120
    epochs: int = 6
    max_params: int = 5_000_000
    finetune_epochs: int = 3
    workers: int = 2
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
class DemoReport:
    """What the demo came to.

    Attributes:
        build: The zoo.
        fit: The space.
        search: The ranking for the unseen dataset.
        runs: The network that the search chose, the largest that fits and one drawn at random, each
            fine-tuned with the same budget.
        chance: Accuracy of always naming the most frequent class of the test split, 0..1.
        output: Folder of the network that was handed over.
        query: Folder of the dataset that was searched with.
        seconds: Wall-clock time of everything.
    """

    build: BuildReport
    fit: Space
    search: SearchResult
    runs: tuple[DemoRun, ...]
    chance: float
    output: Path
    query: Path
    seconds: float


def run_demo(folder: Path, settings: DemoSettings, progress: Progress) -> DemoReport:
    """Go the whole way below ``folder``; a zoo that a former run built there is used again.

    Raises:
        UsageError: If the photographs are not installed, or the folder is taken by something else.
    """
    started = time.perf_counter()
    data = lay_out(folder / "data")
    build = build_zoo(
        folder / "zoo.h5",
        BuildSettings(
            data=tuple(map(str, data.zoo)),
            networks=settings.networks,
            image_size=settings.image_size,
            max_images=settings.max_images,
            epochs=settings.epochs,
            transfers=0,
            seed=settings.seed,
            spaces=SPACES,
        ),
        workers=settings.workers,
        on_event=lambda event: progress("1. training networks for a zoo", event.done, event.total, event.message),
    )
    if build.interrupted:
        raise KeyboardInterrupt
    with Zoo(folder / "zoo.h5") as zoo:
        progress("2. fitting a space", 0, None, "")
        fit = Space.fit(zoo, seed=settings.seed)
        progress("2. fitting a space", 1, 1, "")
        query = Dataset.of(data.query)
        found = _search_all(query, zoo, settings)
        progress("3. searching", 1, 1, "")
        recipe = Recipe(epochs=settings.finetune_epochs)
        runs = _compare(query, settings.seed, zoo, found, recipe, progress)
        best = runs[0]
        _, output = hand_over(
            folder / "model", zoo, best.result, best.candidate.entry, query, recipe, seed=settings.seed
        )
    test = query.splits_at(best.result.winner.preprocessing.size, seed=settings.seed)[0].test
    chance = float(np.bincount(test.labels).max() / len(test)) if test is not None else float("nan")
    seconds = time.perf_counter() - started
    shown = replace(found, candidates=found.candidates[:5])
    return DemoReport(build, fit, shown, runs, chance, output, data.query, seconds)


def _search_all(query: Dataset, zoo: Zoo, settings: DemoSettings) -> SearchResult:
    """Rank every network that fits: the other choices are made among them."""
    limits = Limits(max_params=settings.max_params)
    return search(query, zoo, limits, top=len(zoo), seed=settings.seed)


def _compare(
    query: Dataset, seed: int, zoo: Zoo, found: SearchResult, recipe: Recipe, progress: Progress
) -> tuple[DemoRun, ...]:
    ranked = found.candidates
    largest = max(ranked, key=lambda c: (c.params, -c.rank))
    drawn = ranked[int(np.random.default_rng(seed).integers(len(ranked)))]
    runs: list[DemoRun] = []

    def data_of(preprocessing: Preprocessing) -> SplitArrays:
        return query.splits_at(preprocessing.size, seed=seed)[0]

    for choice, picked in ((CHOSEN, ranked[0]), (LARGEST, largest), (RANDOM, drawn)):
        progress("4. fine-tuning", len(runs), 3, f"{choice}: {picked.entry.spec.name}")
        same = next((run for run in runs if run.candidate.entry.id == picked.entry.id), None)
        if same is not None:
            runs.append(replace(same, choice=choice))
            continue
        climber = entrant_of(zoo.network(picked.entry.id), found.dataset.classes or 0, seed=seed)
        runs.append(DemoRun(choice, picked, climb([climber], data_of, recipe, seed=seed)))
        if runs[-1].result.interrupted:
            raise KeyboardInterrupt
    progress("4. fine-tuning", 3, 3, "")
    return tuple(runs)

"""Running all choosers over a matrix: one JSON document with every number of the tables."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.bench.bootstrap import Comparison, compare
from nns.bench.choosers import FEW_IMAGES, PRIOR, STATIC, TANS_EPOCHS, Chooser, Fits, Question, Scene, standard_choosers
from nns.bench.choosers.timing import SearchSeconds, measure_search
from nns.bench.distance import distances_from_imagenet, regret_by_third
from nns.bench.environment import environment
from nns.bench.metrics import LIMITS, MEASURES, average, expected_sum, headline_limits, limit_name, measure, per_task
from nns.bench.separability import MIN_CANDIDATES, separability
from nns.bench.tables import bench_tables
from nns.errors import UsageError
from nns.files import write_whole
from nns.jsonable import jsonable
from nns.plugins import installed_plugins
from nns.space.space import DEFAULT_METHOD
from nns.types import Json
from nns.untrusted import BENCH, read_file

if TYPE_CHECKING:
    from nns.bench.matrix import Matrix
    from nns.plugins import Registry

FORMAT = 2
DIGITS = 5
Rows = dict[tuple[int, str], dict[str, float]]
Tasks = Mapping[int, Mapping[str, float]]
Progress = Callable[[str, int, int], None]


def run_bench(
    matrix: Matrix,
    *,
    method: str = DEFAULT_METHOD,
    seeds: int = 3,
    limits: Sequence[float | None] = LIMITS,
    ablations: bool = True,
    tans_epochs: int = TANS_EPOCHS,
    time_search: Callable[[int], SearchSeconds] | None = None,
    on_progress: Progress | None = None,
    registry: Registry | None = None,
) -> Json:
    """Let every chooser choose on every dataset within every limit, for both ground truths.

    Args:
        matrix: The matrix.
        method: The space method that is measured.
        seeds: Seeds of it; 0, 1, ...
        limits: Limits of parameters; None is without.
        ablations: Whether to run the method without its parts too; full fine-tuning only.
        tans_epochs: Epochs of the published method.
        time_search: Measures, in place of :func:`measure_search`, how long so many query images take to be read and
            become features.
        on_progress: ``on_progress(chooser, done, total)``.
        registry: Plugins in place of the installed ones.

    Returns:
        ``about``, ``settings``, and for each ground truth, ``full`` and ``head_only``: ``separability`` and
        ``choosers``, each with ``headline``, ``limits``, ``bootstrap``, ``rows``, ``notes``.

    Raises:
        UnknownNameError: If there is no such method.
    """
    started = time.perf_counter()
    registry = registry or installed_plugins()
    registry.make("method", method, seed=0)  # an unknown name is told at once
    time_search = time_search or measure_search
    seconds = time_search(int(np.median([len(query) for query in matrix.zoo.queries[matrix.offset :]])))
    few = time_search(FEW_IMAGES)
    fits = Fits(registry)
    scenes = {"full": Scene(matrix), "head_only": Scene(matrix, head_only=True)}
    choosers = {
        name: standard_choosers(
            scene, fits, method, range(seeds), seconds, few, ablations and not scene.head_only, tans_epochs
        )
        for name, scene in scenes.items()
    }
    total, done = sum(map(len, choosers.values())) * len(matrix.tasks), 0

    def step(name: str) -> None:
        nonlocal done
        done += 1
        if on_progress:
            on_progress(name, done, total)

    distances = distances_from_imagenet(matrix.zoo.queries[matrix.offset :])
    truths = {name: _run_scene(scene, choosers[name], limits, distances, step) for name, scene in scenes.items()}
    document = {
        "format": FORMAT,
        "about": {
            **matrix.about,
            "datasets": [
                {**asdict(task), "distance": distance} for task, distance in zip(matrix.tasks, distances, strict=True)
            ],
            "candidates": len(matrix.candidates),
            "cells": int(np.isfinite(matrix.test).sum()),
            "repetitions": len(matrix.test),
            "run": environment(),
        },
        "settings": {
            "method": method,
            "seeds": seeds,
            "limits": [limit_name(limit) for limit in limits],
            "headline": [limit_name(limit) for limit in headline_limits(limits)],
            "tans_epochs": tans_epochs,
            "search_seconds": asdict(seconds),
            "search_seconds_few": asdict(few),
            "fits": len(fits.made),
            "fit_seconds": sum(fit.seconds for fit in fits.made.values()),
        },
        **truths,
        "seconds": time.perf_counter() - started,
    }
    rounded: Json = jsonable(document, DIGITS)
    return rounded


def _run_scene(
    scene: Scene,
    choosers: Sequence[Chooser],
    limits: Sequence[float | None],
    distances: Sequence[float],
    step: Callable[[str], None],
) -> Json:
    budgets: dict[tuple[int, str], float] = {}
    found = {chooser.name: _run_chooser(chooser, limits, budgets, step) for chooser in choosers}
    bars = {name: per_task(found[name].rows, headline_limits(limits)) for name in (STATIC, PRIOR)}
    return {
        "separability": separability(scene, limits),
        "choosers": [
            {"name": chooser.name, "kind": chooser.kind, **found[chooser.name].document(limits, bars, distances)}
            for chooser in choosers
        ],
    }


class _Found:
    """What was measured of one chooser: rows averaged over its runs, and the rows of each run."""

    def __init__(self) -> None:
        self.rows: Rows = {}
        self.runs: list[Rows] = []
        self.notes: dict[str, set[tuple[int, str]]] = {}

    def document(
        self, limits: Sequence[float | None], bars: Mapping[str, Tasks], distances: Sequence[float]
    ) -> dict[str, Any]:
        """Return averages over datasets, the comparison with each bar, and the rows by column."""
        heading = headline_limits(limits)
        tasks = per_task(self.rows, heading)
        thirds = regret_by_third(tasks, distances)
        headline: dict[str, Any] = average(list(tasks.values()))
        headline["datasets"], headline["skipped"] = len(tasks), len({task for task, _ in self.rows} - set(tasks))
        means = [average(list(per_task(run, heading).values()), ["regret"])["regret"] for run in self.runs]
        headline["regret_spread"] = float(np.std(means, ddof=1)) if len(means) > 1 else float("nan")
        keys = sorted(self.rows)
        columns = {name: [self.rows[key][name] for key in keys] for name in (*MEASURES, "chosen")}
        return {
            "headline": headline,
            "limits": {limit_name(limit): average(list(per_task(self.rows, [limit]).values())) for limit in limits},
            "distance": {name: {"regret": mean, "datasets": n} for name, (mean, n) in thirds.items()},
            "bootstrap": {name: asdict(_compare(tasks, bar)) for name, bar in bars.items()},
            "notes": {note: len(where) for note, where in self.notes.items()},
            "rows": {"task": [task for task, _ in keys], "limit": [limit for _, limit in keys], **columns},
        }


def _compare(tasks: Tasks, bar: Tasks) -> Comparison:
    """Compare the regrets on the datasets that both have."""
    shared = sorted(set(tasks) & set(bar))
    own, other = (np.array([of[task]["regret"] for task in shared]) for of in (tasks, bar))
    return compare(own, other)


def _run_chooser(
    chooser: Chooser, limits: Sequence[float | None], budgets: dict[tuple[int, str], float], step: Callable[[str], None]
) -> _Found:
    """Ask one chooser everything; the first one sets the budgets: the time of fine-tuning its three first."""
    scene, found, first = chooser.scene, _Found(), not budgets
    for task in range(len(scene.matrix.tasks)):
        seconds = scene.tuning_seconds[task]
        for limit in limits:
            feasible, key = scene.feasible(task, limit), (task, limit_name(limit))
            if feasible.sum() < MIN_CANDIDATES:
                continue
            answers = chooser.ask(Question(task, feasible, budgets.get(key, float("inf"))))
            if first:
                budgets[key] = expected_sum(answers[0].scores[feasible], np.nan_to_num(seconds[feasible]), 3)
            measured = [measure(each, scene.accuracy[task], scene.val[task], feasible, seconds) for each in answers]
            found.rows[key] = average(measured) | {"chosen": int(np.argmax(answers[0].scores))}
            for run, row in enumerate(measured):
                if run == len(found.runs):
                    found.runs.append({})
                found.runs[run][key] = row
            if answers[0].note:
                found.notes.setdefault(answers[0].note, set()).add(key)
        step(chooser.name)
    return found


def save_run(document: Json, path: Path) -> None:
    """Write a run, as JSON, whole or not at all."""
    write_whole(path, json.dumps(document, separators=(",", ":"), allow_nan=False) + "\n")


def load_run(path: Path) -> Json:
    """Read what :func:`save_run` wrote.

    Raises:
        UsageError: If there is no such file, or it is no run.
    """
    try:
        document: Json = json.loads(read_file(path, BENCH))
        if document["format"] != FORMAT:
            raise UsageError(
                f"{path} has format {document['format']}, this version of nns reads {FORMAT}; "
                "make it again with `nns bench run`"
            )
        bench_tables(document)
    except FileNotFoundError as error:
        raise UsageError(f"there is no run {path}: give its path, or make it with `nns bench run -o`") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{path} is not what `nns bench run -o` writes: {error}") from error
    return document

"""How many trained pairs does a way of choosing them need? Replayed on a table in which every pair is trained.

    python benchmarks/pairs/choosing.py BANK TABLE.jsonl [--seeds 20] [--output benchmarks/pairs/choosing.json]

Random choice is given ``--share`` of all pairs; what counts is the number of pairs at which ``pareto`` reaches the
mean normalised volume that random choice reaches with all of its budget. Writes the curves, and a plot into
docs/pictures.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nns.building import BuildSettings
from nns.building.pairs import describe_architecture, join_descriptors
from nns.building.selection import AtRandom, ByGain, PairSelector, Rounds, Volume
from nns.data import Dataset
from nns.data.extractors import EfficientNetLite0Extractor
from nns.plugins import load_plugins
from nns.threads import limited_threads

FloatArray = NDArray[np.float64]

PLOT = Path(__file__).parents[2] / "docs" / "pictures" / "choosing.svg"


def read_table(path: Path) -> tuple[list[str], list[str], FloatArray, FloatArray]:
    """Return tasks, architectures, accuracies (D, A) and parameters and MACs (A, 2) of the tasks that are complete."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    architectures = list(dict.fromkeys(row["architecture"] for row in rows))
    tasks = [
        task
        for task in dict.fromkeys(row["task"] for row in rows)
        if sum(row["task"] == task for row in rows) == len(architectures)
    ]
    accuracies = np.zeros((len(tasks), len(architectures)))
    costs = np.zeros((len(architectures), 2))
    for row in rows:
        a = architectures.index(row["architecture"])
        costs[a] = row["params"], row["macs"]
        if row["task"] in tasks:
            accuracies[tasks.index(row["task"]), a] = row["accuracy"]
    return tasks, architectures, accuracies, costs


def dataset_means(bank: Path, tasks: list[str], cache: Path) -> FloatArray:
    """Return the mean query features of each task; kept in a file, since they take a second a task."""
    known: dict[str, list[float]] = json.loads(cache.read_text()) if cache.exists() else {}
    extractor = EfficientNetLite0Extractor()
    for task in tasks:
        if task not in known:
            images, _, _ = Dataset.open(str(bank / task)).decode_sample(extractor.image_size, seed=0, workers=1)
            known[task] = extractor.extract(images).mean(0).astype(float).tolist()
            cache.write_text(json.dumps(known))
    return np.array([known[task] for task in tasks])


def replay(chooser: PairSelector, accuracies: FloatArray, size: int, volume: Volume) -> list[float]:
    """Choose all pairs; give the mean volume after each number of pairs."""
    rounds = Rounds(chooser, size, accuracies.size)
    curves = [np.zeros(len(volume.limits)) for _ in accuracies]
    found: list[float] = []
    while fresh := rounds.advance():
        for _, pairs in fresh:
            for d, a in pairs:
                rounds.record((d, a), float(accuracies[d, a]))
                np.maximum(curves[d], np.where(volume.within[a], accuracies[d, a], 0.0), out=curves[d])
                found.append(float(np.mean([curve.mean() for curve in curves])))
    return found


def main() -> None:
    """Replay both, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--share", type=float, default=0.5, help="budget of the random choice, as a share of all pairs")
    parser.add_argument("--objectives", nargs="+", default=["params"], choices=["params", "macs"])
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    tasks, names, accuracies, costs = read_table(args.table)
    wanted = costs[:, [("params", "macs").index(name) for name in args.objectives]]
    with limited_threads(1):
        means = dataset_means(args.bank, tasks, args.table.with_suffix(".means.json"))
        descriptors = describe(names)
        volume = Volume.of(wanted)
        size = BuildSettings().pairs_a_round(len(tasks))
        ways: dict[str, Callable[[int], PairSelector]] = {
            "random": lambda seed: AtRandom(*accuracies.shape, seed),
            "pareto": lambda seed: ByGain(means, descriptors, wanted, seed),
        }
        curves = {
            way: [replay(make(s), accuracies, size, volume) for s in range(args.seeds)] for way, make in ways.items()
        }
    write(
        args.output,
        compare(curves, args.share) | {"tasks": tasks, "architectures": names, "objectives": args.objectives},
    )


def describe(names: list[str]) -> FloatArray:
    """Describe the architectures of the table as a build does."""
    import sys

    sys.path.insert(0, str(Path(__file__).parent))
    import table

    registry = load_plugins()
    works = {spec.name: (work, spec) for work in table.items() for spec in work.specs}
    from dataclasses import replace

    alone = [replace(works[name][0], specs=(works[name][1],)) for name in names]
    return join_descriptors(alone, [describe_architecture(work, registry, ["params"])[0] for work in alone])


def compare(curves: dict[str, list[list[float]]], share: float) -> dict[str, object]:
    """Find the number of pairs at which the mean curve of pareto reaches that of random at its budget."""
    means = {way: np.mean(found, axis=0) for way, found in curves.items()}
    budget = math.floor(share * len(means["random"]))
    target = float(means["random"][budget - 1])
    reached = int(np.argmax(means["pareto"] >= target)) + 1
    each = []
    for random, pareto in zip(curves["random"], curves["pareto"], strict=True):
        there = np.array(pareto) >= random[budget - 1]
        each.append((int(np.argmax(there)) + 1) / budget if there.any() else math.inf)
    return {
        "pairs": len(means["random"]),
        "budget": budget,
        "volume of random at its budget": target,
        "volume of pareto at that budget": float(means["pareto"][budget - 1]),
        "volume of all pairs": float(means["random"][-1]),
        "pairs of pareto": reached,
        "share of the budget": reached / budget,
        "share by seed: median, lowest, highest": [float(np.median(each)), min(each), max(each)],
        "share of random's budget at budgets of 0.2 to 1.0 of all pairs": [
            reached_at(means, share / 10) for share in range(2, 11)
        ],
        "curves": {way: [round(float(v), 5) for v in mean] for way, mean in means.items()},
    }


def reached_at(means: dict[str, FloatArray], share: float) -> float:
    """Return the pairs that pareto needs for what random reaches with a budget, as a share of that budget."""
    budget = math.floor(share * len(means["random"]))
    return round((int(np.argmax(means["pareto"] >= means["random"][budget - 1])) + 1) / budget, 3)


def write(path: Path, found: dict[str, object]) -> None:
    """Write the numbers and the plot, and print the former without the curves."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    curves = found["curves"]
    assert isinstance(curves, dict)
    figure, axes = plt.subplots(figsize=(6, 3.6))
    for way, values in curves.items():
        axes.plot(range(1, len(values) + 1), values, label=way)
    axes.axhline(float(found["volume of random at its budget"]), color="grey", lw=0.8, ls=":")  # type: ignore[arg-type]
    axes.axvline(float(found["pairs of pareto"]), color="grey", lw=0.8, ls=":")  # type: ignore[arg-type]
    axes.axvline(float(found["budget"]), color="grey", lw=0.8, ls=":")  # type: ignore[arg-type]
    axes.set_xlabel("trained pairs of dataset and architecture")
    axes.set_ylabel("mean normalised volume")
    axes.set_ylim(bottom=0.9 * values[len(values) // 20])
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(PLOT)
    for name, value in found.items():
        if name != "curves":
            print(f"{name}: {value}")


if __name__ == "__main__":
    main()

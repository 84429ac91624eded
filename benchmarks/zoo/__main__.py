"""Build a zoo over tasks of the bank, fit a space, and print their numbers as Markdown.

    python benchmarks/bank BANK
    python benchmarks/zoo BANK ZOO.h5 [--networks 434] [--workers 2]

The tasks are those of tasks.txt beside this file; the others of the bank are left for evaluation. An
interrupted build goes on when the command is run again. The time includes former runs only if they were
not interrupted: the processor time that the workers used is printed as well.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

from nns.building import BuildSettings, build_zoo, default_workers
from nns.cli.build_display import build_display
from nns.networks import device_key
from nns.space import Space, SpaceData, evaluate_held_out
from nns.zoo import Zoo

TASKS = Path(__file__).with_name("tasks.txt")


def main() -> None:
    """Build, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", type=Path)
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--networks", type=int, default=434)
    parser.add_argument("--workers", type=int, default=default_workers())
    parser.add_argument("--strategy", default="pareto", choices=["pareto", "random", "all"])
    parser.add_argument("--transfers", type=int, default=0)
    parser.add_argument("--log", type=Path, help="a JSON object for each event")
    args = parser.parse_args()
    names = TASKS.read_text(encoding="utf-8").split()
    settings = BuildSettings(
        data=tuple(str(args.bank / name) for name in names),
        networks=args.networks,
        strategy=args.strategy,
        transfers=args.transfers,
    )
    with build_display(args.log) as show:
        report = build_zoo(args.zoo, settings, workers=args.workers, on_event=show)
    processor = os.times().children_user + os.times().children_system
    print(f"- {report.networks} networks on {report.datasets} tasks, {len(report.failed)} items failed")
    print(f"- {report.seconds / 60:.1f} min wall-clock with {args.workers} workers of one thread each")
    print(f"- {processor / 60:.1f} min of processor time, {report.images} images, {report.added} networks added")
    print(f"- zoo digest `{report.digest}`")
    print(f"- {device_key()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    with Zoo(args.zoo) as zoo:
        _accuracies(zoo)
        for method in ("mixed",):
            _space(zoo, method)


def _accuracies(zoo: Zoo) -> None:
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    sizes: dict[tuple[str, str], list[int]] = defaultdict(list)
    for entry in zoo.store.entries():
        if np.isfinite(entry.accuracy) and entry.source_digest:
            key = (entry.spec.backend, "ImageNet weights" if entry.spec.source != "random" else "from scratch")
            groups[key].append(entry.accuracy)
            sizes[key].append(entry.cost.params(len(entry.classes)))
    print("| networks | number | parameters | validation accuracy: median | lowest | highest |")
    print("| --- | --: | --: | --: | --: | --: |")
    for key, values in sorted(groups.items()):
        low, high = min(sizes[key]) / 1e6, max(sizes[key]) / 1e6
        print(
            f"| {key[0]}, {key[1]} | {len(values)} | {low:.2f}-{high:.2f} M | {median(values):.1%} "
            f"| {min(values):.1%} | {max(values):.1%} |"
        )
    print()


def _space(zoo: Zoo, method: str) -> None:
    started = time.perf_counter()
    fit = Space.fit(zoo, method=method)
    seconds = time.perf_counter() - started
    alone = fit.report["seconds"]
    print(f"`nns space fit --method {method}`: fit {alone:.1f} s, with its held-out evaluation {seconds:.1f} s\n")
    print("| held out | folds | recall@1 | @5 | @10 | @50 | median rank | mean rank | AUC | error of accuracy (MAE) |")
    print("| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |")
    data = SpaceData.of(zoo)
    splits = {
        "single datasets": data.dataset_names,
        "families (emoji, icons, one script, ...)": tuple(_family(name) for name in data.dataset_names),
        "kinds (all scripts at once)": tuple(name.partition("-")[0] for name in data.dataset_names),
    }
    for name, families in splits.items():
        report = evaluate_held_out(
            lambda: zoo.registry.make("method", method, seed=0), replace(data, families=families)
        )
        _row(name, str(report["folds"]), report["retrieval"], report["accuracy"]["mae"])
    retrieval = report["retrieval"]
    chance = {"recall": retrieval["recall_chance"], "auc": 0.5}
    chance |= {"median_rank": retrieval["rank_chance"], "mean_rank": retrieval["rank_chance"]}
    _row("chance (for accuracy: the mean)", "", chance, report["accuracy"]["mae_of_the_mean"])
    per_task = mean(len(data.own_networks(dataset)) for dataset in data.paired_datasets())
    print(f"\nCandidates: all {retrieval['candidates']} networks, of which {per_task:.1f} are a task's own.")


def _row(name: str, folds: str, retrieval: dict[str, Any], error: float) -> None:
    recall = " | ".join(f"{retrieval['recall'][k]:.0%}" for k in ("1", "5", "10", "50"))
    ranks = f"{retrieval['median_rank']:.0f} | {retrieval['mean_rank']:.0f} | {retrieval['auc']:.2f}"
    print(f"| {name} | {folds} | {recall} | {ranks} | {error:.3f} |")


def _family(name: str) -> str:
    """Return the family of PROTOCOL.md: one script's glyphs are a family of their own."""
    parts = name.split("-")
    return "-".join(parts[:2]) if parts[0] == "glyphs" else parts[0]


if __name__ == "__main__":
    main()

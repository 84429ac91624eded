"""Does a zoo built by ``pareto`` answer better than one built at random with the same budget?

    python benchmarks/pairs/regret.py BANK FOLDER [--networks 48] [--output benchmarks/pairs/regret.json]

Builds both zoos in FOLDER on the same twelve tasks, fits the default space of each, searches both for twelve other
tasks of other collections at each limit, and fine-tunes what the searches put first (the first ``--top`` of each) with
the recipe of `nns bench`. Regret is the test accuracy of the best network that was fine-tuned for a task within a
limit, of either zoo, less that of a zoo's first. Limits that leave a zoo without a network are left out. What was done
is kept in FOLDER: the same command goes on. The prior of networks at large is learned anew without all results on
these other tasks. ``--limits 5M`` asks at that limit only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from nns.bench.bootstrap import compare
from nns.bench.cells import CellItem
from nns.bench.making import CellEvent, CellFile, make_cells
from nns.bench.recipe import CellRecipe
from nns.building import BuildSettings, build_zoo
from nns.building.executors import make_executor
from nns.cli.build_display import build_display
from nns.priors import Prior, shipped_prior
from nns.priors.learning import Table, learn
from nns.quantities import parse_count
from nns.searching import search
from nns.space import Space
from nns.zoo import Zoo

ZOO_TASKS = (
    "emoji-apple-category",
    "emoji-google-people",
    "fontstyle-family-sans",
    "glyphs-arabic-second-half",
    "glyphs-devanagari-k-dh",
    "glyphs-greek-lower",
    "glyphs-hiragana-first-half",
    "glyphs-latin-lower-noisy",
    "glyphs-signs-math",
    "icons-breeze-contexts",
    "icons-numix-contexts",
    "photos-animal-mnist-0-4",
)

QUERIES = (
    "digits-sklearn-5-9",
    "emoji-facebook-category",
    "emoji-twitter-people",
    "fontstyle-family-hangul",
    "fontstyle-family-thai",
    "glyphs-armenian-lower",
    "glyphs-bengali-letters",
    "glyphs-han-numbers",
    "glyphs-thai-digits",
    "icons-elementary-contexts",
    "icons-oxygen-contexts",
    "icons-papirus-contexts",
)
"""Tasks of collections that no zoo task is of."""

LIMITS = (500_000, 1_000_000, 2_000_000, 5_000_000, None)
STRATEGIES = ("pareto", "random")

Orders = dict[tuple[str, int | None], list[str]]
"""Query and limit to the first networks of a search."""


def main() -> None:
    """Build, search, fine-tune, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--networks", type=int, default=48, help="budget of each zoo")
    parser.add_argument("--transfers", type=int, default=0, help="further fine-tunings of each, for the space to learn")
    parser.add_argument("--top", type=int, default=3, help="networks of each search that are fine-tuned")
    parser.add_argument("--seeds", type=int, default=2, help="fine-tunings of each")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limits", nargs="*", type=parse_count, default=LIMITS)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    _forget_queries()
    args.folder.mkdir(parents=True, exist_ok=True)
    settings = {
        name: BuildSettings(
            data=tuple(str(args.bank / task) for task in ZOO_TASKS),
            networks=args.networks,
            strategy=name,
            pretrained=False,
            transfers=args.transfers,
        )
        for name in STRATEGIES
    }
    built = {name: _build(args.folder / f"{name}.h5", settings[name], args.workers) for name in STRATEGIES}
    found, accuracy, zoos = {}, {}, {}
    for name in STRATEGIES:
        with Zoo(args.folder / f"{name}.h5") as zoo:
            Space.fit(zoo)
            zoos[name] = zoo.store.digest()
            found[name] = _search(zoo, args.bank, args.top, args.limits)
            accuracy[name] = _tune(zoo, args, found[name], args.folder / f"{name}.cells.jsonl")
    limits = [
        _compare(limit, found, accuracy)
        for limit in args.limits
        if all((task, limit) in found[name] for task in QUERIES for name in STRATEGIES)
    ]
    document: dict[str, Any] = {
        "command": f"python benchmarks/pairs/regret.py BANK FOLDER --networks {args.networks}"
        f" --transfers {args.transfers} --top {args.top} --seeds {args.seeds}",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "zoos": {name: {"digest": zoos[name], **built[name]} for name in STRATEGIES},
        "recipe": dict(CellRecipe().document()),
        "limits": limits,
        "mean": _mean(limits),
    }
    _print(document)
    if args.output:
        args.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _build(path: Path, settings: BuildSettings, workers: int) -> dict[str, Any]:
    with build_display(path.with_suffix(".log")) as show:
        report = build_zoo(path, settings, workers=workers, on_event=show)
    if report.interrupted:
        raise SystemExit(130)
    return {"networks": report.networks, "failed": len(report.failed), "images": report.images}


def _forget_queries() -> None:
    """Put a prior that has not seen the tasks of the queries in place of the one that comes with nns."""
    table = Table.read().without(lambda name: name.rpartition("/")[2] in QUERIES)
    known = learn(table, shipped_prior().filling)
    shipped_prior.cache_clear()
    Prior.of = classmethod(lambda cls, document: known)  # type: ignore[assignment, method-assign]


def _search(zoo: Zoo, bank: Path, top: int, limits: Sequence[int | None]) -> Orders:
    orders: Orders = {}
    for task in QUERIES:
        # limits leave candidates out and do not change their order
        every = search(str(bank / task), zoo, top=len(zoo.store.ids())).candidates
        for limit in limits:
            within = [each.entry.id for each in every if limit is None or each.params <= limit]
            if within:
                orders[task, limit] = within[:top]
    return orders


def _tune(zoo: Zoo, args: argparse.Namespace, orders: Orders, path: Path) -> dict[tuple[str, str], float]:
    """Return the mean test accuracy by task and network."""
    from nns.data import Dataset

    recipe = CellRecipe()
    wanted = sorted({(task, network) for (task, _), order in orders.items() for network in order})
    data = {task: Dataset.open(str(args.bank / task)) for task in QUERIES}
    # repetition 0 would also score the frozen features, which nobody asks for here
    items = [
        CellItem(network, data[task], task, seed, recipe)
        for seed in range(1, args.seeds + 1)
        for task, network in wanted
    ]
    cells = CellFile(path, {"recipe": dict(recipe.document())})  # ids of networks are those of their content
    with make_executor("local", args.workers) as executor:
        failed = make_cells(zoo, items, cells, executor, images=args.folder / "images", on_event=_show_cell)
    if failed:
        raise SystemExit(f"{len(failed)} fine-tunings failed: {failed[0][1]}")
    seeds = range(1, args.seeds + 1)
    return {
        (task, network): mean(cells.cells[network, data[task].digest, seed]["test"] for seed in seeds)
        for task, network in wanted
    }


def _show_cell(event: CellEvent) -> None:
    print(f"\r{event.done} of {event.total} fine-tunings", end="" if event.done < event.total else "\n", flush=True)


def _compare(
    limit: int | None, found: dict[str, Orders], accuracy: dict[str, dict[tuple[str, str], float]]
) -> dict[str, Any]:
    rows = []
    for task in QUERIES:
        reached = {name: [accuracy[name][task, network] for network in found[name][task, limit]] for name in STRATEGIES}
        best = max(max(values) for values in reached.values())
        rows.append(
            {
                "task": task,
                **{name: round(100 * (best - values[0]), 3) for name, values in reached.items()},
                "accuracy": {name: round(values[0], 4) for name, values in reached.items()},
            }
        )
    return {"limit": limit, **_summary(rows), "rows": rows}


def _summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    regret = {name: np.array([row[name] for row in rows]) for name in STRATEGIES}
    return {
        "regret": {name: round(float(values.mean()), 3) for name, values in regret.items()},
        "pareto_less_random": asdict(compare(regret["pareto"], regret["random"])),
    }


def _mean(limits: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Average over limits, task by task."""
    rows = [
        {"task": task, **{name: mean(limit["rows"][turn][name] for limit in limits) for name in STRATEGIES}}
        for turn, task in enumerate(QUERIES)
    ]
    return _summary(rows)


def _print(document: dict[str, Any]) -> None:
    print("| limit | regret, zoo of `pareto` | of `random` | difference | 95 % | wins, ties, losses |")
    print("| --- | --: | --: | --: | --- | --- |")
    for row in (*document["limits"], {"limit": "mean of these", **document["mean"]}):
        limit, found = row["limit"], row["pareto_less_random"]
        name = "none" if limit is None else f"{limit / 1e6:g} M" if isinstance(limit, int) else limit
        print(
            f"| {name} | {row['regret']['pareto']:.1f} | {row['regret']['random']:.1f} | {found['mean']:+.1f} "
            f"| {found['low']:+.1f} to {found['high']:+.1f} | {found['wins']}, {found['ties']}, {found['losses']} |"
        )
    for name, zoo in document["zoos"].items():
        print(f"\n{name}: {zoo['networks']} networks, {zoo['images']} images trained on, digest {zoo['digest'][:16]}")


if __name__ == "__main__":
    main()

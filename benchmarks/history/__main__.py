"""Regret on tasks of a family before and after twenty fine-tunings on others of it.

    python benchmarks/history FEATURES [--splits 50] [--tries 2]

`fine_tunings.jsonl` has every network fine-tuned on every task (`python benchmarks/starter evaluate`, eight epochs, at
most 300 training images of 64 px); FEATURES is a folder of TASK.npz with the query features of the default extractor.
Twenty of the 33 tasks of glyphs are drawn as the user's past, the other 13 are what is searched next. Before: networks
are ranked by their mean logit on the seven tasks of other families, what a zoo without glyphs would know. Each of the
twenty tries the best networks of the ranking of that moment, one of all after the other (`nns finetune --try 2`), whose
validation accuracies enter the history; nothing else is told. Regret is in points of test accuracy, behind the best of
the networks, averaged over splits and tasks.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from nns.history import FineTuning, KnownDataset, KnownResult, own_results
from nns.types import DatasetRecord

FAMILY = "glyphs"
PAST = 20
SHOWN = (0, 1, 2, 5, 10, 20)


def main() -> None:
    """Read, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", type=Path)
    parser.add_argument("--splits", type=int, default=50)
    parser.add_argument("--tries", type=int, default=2)
    parser.add_argument("--without", nargs="*", default=[], help="networks to leave out")
    args = parser.parse_args()
    rows = [json.loads(line) for line in Path(__file__).with_name("fine_tunings.jsonl").read_text().splitlines()]
    cells: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in rows:
        if row["network"] not in args.without:
            cells[row["network"]][row["task"]] = row
    tasks = sorted(path.stem for path in args.features.glob("*.npz"))
    cells = {name: done for name, done in sorted(cells.items()) if set(tasks) <= done.keys()}
    records = {task: _record(task, args.features / f"{task}.npz") for task in tasks}
    print(f"{len(cells)} networks: {', '.join(cells)}")
    _report(cells, records, args.splits, args.tries)


def _record(task: str, path: Path) -> DatasetRecord:
    found = np.load(path)
    features, labels = found["features"].astype(np.float32), found["labels"]
    names = tuple(map(str, range(int(found["classes"]))))
    return DatasetRecord(
        task, str(found["digest"]), names, features, labels, int(found["images"]), "efficientnet-lite0"
    )


def _report(cells: Any, records: dict[str, DatasetRecord], splits: int, tries: int) -> None:
    names = list(cells)
    zoo = _zoo(cells)
    family = [task for task in records if task.startswith(FAMILY)]
    others = [task for task in records if task not in family]
    base = np.array([np.mean([_logit(cells[name][task]["val"]) for task in others]) for name in names])
    regret = defaultdict(list)
    for split in range(splits):
        drawn = np.random.default_rng(split).permutation(family)
        past, next_ones = drawn[:PAST].tolist(), drawn[PAST:].tolist()
        history: list[FineTuning] = []
        for count in range(PAST + 1):
            if count in SHOWN:
                for task in next_ones:
                    regret[count].append(_regret(cells, names, task, _ranked(history, records[task], zoo, base)))
                if count in {0, PAST}:
                    for task in others:
                        chosen = _ranked(history, records[task], zoo, base)
                        regret["elsewhere", count].append(_regret(cells, names, task, chosen))
            if count < PAST:
                order = _ranked(history, records[past[count]], zoo, base)[:tries]
                history.append(_fine_tuned(cells, names, records[past[count]], order, count))
    best = [max(names, key=lambda n: np.mean([cells[n][t]["test"] for t in family]))]
    print(f"the network that is best on the family in the mean: {best[0]}")
    print("| fine-tunings | regret of the first | regret of the better of two |\n|---:|---:|---:|")
    for count in SHOWN:
        print(f"| {count} | " + " | ".join(f"{v:.2f}" for v in np.mean(regret[count], axis=0)) + " |")
    for count in (0, PAST):
        both = np.mean(regret["elsewhere", count], axis=0)
        print(f"other families, {count} fine-tunings on {FAMILY}: {both[0]:.2f}, {both[1]:.2f}")


def _ranked(history: list[FineTuning], query: DatasetRecord, zoo: Any, base: Any) -> list[int]:
    rows = np.arange(len(base))
    added = own_results(history, query, zoo, rows, lambda _, at: base[at]).added if history else np.zeros(len(base))
    return np.argsort(-(base + added), kind="stable").tolist()


def _regret(cells: Any, names: list[str], task: str, order: list[int]) -> tuple[float, float]:
    tests = np.array([cells[name][task]["test"] for name in names])
    two = order[:2]
    kept = max(two, key=lambda i: cells[names[i]][task]["val"])  # the validation split chooses, as in nns finetune
    return 100 * (tests.max() - tests[order[0]]), 100 * (tests.max() - tests[kept])


def _fine_tuned(cells: Any, names: list[str], record: DatasetRecord, order: list[int], count: int) -> FineTuning:
    vals = {i: float(cells[names[i]][record.name]["val"]) for i in order}
    best = max(vals.values())
    results = [
        KnownResult(names[i], "b", names[i], "", names[i].partition(":")[0], "", 0, vals[i], 8, best)
        for i in sorted(vals, key=lambda i: -vals[i])
    ]
    date = f"2026-11-29T00:00:{count:02d}Z"
    validation = max(1, round(0.15 * record.images))
    return FineTuning(date, "0", KnownDataset.of(record), {}, 1.0, "cpu", validation, tuple(results))


def _zoo(cells: Any) -> Any:
    """Make what `own_results` asks of a zoo: ids, descriptions, sizes."""
    entries = [
        SimpleNamespace(spec=SimpleNamespace(backend="b", name=name), source_dataset=name.partition(":")[0])
        for name in cells
    ]
    sizes = np.array([min(row["params"] for row in done.values()) for done in cells.values()])
    store = SimpleNamespace(
        ids=lambda: list(cells),
        entries=lambda rows: [entries[row] for row in rows],
        columns=lambda: SimpleNamespace(body_params=sizes),
    )
    return SimpleNamespace(store=store)


def _logit(accuracy: float) -> float:
    return float(np.log((accuracy + 0.01) / (1.01 - accuracy)))


if __name__ == "__main__":
    main()

"""Fine-tuning from what a search retrieves, next to simpler choices and to random weights.

    python benchmarks/finetune/choices.py ZOO.h5 BANK OUT.jsonl [--tasks tasks.txt] [--max-params 5M] [--epochs 8]

For each task (none of them in the zoo, nor of a script or vendor in it) five networks within the limit are fine-tuned
with one recipe: the search's first, that of a search with a probe, the static choice, the largest, one drawn at random;
and the best-ranked ImageNet network, once from its weights and once from random weights. The epoch is chosen on the
validation split, the test split is read once. Results go to OUT.jsonl as they come; a rerun goes on, and prints the
table at the end. With --known EARLIER.jsonl, of a zoo with the same networks, what was fine-tuned there is not
fine-tuned again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean

import numpy as np

from nns.data import Dataset
from nns.finetuning import Recipe, climb
from nns.finetuning.finetune_zoo import entrant_of
from nns.quantities import parse_count
from nns.searching import search
from nns.types import LabelledArrays, Limits, Preprocessing, SplitArrays
from nns.zoo import Zoo

ROLES = ("search", "probe", "static", "largest", "random", "imagenet", "scratch")
MAX_TRAIN = 300
PROBE = 600.0
"""Seconds that a probe may take: enough for all that it looks at."""


def main() -> None:
    """Run what is missing, then print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zoo", type=Path)
    parser.add_argument("bank", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tasks", type=Path, default=Path(__file__).with_name("tasks.txt"))
    parser.add_argument("--max-params", default="5M")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--known", type=Path, help="rows of an earlier run with the same recipe")
    parser.add_argument("--shard", default="0/1", help="K/N: every N-th task from the K-th, for several processes")
    args = parser.parse_args()
    rows = _read(args.out)
    shard, shards = (int(part) for part in args.shard.split("/"))
    names = args.tasks.read_text(encoding="utf-8").split()[shard::shards]
    with Zoo(args.zoo) as zoo:
        for name in names:
            if not all((name, role) in rows for role in ROLES):
                _run(args, zoo, name, rows)
    _table(_read(args.out))


def _read(path: Path) -> dict[tuple[str, str], dict[str, object]]:
    if not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {(row["task"], row["role"]): row for row in rows}


def _run(args: argparse.Namespace, zoo: Zoo, name: str, rows: dict[tuple[str, str], dict[str, object]]) -> None:
    data = str(args.bank / name)
    found = search(data, zoo, Limits(max_params=parse_count(args.max_params)), top=len(zoo))
    ranked = found.candidates
    probed = search(
        data, zoo, Limits(max_params=parse_count(args.max_params)), top=1, probe="ridge", probe_seconds=PROBE
    )
    seed = int(found.dataset.digest[:8], 16)
    picks = {
        "search": ranked[0],
        "probe": probed.candidates[0],
        "static": found.static_choice,
        "largest": max(ranked, key=lambda c: (c.params, -c.rank)),
        "random": ranked[int(np.random.default_rng(seed).integers(len(ranked)))],
        "imagenet": next(c for c in ranked if c.entry.source_dataset == "imagenet-1k"),
    }
    picks["scratch"] = picks["imagenet"]
    dataset = Dataset.open(data)
    recipe = Recipe(epochs=args.epochs, device="cpu")

    def arrays(preprocessing: Preprocessing) -> SplitArrays:
        loaded, _ = dataset.decode_splits(preprocessing.size, workers=1)
        return SplitArrays(loaded.name, loaded.classes, _few(loaded.train), loaded.val, loaded.test)

    earlier = {} if args.known is None else _read(args.known)
    done = {
        (str(row["network"]), role == "scratch"): {key: row[key] for key in ("val", "test", "seconds")}
        for (task, role), row in (earlier | rows).items()
        if task == name
    }
    for role, pick in picks.items():
        if (name, role) in rows:
            continue
        key = (pick.entry.id, role == "scratch")
        if key not in done:
            climber = entrant_of(zoo.network(pick.entry.id), len(dataset.classes), random_weights=role == "scratch")
            result = climb([climber], arrays, recipe)
            done[key] = {"val": result.val_accuracy, "test": result.test_accuracy, "seconds": result.seconds}
        row = {
            "task": name, "role": role, "network": pick.entry.id, "architecture": pick.entry.spec.name,
            "source": pick.entry.source_dataset, "params": pick.params, "rank": pick.rank, **done[key],
        }  # fmt: skip
        with args.out.open("a", encoding="utf-8") as out:
            out.write(json.dumps(row) + "\n")


def _few(split: LabelledArrays) -> LabelledArrays:
    kept = np.sort(np.random.default_rng(0).permutation(len(split))[:MAX_TRAIN])
    return LabelledArrays(split.images[kept], split.labels[kept])


def _table(rows: dict[tuple[str, str], dict[str, object]]) -> None:
    names = sorted({task for task, _ in rows})
    print("| task | " + " | ".join(ROLES) + " |\n| --- |" + " --: |" * len(ROLES))
    complete = [name for name in names if all((name, role) in rows for role in ROLES)]
    for name in complete:
        print(f"| {name} | " + " | ".join(f"{rows[name, role]['test']:.1%}" for role in ROLES) + " |")
    if complete:
        means = [mean(float(str(rows[name, role]["test"])) for name in complete) for role in ROLES]
        print("| mean | " + " | ".join(f"{value:.1%}" for value in means) + " |")
        wins = sum(float(str(rows[n, "imagenet"]["test"])) > float(str(rows[n, "scratch"]["test"])) for n in complete)
        print(f"\nImageNet weights beat random weights on {wins} of {len(complete)} tasks.")


if __name__ == "__main__":
    main()

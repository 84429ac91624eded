"""Choosing among fine-tuned networks by few validation images: what a ladder gains against its first candidate.

    OMP_NUM_THREADS=1 python benchmarks/finetune/few_images.py run BANK WORK [--tasks FILE] [--shots 10 20 100]
    python benchmarks/finetune/few_images.py table WORK

``run``: of each task so many images a class (train and validation of the task, drawn) make a dataset of a user's, with
the task's own test split. nns splits it as it would; the searches with and without a probe name three networks each;
each is trained for half of the epochs and then, with the rate restarted, for all, as a ladder of two rungs does. Which
validation images it had right then, and its test accuracy, go to WORK/rows.jsonl; a rerun goes on. ``table`` plays the
rules of choosing on these rows: nothing is trained twice.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import recipes
import torch

from nns.backends.steps import predict_classes
from nns.bench.bootstrap import compare
from nns.data import Dataset
from nns.finetuning import Recipe, train
from nns.finetuning.choosing import gains
from nns.finetuning.finetune_zoo import entrant_of
from nns.searching import search
from nns.types import Limits
from nns.zoo import Zoo

LIMIT = 5_000_000


def main() -> None:
    """Run what is missing, or print what the rules come to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("bank", type=Path)
    run.add_argument("work", type=Path)
    run.add_argument("--zoo", type=Path, required=True)
    run.add_argument("--tasks", type=Path)
    run.add_argument("--shots", type=int, nargs="+", default=[10, 20, 100])
    run.add_argument("--epochs", type=int, default=12)
    table = commands.add_parser("table")
    table.add_argument("work", type=Path)
    args = parser.parse_args()
    if args.command == "table":
        _table(_read(args.work / "rows.jsonl"))
        return
    tasks = args.tasks.read_text(encoding="utf-8").split() if args.tasks else list(recipes.TASKS)
    torch.set_num_threads(1)
    with Zoo(args.zoo) as zoo:
        zoo.offline = True
        for shots in args.shots:
            for task in tasks:
                _run(args.bank / task, args.work, zoo, shots, args.epochs)


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _run(task: Path, work: Path, zoo: Zoo, shots: int, epochs: int) -> None:
    rows = work / "rows.jsonl"
    done = {(row["task"], row["shots"], row["network"]) for row in _read(rows)}
    if (task.name, shots, "") in done:
        return
    folder = work / f"{task.name}-{shots}"
    _draw(task, folder, shots)
    limits = Limits(max_params=LIMIT)
    plain = search(str(folder / "train"), zoo, limits, top=20, offline=True)
    probed = search(str(folder / "train"), zoo, limits, top=20, offline=True, probe="ridge", probe_seconds=600.0)
    expected = {c.entry.id: c.predicted_accuracy for c in plain.candidates}
    after = {c.entry.id: c.predicted_accuracy for c in probed.candidates}
    dataset = Dataset.open(folder)
    recipe = Recipe(device="cpu")
    chosen = list(dict.fromkeys(c.entry.id for c in [*plain.together, *probed.together]))
    with rows.open("a", encoding="utf-8") as out:
        for network in chosen:
            if (task.name, shots, network) in done:
                continue
            entrant = entrant_of(zoo.network(network), len(dataset.classes))
            data, _ = dataset.splits_at(entrant.preprocessing.size)
            assert data.test is not None
            module, found, score = entrant.build(), {}, -1.0
            for rung, count in enumerate((max(1, epochs // 2), epochs)):
                result = train(module, data, entrant.preprocessing, replace(recipe, epochs=count), seed=rung)
                module = result.module
                said = predict_classes(module, data.val, entrant.preprocessing, "cpu")
                found[f"right{rung}"] = "".join("01"[bool(each)] for each in said == data.val.labels)
                if result.val_accuracy > score:  # as the ladder keeps the better of the two
                    score = result.val_accuracy
                    said = predict_classes(module, data.test, entrant.preprocessing, "cpu")
                    found["test"] = float((said == data.test.labels).mean())
            row = {"task": task.name, "shots": shots, "network": network, "name": zoo.network(network).spec.name}
            row |= {"expected": expected.get(network), "probed": after.get(network), **found}
            out.write(json.dumps(row) + "\n")
            out.flush()
        names = {"plain": [c.entry.id for c in plain.together], "probe": [c.entry.id for c in probed.together]}
        out.write(json.dumps({"task": task.name, "shots": shots, "network": "", **names}) + "\n")
    shutil.rmtree(folder)


def _draw(task: Path, folder: Path, shots: int) -> None:
    """Link so many images of each class into ``folder/train``, and the test split of the task beside them."""
    shutil.rmtree(folder, ignore_errors=True)
    whole = Dataset.open(task)
    members, _ = whole.split_indices(32)
    rest = np.concatenate([members["train"], members["val"]])
    rest = np.random.default_rng(shots).permutation(rest)
    for label, name in enumerate(whole.classes):
        for split, indices in (("train", rest), ("test", members["test"])):
            those = [index for index in indices.tolist() if whole.items[index].label == label]
            (folder / split / name).mkdir(parents=True)
            for index in those[:shots] if split == "train" else those:
                image = whole.items[index].source
                assert isinstance(image, Path)
                (folder / split / name / image.name).symlink_to(image.resolve())


def _table(rows: list[dict[str, Any]]) -> None:
    """Print the mean test accuracy of what each rule keeps, by images a class and by what named the three."""
    of: dict[tuple[str, int], dict[str, dict[str, Any]]] = {}
    for row in rows:
        of.setdefault((row["task"], row["shots"]), {})[row["network"]] = row
    complete = {key: found for key, found in of.items() if "" in found}
    for way, expected in (("plain", "expected"), ("probe", "probed")):
        for shots in sorted({shots for _, shots in complete}):
            kept: dict[str, list[float]] = {}
            images = []
            for (_, number), found in complete.items():
                if number == shots:
                    three = [found[network] for network in found[""][way]]
                    images.append(len(three[0]["right0"]))
                    for rule, index in _rules(three, expected).items():
                        kept.setdefault(rule, []).append(100 * three[index]["test"])
            said = f"{way}, {shots} a class, {len(images)} tasks, {min(images)} to {max(images)} validation images"
            first = np.array(kept["first"])
            for rule, values in kept.items():
                lost = np.array(values) - first
                gain = compare(np.array(values), first)
                interval = f" ({gain.mean:+.1f}, {gain.low:+.1f} to {gain.high:+.1f}; worst {lost.min():+.1f})"
                said += f"\n    {rule} {np.mean(values):.1f}{interval if rule != 'first' else ''}"
            print(said)


def _rules(three: list[dict[str, Any]], expected: str) -> dict[str, int]:
    """Return which of three networks each rule keeps: the ladder's short training chooses which is trained on."""
    right = [np.array([each == "1" for each in row["right0"]]) for row in three]
    labels = np.zeros(len(right[0]), np.int64)
    known = [row[expected] for row in three]
    return {
        "first": 0,
        "best on validation": int(np.argmax([each.mean() for each in right])),
        "weighed": int(np.argmax(gains(known, right, labels, skewed=False))),
        "best of all": int(np.argmax([row["test"] for row in three])),
    }


if __name__ == "__main__":
    main()

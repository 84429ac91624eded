"""Distillation into a small network, at equal processor time: the network alone, and taught by a larger one.

    OMP_NUM_THREADS=1 python benchmarks/finetune/distilling.py BANK OUT.jsonl [--tasks N] [--seconds 60]

*alone*: the best network within the limit of parameters, fine-tuned for all of the time. Taught: a larger one is
fine-tuned first for two fifths of the time; the rest is for the small one, whose steps also pay for what the teacher
says of each batch (nns.finetuning.teaching). *always*: it is listened to to the end; *better*: as long as it is better
on validation, as `nns finetune --distill` has it. The clock is the process's, decoding left out; epochs are chosen on
validation, the test split is read once. Rows go to OUT.jsonl as they come; a rerun goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import recipes
import torch

from nns.bench.bootstrap import compare
from nns.data import Dataset
from nns.finetuning import Recipe, _budget, evaluate, train
from nns.finetuning.finetune_zoo import entrant_of
from nns.finetuning.teaching import TEACHER_SHARE, Teacher
from nns.types import SplitArrays
from nns.verbs import open_zoo
from nns.zoo import Zoo

LIMITS = {
    "0.6": ("73d9728a74", "cc6c7b1be0"),
    "1": ("cc6c7b1be0", "9e2138a4f9"),
    "2": ("9e2138a4f9", "398829c123"),
}
"""Millions of parameters, to student and teacher in the starter zoo: the first stages of Lite2 (0.45 M), of Lite1
(0.99 M) and of Lite2 (1.16 M), all generalists; and Lite2 with ImageNet weights (4.8 M)."""
ARMS = ("alone", "always", "better")
SIZE = 64
RECIPE = Recipe(epochs=400, device="cpu", augment="affine")


def main() -> None:
    """Run what is missing, then print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tasks", type=int, default=len(recipes.TASKS))
    parser.add_argument("--limits", default=",".join(LIMITS))
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--seconds", type=float, default=60.0)
    args = parser.parse_args()
    _budget.clock = time.process_time
    done = {_key(row) for row in recipes._read(args.out)}
    with open_zoo() as zoo:
        for limit in args.limits.split(","):
            for task in recipes.TASKS[: args.tasks]:
                for arm in args.arms.split(","):
                    about = {"task": task, "limit": limit, "arm": arm, "seconds": args.seconds}
                    if _key(about) not in done:
                        row = about | _finetune(zoo, args.bank / task, limit, arm, args.seconds)
                        with args.out.open("a", encoding="utf-8") as rows:
                            rows.write(json.dumps(row) + "\n")
                        print(row, flush=True)
            _print(recipes._read(args.out), limit, args.seconds, args.arms.split(","))


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("task", "limit", "arm", "seconds"))


def _finetune(zoo: Zoo, folder: Path, limit: str, arm: str, seconds: float) -> dict[str, Any]:
    loaded, _ = Dataset.open(folder).decode_splits(SIZE, workers=1)
    data = SplitArrays(loaded.name, loaded.classes, recipes._few(loaded.train), loaded.val, loaded.test)
    student, teacher = (
        entrant_of(zoo.network(network), len(data.classes), image_size=SIZE) for network in LIMITS[limit]
    )
    found: dict[str, Any] = {}
    teaches = None
    left = seconds
    if arm != "alone":
        began = time.process_time()
        taught = train(teacher.build(), data, teacher.preprocessing, replace(RECIPE, seconds=TEACHER_SHARE * seconds))
        left = seconds - (time.process_time() - began)
        best = taught.best if arm == "better" else replace(taught.best, val_accuracy=2.0, val_macro_f1=None)
        teaches = Teacher(teacher, taught.module, best)
        found = {"teacher_val": taught.val_accuracy, "teacher_epochs": len(taught.history)}
    result = train(student.build(), data, student.preprocessing, replace(RECIPE, seconds=left), teacher=teaches)
    assert data.test is not None
    _, test = evaluate(result.module, data.test, student.preprocessing)
    if teaches is not None:
        _, found["teacher_test"] = evaluate(teaches.module, data.test, teacher.preprocessing)
    return found | {"val": result.val_accuracy, "test": test, "epochs": len(result.history)}


def _print(rows: list[dict[str, Any]], limit: str, seconds: float, arms: list[str]) -> None:
    of = {(row["arm"], row["task"]): row for row in rows if (row["limit"], row["seconds"]) == (limit, seconds)}
    tasks = [task for task in recipes.TASKS if all((arm, task) in of for arm in arms)]
    if not tasks:
        return
    print(f"limit {limit} M, {len(tasks)} tasks, {seconds:g} s of processor time")
    for arm in arms:
        test = np.array([100 * of[arm, task]["test"] for task in tasks])
        found = compare(test, np.array([100 * of["alone", task]["test"] for task in tasks]))
        teacher = np.mean([100 * of[arm, task].get("teacher_test", np.nan) for task in tasks])
        val = np.mean([100 * of[arm, task]["val"] for task in tasks])
        print(
            f"{arm:6} test {test.mean():5.1f} ({found.mean:+.1f}, {found.low:+.1f} to {found.high:+.1f})  "
            f"val {val:5.1f}  teacher {teacher:5.1f}",
            flush=True,
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

"""Recipes beside each other at equal processor time: what each part of one is worth, on the validation split.

    OMP_NUM_THREADS=1 python benchmarks/finetune/recipes.py BANK OUT.jsonl [--tasks FILE] [--seconds 60] [--seeds 3]

Each variant fine-tunes one network with packaged weights on each task, for so many seconds of processor time, decoding
left out: the clock of the budget is the process's, so that other work on the machine changes nothing. Results go to
OUT.jsonl as they come, a rerun goes on; the table at the end is of differences from the first variant, paired by task
and seed, with an 80 % bootstrap interval over tasks.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nns.bench.bootstrap import compare
from nns.data import Dataset
from nns.finetuning import Recipe, _budget, evaluate, train
from nns.plugins import installed_plugins
from nns.types import ArchitectureSpec, LabelledArrays, SplitArrays

TASKS = (
    "icons-elementary-contexts",
    "emoji-twitter-people",
    "emoji-facebook-category",
    "glyphs-runic-letters",
    "glyphs-bengali-letters",
    "fontstyle-weight-letters",
    "photos-solar-grade-mono",
    "icons-gnome-colors-contexts",
    "photos-solar-defect-poly",
    "fontstyle-family-hangul",
)
"""None of them is among the twelve of tasks.txt, which the choice is tested on once."""

MAX_TRAIN = 600
TIMM = {"augment": "affine", "ema": 0.95, "layer_decay": 0.8, "mixup": 0.1, "weight_decay": 0.05}
BASE = Recipe(epochs=400, device="cpu")
VARIANTS: dict[str, tuple[int, dict[str, Any]]] = {
    "64 px": (64, {}),
    "96 px": (96, {}),
    "96 px, affine": (96, {"augment": "affine"}),
    "96 px, ema": (96, {"ema": 0.95}),
    "96 px, layer decay": (96, {"layer_decay": 0.8}),
    "96 px, mixup": (96, {"mixup": 0.1}),
    "96 px, decay 0.05": (96, {"weight_decay": 0.05}),
    "96 px, still norms": (96, {"still_norms": True}),
    "96 px, rate 5e-4": (96, {"lr": 5e-4}),
    "96 px, rate 2e-3": (96, {"lr": 2e-3}),
    "96 px, timm's": (96, TIMM),
    "96 px, affine, ema": (96, {"augment": "affine", "ema": 0.95}),
    "96 px, affine, join": (96, {"augment": "affine", "join": 0.25, "again": 0.3}),
    "96 px, affine, rate 2e-3": (96, {"augment": "affine", "lr": 2e-3}),
    "96 px, affine, rate 5e-4": (96, {"augment": "affine", "lr": 5e-4}),
    "96 px, affine, decay 0.9": (96, {"augment": "affine", "layer_decay": 0.9}),
    "96 px, affine, mixup": (96, {"augment": "affine", "mixup": 0.1}),
    "64 px, affine": (64, {"augment": "affine"}),
    "128 px, affine": (128, {"augment": "affine"}),
    "96 px, timm's, last": (96, TIMM | {"last": True}),
    "96 px, timm's, both": (96, TIMM | {"join": 1.0}),
    "96 px, timm's, join": (96, TIMM | {"join": 0.25, "again": 0.3}),
    "128 px": (128, {}),
    "128 px, timm's": (128, TIMM),
    "128 px, timm's, join": (128, TIMM | {"join": 0.25, "again": 0.3}),
}
"""Input size and changes to the default recipe; ``timm's`` is the recipe of issue 16. ``last``: the last weights, not
the best on validation. ``join``: the last part of the time goes to training and validation images together, from a rate
of ``again`` times the first; ``both``: all of it."""


def main() -> None:
    """Run what is missing, then print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tasks", type=Path, help="names of tasks; ten that are not tested on, unless told")
    parser.add_argument("--variants", help="names with semicolons (all)")
    parser.add_argument("--network", default="tf_efficientnet_lite0")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    tasks = args.tasks.read_text(encoding="utf-8").split() if args.tasks else list(TASKS)
    variants = args.variants.split(";") if args.variants else list(VARIANTS)
    _budget.clock = time.process_time
    done = {_key(row) for row in _read(args.out)}
    for seed in range(args.seeds):
        for task in tasks:
            for variant in variants:
                about = {
                    "task": task,
                    "variant": variant,
                    "seed": seed,
                    "seconds": args.seconds,
                    "network": args.network,
                }
                if _key(about) not in done:
                    row = about | _finetune(args.bank / task, args.network, variant, args.seconds, seed)
                    with args.out.open("a", encoding="utf-8") as rows:
                        rows.write(json.dumps(row) + "\n")
            _print(_read(args.out), variants, args.seconds, args.network)


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("task", "variant", "seed", "seconds", "network"))


def _finetune(folder: Path, network: str, variant: str, seconds: float, seed: int) -> dict[str, Any]:
    size, changes = VARIANTS[variant]
    loaded, _ = Dataset.open(folder).decode_splits(size, workers=1)
    data = SplitArrays(loaded.name, loaded.classes, _few(loaded.train), loaded.val, loaded.test)
    backend = installed_plugins().backend("timm")
    offer = next(
        each for each in backend.pretrained() if each.spec == ArchitectureSpec("timm", network, {}, "imagenet")
    )
    module = backend.replace_head(backend.load_pretrained(offer), len(data.classes), seed)
    preprocessing = backend.preprocessing(offer.spec, size)
    changes = dict(changes)
    last, join, again = changes.pop("last", False), changes.pop("join", 0.0), changes.pop("again", 1.0)
    recipe = replace(BASE, seconds=seconds * (1 - join), **changes)
    epochs, found = 0, {}
    assert data.test is not None
    if join < 1:
        result = train(module, _unseen(data) if last else data, preprocessing, recipe, seed=seed)
        module, epochs = result.module, len(result.history)
        found = {"val": evaluate(module, data.val, preprocessing)[1], "last": result.history[-1].val_accuracy}
    if join:
        both = replace(recipe, seconds=seconds * join, lr=recipe.lr * again)
        joined = replace(data, train=_joined(data.train, data.val))
        result = train(module, _unseen(joined), preprocessing, both, seed=seed + 1)
        module, epochs = result.module, epochs + len(result.history)
    _, test = evaluate(module, data.test, preprocessing)
    return {"val": math.nan, **found, "test": test, "epochs": epochs}


def _unseen(data: SplitArrays) -> SplitArrays:
    """Return the data without images to validate on: the last weights count."""
    return replace(data, val=LabelledArrays(data.val.images[:0], data.val.labels[:0]))


def _joined(one: LabelledArrays, other: LabelledArrays) -> LabelledArrays:
    return LabelledArrays(np.concatenate([one.images, other.images]), np.concatenate([one.labels, other.labels]))


def _few(split: LabelledArrays) -> LabelledArrays:
    kept = np.sort(np.random.default_rng(0).permutation(len(split))[:MAX_TRAIN])
    return LabelledArrays(split.images[kept], split.labels[kept])


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _print(rows: list[dict[str, Any]], variants: list[str], seconds: float, network: str) -> None:
    """Print means, and differences from the first variant by task."""
    of = {_key(row): row for row in rows if (row["seconds"], row["network"]) == (seconds, network)}
    shared = {
        (row["task"], row["seed"])
        for row in of.values()
        if all((row["task"], variant, row["seed"], seconds, network) in of for variant in variants)
    }
    if not shared:
        return
    tasks = sorted({task for task, _ in shared})

    def means(variant: str, split: str) -> np.ndarray:
        return np.array(
            [
                np.mean([100 * of[task, variant, seed, seconds, network][split] for t, seed in shared if t == task])
                for task in tasks
            ]
        )

    print(f"{len(tasks)} tasks, {len(shared)} trainings each, {seconds:g} s of processor time, {network}")
    for variant in variants:
        val, test = means(variant, "val"), means(variant, "test")
        found = compare(val, means(variants[0], "val"))
        epochs = np.mean([of[task, variant, seed, seconds, network]["epochs"] for task, seed in shared])
        print(
            f"{variant:22} val {val.mean():5.1f} ({found.mean:+.1f}, {found.low:+.1f} to {found.high:+.1f})  "
            f"test {test.mean():5.1f}  epochs {epochs:.0f}",
            flush=True,
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

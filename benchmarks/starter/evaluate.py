"""Step 4: fine-tuning what was taught on tasks that nothing in it has seen, next to random and to ImageNet weights.

The recipe and the splits are those of benchmarks/finetune/choices.py: eight epochs, AdamW 1e-3, at most 300 training
images, the epoch chosen on the validation split, the test split read once; at 64 px unless told otherwise.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import timm
import torch
from torch import nn

from nns.data import Dataset
from nns.finetuning import Recipe, evaluate, train
from nns.types import LabelledArrays, Preprocessing, SplitArrays
from starter import lites
from starter.excluded import BENCHMARKS
from starter.exporting import load_subnet, load_trunk
from starter.students import create_cut

SIZE = 64
MAX_TRAIN = 300


def main(
    bank: Path, weights: Path, out: Path, networks: list[str], seeds: int, tasks: Path | None, size: int = SIZE
) -> None:
    """Fine-tune each network on each task, unless its row is there; print the table.

    Args:
        bank: The tasks' images.
        weights: Folder of exported trunks.
        out: Rows, one a fine-tuning.
        networks: ``scratch:NAME``, ``lite:N``, ``cut:liteN-bBLOCKS``, ``student:NAME`` or ``subnet:NAME:SIZE``, see
            :func:`_maker`.
        seeds: Seeds of head, order and augmentation.
        tasks: Names of tasks; those of benchmarks/finetune unless told.
        size: Side of the input in pixels.
    """
    names = (tasks or BENCHMARKS / "finetune/tasks.txt").read_text(encoding="utf-8").split()
    done = {(row["task"], row["network"], row["seed"], row.get("size", SIZE)) for row in _read(out)}
    for seed in range(seeds):
        for network in networks:
            for task in names:
                if (task, network, seed, size) not in done:
                    row = _finetune(bank / task, _maker(network, weights), seed, size)
                    about = {"task": task, "network": network, "seed": seed}
                    with out.open("a", encoding="utf-8") as rows:
                        rows.write(json.dumps(about | ({"size": size} if size != SIZE else {}) | row) + "\n")
            _print(_read(out), network, names, size)


def _maker(network: str, weights: Path) -> Callable[[int], nn.Module]:
    """Make the function that makes the network for a number of classes."""
    kind, _, name = network.partition(":")
    if kind == "scratch":
        return lambda classes: timm.create_model(name, num_classes=classes)
    if kind == "lite":
        return lambda classes: _with_head(lites.load_lite(int(name)), classes)
    if kind == "cut":
        return lambda classes: _with_head(create_cut(name), classes)
    if kind == "student":
        return lambda classes: load_trunk(weights / f"{name}.safetensors", classes)
    if kind == "subnet":
        supernet, _, size = name.partition(":")
        return lambda classes: load_subnet(weights / f"{supernet}.safetensors", size, classes)
    raise SystemExit(f"{network!r} is none of scratch:NAME, lite:N, cut:liteN-bBLOCKS, student:NAME, subnet:NAME:SIZE")


def _with_head(network: Any, classes: int) -> nn.Module:
    network.reset_classifier(classes)
    result: nn.Module = network
    return result


def _finetune(folder: Path, make: Callable[[int], nn.Module], seed: int, size: int) -> dict[str, Any]:
    loaded, _ = Dataset.open(folder).decode_splits(size, workers=1)
    preprocessing = Preprocessing(size, lites.MEAN, lites.STD)
    data = SplitArrays(loaded.name, loaded.classes, _few(loaded.train), loaded.val, loaded.test)
    began = time.perf_counter()
    torch.manual_seed(seed)
    network = make(len(data.classes))
    params = sum(p.numel() for p in network.parameters())
    result = train(network, data, preprocessing, Recipe(epochs=8, device="cpu"), seed=seed)
    assert data.test is not None
    _, test = evaluate(result.module, data.test, preprocessing)
    seconds = round(time.perf_counter() - began, 1)
    return {"params": params, "val": result.val_accuracy, "test": test, "seconds": seconds}


def _few(split: LabelledArrays) -> LabelledArrays:
    kept = np.sort(np.random.default_rng(0).permutation(len(split))[:MAX_TRAIN])
    return LabelledArrays(split.images[kept], split.labels[kept])


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _print(rows: list[dict[str, Any]], network: str, names: list[str], size: int) -> None:
    found = [row for row in rows if (row["network"], row.get("size", SIZE)) == (network, size) and row["task"] in names]
    tests = ", ".join(f"{row['task']} {row['test']:.1%}" for row in found)
    print(
        f"{network}, {size} px: mean test {mean(row['test'] for row in found):.1%} of {len(found)} ({tests})",
        flush=True,
    )

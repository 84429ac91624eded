"""Train every pair of a set of tasks and architectures, so that ways of choosing pairs can be compared offline.

    python benchmarks/pairs/table.py BANK TABLE.jsonl [--tasks 24] [--worker 0/2]

A line for each pair: task, architecture, parameters, MACs, validation accuracy, seconds. Interrupted, it goes on
with the same command. Two at once: give them ``--worker 0/2`` and ``--worker 1/2`` and files of their own.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from nns.backends import WorkItem
from nns.backends.ofa.space import largest_spec, sample_spec
from nns.backends.timm import FINETUNE, PRETRAINED_CHOICES, SCRATCH, SMALL_CHOICES, SMALL_SIZE
from nns.building.plan import item_seed
from nns.building.worker import CurveTrainer, Place
from nns.data import Dataset
from nns.networks import count_cost
from nns.plugins import load_plugins
from nns.types import ArchitectureSpec, Training

SUBNETS = 20
WIDTHS = (0.35, 0.75)
"""Two supernets on each task, ten subnets of each."""


def items() -> list[WorkItem]:
    """List the work of one task: 13 timm networks and two supernets."""
    found = [WorkItem("timm", (ArchitectureSpec("timm", n),), SMALL_SIZE, SCRATCH) for n in SMALL_CHOICES]
    found += [
        WorkItem("timm", (ArchitectureSpec("timm", n, {}, "imagenet"),), 64, FINETUNE) for n in PRETRAINED_CHOICES
    ]
    rng = np.random.default_rng(7)
    for width in WIDTHS:
        specs = tuple(sample_spec(rng, width) for _ in range(SUBNETS // len(WIDTHS)))
        found.append(WorkItem("ofa", specs, 32, Training(epochs=10), supernet=largest_spec(width, "random")))
    return found


def main() -> None:
    """Train what is not in the table yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--tasks", type=int, default=24)
    parser.add_argument("--worker", default="0/1", help="which share of the tasks: NUMBER/OF")
    args = parser.parse_args()
    torch.set_num_threads(1)
    number, workers = map(int, args.worker.split("/"))
    names = Path(__file__).parents[1].joinpath("zoo", "tasks.txt").read_text(encoding="utf-8").split()
    names = [names[i * len(names) // args.tasks] for i in range(args.tasks)][number::workers]
    done = set()
    if args.table.exists():
        done = {(row["task"], row["item"]) for row in map(json.loads, args.table.read_text().splitlines())}
    registry = load_plugins()
    place = Place("", str(args.table.with_suffix(".images")))
    for name in names:
        dataset = Dataset.open(str(args.bank / name))
        for item in items():
            key = item.specs[0].name
            if (name, key) in done:
                continue
            started = time.perf_counter()
            backend = registry.backend(item.backend)
            arrays = place.arrays(dataset.path, dataset.digest, item.image_size, 0, 300)
            seed = item_seed(0, dataset.digest, key)
            rows = []
            for network in backend.produce(item, arrays, CurveTrainer(), seed):
                preprocessing = backend.preprocessing(network.spec, item.image_size)
                cost = count_cost(backend, network.module, preprocessing, len(arrays.classes))
                rows.append(
                    {
                        "task": name,
                        "item": key,
                        "architecture": network.spec.name,
                        "backend": item.backend,
                        "params": cost.params(len(arrays.classes)),
                        "macs": cost.macs(len(arrays.classes)),
                        "accuracy": round(network.accuracy, 5),
                        "seconds": 0.0,
                    }
                )
            seconds = time.perf_counter() - started
            with args.table.open("a", encoding="utf-8") as table:
                for row in rows:
                    table.write(json.dumps({**row, "seconds": round(seconds / len(rows), 2)}) + "\n")
            print(name, key, round(seconds, 1), flush=True)


if __name__ == "__main__":
    main()

"""How long a search takes beside LogME on every network within the limit: the same data, machine and process.

    OMP_NUM_THREADS=1 python benchmarks/search/logme.py ZOO.h5 DATA... [--max-params 5M] [--images 256] [--runs 5]

Both read the images from their files. LogME reads at most --images of the training images, by class, once at each size
that networks take, loads every network from the zoo, and computes its features of all these images. The search reads
what it looks at, checks the other images, computes query features, and scores. Processor seconds in a process that has
searched before; the median of --runs searches, one run of LogME, which takes long.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from statistics import median

import numpy as np

from nns import Limits, Zoo, load_plugins, search
from nns.costs import device_key
from nns.images import load_images, open_dataset
from nns.images.cache import draw_by_class
from nns.plugins import Registry
from nns.probing import features_of, log_me
from nns.quantities import parse_count
from nns.retrieval import load_network


def main() -> None:
    """Time both, and print and write a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zoo", type=Path)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--max-params", default="5M")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, help="rows as JSON")
    args = parser.parse_args()
    registry, limits = load_plugins(), Limits(max_params=int(parse_count(args.max_params)))
    rows = []
    with Zoo.open(args.zoo) as zoo:
        search(args.data[0], zoo, registry, limits)
        one_of_each = {entry.spec.backend: entry.id for entry in zoo.entries()}
        score_all(args.data[0], zoo, registry, list(one_of_each.values()), args.images)  # libraries are loaded now
        for data in args.data:
            seconds = []
            for _ in range(args.runs):
                started = time.process_time()
                found = search(data, zoo, registry, limits, top=100_000)
                seconds.append(time.process_time() - started)
            ids = [candidate.entry.id for candidate in found.candidates]
            scores, probing = score_all(data, zoo, registry, ids, args.images)
            best = ids[int(np.argmax(scores))]
            row = {
                "data": Path(data).name,
                "networks": len(ids),
                "search": median(seconds),
                "logme": probing,
                "ratio": probing / median(seconds),
                "first_of_search": ids[0],
                "first_of_logme": best,
            }
            rows.append(row)
            print(
                f"{row['data']}: {len(ids)} networks, search {row['search']:.2f} s, LogME {probing:.1f} s, "
                f"{row['ratio']:.0f} times",
                flush=True,
            )
        about = {"zoo": zoo.digest(), "machine": device_key(), "cores": os.cpu_count(), "images": args.images}
    print(f"median ratio {median(row['ratio'] for row in rows):.0f}")
    if args.out:
        args.out.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n", encoding="utf-8")


def score_all(data: str, zoo: Zoo, registry: Registry, ids: list[str], images: int) -> tuple[list[float], float]:
    """Compute LogME of each network: scores, and processor seconds of all of it."""
    started = time.process_time()
    dataset = open_dataset(data)
    labels = np.asarray(dataset.labels)
    pool = np.flatnonzero([item.split in (None, "train") for item in dataset.items])
    drawn = pool[draw_by_class(labels[pool], images, 0)]
    decoded: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    entries = {entry.id: entry for entry in zoo.entries()}
    scores = []
    for network in ids:
        entry = entries[network]
        size = entry.preprocessing.size
        if size not in decoded:
            pixels, kept, _ = load_images(dataset, drawn, size)
            decoded[size] = pixels, labels[kept]
        module = load_network(zoo, registry, network).eval()
        features = features_of(registry.backend(entry.spec.backend), module, decoded[size][0], entry.preprocessing)
        scores.append(log_me(features, decoded[size][1]))
    return scores, time.process_time() - started


if __name__ == "__main__":
    main()

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
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from nns import Limits, Zoo
from nns.data import Dataset
from nns.networks import device_key
from nns.quantities import parse_count
from nns.searching import search
from nns.searching.probes import make_probe, run_probe


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
    limits = Limits(max_params=parse_count(args.max_params))
    rows = []
    with Zoo(args.zoo) as zoo:
        search(args.data[0], zoo, limits)
        one_of_each = {entry.spec.backend: entry.id for entry in zoo.store.entries()}
        score_all(args.data[0], zoo, list(one_of_each.values()), args.images)  # libraries are loaded now
        for data in args.data:
            seconds = []
            for _ in range(args.runs):
                started = time.process_time()
                found = search(data, zoo, limits, top=100_000)
                seconds.append(time.process_time() - started)
            ids = [candidate.entry.id for candidate in found.candidates]
            scores, probing = score_all(data, zoo, ids, args.images)
            best = max(ids, key=scores.__getitem__)
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
        about = {"zoo": zoo.store.digest(), "machine": device_key(), "cores": os.cpu_count(), "images": args.images}
    print(f"median ratio {median(row['ratio'] for row in rows):.0f}")
    if args.out:
        args.out.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n", encoding="utf-8")


def score_all(data: str, zoo: Zoo, ids: Sequence[str], images: int) -> tuple[dict[str, float], float]:
    """Compute LogME of each network: scores by id, and processor seconds of all of it."""
    started = time.process_time()
    by_id = {entry.id: entry for entry in zoo.store.entries()}
    entries = [by_id[network] for network in ids]
    probe = make_probe(zoo.registry, "logme")
    scores = run_probe(probe, Dataset.open(data), zoo, entries, math.inf, images=images)
    return scores, time.process_time() - started


if __name__ == "__main__":
    main()

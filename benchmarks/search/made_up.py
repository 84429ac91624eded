"""Make a zoo of made-up numbers, as large as real ones, to search in: no weights, random fingerprints and features.

    python benchmarks/search/made_up.py ZOO.h5 [--networks 14000] [--datasets 140]

Its space is `mixed`, fitted to it for one epoch. A search in it says nothing but how long it takes.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[2]))

from benchmarks.store.speed import network

from nns import Space, Zoo
from nns.types import DatasetRecord, TransferRecord

FEATURES = 1280
IMAGES = 50


def main() -> None:
    """Write the networks, the datasets they name and half a transfer a network, and fit the space."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zoo")
    parser.add_argument("--networks", type=int, default=14_000)
    parser.add_argument("--datasets", type=int, default=140)
    args = parser.parse_args()
    random = np.random.default_rng(0)
    with Zoo(args.zoo, must_exist=False) as zoo:
        zoo.store.add_all(network(number, b"") for number in range(args.networks))
        digests = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(args.datasets)]
        for number, digest in enumerate(digests):
            features = random.standard_normal((IMAGES, FEATURES), np.float32)
            labels = np.arange(IMAGES) % 14
            classes = tuple(f"class {k}" for k in range(14))
            name = f"dataset-{number}"
            zoo.store.add_dataset(DatasetRecord(name, digest, classes, features, labels, 300, zoo.extractor.name))
        ids = zoo.store.ids()
        pairs = random.choice(args.networks * args.datasets, args.networks // 2 + 1, replace=False).tolist()
        rows = [(*divmod(pair, args.datasets), float(random.uniform(0.3, 0.9))) for pair in pairs]
        zoo.store.put_transfers(
            [TransferRecord(ids[row], f"dataset-{at}", digests[at], accuracy, 3) for row, at, accuracy in rows]
        )
        zoo.store.merge()
        Space.fit(zoo, epochs=1, held_out=False)


if __name__ == "__main__":
    main()

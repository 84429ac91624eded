"""What is measured of one zoo, each in a process of its own: its seconds, and the memory that it takes at most."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.growth.made_up import print_of, real_entries, record, write_zoo

from nns import Space, Zoo, search
from nns.stores import HDF5Store
from nns.stores._digest import canonical_json
from nns.types import DatasetRecord, NetworkRecord
from nns.zoo import verify_path

FIT_EPOCHS = 100
DATASETS, CLASSES, IMAGES, FEATURES = 20, 10, 50, 1280


def made(path: Path, count: int) -> None:
    """Write the zoo that the others measure: no measure of its own."""
    write_zoo(path, count)


def build(path: Path, count: int) -> dict[str, float]:
    """Add so many networks to a new zoo, without training any, and merge."""
    entries, target = real_entries(), path.with_name("built.h5")
    started = time.perf_counter()
    with HDF5Store(target) as store:
        store.add_all(record(entries, number, False) for number in range(count))
    seconds = time.perf_counter() - started
    target.unlink()
    return {"build": seconds}


def open_(path: Path, count: int) -> dict[str, float]:
    """Open it and read its columns; then its digest, which a result names."""
    started = time.perf_counter()
    store = HDF5Store(path)
    assert len(store.columns()) == count
    opened = time.perf_counter()
    store.digest()
    return {"open": opened - started, "digest": time.perf_counter() - opened}


def find(path: Path, count: int) -> dict[str, float]:
    """Search twice with limits, the second time in a process that has searched; features are not counted."""
    images = [np.full((32, 32, 3), 20 * k, np.uint8) for k in range(8)]
    found: dict[str, float] = {}
    for when in ("first", "again"):
        with Zoo(path) as zoo:
            seconds = search(images, zoo, max_params=5_000_000, offline=False).seconds
        found[f"score, {when}"] = seconds.score
        found[f"search, {when}"] = seconds.total - seconds.features
    return found


def fit(path: Path, count: int) -> dict[str, float]:
    """Fit the default space to networks with fingerprints as large as real ones, trained on datasets of the zoo."""
    entries, target = real_entries(), path.with_name("fitted.h5")
    random = np.random.default_rng(0)
    digests = [f"{number:064x}" for number in range(DATASETS)]
    with Zoo(target, must_exist=False) as zoo:
        for number, digest in enumerate(digests):
            features = random.standard_normal((IMAGES, FEATURES), np.float32)
            labels = np.arange(IMAGES) % CLASSES
            names = tuple(f"class {k}" for k in range(CLASSES))
            about = DatasetRecord(f"data{number}", digest, names, features, labels, 300, zoo.extractor.name)
            zoo.store.add_dataset(about)

        def trained(number: int) -> NetworkRecord:
            from dataclasses import replace

            entry = record(entries, number, False).entry
            at = number % DATASETS
            entry = replace(entry, source_dataset=f"data{at}", source_digest=digests[at], accuracy=random.uniform())
            return NetworkRecord(entry, print_of(number), b"")

        zoo.store.add_all(trained(number) for number in range(count))
        started = time.perf_counter()
        Space.fit(zoo, epochs=FIT_EPOCHS, held_out=False)
        seconds = time.perf_counter() - started
    target.unlink()
    return {"fit": seconds}


def verify(path: Path, count: int) -> dict[str, float]:
    """Check every byte of it."""
    started = time.perf_counter()
    problems = verify_path(path)
    assert not problems, problems[:3]
    return {"verify": time.perf_counter() - started}


MEASURES: dict[str, Callable[[Path, int], dict[str, float] | None]] = {
    "made": made,
    "open": open_,
    "search": find,
    "verify": verify,
    "build": build,
    "fit": fit,
}


def measure(what: str, path: Path, count: int) -> dict[str, float]:
    """Run a measure in a process of its own; adds the memory that it took at most, in bytes."""
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.growth.measures", what, str(path), str(count)],
        capture_output=True, text=True, cwd=root,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{what} of {count} networks: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _main(what: str, path: str, count: str) -> None:
    if os.environ.get("GROWTH_CLOCK") == "processor":  # other work on the machine then counts less
        time.perf_counter = time.process_time
    found: dict[str, Any] = MEASURES[what](Path(path), int(count)) or {}
    found["bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(canonical_json(found).decode())


if __name__ == "__main__":
    _main(*sys.argv[1:])

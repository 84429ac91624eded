"""How many transfers a zoo needs, and on how many datasets: regret of searches where few results are known.

    OMP_NUM_THREADS=1 python benchmarks/space/transfers.py [MATRIX.npz] [--counts 32 48 64 128] [--datasets 2 5 12 25]
        [--draws 3] [--out FILE.json]

For every query dataset, results on datasets of other families are history, as in ``nns bench``; here only so many of
them are kept, on so many datasets drawn at random, evenly over these and over the networks, as ``nns zoo build`` makes
them. Regret is the mean over 1, 2 and 5 million parameters; of the first, and of the best on validation of three chosen
together. Spaces learn here however few the results are; elsewhere see :func:`nns.space.transfers_needed`.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from nns import load_plugins
from nns.bench.choosers import Fits, Question, Scene
from nns.bench.choosers.spaces import SpaceChooser, TogetherChooser, Variant
from nns.bench.choosers.timing import SearchSeconds
from nns.bench.matrix import Matrix
from nns.bench.metrics import HEADLINE_LIMITS, measure
from nns.space import SpaceData, _data

MATRIX = Path(__file__).parents[1] / "matrix" / "bank.npz"
SETTINGS = {"epochs": 5}


def main() -> None:
    """Print a line for each number of transfers and of datasets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("matrix", type=Path, nargs="?", default=MATRIX)
    parser.add_argument("--counts", type=int, nargs="+", default=[32, 48, 64, 128])
    parser.add_argument("--datasets", type=int, nargs="+", default=[2, 5, 12, 25])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--out", type=Path, help="rows as JSON")
    args = parser.parse_args()
    _data.TRANSFERS_A_NETWORK = 0.0  # spaces learn from as few as there are, to see what that does
    scene, rows = Scene(Matrix.load(args.matrix)), []
    print("| transfers | datasets | regret, mean of draws | of each draw | of three together |")
    print("| --: | --: | --: | --- | --: |")
    for count in args.counts:
        for datasets in args.datasets:
            if datasets * len(scene.matrix.candidates) < count:
                continue
            found = [regrets(scene, thinned(count, datasets, draw)) for draw in range(args.draws)]
            first, three = np.transpose(found)
            rows.append({"transfers": count, "datasets": datasets, "regret": first.tolist(), "three": three.tolist()})
            each = " ".join(f"{value:.1f}" for value in first)
            print(f"| {count} | {datasets} | {first.mean():.1f} | {each} | {three.mean():.1f} |", flush=True)
            if args.out:
                args.out.write_text(json.dumps(rows) + "\n", encoding="utf-8")


def thinned(count: int, datasets: int, draw: int) -> Callable[[SpaceData], SpaceData]:
    """Keep so many transfers, on so many datasets drawn at random."""

    def thin(data: SpaceData) -> SpaceData:
        rng = np.random.default_rng([draw, count, datasets])
        some = rng.permutation(np.unique(data.transfer_dataset))[:datasets]
        waiting = {int(each): list(rng.permutation(np.flatnonzero(data.transfer_dataset == each))) for each in some}
        used: Counter[int] = Counter()
        kept: list[int] = []
        while len(kept) < count and any(waiting.values()):
            for turn in waiting.values():
                if turn and len(kept) < count:
                    row = min(turn, key=lambda each: used[int(data.transfer_network[each])])
                    turn.remove(row)
                    used[int(data.transfer_network[row])] += 1
                    kept.append(int(row))
        return replace(
            data,
            transfer_network=data.transfer_network[kept],
            transfer_dataset=data.transfer_dataset[kept],
            transfer_accuracy=data.transfer_accuracy[kept],
        )

    return thin


def regrets(scene: Scene, thin: Callable[[SpaceData], SpaceData]) -> tuple[float, float]:
    """Return the regret in points of the first choice, and of three chosen together."""
    variant = Variant("mixed", SETTINGS, data=thin)
    chooser = SpaceChooser("", scene, variant, Fits(load_plugins()), [0], SearchSeconds())
    together, rows = TogetherChooser(chooser), []
    for task in range(len(scene.matrix.tasks)):
        for limit in HEADLINE_LIMITS:
            feasible = scene.feasible(task, limit)
            (answer,) = together.ask(Question(task, feasible))
            found = measure(answer, scene.accuracy[task], scene.val[task], feasible, scene.tuning_seconds[task])
            rows.append((found["regret"], found["regret_top3"]))
    first, three = np.mean(rows, axis=0)
    return float(first), float(three)


if __name__ == "__main__":
    main()

"""Does the prior pick well from facts alone? On a public table of 19 networks, each dataset left out in its turn.

    python benchmarks/priors/foreign.py [--output benchmarks/priors/foreign.json]

Loss: accuracy of the best network for a dataset (all weights fine-tuned) less that of the one chosen, in points. The
prior is learned without all results on the dataset, or without the table at all, and sees the networks' published facts
only, never their results. Sizes count as they are published without the head (within 5 M: five networks).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nns.priors.learning import Table, learn
from nns.priors.prior import Prior, shipped_prior

SOURCE = "stable_transfer"
LIMITS = (5_000_000, None)

Choose = Callable[[list[int], int], int]


def losses(table: Table) -> dict[str, dict[str, dict[str, float]]]:
    """Return by limit and way of choosing the loss on each dataset, in points."""
    networks = [at for at, source in enumerate(table.sources) if source == SOURCE]
    names = [table.names[at] for at in networks]
    facts = [table.facts[at] for at in networks]
    datasets = [name for name in table.datasets if name.startswith(f"{SOURCE}/")]
    accuracy = _matrix(table, networks, datasets)
    filling = shipped_prior().filling
    leaving_one = {name: learn(table.without(lambda d, name=name: d == name), filling) for name in datasets}  # type: ignore[misc]
    leaving_all = learn(table.without(lambda d: d.startswith(SOURCE)), filling)
    usual = accuracy.mean(axis=1, keepdims=True)

    def by_prior(prior: Prior) -> NDArray[np.float64]:
        return prior.of_facts(facts).quality

    top1 = np.array([each.imagenet for each in facts])
    params = np.array([each.params for each in facts])
    ways: dict[str, Callable[[int], NDArray[np.float64]]] = {
        "prior, without the dataset": lambda d: by_prior(leaving_one[datasets[d]]),
        "prior, without the table": lambda d: by_prior(leaving_all),
        "always EfficientNet-B0": lambda d: np.array([float(name == "efficientnetb0") for name in names]),
        "best published ImageNet accuracy": lambda d: top1,
        "largest": lambda d: params,
        "static mean over the other datasets": lambda d: np.delete(accuracy - usual, d, axis=0).mean(axis=0),
    }
    found: dict[str, dict[str, dict[str, float]]] = {}
    for limit in LIMITS:
        fits = params <= (limit or np.inf)
        best = np.where(fits, accuracy, -1).max(axis=1)
        found["none" if limit is None else f"{limit / 1e6:g}M"] = {
            way: {
                name.partition("/")[2]: round(float(100 * (best[d] - accuracy[d, _first(score(d), fits)])), 3)
                for d, name in enumerate(datasets)
            }
            for way, score in ways.items()
        }
    return found


def _matrix(table: Table, networks: list[int], datasets: list[str]) -> NDArray[np.float64]:
    found = np.full((len(datasets), len(networks)), np.nan)
    place = {at: column for column, at in enumerate(networks)}
    results = table.results
    for network, dataset, value in zip(results.network, results.dataset, results.accuracy, strict=True):
        if table.datasets[dataset] in datasets:
            found[datasets.index(table.datasets[dataset]), place[int(network)]] = value
    return found


def _first(score: NDArray[np.float64], fits: NDArray[np.bool_]) -> int:
    return int(np.where(fits, score, -np.inf).argmax())


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    found = losses(Table.read())
    print("| loss in points, mean of 9 datasets | within 5 M | all 19 |\n| --- | --: | --: |")
    for way in found["none"]:
        within, every = (float(np.mean(list(found[limit][way].values()))) for limit in ("5M", "none"))
        print(f"| {way} | {within:.2f} | {every:.2f} |")
    if args.output:
        args.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Step 7: results of fine-tunings into the starter zoo, from the cells of `nns bench make`."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from nns.data import Dataset
from nns.types import TransferRecord
from nns.zoo import Zoo

IMAGES = 48
"""Images of each dataset whose features the zoo keeps: 5 KB each."""


def main(bank: Path, cells: Path, made_in: Path, out: Path) -> None:
    """Add a transfer for each network and dataset whose cells are there, and the datasets' features.

    Datasets for which not every network was fine-tuned are left out, so that no network is compared on others.

    Args:
        bank: The tasks' images.
        cells: ``MATRIX.cells.jsonl``.
        made_in: The zoo that the cells are of; networks are found by architecture and training data.
        out: The starter zoo.
    """
    with Zoo(made_in) as zoo:
        names = {network.id: (network.spec.name, network.entry.source_dataset) for network in zoo.networks()}
    head, *lines = cells.read_text(encoding="utf-8").splitlines()
    epochs = json.loads(head)["recipe"]["epochs"]
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in map(json.loads, lines):
        found[row["dataset"]][row["network"]].append((row["val"] + row["test"]) / 2)
    most = max(map(len, found.values()))
    with Zoo(out) as zoo:
        here = {(network.spec.name, network.entry.source_dataset): network.id for network in zoo.networks()}
        for name, results in found.items():
            if len(results) < most:
                continue
            features = Dataset.open(str(bank / name)).features(zoo.extractor, images=IMAGES, workers=1)
            record = replace(features, name=name)
            zoo.store.add_dataset(record)
            transfers = [
                TransferRecord(here[names[network]], name, record.digest, fmean(values), epochs)
                for network, values in sorted(results.items())
                if names[network] in here
            ]
            zoo.store.put_transfers(transfers)
        zoo.store.merge()
        info = zoo.info()
    print(f"{info.transfers} results on {len(info.transfer_datasets)} datasets, {out.stat().st_size:,} bytes")

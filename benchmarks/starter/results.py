"""Step 7: results of fine-tunings into the starter zoo, from the cells of `nns bench make`.

What is new goes into the zoo's journal, in files of its own: the zoo itself stays the file that git has.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from nns.data import Dataset
from nns.types import NetworkRecord, TransferRecord
from nns.zoo import Zoo


def main(bank: Path, cells: Path, made_in: Path, out: Path, more: Sequence[str] = (), images: int = 48) -> None:
    """Add a transfer for each network and dataset whose cells are there, and the datasets' features.

    Datasets for which not every network of the starter zoo that has cells was fine-tuned are left out, so that no
    network is compared on others.

    Args:
        bank: The tasks' images.
        cells: ``MATRIX.cells.jsonl``.
        made_in: The zoo that the cells are of.
        out: The starter zoo.
        more: Ids of networks of ``made_in`` that it gets, too.
        images: Images of each dataset whose features the zoo keeps: 5 KB each.
    """
    head, *lines = cells.read_text(encoding="utf-8").splitlines()
    epochs = json.loads(head)["recipe"]["epochs"]
    with Zoo(made_in) as source, Zoo(out) as zoo:
        for network in more:
            parts = source.store.fingerprint(network), source.store.weights(network)
            zoo.store.add_network(NetworkRecord(source.store.entry(network), *parts))
        here = set(zoo.store.ids())
        found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for row in map(json.loads, lines):
            if row["network"] in here:
                found[row["dataset"]][row["network"]].append((row["val"] + row["test"]) / 2)
        networks = {network for results in found.values() for network in results}
        known = {dataset.name: dataset for dataset in zoo.store.datasets()}
        transfers = []
        for name, results in sorted(found.items()):
            if set(results) != networks:
                continue
            if name not in known:
                features = Dataset.open(str(bank / name)).features(zoo.extractor, images=images, workers=1)
                known[name] = replace(features, name=name)
                zoo.store.add_dataset(known[name])
            for network, values in sorted(results.items()):
                transfers.append(TransferRecord(network, name, known[name].digest, fmean(values), epochs))
        zoo.store.put_transfers(transfers)
        info = zoo.info()
    size = sum(file.stat().st_size for file in (out, *out.parent.glob(f"{out.name}.journal/*")))
    print(f"{info.transfers} results on {len(info.transfer_datasets)} datasets, {size:,} bytes")

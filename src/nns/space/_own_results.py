"""A user's or a team's own fine-tunings beside the transfers of a zoo, for a fit: nothing of the zoo changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nns.history.scoring import finished_accuracies, match_networks
from nns.space._data import SpaceData, family_of

if TYPE_CHECKING:
    from nns.history import FineTuning
    from nns.zoo import Zoo


def with_own_results(data: SpaceData, zoo: Zoo, records: Sequence[FineTuning]) -> tuple[SpaceData, int]:
    """Add fine-tunings of a zoo's networks to what a space is fitted on; return how many results joined.

    A result joins if its network is among those that are fitted and the features of its dataset are of the zoo's
    extractor. Of a pair that the zoo has a transfer of, the zoo's counts; several of one pair count as their mean.

    Args:
        data: What is known without them.
        zoo: Where it is from.
        records: The history.
    """
    index = {record.digest: place for place, record in enumerate(zoo.datasets())}
    position = {network: place for place, network in enumerate(data.network_ids)}
    width = {query.shape[1] for query in data.queries if len(query)}
    taken = set(zip(data.transfer_network.tolist(), data.transfer_dataset.tolist(), strict=True))
    usable = [
        record
        for record in records
        if record.dataset.extractor == zoo.extractor.name and (not width or {len(record.dataset.means)} == width)
    ]
    ids, new = zoo.store.ids(), []
    found: dict[tuple[int, int], list[float]] = {}
    for (number, place), row in match_networks(usable, zoo).items():
        dataset = usable[number].dataset
        if ids[row] not in position:
            continue
        key = dataset.digest or usable[number].id
        if key not in index:
            index[key] = len(index)
            new.append(dataset.record())
        pair = position[ids[row]], index[key]
        if pair not in taken:
            found.setdefault(pair, []).append(finished_accuracies(usable[number])[place])
    pairs = np.array(sorted(found), np.int64).reshape(-1, 2)
    means = np.array([np.mean(found[pair]) for pair in sorted(found)], np.float64)
    joined = replace(
        data,
        dataset_names=(*data.dataset_names, *(record.name for record in new)),
        queries=(*data.queries, *(record.features for record in new)),
        query_labels=(*data.query_labels, *(record.labels for record in new)),
        families=(*data.families, *(family_of(record.name) for record in new)),
        transfer_network=np.concatenate([data.transfer_network, pairs[:, 0]]),
        transfer_dataset=np.concatenate([data.transfer_dataset, pairs[:, 1]]),
        transfer_accuracy=np.concatenate([data.transfer_accuracy, means]),
    )
    return joined, sum(map(len, found.values()))

"""Transfers of a zoo reach what a space is fitted on."""

from __future__ import annotations

import numpy as np
import pytest

from nns import Zoo
from nns.space import SpaceData
from nns.space._data import known_transfers
from nns.types import TransferRecord


@pytest.fixture
def zoo(plain_zoo, tmp_path):
    with Zoo(plain_zoo.copy(tmp_path)) as opened:
        yield opened


def record(zoo, network, dataset, accuracy, seed=0):
    kept = zoo.datasets()[dataset]
    return TransferRecord(zoo.store.ids()[network], kept.name, kept.digest, accuracy, 3, {"seed": seed})


def test_a_zoo_without_transfers(zoo):
    data = SpaceData.of(zoo)
    assert len(data.transfer_network) == len(data.transfer_dataset) == len(data.transfer_accuracy) == 0


def test_transfers_are_averaged_over_recipes_and_reach_the_data(zoo):
    zoo.store.put_transfers([
        record(zoo, 2, 1, 0.5),
        record(zoo, 0, 1, 0.25),
        record(zoo, 2, 1, 0.75, seed=1),
        record(zoo, 2, 0, 0.875),
    ])  # fmt: skip
    data = SpaceData.of(zoo)
    found = list(zip(data.transfer_network, data.transfer_dataset, data.transfer_accuracy, strict=True))
    assert found == [(0, 1, 0.25), (2, 0, 0.875), (2, 1, 0.625)]
    outcomes = data.outcomes()
    assert outcomes.accuracy[~outcomes.own].tolist() == [0.25, 0.875, 0.625]


def test_transfers_to_other_datasets_are_left_out(zoo):
    zoo.store.put_transfers([record(zoo, 1, 0, 0.5), record(zoo, 1, 1, 0.75)])
    index = {zoo.datasets()[1].digest: 7}
    networks, datasets, accuracy = known_transfers(zoo, index)
    assert (networks.tolist(), datasets.tolist(), accuracy.tolist()) == ([1], [7], [0.75])
    networks, datasets, accuracy = known_transfers(zoo, {})
    assert (len(networks), len(datasets), len(accuracy)) == (0, 0, 0)
    assert (networks.dtype, accuracy.dtype) == (np.int64, np.float64)

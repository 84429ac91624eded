"""SpaceData: checks and subsets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nns.errors import UsageError
from nns.space import family_of
from nns.testing import planted_zoo


@pytest.mark.parametrize(
    ("name", "family"),
    [("emoji-apple-food", "emoji"), ("fonts/latin", "fonts"), ("digits", "digits"), ("a_b-c", "a_b")],
)
def test_family_is_the_name_up_to_a_dash_or_slash(name, family):
    assert family_of(name) == family


def test_without_leaves_out_networks_and_renumbers():
    zoo = planted_zoo(datasets=6, networks=2, transfers=50)
    left = zoo.without([1, 4])
    assert left.dataset_names == tuple(zoo.dataset_names[d] for d in (0, 2, 3, 5))
    names = dict(zip(zoo.network_ids, zoo.dataset_index, strict=True))
    for network, dataset in zip(left.network_ids, left.dataset_index, strict=True):
        expected = names[network]
        assert dataset == -1 if expected == -1 else left.dataset_names[dataset] == zoo.dataset_names[expected]
    known = {
        (zoo.network_ids[n], zoo.dataset_names[d], a)
        for n, d, a in zip(zoo.transfer_network, zoo.transfer_dataset, zoo.transfer_accuracy, strict=True)
    }
    rows = zip(left.transfer_network, left.transfer_dataset, left.transfer_accuracy, strict=True)
    found = {(left.network_ids[n], left.dataset_names[d], a) for n, d, a in rows}
    assert found
    assert found < known


def test_outcomes_hold_own_results_then_transfers():
    zoo = planted_zoo(datasets=4, networks=2, transfers=5)
    accuracy = zoo.accuracy.copy()
    accuracy[3] = np.nan
    rows = replace(zoo, accuracy=accuracy).outcomes()
    assert rows.own.tolist() == [True] * 7 + [False] * 5
    assert 3 not in rows.network[:7]
    assert np.isfinite(rows.accuracy).all()


def test_lengths_must_fit():
    zoo = planted_zoo(datasets=4, networks=2)
    with pytest.raises(UsageError, match="accuracy has 2 rows, expected 12"):
        replace(zoo, accuracy=np.zeros(2))
    with pytest.raises(UsageError, match="dataset_index"):
        replace(zoo, dataset_index=zoo.dataset_index + 1)

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


def of_strangers(zoo):
    """The same zoo, of whose networks nobody knows what they were trained on."""
    nobody = np.full(len(zoo.network_ids), -1)
    return replace(zoo, dataset_index=nobody, accuracy=np.full(len(zoo.network_ids), np.nan))


def test_own_networks_match_their_dataset_whatever_results_say():
    zoo = planted_zoo(datasets=4, networks=2, transfers=50)
    assert not zoo.pairs_by_results
    assert zoo.matches(2).tolist() == zoo.own_networks(2).tolist() == [4, 5]
    assert zoo.paired_datasets().tolist() == [0, 1, 2, 3]


def test_in_a_zoo_of_generalists_those_match_that_did_best_beyond_usual():
    zoo = of_strangers(planted_zoo(datasets=3, networks=1, pretrained=1))
    reached = np.array([[0.9, 0.8, 0.7, 0.6], [0.5, 0.1, 0.2, 0.3], [np.nan] * 4])
    network, dataset = np.tile(np.arange(4), 3), np.repeat(np.arange(3), 4)
    known = replace(zoo, transfer_network=network, transfer_dataset=dataset, transfer_accuracy=reached.ravel())
    assert known.pairs_by_results
    # in logits beside the dataset's mean the four reach 1.0, 0.2, -0.4, -0.8 and 1.1, -1.1, -0.3, 0.3: network 0 is the
    # best on both, as usual; 1 is further above what is usual for it on the first, 3 on the second
    assert known.matches(0).tolist() == [1]
    assert known.matches(1).tolist() == [3]
    assert known.matches(2).tolist() == []
    assert known.paired_datasets().tolist() == [0, 1]
    assert not len(zoo.paired_datasets())

"""Searching a zoo of which some networks are only referred to."""

from dataclasses import replace

import numpy as np
import pytest

from nns import Limits, Zoo
from nns.errors import NoNetworkError
from nns.places import HubWeights
from nns.searching import search
from nns.space import Space, SpaceData
from nns.types import NetworkRecord


@pytest.fixture
def zoo(small_zoo, tmp_path):
    """The small zoo and, for each network of its, another of the same shape that is on a hub."""
    with Zoo(small_zoo.copy(tmp_path)) as zoo:
        zoo.store.add_all(
            NetworkRecord(
                replace(
                    network.entry,
                    id=network.id[:8] + "f" * 8,
                    weights=HubWeights("org/name", "model.safetensors"),
                    accuracy=float("nan"),
                    license=f"remote-{network.entry.license}",
                ),
                None,
                b"",
            )
            for network in zoo.networks()
        )
        yield zoo


def test_a_space_is_fitted_on_what_has_a_fingerprint(zoo, small_zoo):
    with Zoo(small_zoo.path) as plain:
        expected, found = SpaceData.of(plain), SpaceData.of(zoo)
        assert found.network_ids == expected.network_ids
        for name, block in expected.blocks.items():
            np.testing.assert_array_equal(found.blocks[name], block)
        space, loaded = Space.load(plain), Space.load(zoo)
    rows = np.flatnonzero(zoo.store.columns().fingerprinted)
    np.testing.assert_array_equal(loaded.embeddings[rows], space.embeddings)
    assert len(rows) == len(zoo) // 2
    fitted = Space.fit(zoo, epochs=2, held_out=False)
    assert fitted.record.network_ids == found.network_ids


def test_a_network_that_was_added_is_embedded(zoo):
    known = zoo.networks()[0]
    assert known.fingerprint is not None
    before = Space.load(zoo).embeddings
    added = replace(known.entry, id="0" * 16)
    zoo.store.add_network(NetworkRecord(added, known.fingerprint, zoo.store.weights(known.id)))
    after = Space.load(zoo).embeddings
    np.testing.assert_array_equal(after[1:], before)
    assert np.isfinite(after[0]).all()


def test_what_a_space_knows_nothing_of_is_left_out_and_counted(zoo, small_zoo):
    with Zoo(small_zoo.path) as plain:
        expected = search(str(small_zoo.query), plain)
    found = search(str(small_zoo.query), zoo)
    assert [each.entry.id for each in found.candidates] == [each.entry.id for each in expected.candidates]
    assert (found.feasible, found.unscored) == (2 * expected.feasible, expected.feasible)
    assert found.to_dict()["unscored"] == expected.feasible
    with pytest.raises(NoNetworkError, match="fingerprint"):
        search(str(small_zoo.query), zoo, Limits(license=f"remote-{zoo.networks()[0].entry.license}"))

"""Searching a zoo of which some networks are only referred to."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save

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


def test_a_space_of_before_leaves_out_and_counts_what_has_no_fingerprint(zoo, small_zoo):
    """Such a space goes by no facts of networks."""
    record = Space.read(zoo)
    tensors = {name: array for name, array in load(record.tensors).items() if name != "prior.weight"}
    zoo.store.put_space(replace(record, tensors=save(tensors)))
    with Zoo(small_zoo.path) as plain:
        expected = search(str(small_zoo.query), plain)
    found = search(str(small_zoo.query), zoo)
    assert [each.entry.id for each in found.candidates] == [each.entry.id for each in expected.candidates]
    assert (found.feasible, found.unscored) == (2 * expected.feasible, expected.feasible)
    assert found.to_dict()["unscored"] == expected.feasible
    with pytest.raises(NoNetworkError, match="fingerprint"):
        search(str(small_zoo.query), zoo, Limits(license=f"remote-{zoo.networks()[0].entry.license}"))


def test_what_has_no_fingerprint_is_ranked_by_its_facts_with_a_wide_interval(zoo, small_zoo):
    found = search(str(small_zoo.query), zoo, top=len(zoo))
    assert (found.feasible, found.unscored) == (len(zoo), 0)
    by_id = {each.entry.id: each for each in found.candidates}
    for each in found.candidates:
        twin = by_id[each.entry.id[:8] + "f" * 8]
        assert twin.interval is not None
        if each is not twin:
            assert each.interval is None or np.diff(twin.interval) >= np.diff(each.interval)
    alone = search(str(small_zoo.query), zoo, Limits(license=f"remote-{zoo.networks()[0].entry.license}"))
    assert {each.entry.id[8:] for each in (*alone.candidates, *alone.together)} == {"f" * 8}

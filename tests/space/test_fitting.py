"""Fitting a space to a zoo, and searching with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nns import Space, UnknownNameError, UsageError, Zoo, build_zoo
from nns.searching import search
from nns.types import NetworkRecord


@pytest.fixture(scope="module")
def fitted(plain_zoo, tmp_path_factory):
    """The plain zoo with a space fitted twice, under one name."""
    path = plain_zoo.copy(tmp_path_factory.mktemp("fitted"))
    with Zoo(path) as zoo:
        spaces = [Space.fit(zoo, epochs=20, seed=3) for _ in range(2)]
        yield zoo, spaces


def test_the_report_of_a_fit_on_two_datasets(fitted):
    zoo, (space, _) = fitted
    report = space.report
    assert (space.name, space.record.method, report["networks"], report["datasets"]) == ("mixed", "mixed", 4, 2)
    assert "held_out" not in report  # three datasets are needed for that
    assert list(zoo.spaces()) == ["mixed"]
    assert zoo.store.space("mixed").network_ids == tuple(zoo.store.ids())


def test_a_fit_leaves_the_digest_of_the_zoo_as_it_was(fitted, plain_zoo):
    assert fitted[0].store.digest() == plain_zoo.report.digest


def test_held_out_numbers_are_kept_with_the_space(small_zoo):
    with Zoo(small_zoo.path) as zoo:
        report = zoo.store.space("mixed").report
    assert set(report["held_out"]) >= {"retrieval", "accuracy"}
    assert 0 < report["interval80"] < 1


def test_the_same_seed_gives_the_same_space(fitted, plain_zoo, tmp_path):
    zoo, _ = fitted
    first = zoo.store.space("mixed")
    with Zoo(plain_zoo.copy(tmp_path)) as other:
        Space.fit(other, epochs=20, seed=3, held_out=False)
        same = other.store.space("mixed")
        Space.fit(other, epochs=20, seed=4, held_out=False)
        different = other.store.space("mixed")
    np.testing.assert_array_equal(first.embeddings, same.embeddings)
    assert first.tensors == same.tensors
    assert first.tensors != different.tensors


def test_a_search_uses_the_space_and_networks_added_since_need_no_refit(fitted, plain_zoo):
    zoo, _ = fitted
    before = zoo.store.space("mixed")
    data = plain_zoo.settings.data[0]
    ranked = search(data, zoo, top=10)
    assert (ranked.space, len(ranked.candidates)) == ("mixed", 4)
    best = ranked.candidates[0]
    twin = replace(best.entry, id="f" * 16)
    zoo.store.add_network(NetworkRecord(twin, zoo.network(best.entry.id).fingerprint, zoo.store.weights(best.entry.id)))
    found = {candidate.entry.id: candidate for candidate in search(data, zoo, top=10).candidates}
    assert len(found) == 5
    assert found["f" * 16].score == pytest.approx(best.score, abs=1e-6)
    assert found["f" * 16].predicted_accuracy == pytest.approx(best.predicted_accuracy, abs=1e-6)
    after = zoo.store.space("mixed")
    assert (after.tensors, after.network_ids) == (before.tensors, before.network_ids)


def test_what_cannot_be_fitted(plain_zoo, tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'mixed'"):
        Space.fit(Zoo(tmp_path / "empty.h5", must_exist=False), method="mixd")
    path = tmp_path / "zoo.h5"
    build_zoo(path, plain_zoo.with_(data=plain_zoo.settings.data[:1], networks=1), workers=0)
    with Zoo(path) as zoo:
        with pytest.raises(UsageError, match="dataset"):
            Space.fit(zoo)
        assert list(zoo.spaces()) == []
    with pytest.raises(UsageError):
        Space.fit(Zoo(tmp_path / "empty.h5", must_exist=False))


def test_a_fit_without_room_to_merge_says_that_the_space_counts(small_zoo, tmp_path, monkeypatch, caplog):
    """It is in the journal by then: nothing that is said may deny it."""
    from nns import Space, Zoo
    from nns.errors import ZooError
    from nns.stores import HDF5Store

    zoo = Zoo(small_zoo.copy(tmp_path))

    def full(store):
        raise ZooError("zoo.h5 cannot be written: No space left on device; the file is as it was")

    monkeypatch.setattr(HDF5Store, "merge", full)
    before = zoo.store.space("mixed").settings
    space = Space.fit(zoo, epochs=3, seed=7, held_out=False)
    assert space.name == "mixed"
    assert Zoo(zoo.path).store.space("mixed").settings != before
    assert "the space is in the journal of the zoo, and stays there for now" in caplog.text

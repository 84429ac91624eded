"""Further things that a stranger may send, each of which was wrong once or might be."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace

import pytest

from nns.errors import UnknownNameError, UsageError, ZooError
from nns.finetuning.saved_search import read_search
from nns.networks.checking import find_lie
from nns.places import FileWeights, HubWeights
from nns.plugins import installed_plugins
from nns.repro.settings import ReproSettings
from nns.stores import HDF5Store
from nns.testing._store import sample_network


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", [".adding", ".beside", "merge.lock"])
def test_a_journal_of_named_pipes(name, tmp_path):
    """The folder beside a zoo comes with it: whoever writes must not wait for a reader."""
    from nns.stores.hdf5 import journal

    names = {".adding": journal._ADDING, ".beside": journal._BESIDE, "merge.lock": journal._LOCK}
    store = HDF5Store(tmp_path / "zoo.h5")
    store.add_network(sample_network(1))
    store.merge()
    folder = tmp_path / "zoo.h5.journal"
    folder.mkdir(exist_ok=True)
    (folder / names[name]).unlink(missing_ok=True)
    os.mkfifo(folder / names[name])
    started = time.monotonic()
    for write in (lambda: HDF5Store(store.path).add_network(sample_network(2)), lambda: HDF5Store(store.path).merge()):
        try:
            write()
        except ZooError as error:
            assert str(error).isprintable()
    assert time.monotonic() - started < 10
    assert sample_network(1).entry.id in HDF5Store(store.path).ids()


@pytest.mark.parametrize("kind", [FileWeights, HubWeights])
def test_a_file_of_ninety_gigabytes_for_a_small_network(kind, small_zoo):
    """It would be hashed, or fetched, before anything is compared."""
    with HDF5Store(small_zoo.path) as store:
        entry = next(entry for entry in store.entries() if entry.spec.backend == "timm")
    large = FileWeights("w", 90 * 10**9, "0" * 64) if kind is FileWeights else HubWeights("a/b", "w", None, 90 * 10**9)
    found = find_lie(replace(entry, weights=large), installed_plugins())
    assert found is not None
    assert found.startswith("has a file of 90")
    small = FileWeights("w", 3 * entry.cost.bytes(len(entry.classes)), "0" * 64)
    assert find_lie(replace(entry, weights=small), installed_plugins()) is None


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "document",
    [
        {"candidates": [{"id": "x" * 10**7}]},
        {"candidates": [{"id": [[[["a"] * 1000] * 10] * 10]}]},
        {"candidates": [{"id": "a"}], "together": ["x" * 10**6]},
        {"candidates": {"id": "a"}},
        {"candidates": [None]},
        [],
    ],
)
def test_results_of_searches(document, tmp_path):
    (tmp_path / "search.json").write_text(json.dumps(document))
    with pytest.raises(UsageError) as caught:
        read_search(tmp_path / "search.json", 3)
    assert len(str(caught.value)) < 300


@pytest.mark.timeout(30)
def test_an_unknown_name_of_any_length():
    error = UnknownNameError.among("network", "x" * 10**7, ["a", "b"])
    assert len(str(error)) < 400


@pytest.mark.parametrize(
    ("where", "settings", "message"),
    [
        ("build", {"networks": 10**9}, "must be 1 to"),
        ("build", {"epochs": 0}, "must be at least 1"),
        ("build", {"epochs": 10**9}, "must be 1 to"),
        ("build", {"image_size": 10**6}, "must be 16 to 512"),
        ("build", {"max_images": -1}, "must be at least 2"),
        ("build", {"max_images": 10**9}, "must be 1 to"),
        (None, {"space_epochs": 10**12}, "must be 1 to"),
    ],
)
def test_a_lock_asks_for_so_much_and_no_more(where, settings, message):
    document = ReproSettings().to_json()
    (document[where] if where else document).update(settings)
    with pytest.raises(ValueError, match=message):
        ReproSettings.from_json(json.loads(json.dumps(document)))


def test_settings_of_a_subnet_that_are_a_megabyte():
    from nns.backends.ofa.space import check_config

    for config in ({"width": "x" * 10**6}, {"width": 1.0, "ks": list(range(10**6))}, {"width": [[1] * 10**6]}):
        with pytest.raises(UsageError) as caught:
            check_config(config)
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize("value", [-5, 1e300, 2, "x", None, [1], True])
def test_margins_of_a_space(value, small_zoo, monkeypatch):
    from nns import Space, Zoo

    space = Space.load(Zoo(small_zoo.path))
    monkeypatch.setattr(Space, "report", {"interval80": value})
    margin = space.margin("interval80")
    assert margin is None or 0 <= margin <= 1

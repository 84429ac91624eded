"""What a zoo says of a network is held against its architecture: at verify, in a search, before training."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nns import Zoo
from nns.errors import ZooError
from nns.networks import check_records, checking
from nns.networks.checking import find_lie
from nns.networks.latency import device_key
from nns.networks.listing import cost_without_weights
from nns.networks.weights import packaged_weights
from nns.plugins import installed_plugins
from nns.stores import HDF5Store
from nns.testing._store import sample_network
from nns.types import LatencyRecord, NetworkEntry, NetworkRecord
from nns.zoo import verify


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache in which nothing is known."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def change(path, change_entry, weights=None):
    """Let a zoo say something else of all of its networks of timm."""
    with HDF5Store(path) as store:
        changed = [
            NetworkRecord(change_entry(entry), store.fingerprint(entry.id), weights or store.weights(entry.id))
            for entry in store.entries()
            if entry.spec.backend == "timm"
        ]
        store.replace_networks(changed)
        store.merge()
    return [record.entry.id for record in changed]


LIES = {
    "fewer parameters": lambda cost: replace(cost, body_params=1000),
    "a few parameters fewer": lambda cost: replace(cost, body_params=cost.body_params * 97 // 100),
    "more parameters": lambda cost: replace(cost, body_params=cost.body_params * 3),
    "fewer macs": lambda cost: replace(cost, body_macs=0),
    "fewer bytes": lambda cost: replace(cost, body_bytes=cost.body_bytes // 2),
    "narrower features": lambda cost: replace(cost, feature_dim=cost.feature_dim - 1),
}


@pytest.mark.parametrize("lie", LIES)
def test_lies_are_found(lie, small_zoo, tmp_path):
    path = small_zoo.copy(tmp_path)
    ids = change(path, lambda entry: replace(entry, cost=LIES[lie](entry.cost)))
    zoo = Zoo(path)
    problems = {problem.id: problem.what for problem in verify(zoo.store)}
    assert problems.keys() == set(ids)
    assert all("is said to have" in what for what in problems.values())
    with pytest.raises(ZooError, match=f"{ids[0]} is said to have .*do not trust this zoo"):
        check_records(zoo, [zoo.store.entry(ids[0])])


def test_lies_are_found_wherever_a_network_is_used(small_zoo, tmp_path, nns):
    path, output = small_zoo.copy(tmp_path), tmp_path / "out"
    ids = change(path, lambda entry: replace(entry, cost=LIES["fewer parameters"](entry.cost)))
    limits = ("--max-params", "10k")
    for command in (
        ("search", small_zoo.query, "--zoo", path, *limits),
        ("finetune", small_zoo.query, "--zoo", path, "--network", ids[0], "--epochs", 1, "-o", output),
        ("finetune", small_zoo.query, "--zoo", path, "--epochs", 1, "-o", output, *limits),
        ("zoo", "verify", path, "--quick"),
    ):
        done = nns(*command)
        assert done.code == 4, done
        assert "is said to have 1 k params" in done.out + done.err
    assert not output.exists()


def test_weights_of_another_size(small_zoo, tmp_path, nns):
    import torch
    from safetensors.torch import save

    path = small_zoo.copy(tmp_path)
    ids = change(path, lambda entry: entry, save({"w": torch.zeros(10)}))
    with HDF5Store(path) as store:
        assert any("of weights, and is said to have" in problem.what for problem in verify(store))
    done = nns("finetune", small_zoo.query, "--zoo", path, "--network", ids[0], "--epochs", 1, "-o", tmp_path / "out")
    assert done.code == 4


def test_an_honest_zoo(small_zoo):
    zoo = Zoo(small_zoo.path)
    check_records(zoo, zoo.store.entries())
    assert verify(zoo.store) == ()


def test_an_architecture_is_counted_once(small_zoo, cache, monkeypatch):
    zoo, counted = Zoo(small_zoo.path), []
    monkeypatch.setattr(checking, "_installed", lambda registry: {})
    count = checking.cost_without_weights
    monkeypatch.setattr(checking, "cost_without_weights", lambda *args: counted.append(args) or count(*args))
    for _ in range(3):
        check_records(zoo, zoo.store.entries())
    assert 0 < len(counted) <= len(zoo)
    assert all(path.stat().st_size < 100 for path in cache.rglob("counts/*/*"))


def test_a_damaged_cache_accuses_nobody(small_zoo, cache, monkeypatch):
    zoo = Zoo(small_zoo.path)
    check_records(zoo, zoo.store.entries())
    for content in (b"[1, 2, 3, 4]", b"[1e999]", b"\xff", b"[1]", b"[" * 900):
        for path in cache.rglob("counts/*/*"):
            path.write_bytes(content)
        check_records(zoo, zoo.store.entries()[:2])


def test_the_zoo_of_an_installed_plugin_is_as_good_as_code(monkeypatch):
    monkeypatch.setattr(checking, "find_lie", lambda *args: pytest.fail("counted"))
    registry = installed_plugins()
    if not registry.names("zoo"):
        pytest.skip("the starter zoo is not installed")
    zoo = Zoo(registry.default_zoo(), registry=registry)
    check_records(zoo, zoo.store.entries()[:3])


def test_what_is_counted_in_the_zoo_of_a_plugin_is_not_counted_again(tmp_path, monkeypatch):
    registry = installed_plugins()
    if not registry.names("zoo"):
        pytest.skip("the starter zoo is not installed")
    copy = tmp_path / "zoo.h5"
    copy.write_bytes(registry.default_zoo().read_bytes())
    monkeypatch.setattr(checking, "cost_without_weights", lambda *args: pytest.fail("counted"))
    zoo = Zoo(copy, registry=registry)
    check_records(zoo, zoo.store.entries())


def test_what_cannot_be_built_is_told_by_verify(small_zoo, tmp_path, nns):
    path = small_zoo.copy(tmp_path)
    ids = change(path, lambda entry: replace(entry, spec=replace(entry.spec, name="no_such_net")))
    with HDF5Store(path) as store:
        assert all("cannot be built here" in problem.what for problem in verify(store) if problem.id in ids)
    assert nns("search", small_zoo.query, "--zoo", path).code == 0
    assert nns("finetune", small_zoo.query, "--zoo", path, "--network", ids[0], "-o", tmp_path / "out").code == 2


def test_latencies_of_a_zoo_are_hints(small_zoo, tmp_path, nns):
    path = small_zoo.copy(tmp_path)
    key = device_key("cpu")
    with HDF5Store(path) as store:
        store.put_latencies([LatencyRecord(entry.id, key, 1e-9) for entry in store.entries()])
        store.merge()
    done = nns("search", small_zoo.query, "--zoo", path, "--max-latency", "1us", "--json")
    assert done.code == 5
    assert "max_latency" in done.err.replace("--max-latency", "max_latency")
    done = nns("search", small_zoo.query, "--zoo", path, "--max-latency", "10s", "--json")
    assert done.code == 0
    assert all(candidate["latency_ms"] > 1e-3 for candidate in done.json["candidates"])


def test_the_slow_ones_go_and_others_come(small_zoo, tmp_path, nns, monkeypatch):
    """The zoo calls all of them fast; the two best are not."""
    from nns.searching import searcher

    path = small_zoo.copy(tmp_path)
    before = nns("search", small_zoo.query, "--zoo", path, "--json").json["candidates"]
    slow, measured = [candidate["id"] for candidate in before[:2]], []

    def latencies(zoo, ids, device, progress=None, *, confirm=False):
        measured.extend(ids if confirm else ())
        return {id: 1.0 if confirm and id in slow else 0.001 for id in ids}

    monkeypatch.setattr(searcher, "latencies", latencies)
    after = nns("search", small_zoo.query, "--zoo", path, "--max-latency", "10ms", "--top", 3, "--json").json
    assert [each["id"] for each in after["candidates"]] == [each["id"] for each in before[2:5]]
    assert [each["rank"] for each in after["candidates"]] == [1, 2, 3]
    assert not set(slow) & set(after["together"])
    assert set(slow) <= set(measured)


def test_what_was_measured_here_is_not_measured_again(small_zoo, tmp_path, monkeypatch):
    from nns.networks import latencies, latency

    zoo = Zoo(small_zoo.copy(tmp_path))
    ids = zoo.store.ids()[:2]
    latencies(zoo, ids, "cpu", confirm=True)
    monkeypatch.setattr(latency, "measure_latency", lambda *args: pytest.fail("measured"))
    assert all(seconds > 1e-6 for seconds in latencies(zoo, ids, "cpu", confirm=True).values())
    with pytest.raises(pytest.fail.Exception):
        latencies(zoo, zoo.store.ids()[:3], "cpu", confirm=True)


def test_a_network_of_no_backend_is_left_alone():
    assert checking.find_lie(sample_network(1).entry, installed_plugins()) is None


def test_the_first_stages_of_a_packaged_network_are_no_lie(cuts):
    registry = installed_plugins()
    backend = registry.backend("timm")
    offer = next(each for each in backend.pretrained() if each.spec.name == "tf_efficientnet_lite0-s3")
    preprocessing = backend.preprocessing(offer.spec, 64)
    entry = NetworkEntry(
        id="0" * 16,
        spec=offer.spec,
        cost=cost_without_weights(backend, offer.spec, preprocessing, offer.classes),
        preprocessing=preprocessing,
        classes=offer.classes,
        source_dataset=offer.dataset,
        source_digest="",
        accuracy=0.5,
        license="Apache-2.0",
        weights=packaged_weights(backend, offer.spec),
    )
    assert entry.weights.bytes > 20 * entry.cost.bytes(len(entry.classes))
    assert find_lie(entry, registry) is None

"""Searches and fine-tunings of a zoo whose networks are on a hub."""

import json
import socket
from dataclasses import replace

import pytest

from nns import Zoo
from nns.finetuning import choosing
from nns.places import HubWeights
from nns.types import NetworkRecord

from .hub import Repository


@pytest.fixture
def zoo(small_zoo, tmp_path, hub):
    """The small zoo, all its networks on the hub: nothing is known of their files but how large they are."""
    path = tmp_path / "hub.h5"
    with Zoo(small_zoo.path) as stored, Zoo(path, must_exist=False) as zoo:
        for network in stored.networks():
            data = stored.store.weights(network.id)
            repo = f"org/{network.id}"
            hub.repositories[repo] = Repository({"model.safetensors": data})
            entry = replace(network.entry, weights=HubWeights(repo, "model.safetensors", None, len(data)))
            zoo.store.add_network(NetworkRecord(entry, network.fingerprint, b""))
        for dataset in stored.datasets():
            zoo.store.add_dataset(dataset)
        zoo.store.put_space(stored.store.space(stored.spaces()[0]))
        zoo.store.merge()
    return path


@pytest.fixture
def no_connections(monkeypatch):
    """Fail whoever connects."""

    def refuse(self, address):
        raise AssertionError(f"connected to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)


def ranked(nns, small_zoo, zoo):
    """Ids as a search ranks them."""
    found = nns("search", small_zoo.query, "--zoo", zoo, "--json", "--top", 20).json
    return [each["id"] for each in found["candidates"]]


def test_a_search_connects_nowhere_and_says_what_there_is_to_fetch(nns, small_zoo, zoo, hub, no_connections, tmp_path):
    ran = nns("search", small_zoo.query, "--zoo", zoo, "--json", "--top", 20)
    assert ran.code == 0, ran.err
    plain = nns("search", small_zoo.query, "--zoo", small_zoo.path, "--json", "--top", 20).json
    assert [each["id"] for each in ran.json["candidates"]] == [each["id"] for each in plain["candidates"]]
    for remote, stored in zip(ran.json["candidates"], plain["candidates"]):
        size = len(hub.repositories[f"org/{remote['id']}"].files["model.safetensors"])
        assert remote["weights"] == {
            "where": f"hub:org/{remote['id']}/model.safetensors",
            "bytes": size,
            "on_disk": False,
        }
        assert stored["weights"] == {"where": "zoo", "bytes": size, "on_disk": True}
        assert remote["license"]
    shown = nns("search", small_zoo.query, "--zoo", zoo).out
    assert "to fetch: " in shown
    assert "Apache-2.0" in shown
    ran = nns("search", small_zoo.query, "--zoo", zoo, "--backend", "example", "--max-latency", "10s", "--json")
    assert ran.json["candidates"][0]["latency_ms"] > 0, "measured with random weights"
    ran = nns("zoo", "export", zoo, ran.json["candidates"][0]["id"], "-o", tmp_path / "exported")
    assert ran.code == 7
    assert "nns zoo fetch" in ran.err
    assert nns("zoo", "ls", zoo, "--json").code == nns("zoo", "verify", zoo).code == nns("zoo", "info", zoo).code == 0
    assert not hub.asked


def test_offline_takes_the_best_on_disk_and_says_what_it_left(nns, small_zoo, zoo, hub):
    ids = ranked(nns, small_zoo, zoo)
    ran = nns("search", small_zoo.query, "--zoo", zoo, "--offline")
    assert ran.code == 7
    assert "nns zoo fetch" in ran.err
    with Zoo(zoo) as opened:
        for network in ids[2], ids[5]:
            opened.network(network).fetch()
    hub.asked.clear()
    ran = nns("search", small_zoo.query, "--zoo", zoo, "--offline", "--json", "--top", 20)
    assert [each["id"] for each in ran.json["candidates"]] == [ids[2], ids[5]]
    assert [each["id"] for each in ran.json["left_out"]] == ids[:2]
    assert ids[0][:10] in nns("search", small_zoo.query, "--zoo", zoo, "--offline").err
    assert not hub.asked


@pytest.mark.parametrize("how", ["option", "environment"])
def test_a_fine_tuning_offline(nns, small_zoo, zoo, hub, tmp_path, monkeypatch, how):
    from huggingface_hub import constants

    ids = ranked(nns, small_zoo, zoo)
    with Zoo(zoo) as opened:
        opened.network(ids[1]).fetch()
    hub.asked.clear()
    if how == "environment":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    options = ["--offline"] if how == "option" else []
    arguments = ["finetune", small_zoo.query, "--zoo", zoo, "--epochs", 1, *options]
    ran = nns(*arguments, "-o", tmp_path / "out", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["network"] == ids[1]
    assert [each["id"] for each in ran.json["left_out"]] == ids[:1]
    assert nns(*arguments, "--network", ids[0], "-o", tmp_path / "other").code == 7
    assert not hub.asked


def test_a_fine_tuning_says_what_it_fetches_and_goes_on_without_what_cannot_be_had(
    nns, small_zoo, zoo, hub, tmp_path, monkeypatch
):
    monkeypatch.setattr(choosing, "TELLING", 0)
    together = nns("search", small_zoo.query, "--zoo", zoo, "--json").json["together"]
    del hub.repositories[f"org/{together[1]}"]
    ran = nns("finetune", small_zoo.query, "--zoo", zoo, "--try", 3, "--epochs", 1, "-o", tmp_path / "out", "--json")
    assert ran.code == 0, ran.err
    assert f"from 127.0.0.1:{hub.port} (hub:org/{together[0]}/model.safetensors), licence " in ran.err
    assert "left out: " in ran.err
    assert {each["network"] for each in ran.json["tried"]} == set(together) - {together[1]}
    ran = nns("finetune", small_zoo.query, "--zoo", zoo, "--epochs", 1, "-o", tmp_path / "b", "--network", together[1])
    assert ran.code == 7


def test_a_fine_tuning_that_can_fetch_nothing_names_the_best_on_this_disk_and_that_works(
    nns, small_zoo, zoo, hub, tmp_path
):
    ids = ranked(nns, small_zoo, zoo)
    arguments = ["finetune", small_zoo.query, "--zoo", zoo, "--epochs", 1, "-o", tmp_path / "out"]
    with Zoo(zoo) as opened:
        opened.network(ids[3]).fetch()
    hub.repositories.clear()
    ran = nns(*arguments, "--try", 1)
    assert ran.code == 7
    assert f"{ids[3][:10]} (" in ran.err
    assert "--offline" in ran.err
    ran = nns(*arguments, "--offline", "--json")
    assert (ran.code, ran.json["network"]) == (0, ids[3])


def test_a_fine_tuning_that_can_fetch_nothing_and_has_nothing_says_why(nns, small_zoo, zoo, hub, tmp_path):
    hub.repositories.clear()
    ran = nns("finetune", small_zoo.query, "--zoo", zoo, "--epochs", 1, "-o", tmp_path / "out")
    assert ran.code == 7
    assert "--offline" not in ran.err


def test_from_a_search(nns, small_zoo, zoo, hub, tmp_path):
    ran = nns("search", small_zoo.query, "--zoo", zoo, "--json")
    (tmp_path / "search.json").write_text(ran.out)
    ran = nns(
        "finetune", small_zoo.query, "--zoo", zoo, "--epochs", 1, "-o", tmp_path / "out",
        "--from", tmp_path / "search.json", "--try", 1, "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert ran.json["network"] == json.loads((tmp_path / "search.json").read_text())["candidates"][0]["id"]


def test_a_probe_fetches_and_leaves_out_what_cannot_be_had(nns, small_zoo, zoo, hub):
    ids = ranked(nns, small_zoo, zoo)
    del hub.repositories[f"org/{ids[0]}"]
    ran = nns("search", small_zoo.query, "--zoo", zoo, "--probe", "--json", "--top", 20, "--probe-seconds", 60)
    assert ran.code == 0, ran.err
    assert "fetching " in ran.err
    assert "not probed: " in ran.err
    probed = {each["id"]: each["probe"] is not None for each in ran.json["candidates"]}
    assert probed == {each: each != ids[0] for each in ids}
    assert {each["id"] for each in ran.json["candidates"] if each["weights"]["on_disk"]} == set(ids[1:])


def test_a_probe_offline(nns, small_zoo, zoo, hub):
    ran = nns("search", small_zoo.query, "--zoo", zoo, "--json")
    with Zoo(zoo) as opened:
        opened.network(ran.json["candidates"][0]["id"]).fetch()
    hub.asked.clear()
    ran = nns("search", small_zoo.query, "--zoo", zoo, "--probe", "--offline", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["candidates"][0]["probe"] is not None
    assert not hub.asked

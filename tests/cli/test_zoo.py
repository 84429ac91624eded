"""``nns zoo`` and ``nns space``: every command, with ``--json`` and without; test_zoo_writing.py goes on."""

from __future__ import annotations

import pytest

ENTRY = {"id", "backend", "architecture", "config", "weights_from", "source_dataset", "classes", "accuracy", "params"}
ENTRY |= {"macs", "bytes", "feature_dim", "image_size", "license", "provenance"}
SHOWN = ENTRY | {"class_names", "kind", "kept", "bases", "transfers", "latency_ms"}


@pytest.fixture(scope="module")
def ids(small_zoo):
    from nns import Zoo

    with Zoo(small_zoo.path) as zoo:
        return [entry.id for entry in zoo.store.entries() if entry.spec.backend == "example"]


def test_ls(nns, small_zoo):
    found = nns("zoo", "ls", small_zoo.path, "--json").json
    assert (found["total"], len(found["networks"])) == (12, 12)
    assert all(set(network) == ENTRY | {"latency_ms", "weights"} for network in found["networks"])
    assert {network["latency_ms"] for network in found["networks"]} == {None}
    table = nns("zoo", "ls", small_zoo.path)
    assert "12 networks\n" in table.out
    assert all(network["id"][:10] in table.out for network in found["networks"])
    assert "license: Apache-2.0" in table.out


@pytest.mark.parametrize("command", [("zoo", "ls"), ("zoo", "info"), ("space", "show")])
def test_the_zoo_of_searches_is_looked_into_where_none_is_named(nns, small_zoo, monkeypatch, command):
    monkeypatch.setenv("NNS_ZOO", str(small_zoo.path))
    for options in ([], ["--json"]):
        unnamed, named = nns(*command, *options), nns(*command, small_zoo.path, *options)
        assert (unnamed.code, unnamed.out, unnamed.err) == (0, named.out, named.err)


def test_ls_within_limits_and_in_order(nns, small_zoo):
    found = nns("zoo", "ls", small_zoo.path, "--max-params", "2M", "--sort", "params", "--limit", 2, "--json").json
    params = [network["params"] for network in found["networks"]]
    assert (found["total"], len(params)) == (9, 2)
    assert params == sorted(params)
    assert nns("zoo", "ls", small_zoo.path, "--max-params", "1", "--json").json == {"networks": [], "total": 0}
    none = nns("zoo", "ls", small_zoo.path, "--max-params", "1")
    assert (none.code, none.out, none.err) == (0, "", f"{small_zoo.path}: 0 of 12 networks\n")


@pytest.mark.parametrize(
    ("order", "key", "falling"),
    [
        ("params", "params", False),
        ("macs", "macs", False),
        ("size", "bytes", False),
        ("accuracy", "accuracy", True),
        ("dataset", "source_dataset", False),
        ("architecture", "architecture", False),
        ("id", "id", False),
    ],
)
def test_ls_sorts_both_ways(order, key, falling, nns, small_zoo):
    def values(*more):
        found = nns("zoo", "ls", small_zoo.path, "--sort", order, *more, "--json").json
        return [network[key] for network in found["networks"]]

    listed = [values(), values("--backend", "timm"), values("--backend", "timm", "--reverse")]
    assert [len(column) for column in listed] == [12, 6, 6]
    assert listed[1] == sorted(listed[1], reverse=falling)
    assert listed[2] == sorted(listed[1], reverse=not falling)
    if order != "architecture":  # of several backends it sorts by backend first
        assert listed[0] == sorted(listed[0], reverse=falling)


def test_ls_of_one_dataset(nns, small_zoo):
    found = nns("zoo", "ls", small_zoo.path, "--dataset", "digits-67", "--backend", "ofa", "--json").json
    assert [network["source_dataset"] for network in found["networks"]] == ["digits-67"]
    assert "1 of 12 networks" in nns("zoo", "ls", small_zoo.path, "--dataset", "digits-67", "--backend", "ofa").out
    wrong = nns("zoo", "ls", small_zoo.path, "--dataset", "digits-76", "--json")
    assert (wrong.code, wrong.out) == (2, "")
    assert "did you mean 'digits-67'?" in wrong.err


def test_ls_within_a_latency_measures_and_keeps_it(nns, small_zoo, ids, tmp_path):
    path = small_zoo.copy(tmp_path)
    slow = ("zoo", "ls", path, "--backend", "example", "--max-latency", "10s", "--device", "cpu")
    found = nns(*slow, "--json").json["networks"]
    measured = {network["id"]: network["latency_ms"] for network in found}
    assert sorted(measured) == ids
    assert all(milliseconds > 0 for milliseconds in measured.values())
    assert {network["id"]: network["latency_ms"] for network in nns(*slow, "--json").json["networks"]} == measured
    assert "latency" in nns(*slow).out
    (shown,) = nns("zoo", "show", path, ids[0], "--json").json["latency_ms"].values()
    assert shown == measured[ids[0]]
    assert nns("zoo", "ls", path, "--backend", "example", "--max-latency", "1us", "--json").json["total"] == 0


def test_info(nns, small_zoo):
    found = nns("zoo", "info", small_zoo.path, "--json").json
    assert found["by_backend"] == {"example": 3, "ofa": 3, "timm": 6}
    assert found["by_dataset"] == {"digits-012": 3, "digits-345": 3, "digits-67": 3, "imagenet-1k": 3}
    assert (found["networks"], found["supernets"], found["spaces"]) == (12, 3, ["mixed"])
    assert found["datasets"] == ["digits-012", "digits-345", "digits-67"]
    assert (found["transfers"], found["transfer_datasets"]) == (0, [])
    weights = found["weights"]
    assert weights["stored"] == found["bytes"]["weights"] == sum(c["stored"] for c in weights["codecs"].values())
    assert weights["ratio"] == round(weights["decoded"] / weights["stored"], 4) > 1
    assert "slice" in weights["codecs"]
    assert sum(found["bytes"].values()) < found["file_bytes"] == small_zoo.path.stat().st_size
    assert found["journal"] == {"files": 0, "bytes": 0}
    table = nns("zoo", "info", small_zoo.path).out
    assert found["digest"] in table
    assert f"ratio {weights['ratio']:.4f}"[:9] in table
    assert "waiting" not in table


def test_info_counts_what_waits_in_the_journal(nns, tmp_path):
    from nns.stores import HDF5Store
    from nns.testing._store import sample_network, sample_transfer

    with HDF5Store(tmp_path / "zoo.h5") as store:
        store.add_network(sample_network(1))
        store.put_transfers([sample_transfer(1, "birds"), sample_transfer(2, "apples")])
    found = nns("zoo", "info", tmp_path / "zoo.h5", "--json").json
    sizes = [path.stat().st_size for path in (tmp_path / "zoo.h5.journal").glob("*.h5")]
    assert (found["file_bytes"], found["journal"]) == (0, {"files": 2, "bytes": sum(sizes)})
    assert found["transfers"] == 2
    assert "2 files" in nns("zoo", "info", tmp_path / "zoo.h5").out


def test_show_by_the_beginning_of_an_id(nns, small_zoo, ids):
    found = nns("zoo", "show", small_zoo.path, ids[0][:8], "--json").json
    assert set(found) == SHOWN
    assert (found["id"], found["kind"], found["bases"]) == (ids[0], "network", [])
    assert len(found["class_names"]) == found["classes"]
    assert 0 < found["kept"]["own"] <= found["kept"]["stored"] < found["kept"]["decoded"]
    assert ids[0] in nns("zoo", "show", small_zoo.path, ids[0]).out


def test_show_a_subnet_and_its_supernet(nns, small_zoo):
    subnet = nns("zoo", "ls", small_zoo.path, "--backend", "ofa", "--json").json["networks"][0]
    found = nns("zoo", "show", small_zoo.path, subnet["id"], "--json").json
    assert found["bases"] == [subnet["provenance"]["base"]]
    assert found["kept"]["codecs"]["slice"] > 10
    supernet = nns("zoo", "show", small_zoo.path, found["bases"][0][:12], "--json").json
    assert set(supernet) == SHOWN
    assert (supernet["kind"], supernet["source_dataset"]) == ("supernet", subnet["source_dataset"])
    assert supernet["params"] > subnet["params"]
    assert "supernet" in nns("zoo", "show", small_zoo.path, supernet["id"]).out
    assert found["bases"][0] in nns("zoo", "show", small_zoo.path, subnet["id"]).out


def test_show_lists_transfers_and_latencies(nns, tmp_path):
    from nns.stores import HDF5Store
    from nns.testing._store import sample_network, sample_transfer
    from nns.types import LatencyRecord

    with HDF5Store(tmp_path / "zoo.h5") as store:
        for number in (1, 2):
            store.add_network(sample_network(number))
        store.put_transfers([sample_transfer(1, "birds"), sample_transfer(2, "apples")])
        store.put_latencies([LatencyRecord(f"{number:016x}", "some cpu", 0.004 * number) for number in (1, 2)])
    record = sample_transfer(1, "birds")
    found = nns("zoo", "show", tmp_path / "zoo.h5", record.network_id, "--json").json
    assert [set(row) for row in found["transfers"]] == [{"dataset", "dataset_digest", "accuracy", "epochs", "recipe"}]
    assert (found["transfers"][0]["dataset"], found["transfers"][0]["accuracy"]) == (record.dataset, record.accuracy)
    assert found["latency_ms"] == {"some cpu": 4.0}
    table = nns("zoo", "show", tmp_path / "zoo.h5", record.network_id).out
    assert "4 ms on some cpu" in table
    assert f"{record.accuracy:.1%}" in table


def test_verify(nns, small_zoo, tmp_path):
    whole = nns("zoo", "verify", small_zoo.path, "--json").json
    assert set(whole) == {"ok", "networks", "problems", "quick", "supernets", "bytes", "seconds"}
    assert (whole["ok"], whole["networks"], whole["supernets"], whole["problems"]) == (True, 12, 3, [])
    assert (whole["quick"], whole["bytes"]) == (False, small_zoo.path.stat().st_size)
    assert nns("zoo", "verify", small_zoo.path, "--quick", "--json").json["quick"] is True
    assert "12 networks, 3 supernets, nothing wrong" in nns("zoo", "verify", small_zoo.path).err
    path = small_zoo.copy(tmp_path)
    damaged = bytearray(path.read_bytes())
    middle = len(damaged) // 2  # nearly all of the file is weights
    damaged[middle : middle + 64] = bytes(byte ^ 0xFF for byte in damaged[middle : middle + 64])
    path.write_bytes(damaged)
    done = nns("zoo", "verify", path, "--json")
    assert (done.code, done.json["ok"], done.err) == (4, False, "")
    seal, *problems = done.json["problems"]
    assert seal["id"] == ""
    assert "seal" in seal["what"]
    assert problems
    for problem in problems:
        assert set(problem) == {"id", "what"}
        assert problem["id"] in nns("zoo", "verify", path).out
    assert nns("zoo", "verify", path, "--quick").code == 0


def test_export_then_add_to_another_zoo(nns, small_zoo, ids, tmp_path):
    folder, zoo = tmp_path / "network", tmp_path / "zoo.h5"
    done = nns("zoo", "export", small_zoo.path, ids[0], "-o", folder, "--json")
    assert (done.code, done.json) == (0, {"id": ids[0], "output": str(folder)})
    shown = nns("zoo", "show", small_zoo.path, ids[0], "--json").json
    done = nns(
        "zoo", "add", zoo, folder / "model.safetensors", "--backend", "example", "--architecture",
        shown["architecture"], "--data", small_zoo.folder / shown["source_dataset"], "--image-size", 32, "--json",
    )  # fmt: skip
    assert done.code == 0
    assert all(line.startswith("warning: ") and "no better than guessing" in line for line in done.err.splitlines())
    assert set(done.json) == ENTRY | {"measured", "added"}
    assert (done.json["params"], done.json["classes"]) == (shown["params"], shown["classes"])
    assert nns("zoo", "verify", zoo, "--json").json["networks"] == 1


def test_a_damaged_checkpoint_is_not_added(nns, small_zoo, tmp_path):
    (tmp_path / "x.safetensors").write_text("nothing")
    done = nns(
        "zoo", "add", tmp_path / "zoo.h5", tmp_path / "x.safetensors", "--backend", "example",
        "--architecture", "plain-w8-d3", "--data", small_zoo.query,
    )  # fmt: skip
    assert done.code != 0
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert "x.safetensors" in done.err
    assert not (tmp_path / "zoo.h5").exists()


def test_space_fit_and_show(nns, small_zoo, tmp_path):
    path = small_zoo.copy(tmp_path)
    done = nns("space", "fit", path, "--epochs", 5, "--no-held-out", "--json")
    assert (done.code, done.err) == (0, "")
    assert set(done.json) == {"space", "method", "networks", "datasets", "own_results", "seconds", "held_out"}
    assert done.json["held_out"] is None
    (space,) = nns("space", "show", path, "--json").json["spaces"]
    assert (space["space"], space["networks"]) == ("mixed", 12)
    assert "recall@1" in nns("space", "show", small_zoo.path).out


def test_build(nns, small_zoo, tmp_path):
    arguments = ("zoo", "build", tmp_path / "zoo.h5", "--data", small_zoo.query, "--backend", "example:plain-w8-d3")
    arguments += ("--networks", 1, "--epochs", 1, "--workers", 0, "--no-pretrained", "--json")
    done = nns(*arguments)
    assert done.code == 0
    assert done.err.startswith("one dataset: ") and len(done.err.splitlines()) == 1
    assert set(done.json) >= {"zoo", "digest", "networks", "added", "datasets", "failed", "seconds", "interrupted"}
    assert (done.json["networks"], done.json["added"], done.json["failed"]) == (1, 1, [])
    again = nns(*arguments)
    assert (again.json["added"], again.json["digest"]) == (0, done.json["digest"])


def test_an_interrupted_build_exits_with_130(nns, small_zoo, tmp_path, monkeypatch):
    from nns.finetuning._run import Run

    def interrupt(*arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "train_epoch", interrupt)
    done = nns(
        "zoo", "build", tmp_path / "zoo.h5", "--data", small_zoo.query, "--backend", "example:plain-w8-d3",
        "--networks", 1, "--workers", 0, "--no-pretrained", "--json",
    )  # fmt: skip
    assert (done.code, done.json["networks"], done.json["interrupted"]) == (130, 0, True)
    assert "run the same command again" in done.err

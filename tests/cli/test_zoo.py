"""``nns zoo`` and ``nns space``: every command, with ``--json`` and without."""

from __future__ import annotations

import pytest

ENTRY = {"id", "backend", "architecture", "config", "weights_from", "source_dataset", "classes", "accuracy", "params"}
ENTRY |= {"macs", "bytes", "feature_dim", "image_size", "license", "provenance"}


@pytest.fixture(scope="module")
def ids(small_zoo):
    from nns import Zoo

    with Zoo.open(small_zoo.path) as zoo:
        return [entry.id for entry in zoo.entries() if entry.spec.backend == "example"]


def test_ls(nns, small_zoo):
    found = nns("zoo", "ls", small_zoo.path, "--json").json
    assert (found["total"], len(found["networks"])) == (12, 12)
    assert all(set(network) == ENTRY for network in found["networks"])
    table = nns("zoo", "ls", small_zoo.path)
    assert "12 networks" in table.out
    assert all(network["id"] in table.out for network in found["networks"])


def test_ls_within_limits_and_in_order(nns, small_zoo):
    found = nns("zoo", "ls", small_zoo.path, "--max-params", "1M", "--sort", "params", "--limit", 2, "--json").json
    params = [network["params"] for network in found["networks"]]
    assert (found["total"], len(params)) == (9, 2)
    assert params == sorted(params)
    assert nns("zoo", "ls", small_zoo.path, "--max-params", "1", "--json").json == {"networks": [], "total": 0}


def test_info(nns, small_zoo):
    found = nns("zoo", "info", small_zoo.path, "--json").json
    assert found["by_backend"] == {"example": 3, "ofa": 3, "timm": 6}
    assert found["by_dataset"] == {"digits-012": 3, "digits-345": 3, "digits-67": 3, "imagenet-1k": 3}
    assert (found["networks"], found["spaces"]) == (12, ["mixed"])
    assert found["datasets"] == ["digits-012", "digits-345", "digits-67"]
    assert found["digest"] in nns("zoo", "info", small_zoo.path).out


def test_show_by_the_beginning_of_an_id(nns, small_zoo, ids):
    found = nns("zoo", "show", small_zoo.path, ids[0][:8], "--json").json
    assert set(found) == ENTRY | {"class_names"}
    assert found["id"] == ids[0]
    assert len(found["class_names"]) == found["classes"]
    assert ids[0] in nns("zoo", "show", small_zoo.path, ids[0]).out


def test_verify(nns, small_zoo, tmp_path):
    assert nns("zoo", "verify", small_zoo.path, "--json").json == {"ok": True, "networks": 12, "problems": []}
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


def test_merge(nns, small_zoo, tmp_path):
    out = tmp_path / "all.h5"
    first = nns("zoo", "merge", out, small_zoo.path, "--json")
    assert (first.code, first.err, first.json["networks"], first.json["added"]) == (0, "", 12, 12)
    assert first.json["digest"] == nns("zoo", "info", small_zoo.path, "--json").json["digest"]
    again = nns("zoo", "merge", out, small_zoo.path)
    assert (again.code, again.out) == (0, "")
    assert "12 networks, 0 new" in again.err
    assert nns("space", "show", out, "--json").json == {"spaces": []}
    assert "nns space fit" in nns("space", "show", out).err


def test_export_then_add_to_another_zoo(nns, small_zoo, ids, tmp_path):
    folder, zoo = tmp_path / "network", tmp_path / "zoo.h5"
    done = nns("zoo", "export", small_zoo.path, ids[0], "-o", folder, "--json")
    assert (done.code, done.json) == (0, {"id": ids[0], "output": str(folder)})
    shown = nns("zoo", "show", small_zoo.path, ids[0], "--json").json
    done = nns(
        "zoo", "add", zoo, folder / "model.safetensors", "--backend", "example", "--architecture",
        shown["architecture"], "--data", small_zoo.folder / shown["source_dataset"], "--image-size", 32, "--json",
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    assert set(done.json) == ENTRY
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
    assert set(done.json) == {"space", "method", "networks", "datasets", "seconds", "held_out"}
    assert done.json["held_out"] is None
    (space,) = nns("space", "show", path, "--json").json["spaces"]
    assert (space["space"], space["networks"]) == ("mixed", 12)
    assert "recall@1" in nns("space", "show", small_zoo.path).out


def test_build(nns, small_zoo, tmp_path):
    arguments = ("zoo", "build", tmp_path / "zoo.h5", "--data", small_zoo.query, "--backend", "example:plain-w8-d3")
    arguments += ("--networks", 1, "--epochs", 1, "--workers", 0, "--no-pretrained", "--json")
    done = nns(*arguments)
    assert (done.code, done.err) == (0, "")
    assert set(done.json) >= {"zoo", "digest", "networks", "added", "datasets", "failed", "seconds", "interrupted"}
    assert (done.json["networks"], done.json["added"], done.json["failed"]) == (1, 1, [])
    again = nns(*arguments)
    assert (again.json["added"], again.json["digest"]) == (0, done.json["digest"])


def test_an_interrupted_build_exits_with_130(nns, small_zoo, tmp_path, monkeypatch):
    from nns.finetuning._run import Run

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "train_epoch", interrupt)
    done = nns(
        "zoo", "build", tmp_path / "zoo.h5", "--data", small_zoo.query, "--backend", "example:plain-w8-d3",
        "--networks", 1, "--workers", 0, "--no-pretrained", "--json",
    )  # fmt: skip
    assert (done.code, done.json["networks"], done.json["interrupted"]) == (130, 0, True)
    assert "run the same command again" in done.err

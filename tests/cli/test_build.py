"""``nns zoo build`` from one end to the other: its log, its failures, its dry run."""

from __future__ import annotations

import json
import sys
from datetime import datetime

import pytest


@pytest.fixture
def command(small_zoo, tmp_path):
    """Nine plain networks on two datasets, in this process."""
    names = ("--data", *small_zoo.data[:2], "--backend", "example", "--networks", 9, "--epochs", 2)
    return ("zoo", "build", tmp_path / "zoo.h5", *names, "--max-images", 40, "--workers", 0, "--no-pretrained")


def read(log):
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_a_zoo_with_few_transfers_is_told_of_them():
    from dataclasses import replace

    from nns.building.events import BuildReport
    from nns.cli.build import _after
    from nns.space import transfers_needed

    assert [transfers_needed(networks) for networks in (9, 60, 61, 437)] == [30, 30, 31, 219]
    few = BuildReport("zoo.h5", "0", 9, 9, 5, 29, (), 1.0, 40, False)
    assert _after(few).splitlines()[0] == "Next: nns space fit zoo.h5"
    assert "--transfers 60" in _after(few) and "fewer than 30 " in _after(few)
    many = _after(replace(few, networks=437, transfers=218))
    assert "--transfers 437" in many and "fewer than 219 " in many
    for enough in (replace(few, transfers=30), replace(few, datasets=1), replace(few, networks=7)):
        assert _after(enough) == "Next: nns space fit zoo.h5"
    assert _after(replace(few, interrupted=True)) == ""


def test_the_log_tells_the_course_of_a_build(nns, command, tmp_path):
    from nns import Zoo

    done = nns(*command, "--transfers", 2, "--log", tmp_path / "log", "--json")
    assert (done.code, done.err) == (0, "")
    lines = read(tmp_path / "log")
    kinds = [line["event"] for line in lines]
    assert kinds[:12] == ["dataset", "dataset", *["architecture"] * 9, "plan"]
    assert [(line["counted"], line["to_count"]) for line in lines[2:11]] == [(n, 9) for n in range(1, 10)]
    assert {line["message"] for line in lines[2:11]} == {
        f"example:plain-w{w}-d{d}" for w in (8, 16, 24) for d in (3, 4, 5)
    }
    assert kinds[-2:] == ["merge", "end"]
    networks = [line for line in lines if line["event"] == "network"]
    assert kinds.count("start") == 11
    assert [line["done"] for line in networks] == list(range(1, 10))
    assert [line["transfers"] for line in lines if line["event"] == "transfer"] == [1, 2]
    assert [line["seconds"] for line in lines] == sorted(line["seconds"] for line in lines)
    times = [datetime.fromisoformat(line["time"]) for line in lines]
    assert times == sorted(times)
    assert times[0].tzinfo is not None
    assert lines[-2]["images"] == sum(line.get("item_images", 0) for line in lines) == done.json["images"]
    assert lines[-1].items() >= {**done.json, "event": "end"}.items()
    with Zoo(tmp_path / "zoo.h5") as zoo:
        entries = {entry.id: entry for entry in zoo.store.entries()}
    for line in networks:
        (identity,), (accuracy,), (architecture,) = line["networks"], line["accuracies"], line["architectures"]
        entry = entries.pop(identity)
        assert (entry.spec.backend, entry.spec.name, entry.source_dataset) == (
            line["backend"],
            architecture,
            line["dataset"],
        )
        assert entry.accuracy == pytest.approx(accuracy, abs=1e-6)
    assert not entries

    again = nns(*command, "--transfers", 2, "--log", tmp_path / "log", "--json")
    assert (again.json["added"], again.json["digest"]) == (0, done.json["digest"])
    second = read(tmp_path / "log")[len(lines) :]
    assert [line["event"] for line in second] == [*kinds[:12], "merge", "end"]
    assert (second[11]["done"], second[11]["transfers"]) == (9, 2)


NO_RAY = '--executor ray needs ray: pip install "nns[ray]"'
LOCAL = "--address auto is that of a ray cluster: give --executor ray as well"
DEAD = "no ray cluster at '127.0.0.1:9', give HOST:PORT of one, or auto: [Errno 111] Connection refused"


@pytest.mark.parametrize(
    ("where", "why"),
    [
        (("--executor", "ray"), NO_RAY),
        (("--executor", "ray", "--address", "auto"), NO_RAY),
        (("--address", "auto"), LOCAL),
        (("--executor", "ray", "--address", "127.0.0.1:9"), DEAD),
        (("--executor", "slurm"), "'slurm'"),
    ],
)
def test_a_place_that_is_not_there_is_found_out_before_anything_is_done(
    nns, command, monkeypatch, tmp_path, where, why
):
    if why == DEAD:
        pytest.importorskip("ray")
    if why == NO_RAY:
        monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr("nns.building.building.named_datasets", lambda data: pytest.fail("datasets were opened"))
    done = nns(*command, "--workers", 1, *where)
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert why in line
    assert list(tmp_path.iterdir()) == []
    if why != DEAD:
        assert why in nns(*command, "--workers", 1, *where, "--dry-run").err


def test_failures_are_told_once_listed_at_the_end_and_tried_again(nns, command, monkeypatch, tmp_path):
    from nns_example import ExampleBackend

    def fail(self, item, data, train, seed):
        if data.name == "digits-345":
            raise OSError("no such\ndisk")
        return produce(self, item, data, train, seed)

    produce = ExampleBackend.produce
    monkeypatch.setattr(ExampleBackend, "produce", fail)
    done = nns(*command, "--log", tmp_path / "log")
    first, last = done.err.splitlines()
    assert done.code == 1
    failed = [line for line in read(tmp_path / "log") if line["event"] == "failed"]
    assert len(failed) > 1
    name = failed[0]["architectures"][0]
    assert first == rf"failed: example:{name} on digits-345: OSError: no such\ndisk"
    assert last == f"error: {len(failed)} items failed; run the same command again to retry them"
    assert rf"example on digits-345, {len(failed)} times: OSError: no such\ndisk" in done.out
    as_json = nns(*command, "--json").json
    assert as_json["failed"] == [
        {"dataset": "digits-345", "backend": "example", "reason": "OSError: no such\ndisk"}
    ] * len(failed)
    assert (as_json["networks"], as_json["added"]) == (9 - len(failed), 0)

    monkeypatch.setattr(ExampleBackend, "produce", produce)
    mended = nns(*command, "--json")
    assert (mended.code, mended.json["networks"], mended.json["failed"]) == (0, 9, [])
    assert mended.json["added"] == len(failed)


def test_what_backends_print_does_not_reach_the_document(nns, command, monkeypatch):
    from nns_example import ExampleBackend

    def chatty(self, *arguments):
        print("epoch 1: loss 0.5")  # noqa: T201
        return produce(self, *arguments)

    produce = ExampleBackend.produce
    monkeypatch.setattr(ExampleBackend, "produce", chatty)
    for more in ((), ("--dry-run",)):
        done = nns(*command, "--json", *more)
        assert done.json["networks"] == 9
        assert "epoch 1: loss 0.5\n" in done.err


def test_an_interrupted_build_names_no_next_step_but_itself(nns, command, monkeypatch, tmp_path):
    from nns.finetuning._run import Run

    def interrupt(*arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "train_epoch", interrupt)
    done = nns(*command, "--log", tmp_path / "log")
    assert (done.code, done.err) == (130, "interrupted; run the same command again to go on\n")
    assert "nns space fit" not in done.out
    assert read(tmp_path / "log")[-1].items() >= {"event": "end", "interrupted": True}.items()


def test_a_dry_run_says_what_would_be(nns, command, tmp_path):
    before = sorted(tmp_path.iterdir())
    done = nns(*command, "--transfers", 2, "--dry-run")
    assert (done.code, done.err) == (0, "")
    assert sorted(tmp_path.iterdir()) == before
    lines = done.out.splitlines()
    assert lines[0] == "Nothing was trained."
    rows = [line.split() for line in lines if "example:" in line]
    assert {row[0] for row in rows} == {f"example:plain-w{w}-d{d}" for w in (8, 16, 24) for d in (3, 4, 5)}
    assert {tuple(row[-4:-2]) for row in rows} == {("32", "2")}  # pixels and epochs
    *_, what, about = lines
    assert what == "9 networks of 18 pairs (pareto) on 2 datasets with 80 training images, 2 transfers"
    assert about.startswith("about ")
    assert " with 1 worker, and " in about
    assert about.endswith("B")


def test_a_dry_run_as_json(nns, command):
    done = nns(*command, "--strategy", "all", "--dry-run", "--json")
    assert (done.code, done.err) == (0, "")
    found = done.json
    assert set(found) == {
        "dry_run", "strategy", "datasets", "architectures", "broken", "networks", "supernets", "supernet_seconds",
        "transfers", "workers", "seconds", "bytes",
    }  # fmt: skip
    assert (found["dry_run"], found["strategy"], found["networks"], found["transfers"]) == (True, "all", 18, 18)
    assert found["datasets"] == [
        {"name": name, "classes": 3, "images": 40, "validation": 11} for name in ("digits-012", "digits-345")
    ]
    assert len(found["architectures"]) == 9
    assert set(found["architectures"][0]) == {
        "backend", "name", "source", "params", "macs", "image_size", "epochs", "seconds",
    }  # fmt: skip
    assert found["seconds"] > 0
    assert found["bytes"] > 0


def test_a_dry_run_leaves_out_what_fails(nns, command, monkeypatch):
    from nns_example import ExampleBackend

    def fail(self, spec, *arguments):
        if spec.name == "plain-w8-d3":
            raise OSError("no such\ndisk")
        return build(self, spec, *arguments)

    build = ExampleBackend.build
    monkeypatch.setattr(ExampleBackend, "build", fail)
    done = nns(*command, "--dry-run")
    assert r"left out: example:plain-w8-d3: OSError: no such\ndisk" in done.out.splitlines()
    assert "9 networks of 16 pairs" in done.out

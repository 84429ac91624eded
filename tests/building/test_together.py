"""Builds that are killed, and builds of one zoo beside one another: what was done is not done again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from nns import Zoo, build_zoo
from nns.building import pairs, preparing
from nns.building.folder import BuildFolder, beside_builds
from nns.stores import HDF5Store
from nns.testing._store import sample_network, sample_supernet
from nns.zoo import verify


@pytest.fixture
def counted(monkeypatch):
    """Names of the architectures that were built to be counted."""
    names, describe = [], pairs.describe_architecture

    def count(work, registry, objectives):
        names.append(work.specs[0].name)
        return describe(work, registry, objectives)

    monkeypatch.setattr(pairs, "describe_architecture", count)
    return names


def interrupt_at(kind, number):
    seen = []

    def on_event(event):
        seen.append(event.kind)
        if event.kind == kind and seen.count(kind) == number:
            raise KeyboardInterrupt

    return on_event


def test_architectures_are_counted_once_however_often_a_build_is_ended(plain_zoo, tmp_path, counted):
    path = tmp_path / "zoo.h5"
    for _ in range(3):
        assert build_zoo(path, plain_zoo.settings, workers=0, on_event=interrupt_at("architecture", 4)).interrupted
    assert len(counted) == 4
    report = build_zoo(path, plain_zoo.settings, workers=0)
    assert (len(counted), len(set(counted))) == (9, 9)
    assert report.digest == plain_zoo.report.digest
    assert os.listdir(tmp_path) == ["zoo.h5"]


def test_a_killed_build_leaves_what_it_counted(plain_zoo, tmp_path, counted):
    path = tmp_path / "zoo.h5"
    code = """
import json, os, sys
from nns import BuildSettings, build_zoo
seen = 0
def kill(event):
    global seen
    seen += event.kind == "architecture"
    if seen == 5:
        os.kill(os.getpid(), 9)
settings = json.loads(sys.argv[2])
build_zoo(sys.argv[1], BuildSettings(**settings), workers=0, on_event=kill)
"""
    made_of = {"data": list(plain_zoo.settings.data), "backends": ["example"], "networks": 4, "image_size": 16}
    made_of |= {"pretrained": False, "epochs": 1, "transfers": 0}
    done = subprocess.run([sys.executable, "-c", code, str(path), json.dumps(made_of)], check=False)
    assert done.returncode == -signal.SIGKILL
    with (tmp_path / "zoo.h5.images" / "counts.jsonl").open("ab") as counts:
        counts.write(b'["half a li')  # as a kill in the middle of a write leaves it
    report = build_zoo(path, plain_zoo.settings, workers=0)
    assert len(counted) == 4
    assert report.digest == plain_zoo.report.digest


@pytest.mark.parametrize("line", [b"[1, 2]", b'["x", [NaN], [1]]', b'["x", "y", "z"]', b"[" * 10_000, b"\xff", b"null"])
def test_a_damaged_count_counts_nothing(tmp_path, line):
    folder = BuildFolder(tmp_path / "zoo.h5")
    folder.enter()
    (folder.path / "counts.jsonl").write_bytes(line)
    assert folder.counted({"a": 1}) is None
    folder.keep({"a": 1}, ([0.1, 2.0], [3.0]))
    assert BuildFolder(tmp_path / "zoo.h5").counted({"a": 1}) == ([0.1, 2.0], [3.0])
    folder.leave(remove=True)
    assert not os.listdir(tmp_path)


def test_other_counts_are_made_where_other_costs_count(plain_zoo, tmp_path, counted):
    path = tmp_path / "zoo.h5"
    build_zoo(path, plain_zoo.settings, workers=0, on_event=interrupt_at("plan", 1))
    build_zoo(path, plain_zoo.with_(objectives=("macs",)), workers=0)
    assert len(counted) == 18


def test_datasets_and_pretrained_networks_are_described_once(plain_zoo, tmp_path, monkeypatch):
    features, described = [], []
    take, describe = preparing.Dataset.features, preparing.describe_network
    monkeypatch.setattr(
        preparing.Dataset, "features", lambda self, *a, **k: features.append(self.name) or take(self, *a, **k)
    )
    monkeypatch.setattr(preparing, "describe_network", lambda *a, **k: described.append(a[1].name) or describe(*a, **k))
    settings = plain_zoo.with_(backends=("example", "timm:mobilenetv3_small_050"), pretrained=True)
    path = tmp_path / "zoo.h5"
    for number in (1, 2):
        build_zoo(path, settings, workers=0, on_event=interrupt_at("dataset", number))
        assert HDF5Store(path).datasets() == ()
    build_zoo(path, settings, workers=0, on_event=interrupt_at("architecture", 1))
    build_zoo(path, settings, workers=0, on_event=interrupt_at("plan", 1))
    assert features == ["a", "b"]
    assert len(described) == len(set(described)) > 0


def test_claims(tmp_path):
    one, other = BuildFolder(tmp_path / "zoo.h5"), BuildFolder(tmp_path / "zoo.h5")
    one.enter(), other.enter()
    assert one.claim("item") is True
    assert other.claim("item") is False
    one.release("item", done=False)
    assert other.claim("item") is True
    other.release("item", done=True)
    assert one.claim("item") is None
    assert one.claim("item", again=True) is True
    assert other.claim("item", again=True) is False
    one.leave(remove=True)
    assert other.claim("item") is not False  # who ends lets go
    other.leave(remove=True)
    assert not os.listdir(tmp_path)


def build(path, settings, log, *more):
    command = [sys.executable, "-c", "from nns.cli import main; main()", "zoo", "build", str(path), "--json"]
    command += [word for name in settings.data for word in ("--data", name)]
    command += ["--backend", "example", "--networks", "8", "--no-pretrained", "--epochs", "2", "--image-size", "16"]
    return subprocess.Popen(
        [*command, "--log", str(log), *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finished(log, kind):
    """Return the networks or transfers that a build trained itself."""
    lines = [json.loads(line) for line in Path(log).read_text().splitlines()]
    return [
        (tuple(line["networks"]), line["dataset"]) for line in lines if line["event"] == kind and line["item_seconds"]
    ]


def test_two_builds_of_one_zoo_share_the_work(plain_zoo, tmp_path):
    alone, path = tmp_path / "alone.h5", tmp_path / "zoo.h5"
    arguments = ("--workers", "0", "--transfers", "4")
    same = plain_zoo.with_(networks=8, epochs=2, transfers=4)
    expected = build_zoo(alone, same, workers=0)
    logs = [tmp_path / "log-0", tmp_path / "log-1"]
    processes = [build(path, plain_zoo.settings, log, *arguments) for log in logs]
    ended = [process.communicate(timeout=250) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ended
    for kind, number in (("network", 8), ("transfer", 4)):
        shares = [finished(log, kind) for log in logs]
        assert len(set(shares[0] + shares[1])) == len(shares[0] + shares[1]) == number
        if kind == "network":  # of a few transfers that take no time one may well do all
            assert all(shares), f"one did all of each {kind}"
    reports = [json.loads(out) for out, _ in ended]
    assert {report["networks"] for report in reports} == {expected.networks} == {8}
    with Zoo(path) as zoo, Zoo(alone) as other:
        assert zoo.store.digest() == other.store.digest() == expected.digest
        assert verify(zoo.store) == ()
    assert {name for name in os.listdir(tmp_path) if "log" not in name} == {"alone.h5", "zoo.h5"}


def test_what_a_killed_build_had_claimed_is_done_by_the_other(plain_zoo, tmp_path):
    path = tmp_path / "zoo.h5"
    logs = [tmp_path / "log-0", tmp_path / "log-1"]
    first = build(path, plain_zoo.settings, logs[0], "--workers", "0", "--transfers", "0")
    until = time.monotonic() + 100
    while not (logs[0].exists() and '"start"' in logs[0].read_text()) and time.monotonic() < until:
        time.sleep(0.02)
    second = build(path, plain_zoo.settings, logs[1], "--workers", "0", "--transfers", "0")
    first.send_signal(signal.SIGKILL)
    first.communicate()
    out, err = second.communicate(timeout=200)
    assert second.returncode == 0, err
    assert json.loads(out)["networks"] == 8


def test_garbage_beside_a_build_leaves_supernets_that_wait(tmp_path, nns):
    path = tmp_path / "zoo.h5"
    with HDF5Store(path) as store:
        store.add_network(sample_network(1))
        store.add_supernet(sample_supernet(2))
        store.merge()
    folder = BuildFolder(path)
    folder.enter()
    for more in (("--dry-run",), ()):
        done = nns("zoo", "gc", path, *more, "--json")
        assert done.json["supernets"] == []
        assert "is being built" in nns("zoo", "gc", path, *more).err
    assert len(HDF5Store(path).supernets()) == 1
    folder.leave(remove=True)
    assert len(nns("zoo", "gc", path, "--json").json["supernets"]) == 1
    assert os.listdir(tmp_path) == ["zoo.h5"]


def test_no_build_begins_while_garbage_is_collected(tmp_path):
    path = tmp_path / "zoo.h5"
    with beside_builds(path) as busy:
        assert not busy
    folder = BuildFolder(path)
    folder.enter()
    with beside_builds(path) as busy:
        assert busy
    folder.leave(remove=False)
    with beside_builds(path) as busy:
        assert not busy
        waiting = threading.Thread(target=folder.enter)
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
    waiting.join(10)
    assert not waiting.is_alive()
    folder.leave(remove=True)


def test_a_backend_that_got_nothing_is_named(plain_zoo, tmp_path, nns):
    data = [word for name in plain_zoo.settings.data for word in ("--data", name)]
    common = ["zoo", "build", tmp_path / "zoo.h5", *data, "--backend", "example:plain-w8-d3"]
    common += ["--backend", "example:plain-w24-d5", "--networks", "2", "--strategy", "random", "--image-size", "16"]
    common += ["--no-pretrained", "--epochs", "1", "--transfers", "0", "--workers", "0"]
    done = nns(*common, "--json")
    (missing,) = done.json["untrained"] or ["none"]
    names = {"example:plain-w8-d3", "example:plain-w24-d5"}
    with Zoo(tmp_path / "zoo.h5") as zoo:
        trained = {f"example:{entry.spec.name}" for entry in zoo.store.entries()}
    assert {missing} == (names - trained or {"none"})
    if missing != "none":
        assert f"nothing of {missing} was trained" in done.err
    dry = nns(*common, "--dry-run", "--json").err
    assert all(f"may train nothing of {name}" in dry for name in names)
    assert "may train nothing of" in nns(*common, "--dry-run").out


def test_a_dry_run_that_takes_long_says_what_it_does(plain_zoo, tmp_path, nns, monkeypatch):
    monkeypatch.setattr("nns.cli.output.SAY_EVERY", 0.01)
    data = [word for name in plain_zoo.settings.data for word in ("--data", name)]
    common = ["zoo", "build", tmp_path / "zoo.h5", *data, "--backend", "example", "--networks", "2", "--workers", "0"]
    done = nns(*common, "--image-size", "16", "--no-pretrained", "--dry-run", "--json")
    assert done.json["dry_run"]
    # a line says how long it has taken, too, where that is a second and more
    assert any(line.split(" · ")[0] == "timing architectures: 1 of 6" for line in done.err.splitlines())


def test_a_folder_that_is_removed_does_not_end_a_build(plain_zoo, tmp_path):
    import shutil

    def remove(event):
        if event.kind in ("plan", "network"):
            shutil.rmtree(tmp_path / "zoo.h5.images")

    report = build_zoo(tmp_path / "zoo.h5", plain_zoo.settings, workers=0, on_event=remove)
    assert (report.failed, report.digest) == ((), plain_zoo.report.digest)
    assert os.listdir(tmp_path) == ["zoo.h5"]


def test_a_build_that_begins_while_another_removes_the_folder_keeps_its_own(tmp_path, monkeypatch):
    first, second = BuildFolder(tmp_path / "zoo.h5"), BuildFolder(tmp_path / "zoo.h5")
    first.enter()
    remove, entered = first._remove, []

    def enter_first():
        thread = threading.Thread(target=second.enter)
        thread.start()
        remove()
        entered.append(thread)

    monkeypatch.setattr(first, "_remove", enter_first)
    first.leave(remove=True)
    entered[0].join(10)
    assert second.claim("item") is True
    with beside_builds(tmp_path / "zoo.h5") as busy:
        assert busy
    second.leave(remove=True)
    assert not os.listdir(tmp_path)


def test_one_build_goes_on_where_the_other_is_interrupted(plain_zoo, tmp_path):
    path, logs = tmp_path / "zoo.h5", [tmp_path / "log-0", tmp_path / "log-1"]
    builds = [build(path, plain_zoo.settings, log, "--workers", "0", "--transfers", "0") for log in logs]
    until = time.monotonic() + 100
    while not (logs[0].exists() and '"start"' in logs[0].read_text()) and time.monotonic() < until:
        time.sleep(0.02)
    builds[0].send_signal(signal.SIGINT)
    outs = [each.communicate(timeout=200) for each in builds]
    assert builds[0].returncode in (130, 0), outs
    assert builds[1].returncode == 0, outs
    assert json.loads(outs[1][0])["networks"] == 8

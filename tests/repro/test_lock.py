from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from nns.data import Dataset
from nns.errors import UsageError
from nns.repro import DIGITS, Lock, ReproSettings, StageRecord, read_lock
from nns.repro.digits import IMAGES_A_CLASS, write_digits
from nns.repro.lock import write_lock
from nns.types import Limits


@pytest.fixture
def lock():
    stages = tuple(
        StageRecord(s, {"a": "b"}, {"accuracy": {"x": 0.25}}, {"d": "é"}) for s in ("data", "build", "fit", "search")
    )
    return Lock(ReproSettings(limits=Limits(max_params=5)), 0.1, stages, {"torch": "2.13"})


def test_round_trip(lock, tmp_path):
    path = tmp_path / "deep" / "lock.json"
    write_lock(path, lock)
    assert read_lock(path) == lock
    first = path.read_bytes()
    write_lock(path, lock)
    assert path.read_bytes() == first
    assert os.listdir(path.parent) == ["lock.json"]


def test_files_that_are_no_lock(tmp_path):
    path = tmp_path / "lock.json"
    with pytest.raises(UsageError, match=r"No such file.*nns repro record"):
        read_lock(path)
    with pytest.raises(UsageError, match="cannot read"):
        read_lock(tmp_path)
    for content in (b"", b"{", b"\xff", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(UsageError, match="not JSON"):
            read_lock(path)
    for content in ("3", "[]", "{}", '{"format": "other"}'):
        path.write_text(content)
        with pytest.raises(UsageError, match="no lock of"):
            read_lock(path)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda d: d.update(version=3), "version 3, this nns reads version 2"),
        (lambda d: d.pop("settings"), "'settings' is missing"),
        (lambda d: d["settings"].pop("seed"), "'seed' is missing"),
        (lambda d: d["settings"].update(seed="0"), "seed is no whole number"),
        (lambda d: d["settings"].update(more=1), "unknown setting 'more'"),
        (lambda d: d["settings"]["build"].update(data="digits:01"), "data is no list"),
        (lambda d: d["settings"]["limits"].update(max_speed=1), "max_speed"),
        (lambda d: d["stages"].pop("fit"), "'fit' is missing"),
        (lambda d: d["stages"]["fit"].update(facts={"a": 1}), "must be text"),
        (lambda d: d["stages"]["fit"].update(numbers={"accuracy": {"a": None}}), "damaged"),
        (lambda d: d.update(tolerance=None), "damaged"),
        (lambda d: d.update(environment=[]), "damaged"),
    ],
)
def test_damaged_locks(lock, tmp_path, change, what):
    path = tmp_path / "lock.json"
    write_lock(path, lock)
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(UsageError, match=what) as error:
        read_lock(path)
    assert error.value.exit_code == 2


def test_settings_are_checked():
    with pytest.raises(UsageError, match="at least two datasets"):
        ReproSettings(build=replace(DIGITS, data=("digits:01",)))
    with pytest.raises(UsageError, match="latency"):
        ReproSettings(limits=Limits(max_latency=0.01))


def test_paths_are_relative_to_the_lock(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build = replace(DIGITS, data=("digits:01", "data/birds", str(tmp_path / "cats")))
    settings = ReproSettings(build=build, queries=("torchvision:MNIST",))
    kept = settings.relative_to(tmp_path / "ci")
    assert kept.build.data == ("digits:01", "../data/birds", "../cats")
    assert kept.queries == ("torchvision:MNIST",)
    found = kept.resolved(tmp_path / "ci").build.data
    assert [os.path.normpath(path) for path in found[1:]] == [str(tmp_path / "data/birds"), str(tmp_path / "cats")]
    assert replace(settings, build=replace(build, data=kept.build.data)) == kept


def test_digits_have_the_same_digest_anywhere(tmp_path):
    dataset = Dataset.open(write_digits("digits:012", tmp_path))
    assert dataset.name == "digits-012"
    assert dataset.classes == ("0", "1", "2")
    assert len(dataset) == 3 * IMAGES_A_CLASS
    assert dataset.digest.startswith("e94b09d945f380d3")


@pytest.mark.parametrize("data", ["digits:", "digits:1", "digits:11", "digits:1a", "digits:0 1"])
def test_digits_that_are_none(tmp_path, data):
    with pytest.raises(UsageError, match="different digits"):
        write_digits(data, tmp_path)

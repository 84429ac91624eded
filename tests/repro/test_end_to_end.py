"""The whole check on tiny settings; trainings run in this process, which saves starting others for each run."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest

from nns.building import building
from nns.errors import NnsError, ReproError, UnknownNameError, UsageError
from nns.repro import DIGITS, ReproSettings, check, read_lock, record

# with fewer images or epochs both networks guess, and a lock of that is refused
BUILD = replace(DIGITS, data=("digits:01", "digits:23"), backends=("timm:lcnet_050",), networks=2, max_images=72)
TINY = ReproSettings(
    build=replace(BUILD, epochs=20),
    queries=("digits:45",),
    space_epochs=10,
)


@pytest.fixture(scope="module")
def lock(tmp_path_factory):
    path = tmp_path_factory.mktemp("lock") / "lock.json"
    seen = []
    report = record(path, TINY, workers=0, progress=lambda *event: seen.append(event))
    assert report.lock == read_lock(path)
    assert [stage for stage, done, total in seen if done == total] == ["data", "build", "build", "fit", "search"]
    return path


def run_cli(monkeypatch, capsys, *arguments):
    from nns.cli.repro import app

    monkeypatch.setattr(sys, "argv", ["nns", *map(str, arguments), "--workers", "0"])
    error = None
    try:
        app(standalone_mode=False)
    except NnsError as raised:
        error = raised
    return capsys.readouterr().out, error


def test_lock_says_what_came_out(lock):
    document = json.loads(lock.read_text())
    assert list(document["stages"]) == ["data", "build", "fit", "search"]
    build = document["stages"]["build"]
    assert len(build["numbers"]["accuracy"]) == 2
    assert all("timm:lcnet_050 on digits-" in fact for fact in build["facts"].values())
    search = document["stages"]["search"]
    assert {"rank 1", "rank 2", "static choice"} == set(search["exact"])


def test_same_again(lock, tmp_path):
    report = check(lock, workers=0, work=tmp_path / "work")
    assert report.exact
    assert report.environment == {}
    assert [(stage.stage, stage.differences) for stage in report.stages] == [
        ("data", ()), ("build", ()), ("fit", ()), ("search", ()),
    ]  # fmt: skip
    assert report.ok
    assert (tmp_path / "work" / "zoo.h5").is_file()
    with pytest.raises(UsageError, match="must build anew"):
        check(lock, workers=0, work=tmp_path / "work")


def test_a_changed_seed_is_noticed_and_the_stage_named(lock, monkeypatch, capsys):
    out, error = run_cli(monkeypatch, capsys, "check", lock, "--seed", "1", "--keep-going", "--json")
    document = json.loads(out)
    assert not document["ok"]
    assert [(stage["stage"], stage["ok"]) for stage in document["stages"]] == [
        ("data", True), ("build", False), ("fit", False), ("search", False),
    ]  # fmt: skip
    assert isinstance(error, ReproError)
    assert error.exit_code == 6
    assert "stage build differs" in str(error)


def test_a_changed_seed_is_noticed_with_any_tolerance(lock, monkeypatch, capsys):
    options = ["--seed", "1", "--stage", "search", "--tolerance", "1"]
    out, error = run_cli(monkeypatch, capsys, "check", lock, *options)
    assert isinstance(error, ReproError)
    assert "stage search differs from the lock: sample" in str(error)
    assert "accuracies may be 1 off" in out


def test_other_data_and_another_environment(lock, tmp_path):
    document = json.loads(lock.read_text())
    document["settings"]["queries"] = ["digits:46"]
    document["environment"]["torch"] = "0.1"
    other = tmp_path / "lock.json"
    other.write_text(json.dumps(document))
    report = check(other, workers=0, keep_going=True)
    assert not report.exact
    assert report.tolerance == document["tolerance"]
    assert report.environment["torch"][0] == "0.1"
    assert [stage.stage for stage in report.stages if not stage.ok] == ["data", "search"]
    with pytest.raises(ReproError, match=r"stage data differs.*torch 0.1 →"):
        report.raise_if_differs()


def test_arguments_that_contradict_each_other(lock, tmp_path):
    with pytest.raises(UsageError, match="`exact` or `tolerance`"):
        check(lock, exact=True, tolerance=0.1)
    with pytest.raises(UsageError, match="above 0"):
        check(lock, tolerance=0)
    with pytest.raises(UsageError, match="above 0"):
        record(tmp_path / "x.json", TINY, tolerance=-1)
    with pytest.raises(UsageError, match="`seed` as well"):
        check(lock, stage="fit")
    with pytest.raises(UnknownNameError, match="build, fit, search"):
        check(lock, seed=1, stage="data")
    (tmp_path / "lock.json").write_text("{}")
    with pytest.raises(UsageError, match="no lock of"):
        check(tmp_path / "lock.json")


def test_a_training_that_fails(tmp_path, monkeypatch):
    def fail(*arguments):
        raise ValueError("out of luck")

    monkeypatch.setattr(building, "run_item", fail)
    with pytest.raises(Exception, match=r"training on 'digits-01' with backend 'timm'.*out of luck"):
        record(tmp_path / "lock.json", TINY, workers=0)
    assert not (tmp_path / "lock.json").exists()


@pytest.mark.slow
def test_default_settings_in_processes_of_their_own(tmp_path):
    record(tmp_path / "lock.json", ReproSettings(), workers=2)
    assert check(tmp_path / "lock.json", workers=1).ok

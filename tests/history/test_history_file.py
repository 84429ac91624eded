"""The file of the user's history: whole whatever happens, bounded, and no stranger's line in it unchecked."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nns.errors import UnknownNameError, UsageError, ZooError
from nns.history import FineTuning, History, KnownDataset, KnownResult, history_path
from nns.history import file as history_file
from nns.history.records import MAX_LINE, read_line
from nns.space.mixed.inputs import describe_query, query_views
from nns.types import DatasetRecord

RNG = np.random.default_rng(0)
FEATURES = RNG.gamma(1.0, 1.0, (40, 24)).astype(np.float32)


def fine_tuning(number: int = 0, name: str = "mydata", **more: object) -> FineTuning:
    dataset = DatasetRecord(name, f"{number:064x}", ("a", "b"), FEATURES + number, np.arange(40) % 2, 400, "lite0")
    result = KnownResult("0123456789abcdef", "timm", "resnet", "random", "imagenet-1k", "", 10**6, 0.8, 4, 0.8)
    made = FineTuning(
        f"2026-11-29T08:{number // 60 % 60:02d}:{number % 60:02d}Z", "0.1", KnownDataset.of(dataset), {"lr": 1e-3},
        12.5, "cpu", 60, (result,),
    )  # fmt: skip
    return replace(made, **more)


@pytest.fixture
def history(tmp_path) -> History:
    return History(tmp_path / "data" / "history.jsonl")


def test_what_is_added_is_read_again(history):
    history.add(fine_tuning(0))
    history.add(fine_tuning(1))
    assert history.read() == (fine_tuning(0), fine_tuning(1))
    assert stat.S_IMODE(history.path.parent.stat().st_mode) == 0o700


def test_it_holds_no_images_paths_or_names_of_classes(history):
    record = DatasetRecord("/home/me/secret project/mydata", "00", ("anna", "bob"), FEATURES, np.arange(40), 9, "lite0")
    history.add(fine_tuning(dataset=KnownDataset.of(record)))
    text = history.path.read_text()
    assert '"name":"mydata"' in text
    assert not [word for word in ("home", "secret", "anna", "bob") if word in text]


def test_mean_and_spread_are_those_of_the_images():
    dataset = fine_tuning().dataset
    found, meant = (describe_query(rows, np.arange(len(rows)) % 2) for rows in (dataset.record().features, FEATURES))
    np.testing.assert_allclose(found.mean, meant.mean, rtol=2e-3)
    np.testing.assert_allclose(found.spread, meant.spread, rtol=2e-2, atol=1e-3)
    half = query_views(dataset.record().features, None, 2, np.random.default_rng(0))[1]
    assert np.median(half.spread / meant.spread) == pytest.approx(1, abs=0.1)


def _add_many(path, start):
    for number in range(start, start + 20):
        History(path).add(fine_tuning(number))


def test_several_processes_append_at_once(history):
    spawn = multiprocessing.get_context("fork")
    workers = [spawn.Process(target=_add_many, args=(history.path, 20 * k)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert {record.dataset.digest for record in history.read()} == {f"{n:064x}" for n in range(80)}
    assert not history.damaged()


def test_a_kill_leaves_it_whole(history):
    history.add(fine_tuning(0))
    script = (
        "import sys; sys.path[:0] = [sys.argv[2]]\n"
        "from test_history_file import History, fine_tuning\n"
        "print('on', flush=True)\n"
        "for n in range(1, 10**6): History(sys.argv[1]).add(fine_tuning(n))"
    )
    for seconds in (0.02, 0.05, 0.11):
        arguments = [sys.executable, "-c", script, str(history.path), os.path.dirname(__file__)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(seconds)
            writer.send_signal(signal.SIGKILL)
        assert not history.damaged()
        before = len(history.read())
        history.add(fine_tuning(5))  # the lock is not held by the dead
        assert len(history.read()) == before + 1


def test_a_damaged_line_costs_that_line_only(history):
    history.add(fine_tuning(0))
    with history.path.open("ab") as file:
        file.write(b'{"format": "nns-history", "version": 1, "da')
    assert history.read() == (fine_tuning(0),)
    assert history.damaged() == 1
    history.add(fine_tuning(1))
    assert history.read() == (fine_tuning(0), fine_tuning(1))


def test_it_does_not_grow_without_end(history, monkeypatch, tmp_path):
    monkeypatch.setattr(history_file, "MAX_RECORDS", 5)
    for number in range(7):
        history.add(fine_tuning(number))
    assert [record.dataset.digest[-1] for record in history.read()] == list("23456")
    other = History(tmp_path / "other.jsonl")
    for number in range(10, 14):
        other.add(fine_tuning(number, date="2999-01-01T00:00:00Z"))
    merged = history.merge([other.path])
    assert (merged.added, merged.dropped) == (4, 4)
    assert [record.own for record in history.read()] == [True] * 5  # a stranger's never push out one's own


def test_merging_again_adds_nothing(history, tmp_path):
    other = History(tmp_path / "other.jsonl")
    other.add(fine_tuning(1))
    other.export(tmp_path / "team.jsonl")
    assert history.merge([tmp_path / "team.jsonl"]).added == 1
    assert history.merge([tmp_path / "team.jsonl"]).known == 1
    assert [record.own for record in history.read()] == [False]
    with pytest.raises(UsageError, match="is there already"):
        other.export(tmp_path / "team.jsonl")


WRONG = [
    (("dataset", "mean"), "AAA", "."),
    (("dataset", "mean"), "AHw=", "not finite|spreads"),
    (("dataset", "mean"), "AAA=", "1 means"),
    (("dataset", "spread"), None, "spread"),
    (("dataset", "classes"), 0, "classes"),
    (("dataset", "classes"), 2.5, "classes"),
    (("dataset", "name"), "a\x1b[2Jb", "name"),
    (("dataset", "name"), "x" * 201, "name"),
    (("dataset", "digest"), "../..", "digest"),
    (("recipe",), {"a": {"b": 1}}, "recipe"),
    (("recipe",), {str(n): n for n in range(50)}, "too long"),
    (("seconds",), -1, "seconds"),
    (("validation",), 0, "validation"),
    (("results",), [], "results"),
    (("date",), "2026-02-31T00:00:00Z", "date"),
    (("date",), "yesterday", "date"),
    (("results", 0, "accuracy"), 1.5, "accuracy"),
    (("results", 0, "accuracy"), "0.5", "accuracy"),
    (("results", 0, "accuracy"), None, "accuracy"),
    (("results", 0, "network"), "", "network"),
    (("results", 0, "network"), "a b", "network"),
    (("results", 0, "epochs"), -3, "epochs"),
    (("version",), 2, "version"),
    (("format",), "zip", "not a line"),
]


@pytest.mark.parametrize(("path", "value", "message"), WRONG, ids=[".".join(map(str, p)) + f"={v!r:.20}" for p, v, _ in WRONG])  # fmt: skip  # noqa: E501
def test_a_strangers_line_is_checked_in_every_field(history, tmp_path, path, value, message):
    document = json.loads(fine_tuning(1).line())
    at = document
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    (tmp_path / "theirs.jsonl").write_text(f"{fine_tuning(2).line()}\n{json.dumps(document)}\n")
    history.add(fine_tuning(0))
    with pytest.raises(ZooError, match=f"line 2: .*({message})"):
        history.merge([tmp_path / "theirs.jsonl"])
    assert history.read() == (fine_tuning(0),)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e999"])
def test_numbers_are_finite(text):
    line = fine_tuning().line().replace('"seconds":12.5', f'"seconds":{text}')
    with pytest.raises(ValueError, match="not JSON"):
        read_line(line.encode())


def test_no_line_is_too_long_or_too_deep(tmp_path):
    for line in (b'"' + b"x" * MAX_LINE + b'"', b"[" * 60_000):
        with pytest.raises(ValueError, match=r"."):
            read_line(line)


@given(st.binary(max_size=300))
def test_anything_else_is_refused(data):
    with pytest.raises(ValueError, match=r"."):
        read_line(data)


def test_forget(history):
    for number in range(3):
        history.add(fine_tuning(number))
    first, second, third = history.read()
    assert history.forget([first.id[:10]]) == 1
    assert history.read() == (second, third)
    with pytest.raises(UnknownNameError, match="unknown fine-tuning"):
        history.forget(["nothing"])
    assert history.forget() == 2
    assert not history.path.exists()


def test_where_it_is(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("NNS_HISTORY")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert history_path() == tmp_path / "nns" / "history.jsonl"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert history_path() == tmp_path / ".local" / "share" / "nns" / "history.jsonl"
    monkeypatch.setenv("NNS_HISTORY", "~/mine.jsonl")
    assert history_path() == tmp_path / "mine.jsonl"
    for off in ("", " ", "off", "OFF"):
        monkeypatch.setenv("NNS_HISTORY", off)
        assert history_path() is None
    monkeypatch.setenv("NNS_HISTORY", str(tmp_path))
    with pytest.raises(UsageError, match="is a folder"):
        history_path()

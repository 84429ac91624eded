"""Logs that can be read while a fine-tuning runs, in which each epoch is once, however often it was interrupted."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from nns.errors import UsageError
from nns.finetuning import LadderEvent, Recipe, checkpoint, climb, run_log
from nns.finetuning.run_log import CSVLog, RunLog, TensorBoardLog, open_log
from nns.types import SplitArrays

from .conftest import RECIPE, entrant_of
from .test_checkpoint import Killed, KilledAt

DataOf = Callable[[Any], SplitArrays]
SHORT = replace(RECIPE, epochs=4)
NEEDS_TENSORBOARD = pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed")
KINDS = pytest.mark.parametrize("kind", [CSVLog, pytest.param(TensorBoardLog, marks=NEEDS_TENSORBOARD)])


@pytest.fixture(autouse=True)
def _at_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def epochs_of(log: RunLog) -> dict[str, list[int]]:
    """The epochs that are shown of each network."""
    found: dict[str, list[int]] = {}
    if isinstance(log, CSVLog):
        for row in rows_of(log.folder):
            found.setdefault(row["network"], []).append(int(row["epoch"]))
    else:
        for run in log.folder.iterdir():
            found[run.name.rpartition("-")[2]] = [event.step for event in scalars(run, "loss/train")]
    return found


def scalars(run: Path, tag: str) -> list[Any]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(run))
    accumulator.Reload()
    return list(accumulator.Scalars(tag))


def climbed(log: Callable[[LadderEvent], None], data_of: DataOf, recipe: Recipe = SHORT, **more: Any) -> Any:
    return climb([entrant_of(8), entrant_of(12)], data_of, recipe, on_event=log, **more)


@KINDS
def test_each_epoch_can_be_read_as_it_ends(kind: type[RunLog], data_of: DataOf, tmp_path: Path) -> None:
    log, seen = kind(tmp_path / "log"), []

    def note(event: LadderEvent) -> None:
        log(event)
        if event.kind == "epoch":
            seen.append(sum(map(len, epochs_of(log).values())))

    result = climbed(note, data_of)
    assert seen == list(range(1, 9))
    loser = next(tried.network for tried in result.tried if tried.network != result.winner.id)
    # the winner was in two rungs
    assert epochs_of(log) == {loser: [1, 2], result.winner.id: [1, 2, 3, 4, 5, 6]}


def test_what_a_row_says(data_of: DataOf, tmp_path: Path) -> None:
    result = climbed(CSVLog(tmp_path), data_of)
    rows = [row for row in rows_of(tmp_path) if row["network"] == result.winner.id]
    assert [float(row["val_accuracy"]) for row in rows] == [epoch.val_accuracy for epoch in result.history]
    assert [float(row["train_loss"]) for row in rows] == [epoch.train_loss for epoch in result.history]
    assert [row["rung"] for row in rows] == ["1", "1", "2", "2", "2", "2"]
    assert {row["architecture"] for row in rows} == {f"tiny-{result.winner.id}"}
    rates = [float(row["lr"]) for row in rows]
    assert rates[0] > rates[1] > 0  # towards the end of a schedule
    assert rates[2] > rates[1]  # and warm again
    assert all(float(row["images_per_second"]) > 0 for row in rows)


@KINDS
def test_interrupted_each_epoch_is_there_once(
    kind: type[RunLog], data_of: DataOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # TensorBoard reads files in the order of the seconds in their names: nobody starts again within one
    now, later = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: now() + later[0])
    log = kind(tmp_path / "whole")
    climbed(log, data_of)
    expected = epochs_of(log)
    for _ in range(100):
        log = kind(tmp_path / "log")
        try:
            climbed(log, data_of, checkpoint=KilledAt(tmp_path / "run", {}, 17))
        except Killed:
            later[0] += 2.0
            if log.folder.joinpath("log.csv").exists():
                with (log.folder / "log.csv").open("a") as file:
                    file.write("2026-11-29T1")  # what a kill leaves of a row
            continue
        break
    assert epochs_of(log) == expected


@KINDS
def test_a_new_run_takes_the_place_of_the_old_one(kind: type[RunLog], data_of: DataOf, tmp_path: Path) -> None:
    foreign = tmp_path / "log" / "events.out.tfevents.of.somebody"
    foreign.parent.mkdir()
    foreign.write_text("kept")
    for _ in range(2):
        log = kind(tmp_path / "log")
        climbed(log, data_of, replace(SHORT, epochs=2))
        log.close()
    assert foreign.read_text() == "kept"
    foreign.unlink()
    assert sorted(map(len, epochs_of(log).values())) == [1, 3]


def test_a_log_that_cannot_be_written_ends_no_training(
    data_of: DataOf, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = CSVLog(tmp_path)

    def full(row: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log, "write", full)
    assert climbed(log, data_of).val_accuracy > 0.3
    assert [record.message for record in caplog.records if "No space left" in record.message] == [
        f"the log in {tmp_path} is not written any more: [Errno 28] No space left on device"
    ]


def test_where_it_lies(tmp_path: Path) -> None:
    assert open_log("csv", tmp_path / "model").folder == tmp_path / "model-log"
    assert open_log(f"csv={tmp_path / 'a' / 'b'}", tmp_path / "model").folder == tmp_path / "a" / "b"
    assert isinstance(open_log("csv", tmp_path / "model"), CSVLog)
    for wrong in ("wandb", "csv=", "", "CSV"):
        with pytest.raises(UsageError, match="tensorboard or csv"):
            open_log(wrong, tmp_path / "model")
    with pytest.raises(UsageError, match="replaced as a whole"):
        open_log(f"csv={tmp_path / 'model' / 'log'}", tmp_path / "model")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        open_log(f"csv={tmp_path / 'file'}", tmp_path / "model")


def test_without_the_package_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'nns\[tensorboard\]'"):
        open_log("tensorboard", tmp_path / "model")
    assert not (tmp_path / "model-log").exists()

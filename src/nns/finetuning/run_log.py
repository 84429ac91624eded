"""Logs of a fine-tuning that can be watched while it runs: a CSV file, or what TensorBoard shows."""

from __future__ import annotations

import csv
import io
import logging
import re
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from nns.errors import UsageError
from nns.files import real_path, write_whole
from nns.finetuning._climber import LadderEvent

CSV_NAME = "log.csv"
EVENTS = "events.out.tfevents.*.nns"
"""Files of TensorBoard that are an earlier run's, and go when a run starts anew."""


@dataclass(frozen=True)
class LoggedEpoch:
    """One epoch of one network: a row of the CSV file.

    Attributes:
        time: When it ended, ISO 8601.
        seconds: Since the fine-tuning began, interruptions left out.
        network: Id of the network.
        architecture: Its name.
        rung: Of the ladder, from 1.
        epoch: Number over all trainings of this network, from 1.
        train_loss: Mean cross-entropy of the steps.
        val_loss: On the validation split.
        val_accuracy: Likewise, 0..1.
        val_macro_f1: Likewise, where classes are skewed.
        lr: Learning rate of the last step.
        images_per_second: Of the steps.
    """

    time: str
    seconds: float
    network: str
    architecture: str
    rung: int
    epoch: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    val_macro_f1: float | None
    lr: float | None
    images_per_second: float | None


FIELDS = tuple(LoggedEpoch.__dataclass_fields__)


class RunLog(ABC):
    """Where the epochs of a fine-tuning are written to, as they end.

    What goes on after an interruption adds to what is there; a new run takes its place. A log that cannot be written
    any more ends no training.
    """

    def __init__(self, folder: Path) -> None:
        """Make the folder.

        Raises:
            UsageError: If that cannot be.
        """
        self.folder = folder
        self._names: dict[str, str] = {}
        self._state: Literal["new", "open", "broken"] = "new"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / ".nns", "")
            (folder / ".nns").unlink()
        except OSError as error:
            raise UsageError(f"the log cannot be written to {str(folder)!r}: {error.strerror}") from error

    def __call__(self, event: LadderEvent) -> None:
        """Note what happens on a ladder; an epoch can be read when this returns."""
        if self._state == "broken":
            return
        try:
            if self._state == "new":
                self._state = "open"
                self.begin(resumed=event.kind == "resumed")
            if event.kind == "train":
                self._names[event.network] = event.message
            if event.kind == "epoch":
                self.write(_logged(event, self._names.get(event.network, "")))
        except Exception as error:  # noqa: BLE001 - a full disk, or whatever a library makes of it
            self._state = "broken"
            logging.getLogger("nns").warning("the log in %s is not written any more: %s", self.folder, error)

    @abstractmethod
    def begin(self, resumed: bool) -> None:
        """Go on with what is there, or start anew."""

    @abstractmethod
    def write(self, row: LoggedEpoch) -> None:
        """Write an epoch, in place of the same one from before an interruption."""

    def close(self) -> None:
        """Finish writing."""


class CSVLog(RunLog):
    """``log.csv``: a row an epoch."""

    def begin(self, resumed: bool) -> None:
        """Keep the rows that are there, if this goes on."""
        self._rows: dict[tuple[str, str], dict[str, str]] = {}
        path = self.folder / CSV_NAME
        if resumed and path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    if set(row) == set(FIELDS) and None not in row.values():  # the last may have been cut off
                        self._rows[row["network"], row["epoch"]] = row
        self._write_all()

    def write(self, row: LoggedEpoch) -> None:
        """Append a row; write all of them where it takes the place of another."""
        found = {name: "" if value is None else str(value) for name, value in asdict(row).items()}
        key = found["network"], found["epoch"]
        known = key in self._rows
        self._rows[key] = found
        if known:
            self._write_all()
            return
        with (self.folder / CSV_NAME).open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, FIELDS, lineterminator="\n").writerow(found)

    def _write_all(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows.values())
        write_whole(self.folder / CSV_NAME, text.getvalue())


class TensorBoardLog(RunLog):
    """Scalars for TensorBoard; each network is a run of its own."""

    def __init__(self, folder: Path) -> None:
        """See that the package is there, and make the folder.

        Raises:
            UsageError: If not.
        """
        if find_spec("tensorboard") is None:
            raise UsageError("`log_to` tensorboard needs the package of that name: pip install 'nns[tensorboard]'")
        super().__init__(folder)
        self._writers: dict[str, Any] = {}

    def begin(self, resumed: bool) -> None:
        """Remove what an earlier run has written, unless this goes on."""
        for path in () if resumed else list(self.folder.glob(f"*/{EVENTS}")):
            path.unlink()

    def write(self, row: LoggedEpoch) -> None:
        """Write the measures of an epoch."""
        from torch.utils.tensorboard import SummaryWriter

        if row.network not in self._writers:
            name = re.sub(r"[^\w.-]+", "_", f"{row.architecture}-{row.network[:10]}")
            # what was written from this step on, before an interruption, is not shown
            self._writers[row.network] = SummaryWriter(
                str(self.folder / name), purge_step=row.epoch, filename_suffix=".nns"
            )
        writer = self._writers[row.network]
        for tag, value in {
            "loss/train": row.train_loss,
            "loss/validation": row.val_loss,
            "accuracy/validation": row.val_accuracy,
            "macro F1/validation": row.val_macro_f1,
            "learning rate": row.lr,
            "images a second": row.images_per_second,
            "rung": row.rung,
        }.items():
            if value is not None:
                writer.add_scalar(tag, value, row.epoch)
        writer.flush()

    def close(self) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()


KINDS: dict[str, type[RunLog]] = {"tensorboard": TensorBoardLog, "csv": CSVLog}


def open_log(log_to: str, output: Path) -> RunLog:
    """Open a log.

    Args:
        log_to: ``"csv"`` or ``"tensorboard"``, with ``=DIR`` if it is not to be beside the folder of the network.
        output: That folder: ``mynetwork`` has its log in ``mynetwork-log``.

    Raises:
        UsageError: If there is no such kind, its package is not installed, or the folder cannot be written to.
    """
    kind, equals, given = log_to.partition("=")
    if kind not in KINDS or (equals and not given):
        raise UsageError(f"`log_to` must be tensorboard or csv, as it is or with =DIR, not {log_to!r}")
    place = real_path(output.expanduser())
    folder = Path(given).expanduser() if given else place.with_name(f"{place.name}-log")
    if real_path(folder).is_relative_to(place):
        raise UsageError(f"the log would lie in {str(output)!r}, which is replaced as a whole: take another folder")
    return KINDS[kind](folder)


def _logged(event: LadderEvent, architecture: str) -> LoggedEpoch:
    epoch = event.epoch
    assert epoch is not None
    return LoggedEpoch(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(event.seconds, 3),
        network=event.network,
        architecture=architecture,
        rung=event.rung,
        epoch=event.before + epoch.epoch,
        train_loss=epoch.train_loss,
        val_loss=epoch.val_loss,
        val_accuracy=epoch.val_accuracy,
        val_macro_f1=epoch.val_macro_f1,
        lr=epoch.lr,
        images_per_second=None if epoch.images_per_second is None else round(epoch.images_per_second, 1),
    )

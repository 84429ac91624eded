"""The file: JSON lines, one a fine-tuning; always whole, of bounded size.

JSON lines and not SQLite: a stranger's file is merged, and of a line every field can be checked before anything of it
counts, while a database is opened with whatever schema, triggers and pages the stranger put into it; export and merge
need no second format; and people can read what is kept about them. Of a file of at most :data:`MAX_RECORDS` lines (8 KB
each with the default features, so 8 MB) all is rewritten for each fine-tuning, which takes minutes itself: to a
temporary name, flushed, renamed. Readers need no lock: they find the old file or the new one. Writers hold a lock on a
file beside it meanwhile, which the kernel lets go of when a process ends, however it ends.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from nns.errors import UnknownNameError, UsageError, ZooError
from nns.files import locked, write_whole
from nns.history.records import FineTuning, read_line
from nns.untrusted import HISTORY, read_file

MAX_RECORDS = 1000
"""Fine-tunings that are kept: the oldest merged ones go first, then the oldest own ones."""

OFF = ("", "off")
"""Values of $NNS_HISTORY with which nothing is kept and nothing counts."""


def history_path() -> Path | None:
    """Return where the user's history is: $NNS_HISTORY, else in the user's data folder; None if it is off.

    An empty $NNS_HISTORY is off, too: whoever sets it to nothing wants nothing to be written.

    Raises:
        UsageError: If $NNS_HISTORY names a folder.
    """
    given = os.environ.get("NNS_HISTORY")
    if given is None:
        return _data_folder() / "nns" / "history.jsonl"
    if given.strip().lower() in OFF:
        return None
    path = Path(given).expanduser()
    if path.is_dir():
        raise UsageError(f"NNS_HISTORY={given!r} is a folder; name a file, or `off`")
    return path


def _data_folder() -> Path:
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Application Support"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    given = Path(os.environ.get("XDG_DATA_HOME") or "")
    return given if given.is_absolute() else home / ".local" / "share"  # a relative one is to be ignored, says XDG


def own_history() -> History | None:
    """Return the user's history, None if it is off."""
    path = history_path()
    return None if path is None else History(path)


@dataclass(frozen=True)
class Merged:
    """What a merge came to: fine-tunings that are new, that were there, and that were let go for the bound."""

    added: int
    known: int
    dropped: int


class History:
    """Fine-tunings in a file.

    Args:
        path: The file; it is made by the first thing that is written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Remember the path; nothing is read."""
        self.path = Path(path)

    def read(self) -> tuple[FineTuning, ...]:
        """Read all that is whole, oldest first; a line that is not is left out, whatever happened to it.

        Raises:
            ZooError: If the file cannot be read, or is larger than any history.
        """
        return tuple(record for record in self._lines() if record is not None)

    def damaged(self) -> int:
        """Count the lines that cannot be read."""
        return self._lines().count(None)

    def add(self, record: FineTuning) -> None:
        """Keep a fine-tuning.

        Raises:
            OSError: If it cannot be written; what was there is as it was.
        """
        with self._changing():
            self._write([*self.read(), record])

    def merge(self, paths: Iterable[str | os.PathLike[str]]) -> Merged:
        """Add the fine-tunings of other files: of all files, or of none if one has a line that does not pass.

        Raises:
            UsageError: If a file is not there.
            ZooError: If a file is no history; the message names the line and the field.
        """
        found = [record for path in paths for record in read_foreign(path)]
        with self._changing():
            before = self.read()
            known = {record.id for record in before}
            new = {record.id: replace(record, own=False) for record in found if record.id not in known}
            dropped = self._write([*before, *new.values()])
        return Merged(len(new), len(found) - len(new), dropped)

    def forget(self, beginnings: Sequence[str] | None = None) -> int:
        """Remove fine-tunings by the beginnings of their ids, all of them for None; return how many.

        Raises:
            UnknownNameError: If a beginning fits none, or several.
        """
        with self._changing():
            before = self.read()
            ids = {record.id for record in before}
            gone = ids if beginnings is None else {_complete(each, ids) for each in beginnings}
            kept = [record for record in before if record.id not in gone]
            if kept:
                self._write(kept)
            else:
                self.path.unlink(missing_ok=True)
        return len(before) - len(kept)

    def export(self, target: str | os.PathLike[str]) -> int:
        """Write all of it to a file that :meth:`merge` reads; return how many fine-tunings.

        Raises:
            UsageError: If the file is there already.
        """
        if Path(target).exists():
            raise UsageError(f"{os.fspath(target)!r} is there already; name a new file")
        records = self.read()
        write_whole(Path(target), "".join(record.line() + "\n" for record in records))
        return len(records)

    def _changing(self) -> AbstractContextManager[None]:
        # the folder is the user's own, as XDG wants it; one that is there stays as it is
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return locked(self.path.with_name(self.path.name + ".lock"))

    def _write(self, records: Sequence[FineTuning]) -> int:
        """Write the file whole, without what is over the bound; return how many those are."""
        by_age = sorted(range(len(records)), key=lambda i: (records[i].own, records[i].date, i))
        gone = set(by_age[: max(0, len(records) - MAX_RECORDS)])
        kept = [record for place, record in enumerate(records) if place not in gone]
        write_whole(self.path, "".join(record.line() + "\n" for record in kept))
        return len(gone)

    def _lines(self) -> list[FineTuning | None]:
        found: list[FineTuning | None] = []
        for line in _read_bounded(self.path).splitlines():
            try:
                found.append(read_line(line))
            except ValueError:
                found.append(None)
        return found


def read_foreign(path: str | os.PathLike[str]) -> tuple[FineTuning, ...]:
    """Read another's file, every line of which has to pass.

    Raises:
        UsageError: If it is not there.
        ZooError: If a line does not pass, or there are too many.
    """
    if not Path(path).is_file():
        raise UsageError(f"{os.fspath(path)!r} is no file; make one with `nns history export FILE`")
    lines = _read_bounded(Path(path)).splitlines()
    if len(lines) > MAX_RECORDS:
        raise ZooError(f"{os.fspath(path)!r} has {len(lines)} lines, more than the {MAX_RECORDS} of a history")
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(read_line(line))
        except ValueError as error:
            raise ZooError(f"{os.fspath(path)!r}, line {number}: {error}") from error
    return tuple(found)


def _read_bounded(path: Path) -> bytes:
    try:
        return read_file(path, HISTORY)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise ZooError(f"the history {str(path)!r} cannot be read: {error.strerror}") from error


def _complete(beginning: str, ids: Iterable[str]) -> str:
    fitting = sorted(each for each in ids if beginning and each.startswith(beginning))
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise UnknownNameError(f"fine-tuning {beginning!r} may be any of {', '.join(fitting[:6])}; give more digits")
    raise UnknownNameError.among("fine-tuning", beginning, ids)

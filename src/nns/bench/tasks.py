"""Which datasets a matrix is about, and which of them are near copies of each other."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nns.documents import decode_text, open_csv
from nns.errors import UsageError
from nns.untrusted import TABLE, read_file

COLUMNS = ("task", "family", "set")


@dataclass(frozen=True)
class TaskGroup:
    """What a dataset belongs to.

    Attributes:
        name: Name of the dataset.
        family: Kind of data (emoji, icons, one script's glyphs, photographs): left out of fits as a whole.
        set: The collection it was drawn from: networks trained on the same collection, or on another class split of
            it, are no candidates for it.
    """

    name: str
    family: str
    set: str


def read_groups(*files: Path) -> Mapping[str, TaskGroup]:
    """Read tables with the columns ``task,family,set``.

    Raises:
        UsageError: If a file is missing, has other columns, or names a task twice.
    """
    found: dict[str, TaskGroup] = {}
    for file in files:
        for line, row in read_rows(file, COLUMNS, "a task needs its name, family and set"):
            if row["task"] in found:
                raise UsageError(f"{file}, line {line}: task {row['task']!r} is there twice")
            found[row["task"]] = TaskGroup(row["task"], row["family"], row["set"])
    return found


def read_rows(file: Path, columns: Sequence[str], need: str = "a value is missing") -> list[tuple[int, dict[str, str]]]:
    """Read a table that has these columns and a value in each: line number and row.

    Raises:
        UsageError: If the file cannot be read, or is not such a table.
    """
    try:
        stream, delimiter, _ = open_csv(decode_text(read_file(file, TABLE)))
        reader = csv.DictReader(stream, delimiter=delimiter)
        if tuple(reader.fieldnames or ()) != tuple(columns):
            raise UsageError(f"{file}: the first line must be {','.join(columns)}")
        rows = list(enumerate(reader, 2))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"cannot read the table {file}: {error}") from error
    for line, row in rows:
        if None in row or not all(row[name] for name in columns):
            raise UsageError(f"{file}, line {line}: {need}")
    return rows

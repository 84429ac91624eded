"""Datasets that are tables: a ``.csv`` with the columns path,label[,split]."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nns.data.dataset import Dataset
from nns.data.formats import Format
from nns.data.items import UNLABELLED, ImageItem
from nns.data.names import SPLIT_NAMES, clean_name
from nns.errors import DatasetError
from nns.types import SplitName
from nns.untrusted import TABLE, read_file

_DELIMITERS = ",;\t"


@dataclass(frozen=True)
class _Row:
    line: int
    path: str
    label: str
    split: SplitName | None


class TableFormat(Format):
    """A ``.csv``."""

    example = "a .csv"

    def can_open(self, data: str) -> bool:
        """Return whether there is a file of that name."""
        path = Path(data).expanduser()
        return path.suffix.lower() == ".csv" and path.is_file()

    def open(self, data: str) -> Dataset:
        """Open a table, see :func:`open_table`."""
        return open_table(Path(os.path.abspath(os.path.expanduser(data))), data)


def open_table(file: Path, data: str) -> Dataset:
    """Open a table. Paths are relative to the table's folder; other columns are not read.

    UTF-8, with or without a byte-order mark; separated by commas, semicolons or tabs (the header tells).
    Without a column ``label`` the dataset is unlabelled. A column ``split`` may be empty throughout.

    Args:
        file: An existing file.
        data: DATA as it was given.

    Returns:
        The dataset.

    Raises:
        DatasetError: Not such a table; the message names the line.
    """
    rows = list(_rows(file, data))
    if not rows:
        raise DatasetError(f"{data!r} has no rows below its header; add one line an image")
    _all_or_none(rows, "label", [bool(row.label) for row in rows], data)
    _all_or_none(rows, "split", [row.split is not None for row in rows], data)
    if not any(row.split in (None, "train") for row in rows):
        raise DatasetError(f"{data!r} has no line with split train; mark the images to train on")
    _present(rows, file.parent, data)

    classes = tuple(sorted({row.label for row in rows if row.label}))
    index = {name: label for label, name in enumerate(classes)}
    trained = {row.label for row in rows if row.split in (None, "train")}
    for row in rows:
        if row.label not in trained:
            raise _bad(data, row.line, f"class {row.label!r} is in {row.split} but not in train; add it there")
    items = (
        ImageItem(file.parent / row.path, index.get(row.label, UNLABELLED), row.split, clean_name(row.path))
        for row in rows
    )
    name = clean_name(file.stem)
    return Dataset(name, data, classes, tuple(sorted(items, key=lambda item: item.key)))


def _rows(file: Path, data: str) -> Iterator[_Row]:
    """Read the rows, each with the line it ends on."""
    text = _text(file, data)
    header_line = text.split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=header_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        if "path" not in header:
            found = ", ".join(header) or "nothing"
            raise _bad(data, 1, f"no column 'path' in the header ({found}); write path,label or path,label,split")
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield _row(dict(zip(header, cells, strict=False)), len(cells), len(header), data, reader.line_num)
    except csv.Error as error:
        raise _bad(data, reader.line_num, f"{error}; quote cells that hold quotes or line ends") from error


def _text(file: Path, data: str) -> str:
    try:
        raw = read_file(file, TABLE)
    except OSError as error:
        raise DatasetError(f"cannot read {data!r}: {error.strerror or error}; check its permissions") from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise _bad(data, line, "not UTF-8; save the table as UTF-8") from error


def _row(cells: dict[str, str], width: int, expected: int, data: str, line: int) -> _Row:
    if width != expected:
        raise _bad(data, line, f"{width} cells where the header has {expected}; quote cells that hold separators")
    path, label, split = (cells.get(column, "").strip() for column in ("path", "label", "split"))
    if not path or "\0" in path:
        raise _bad(data, line, "the path is empty; give the image's path or remove the line")
    if split and split.lower() not in SPLIT_NAMES:
        raise _bad(data, line, f"unknown split {split!r}; use train, val or test")
    return _Row(line, path, clean_name(label), SPLIT_NAMES.get(split.lower()))


def _all_or_none(rows: list[_Row], column: str, given: list[bool], data: str) -> None:
    """Refuse a column that is filled in some rows only."""
    if any(given) and not all(given):
        line = rows[given.index(False)].line
        raise _bad(data, line, f"the {column} is empty, other lines have one; fill it in or remove the line")


def _present(rows: list[_Row], folder: Path, data: str) -> None:
    """Refuse a table that names files which are not there: a wrong path is quick to correct here."""
    missing = [row for row in rows if not os.path.isfile(folder / row.path)]
    if missing:
        more = f" ({len(missing)} of {len(rows)} lines name files that are not there)" if len(missing) > 1 else ""
        first = missing[0]
        raise _bad(data, first.line, f"no file {first.path!r}{more}; paths are relative to {str(folder)!r}")


def _bad(data: str, line: int, what: str) -> DatasetError:
    return DatasetError(f"{data!r} line {line}: {what}")

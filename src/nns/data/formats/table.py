"""Datasets that are tables: a ``.csv`` or ``.tsv`` with the columns path,label[,split]."""

from __future__ import annotations

import csv
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from nns.data.dataset import Dataset
from nns.data.formats import Format
from nns.data.items import UNLABELLED, ImageItem
from nns.data.names import clean_name, split_of
from nns.data.report import Finding, first_few
from nns.documents import columns_twice, decode_text, open_csv
from nns.errors import DatasetError
from nns.types import SplitName
from nns.untrusted import TABLE, read_file

_COLUMNS = ("path", "label", "split")
_VALUES = 16  # of a column that is not read: more kinds are no splits
_SHOWN = 200  # characters of a header that has no path
_SPLIT_FLAG = re.compile(r"is_?(train|val|valid|test)\w*")  # a column of yes and no


@dataclass(frozen=True)
class _Row:
    line: int
    path: str
    label: str
    split: SplitName | None
    written: str
    """The label as it is in the cell."""


class TableFormat(Format):
    """A ``.csv`` or ``.tsv``."""

    example = "a .csv"

    def can_open(self, data: str) -> bool:
        """Return whether there is a file of that name."""
        return Path(data).suffix.lower() in (".csv", ".tsv") and os.path.isfile(os.path.expanduser(data))

    def open(self, data: str) -> Dataset:
        """Open a table, see :func:`open_table`."""
        return open_table(Path(os.path.abspath(os.path.expanduser(data))), data)


def open_table(file: Path, data: str) -> Dataset:
    """Open a table. Paths are relative to the table's folder; other columns are not read.

    UTF-8 or, with a byte-order mark, UTF-16; separated by commas, semicolons, tabs or bars (the header tells).
    Without a column ``label`` the dataset is unlabelled. A column ``split`` may be empty throughout.

    Args:
        file: An existing file.
        data: DATA as it was given.

    Returns:
        The dataset.

    Raises:
        DatasetError: Not such a table; the message names the line.
    """
    others: dict[str, set[str]] = {}
    rows = list(_rows(file, data, others))
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
    ordered = tuple(sorted(items, key=lambda item: item.key))
    return Dataset(name, data, classes, ordered, (), "a table", tuple(_notices(rows, others)))


def _rows(file: Path, data: str, others: dict[str, set[str]]) -> Iterator[_Row]:
    """Read the rows, each with the line it ends on; ``others`` gets the first few values of other columns."""
    text = _text(file, data)
    stream, delimiter, skipped = open_csv(text)
    reader = csv.reader(stream, delimiter=delimiter, strict=True, skipinitialspace=True)
    try:
        names = [name.strip() for name in next(reader, [])]
        header = [name.lower() for name in names]
        if "path" not in header:
            found = ", ".join(names) or "nothing"
            what = f"no column 'path' in the header ({found:.200}); write path,label or path,label,split"
            raise _bad(data, 1 + skipped, what)
        if twice := columns_twice(names, _COLUMNS):
            written = " and ".join(map(repr, twice[1]))
            raise _bad(data, 1 + skipped, f"two columns are the {twice[0]}, {written}; rename all but one")
        others.update((column, set()) for column in header if column and column not in _COLUMNS)
        for cells in reader:
            if any(cell.strip() for cell in cells):
                line = reader.line_num + skipped
                named = dict(zip(header, cells, strict=False))
                yield _row(named, len(cells), len(header), data, line)
                for column, values in others.items():
                    if len(values) < _VALUES:
                        values.add(named[column].strip())
    except csv.Error as error:
        raise _bad(data, reader.line_num + skipped, f"{error}; quote cells that hold quotes or line ends") from error


def _text(file: Path, data: str) -> str:
    try:
        raw = read_file(file, TABLE)
    except OSError as error:
        raise DatasetError(f"cannot read {data!r}: {error.strerror or error}; check its permissions") from error
    if raw.startswith(b"PK\3\4"):
        raise DatasetError(f"{data!r} is a workbook of Excel or another ZIP archive; save it as CSV")
    try:
        return decode_text(raw)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise _bad(data, line, "not UTF-8; save the table as UTF-8") from error


def _row(cells: dict[str, str], width: int, expected: int, data: str, line: int) -> _Row:
    if width != expected:
        hint = "quote cells that hold separators" if width > expected else "write a separator for each empty cell, too"
        count = "1 cell" if width == 1 else f"{width} cells"
        raise _bad(data, line, f"{count} where the header has {expected}; {hint}")
    path, label, split = (cells.get(column, "").strip() for column in _COLUMNS)
    if "\0" in path:
        raise _bad(data, line, f"the path {path!r} holds a NUL character; write the path of a file")
    if not path:
        raise _bad(data, line, "the path is empty; give the image's path or remove the line")
    if split and split_of(split) is None:
        raise _bad(data, line, f"unknown split {split!r}; use train, val or test")
    return _Row(line, path, clean_name(label), split_of(split), cells.get("label", ""))


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
        raise _bad(data, first.line, f"no file {first.path!r}{more}; {_where_else(folder, first.path)}")


def _where_else(folder: Path, path: str) -> str:
    """Say what a path that leads nowhere may mean."""
    if scheme := re.match(r"([a-z][a-z0-9+.-]+)://", path, re.IGNORECASE):
        return f"write paths of files, without {scheme[0]}" + ("" if scheme[1].lower() == "file" else "; download it")
    if "\\" in path:
        there = os.path.isfile(folder / path.replace("\\", "/"))
        return f"write / in place of \\ in paths{'; then the file is there' if there else ''}"
    parts = Path(unquote(path)).parts
    for tail in (Path(*parts[start:]) for start in range(len(parts))):  # a path of another machine, or of a browser
        if not tail.is_absolute() and str(tail) != path and os.path.isfile(folder / tail):
            return f"there is {tail.as_posix()!r}: paths are relative to {str(folder)!r}"
    if (near := folder / path).parent.is_dir():
        for other in near.parent.iterdir():
            if _spelling(other.name) == _spelling(near.name):
                return f"there is {other.name!r}, which is spelled otherwise"
    return f"paths are relative to {str(folder)!r}"


def _spelling(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _notices(rows: Sequence[_Row], others: Mapping[str, set[str]]) -> Iterator[Finding]:
    """Say which columns look as if they were meant, and which labels were brought together."""
    if others and not rows[0].label:
        what = f"the table gives no labels in a column 'label'; its other columns: {first_few(list(others))}"
        yield Finding("warning", what, "if one of these is the label, name it label")
    if rows[0].split is None:
        for column, values in others.items():
            splits = {split_of(value) for value in values - {""}}
            if (len(splits) > 1 and None not in splits) or _SPLIT_FLAG.fullmatch(column):
                what = f"the column {column!r} looks like a split, and is not read ({first_few(sorted(values))})"
                yield Finding("warning", what, "if it is, name it split, its values train, val and test")
    written: dict[str, set[str]] = {}
    for row in rows:
        written.setdefault(row.label, set()).add(row.written)
    for label, ways in written.items():
        if len(ways) > 1:
            shown = first_few([ascii(way) for way in sorted(ways)])
            yield Finding("note", f"{label!r} is written in {len(ways)} ways ({shown})", "nothing; it is one class")


def _bad(data: str, line: int, what: str) -> DatasetError:
    return DatasetError(f"{data!r} line {line}: {what}")

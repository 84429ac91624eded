"""Tables of paths and labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from nns.data import Dataset
from nns.errors import DatasetError

from .conftest import MakeFolder

IMAGES: dict[str, int | bytes] = {f"img/{name}.png": seed for seed, name in enumerate("abcdefgh")}


@pytest.fixture
def folder(make_folder: MakeFolder) -> Path:
    return make_folder(IMAGES)


def write(folder: Path, text: str | bytes) -> Path:
    table = folder / "labels.csv"
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    return table


def six(split: str = "") -> str:
    return "".join(f"img/{name}.png,{'cat' if name in 'abc' else 'dog'}{split}\n" for name in "abcdef")


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("header", ["path,label", "Path, Label "])
def test_path_and_label(folder: Path, mark: str, end: str, header: str) -> None:
    dataset = Dataset.open(write(folder, f"{mark}{header}\n{six()}\n".replace("\n", end)))
    assert dataset.name == "labels"
    assert dataset.classes == ("cat", "dog")
    assert len(dataset) == 6
    assert dataset.splits == ()


def test_semicolons_other_columns_quotes_and_absolute_paths(folder: Path) -> None:
    rows = "".join(f'{i};"the ""{c}""; or so";img/{n}.png\n' for i, (n, c) in enumerate(zip("abcdef", "xxxyyy")))
    text = f"id;label;path\n{rows}7;y;{folder / 'img/g.png'}\n"
    dataset = Dataset.open(write(folder, text.replace("7;y;", '7;"the ""y""; or so";')))
    assert dataset.classes == ('the "x"; or so', 'the "y"; or so')
    assert len(dataset) == 7


def test_splits(folder: Path) -> None:
    text = f"path,label,split\n{six(',train')}img/g.png,cat,VALIDATION\nimg/h.png,dog,test\n"
    dataset = Dataset.open(write(folder, text))
    assert dataset.splits == ("train", "val", "test")


def test_empty_split_column_is_none(folder: Path) -> None:
    assert Dataset.open(write(folder, f"path,label,split\n{six(',')}")).splits == ()


def test_without_labels_it_can_be_searched(folder: Path) -> None:
    table = write(folder, "path\nimg/a.png\nimg/b.png\n")
    assert not Dataset.open(table, require_labels=False).labelled
    with pytest.raises(DatasetError, match="searched with, not fine-tuned on"):
        Dataset.open(table)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "line 1: no column 'path'"),
        ("file,label\nimg/a.png,x\n", "line 1: no column 'path' in the header (file, label)"),
        ("path,label\n", "no rows"),
        ("path,label\nimg/a.png,cat\n,dog\n", "line 3: the path is empty"),
        ("path,label\nimg/a.png,cat\nimg/b.png,\n", "line 3: the label is empty"),
        ("path,label\nimg/a.png,cat\nimg/nope.png,dog\n", "line 3: no file 'img/nope.png'"),
        ("path,label\nx.png,cat\n\ny.png,dog\n", "line 2: no file 'x.png' (2 of 2 lines"),
        ("path,label\nimg/a.png,cat\nimg/b.png\n", "line 3: 1 cell where the header has 2; write a separator"),
        ("path,label\nimg/a.png,cat\nimg/b.png,dog,x\n", "line 3: 3 cells where the header has 2; quote"),
        ("path,label\nimg/\0a.png,cat\n", "holds a NUL character"),
        ("PK\3\4\24\0\6\0", "workbook of Excel"),
        ("path,label\nimg/a.png,cat,dog\n", "line 2: 3 cells"),
        ("path,label,split\nimg/a.png,cat,training day\n", "line 2: unknown split 'training day'"),
        ("path,label,split\nimg/a.png,cat,train\nimg/b.png,cat,\n", "line 3: the split is empty"),
        ("path,label,split\nimg/a.png,cat,train\nimg/b.png,dog,test\n", "line 3: class 'dog' is in test but"),
        ("path,label,split\nimg/a.png,cat,val\n", "no line with split train"),
        ('path,label\n"img/a.png,cat\n', "unexpected end of data"),
        ("path,label\nimg,cat\n", "no file 'img'"),
        (b"path,label\nimg/a.png,k\xe4se\n", "line 2: not UTF-8"),
        (b"path,label\nimg/\0.png,cat\n", "line 2"),
    ],
)
def test_problems_name_the_line(folder: Path, text: str | bytes, expected: str) -> None:
    with pytest.raises(DatasetError) as caught:
        Dataset.open(write(folder, text))
    assert expected in str(caught.value)
    assert "labels.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


TABLE = "path,label\nimg/a.png,cat\nimg/b.png,cat\nimg/c.png,cat\nimg/d.png,dog\nimg/e.png,dog\nimg/f.png,dog\n"


@pytest.mark.parametrize(
    "raw",
    [
        TABLE.encode("utf-16"),
        TABLE.encode("utf-16-le"),
        TABLE.encode("utf-16-be"),
        TABLE.encode("utf-32"),
        b"\xef\xbb\xbf" + TABLE.encode(),
        ("sep=;\n" + TABLE.replace(",", ";")).encode(),
        ('"sep=,"\r\n' + TABLE.replace("\n", "\r\n")).encode(),
        TABLE.replace(",", "\t").encode(),
        TABLE.replace(",", "|").encode(),
        TABLE.replace(",", ", ").encode(),
        TABLE.replace("cat", '"cat"').replace(",", ", ").encode(),
        TABLE.replace("\n", "\r").encode(),
    ],
)
@pytest.mark.parametrize("name", ["labels.csv", "labels.tsv", "labels.TSV"])
def test_what_spreadsheets_and_shells_write(folder: Path, raw: bytes, name: str) -> None:
    (folder / name).write_bytes(raw)
    dataset = Dataset.open(folder / name)
    assert dataset.class_sizes == {"cat": 3, "dog": 3}
    assert dataset.layout == "a table"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("path,Label,label\nimg/a.png,x,y\n", "line 1: two columns are the label, 'Label' and 'label'"),
        ("path,label,PATH \nimg/a.png,x,y\n", "line 1: two columns are the path, 'path' and 'PATH'"),
        ("sep=;\npath;label;Label\nimg/a.png;x;y\n", "line 2: two columns are the label"),
        ("sep=;\npath;label\nimg/x.png;cat\n", "line 3: no file"),
        ("path,label\nimg\\a.png,cat\n", "write / in place of \\ in paths; then the file is there"),
        ("path,label\nC:\\img\\a.png,cat\n", "write / in place of \\ in paths"),
        ("path,label\nfile:///img/a.png,cat\n", "write paths of files, without file://"),
        ("path,label\nhttps://x.org/a.png,cat\n", "without https://; download it"),
        ("path,label\n/home/you/data/img/a.png,cat\n", "there is 'img/a.png': paths are relative to"),
        ("path,label\ndata/img/a.png,cat\n", "there is 'img/a.png': paths are relative to"),
        ("path,label\nimg%2Fa.png,cat\n", "there is 'img/a.png': paths are relative to"),
        ("path,label\nimg/A.PNG,cat\n", "there is 'a.png', which is spelled otherwise"),
    ],
)
def test_hints_for_tables_from_elsewhere(folder: Path, text: str, expected: str) -> None:
    with pytest.raises(DatasetError) as caught:
        Dataset.open(write(folder, text))
    assert expected in str(caught.value)


def noticed(folder: Path, text: str) -> str:
    notices = Dataset.open(write(folder, text), require_labels=False).notices
    return "\n".join(f"{finding.severity}: {finding.what}" for finding in notices)


def test_columns_that_were_meant_are_said(folder: Path) -> None:
    assert "in a column 'label'; its other columns: class" in noticed(folder, TABLE.replace("label", "class"))
    marked = TABLE.replace("label", "label,subset").replace(",dog", ",dog,Training").replace(",cat", ",cat,test")
    assert "warning: the column 'subset' looks like a split" in noticed(folder, marked)
    marked = TABLE.replace("label", "label,is_valid").replace(",dog", ",dog,True").replace(",cat", ",cat,False")
    assert "the column 'is_valid' looks like a split" in noticed(folder, marked)
    marked = TABLE.replace("label", "label,colour").replace(",dog", ",dog,test").replace(",cat", ",cat,blue")
    assert noticed(folder, marked) == ""


def test_splits_of_a_table_in_any_spelling(folder: Path) -> None:
    rows = "img/a.png,cat,Training\nimg/b.png,dog,TRAIN\nimg/c.png,cat,dev\nimg/d.png,dog,Test Set\n"
    dataset = Dataset.open(write(folder, f"path,label,split\n{rows}"), require_labels=False)
    assert dataset.split_sizes == {"train": 2, "val": 1, "test": 1}


def test_labels_that_differ_in_spaces_around_them_are_one_and_that_is_said(folder: Path) -> None:
    text = TABLE.replace("a.png,cat", 'a.png," cat "')
    assert noticed(folder, text) == "note: 'cat' is written in 2 ways (' cat ', 'cat')"


def test_a_header_that_is_none_is_not_shown_at_length(folder: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        Dataset.open(write(folder, "x" * 5000 + "\n"))
    assert "no column 'path'" in str(caught.value)
    assert len(str(caught.value)) < 500

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
        ("path,label\nimg/a.png,cat\nimg/b.png\n", "line 3: 1 cells where the header has 2"),
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

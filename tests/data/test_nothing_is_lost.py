"""Whatever a folder looks like: each file in it is an image, or left out with a reason, or the folder is refused."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from pathlib import Path, PurePosixPath

from hypothesis import given, settings
from hypothesis import strategies as st

from nns.data import Dataset, diagnose
from nns.data.names import clean_name
from nns.errors import DatasetError

NAMES = "a b c cat Cat train Training val valid test seg_train seg_test images __MACOSX @eaDir .git data papers"
ODD = ["cat ", "caf\u00e9", os.fsdecode(b"caf\xe9"), "test tube", "trainA", "\n"]
KINDS = "0.png 1.PNG 2.jfif x.heic notes.txt picture Thumbs.db .hidden.png card.json train.csv"
FOLDERS, FILES = st.sampled_from([*NAMES.split(), *ODD]), st.sampled_from(KINDS.split())
PATHS = st.tuples(st.lists(FOLDERS, max_size=4), FILES).map(lambda parts: "/".join([*parts[0], parts[1]]))


@settings(max_examples=150)
@given(st.sets(PATHS, max_size=14))
def test_nothing_is_lost(paths: set[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for path in paths:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).touch()
        try:
            dataset = Dataset.open(root, require_labels=False)
        except DatasetError as error:
            assert "\n" not in str(error)
            assert ";" in str(error)
            return
        report = diagnose(root)
        assert [skipped.path for skipped in report.unreadable] == [item.key for item in dataset.items], "all are empty"
        assert all(report.tables())
    found = {item.key for item in dataset.items}
    left_out = {PurePosixPath(skipped.path) for skipped in dataset.ignored}
    for path in paths:
        key = PurePosixPath(clean_name(path))
        hidden = any(part.startswith(".") for part in key.parts)
        assert (str(key) in found) + (hidden or key in left_out or bool(left_out & set(key.parents))) == 1, path
    assert sum(dataset.class_sizes.values()) == (len(dataset) if dataset.labelled else 0)
    assert all(count > 0 for count in dataset.class_sizes.values())
    assert dataset.seen.line().startswith(f"{root}: {len(dataset)} image")


COLUMNS = ["path", "label", "split", "id"]
HEADERS = st.sets(st.sampled_from(COLUMNS)).flatmap(lambda names: st.permutations(sorted({"path", *names})))
TEXTS = ["cat", "Cat", " cat", "dog", "nan", "1", "1.0", 'the "x"', "a,b", "caf\u00e9", "\u00e4;\u00f6", ""]
LABELS = st.sampled_from(TEXTS)
SPLITS = st.sampled_from(["train", "Training", "test", "dev", "", "fold1"])
CODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252"])


@settings(max_examples=150)
@given(HEADERS, st.lists(st.tuples(LABELS, SPLITS), max_size=8), st.sampled_from(",;\t|"), st.booleans(), CODINGS)
def test_no_row_of_a_table_is_lost(
    header: list[str], rows: list[tuple[str, str]], delimiter: str, excel: bool, coding: str
) -> None:
    text = io.StringIO(f"sep={delimiter}\r\n" if excel else "")
    text.seek(0, io.SEEK_END)
    writer = csv.DictWriter(text, header, delimiter=delimiter, extrasaction="ignore")
    writer.writeheader()
    with tempfile.TemporaryDirectory() as folder:
        for number, (label, split) in enumerate(rows):
            (Path(folder) / f"{number}.png").touch()
            writer.writerow({"path": f"{number}.png", "label": label, "split": split, "id": number})
        table = Path(folder) / "t.csv"
        table.write_bytes(text.getvalue().encode(coding))
        try:
            dataset = Dataset.open(table, require_labels=False)
        except DatasetError as error:
            assert "\n" not in str(error)
            assert ";" in str(error)
            return
    assert {item.key for item in dataset.items} == {f"{number}.png" for number in range(len(rows))}
    if "label" in header:
        assert set(dataset.classes) == {label.strip() for label, _ in rows} - {""}
    if "split" in header:
        assert sum(dataset.split_sizes.values()) in (0, len(rows))

"""Whatever a folder looks like: each file in it is an image, or left out with a reason, or the folder is refused."""

from __future__ import annotations

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

"""Splits are found wherever they lie and however they are spelled; what may be read wrongly is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nns.data import Dataset, diagnose
from nns.data.names import clean_name, look_alike, split_of, split_parts
from nns.errors import DatasetError

from .conftest import MakeFolder, class_files

TWO = {"a": 4, "b": 4}


def said(root: Path, severity: str = "warning") -> str:
    return "\n".join(finding.what for finding in diagnose(root).findings if finding.severity == severity)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Training", "Testing"),
        ("training", "testing"),
        ("TRAIN", "TEST"),
        ("trn", "tst"),
        ("train_images", "test_images"),
        ("TrainSet", "TestSet"),
        ("trainset", "testset"),
        ("Training Data", "Test Data"),
        ("01_train", "02_test"),
        ("seg_train", "seg_test"),
        ("train2017", "test2017"),
        ("pets-train", "pets-test"),
        ("a/b/train", "a/b/test"),
        ("archive/Training", "archive/Testing"),
        ("train/train", "test/test"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("train/images", "test/images"),
        ("trainval", "test"),
    ],
)
def test_splits_in_any_spelling_and_depth(make_folder: MakeFolder, train: str, test: str) -> None:
    root = make_folder(class_files(TWO, f"{train}/") | class_files({"a": 2, "b": 1}, f"{test}/", 50))
    dataset = Dataset.open(root)
    assert dataset.classes == ("a", "b")
    assert dataset.split_sizes == {"train": 8, "test": 3}
    assert "images" not in dataset.layout or "images" in train
    assert train.split("/")[-1].split("/")[0] in dataset.layout or "/" in train


@pytest.mark.parametrize("val", ["val", "Valid", "validation", "dev", "eval", "Evaluation", "val_set", "development"])
def test_validation_in_any_spelling(make_folder: MakeFolder, val: str) -> None:
    files = class_files(TWO, "train/") | class_files(TWO, f"{val}/", 30) | class_files(TWO, "test/", 60)
    assert Dataset.open(make_folder(files)).split_sizes == {"train": 8, "val": 8, "test": 8}


def test_the_splits_of_each_class(make_folder: MakeFolder) -> None:
    files = class_files({"cat/train": 4, "dog/train": 4}) | class_files({"cat/test": 2, "dog/Testing": 2}, "", 50)
    dataset = Dataset.open(make_folder(files))
    assert dataset.classes == ("cat", "dog")
    assert dataset.split_sizes == {"train": 8, "test": 4}
    assert dataset.layout == "class folders with splits in each"


def test_classes_named_like_splits_stay_classes(make_folder: MakeFolder) -> None:
    for number, names in enumerate((["test tube", "train station"], ["train_1", "train_2"], ["test", "control"])):
        dataset = Dataset.open(make_folder(class_files(dict.fromkeys(names, 3)), f"data{number}"))
        assert dataset.classes == tuple(sorted(names))
        assert dataset.splits == ()


def test_the_same_subfolders_in_all_classes_are_said(make_folder: MakeFolder) -> None:
    root = make_folder(class_files(TWO, "treino/") | class_files(TWO, "teste/", 50))
    assert Dataset.open(root).classes == ("teste", "treino")
    assert "all 2 classes (teste, treino) hold the same subfolders (a, b)" in said(root)
    root = make_folder(class_files({"a/2019": 3, "b/2020": 3}), "years")
    assert "same subfolders" not in said(root)
    root = make_folder(class_files({"fold1/a": 3, "fold1/b": 3, "fold2/a": 3, "fold2/b": 3, "fold2/c": 1}), "folds")
    assert "same subfolders" in said(root)


def test_what_lies_beside_a_folder_of_splits_without_images_is_left_out(make_folder: MakeFolder) -> None:
    files = class_files(TWO, "images/train/") | class_files(TWO, "images/val/", 50)
    dataset = Dataset.open(make_folder(files | {"labels/train/x.txt": b"", "notes/y.md": b""}))
    assert dataset.split_sizes == {"train": 8, "val": 8}
    assert {"labels", "notes"} <= {skipped.path for skipped in dataset.ignored}


def test_classes_of_classes_are_said(make_folder: MakeFolder) -> None:
    names = ["animals/cat", "animals/dog", "cars/bus", "cars/van"]
    root = make_folder(class_files(dict.fromkeys(names, 3)))
    assert Dataset.open(root).classes == ("animals", "cars")
    assert "all images of animals, cars lie in folders inside (animals/cat, animals/dog, cars/bus" in said(root)
    root = make_folder(class_files({"wrapped/a": 3, "wrapped/b": 3}), "one")
    assert "all images of wrapped lie in folders inside (wrapped/a, wrapped/b)" in said(root)
    root = make_folder(class_files({"cat/images": 3, "dog/images": 3}), "plain")
    assert "lie in folders inside" not in said(root)


@pytest.mark.parametrize("name", ["train.txt", "test_list.txt", "labels.csv", "Annotations.json"])
def test_lists_beside_class_folders_are_said(make_folder: MakeFolder, name: str) -> None:
    root = make_folder(class_files(TWO) | {name: b"x", "README.txt": b"x"})
    assert f"{name} may say which images are in which class or split, and is not read" in said(root)
    assert "README" not in said(root)


def test_a_class_spelled_otherwise_in_another_split_is_named(make_folder: MakeFolder) -> None:
    root = make_folder(class_files(TWO, "train/") | class_files({"A": 2, "b": 2}, "test/", 50))
    with pytest.raises(DatasetError, match="class 'A' is in .*is it 'a', spelled otherwise"):
        Dataset.open(root)


def test_a_path_as_browsers_write_it_gets_a_hint() -> None:
    with pytest.raises(DatasetError, match="without file://"):
        Dataset.open("file:///home/me/pets")


def test_folders_of_split_and_class_are_said(make_folder: MakeFolder) -> None:
    root = make_folder(class_files(dict.fromkeys(["cat_train", "cat_test", "dog_train", "dog_test"], 3)))
    assert "named like splits of classes" in said(root)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            class_files(TWO, "train/") | class_files(TWO, "Training/", 50),
            "Training/ and train/ would both be the split",
        ),
        (
            class_files(TWO, "train/") | class_files(TWO, "val/", 50) | class_files(TWO, "valid/", 90),
            "val/ and valid/ would both be the split val",
        ),
        (class_files(TWO, "x/train/") | class_files(TWO, "y/train/", 50), "holds several datasets"),
    ],
)
def test_what_does_not_fit_together_is_refused(make_folder: MakeFolder, files: dict, expected: str) -> None:
    with pytest.raises(DatasetError, match=expected):
        Dataset.open(make_folder(files))


def test_folders_beside_prefixed_splits_are_said(make_folder: MakeFolder) -> None:
    files = class_files(TWO, "seg_train/seg_train/") | class_files(TWO, "seg_test/seg_test/", 50)
    dataset = Dataset.open(make_folder(files | class_files({"seg_pred": 3}, "seg_pred/", 90)))
    assert dataset.classes == ("a", "b")
    assert [skipped.path for skipped in dataset.ignored] == ["seg_pred"]


def test_names_of_splits() -> None:
    assert split_of("Test Set") == "test"
    assert split_of("train-val") == "train"
    assert split_of("cat") is None
    assert split_of("seg_train") is None
    assert split_parts("seg_train") == ("train", "seg")
    assert split_parts("train_or_test") is None


def test_class_names_that_are_no_utf8_stay_apart(make_folder: MakeFolder) -> None:
    root = make_folder(class_files({"cat": 3}))
    for number, raw in enumerate((b"caf\xe9", b"caf\xe8")):
        folder = root / os.fsdecode(raw)
        folder.mkdir()
        for image in (root / "cat").iterdir():
            (folder / image.name).write_bytes(image.read_bytes() + bytes([number]))
    dataset = Dataset.open(root)
    assert dataset.classes == ("caf\\xe8", "caf\\xe9", "cat")
    assert set(dataset.class_sizes.values()) == {3}
    (root / "caf\\xe9").mkdir()
    (root / "caf\\xe9" / "0.png").write_bytes(b"")
    with pytest.raises(DatasetError, match="would be one class"):
        Dataset.open(root)
    assert clean_name("a\ud800b") == "a\\ud800b"


def test_names_in_two_unicode_forms_are_one_class_and_that_is_said(make_folder: MakeFolder) -> None:
    root = make_folder(class_files({"caf\u00e9": 3, "cafe\u0301": 3, "tea": 3}))
    dataset = Dataset.open(root)
    assert dataset.class_sizes == {"caf\u00e9": 6, "tea": 3}
    assert "differ in Unicode form alone" in said(root, "note")


@pytest.mark.parametrize(
    ("names", "difference"),
    [
        (("RED", "red"), "case"),
        (("red", "red "), "spaces"),
        (("dark red", "darkred"), "spaces"),
        (("1", "1.0"), "the way a number is written"),
        (("01", "1"), "the way a number is written"),
        (("dark_red", "dark red"), "case, spaces or punctuation"),
        (("red", "\u200bred"), "case, spaces or punctuation"),
        (("'red'", "red"), "case, spaces or punctuation"),
        (("\uff41", "a"), "case, spaces or punctuation"),
        (("red - Copy", "red"), "the mark of a copy"),
        (("red (1)", "red"), "the mark of a copy"),
        (("red.bak", "red"), "the mark of a copy"),
    ],
)
def test_classes_that_differ_in_next_to_nothing_are_said(
    make_folder: MakeFolder, names: tuple[str, str], difference: str
) -> None:
    root = make_folder(class_files(dict.fromkeys(names, 3)))
    assert len(Dataset.open(root).classes) == 2
    assert f"classes differ in {difference} alone: " in said(root)


def test_classes_that_differ_are_not_said() -> None:
    assert look_alike(["C", "C++", "C#", "1-1", "11", "1", "-1", "2", "a1", "a2", "e", "\u00e9"]) == {}


def test_a_test_split_without_labels_inside_a_folder_is_left_out(make_folder: MakeFolder) -> None:
    for number, inside in enumerate(("asl_test/asl_test", "asl_test/images")):
        flat = {f"{inside}/0.png": 90, f"{inside}/1.png": 91}
        root = make_folder(class_files(TWO, "asl_train/asl_train/") | flat, f"data{number}")
        dataset = Dataset.open(root)
        assert dataset.classes == ("a", "b")
        assert {skipped.path for skipped in dataset.ignored} == set(flat)


def test_a_dataset_in_itself_is_said(make_folder: MakeFolder) -> None:
    root = make_folder(class_files(TWO) | class_files(TWO, "pets/", 50))
    assert "the class 'pets' holds folders named like other classes (a, b)" in said(root)


def test_a_class_named_like_a_split_is_said(make_folder: MakeFolder) -> None:
    assert "1 class named like a split ('val')" in said(make_folder(class_files(TWO | {"val": 4})))
    root = make_folder(class_files(TWO | {"Valid": 4}, "train/"), "inside")
    assert "1 class named like a split ('Valid')" in said(root)


def test_folders_beside_splits_that_hold_no_images_are_no_warning(make_folder: MakeFolder) -> None:
    root = make_folder(class_files(TWO, "train/") | class_files(TWO, "test/", 50) | {"papers/x.pdf": b""})
    assert "papers: " not in said(root)
    assert "1 folder ignored (papers: a folder without images)" in said(root, "note")


def test_masks_among_images_are_said(make_folder: MakeFolder) -> None:
    files = {f"{name}/{name} ({n}){end}.png": n for name in "ab" for n in range(3) for end in ("", "_mask", "_mask_1")}
    assert "12 images named like a mask or a thumbnail of another (a/a (0)_mask, " in said(make_folder(files))
    alone = {f"{name}/{name}{n}_mask.png": n for name in "ab" for n in range(3)}
    assert "named like a mask" not in said(make_folder(alone, "masks"))


def test_names_with_characters_that_cannot_be_seen_are_said(make_folder: MakeFolder) -> None:
    assert r"characters that cannot be seen ('a\n')" in said(make_folder(class_files({"a\n": 3, "b": 3})))


def test_splits_in_some_classes_only_are_said(make_folder: MakeFolder) -> None:
    root = make_folder(class_files({"cat/train": 3, "cat/test": 3, "dog": 3}))
    assert "the class 'cat' holds folders named like splits (test, train)" in said(root)


def test_hidden_folders_with_images_are_said(make_folder: MakeFolder) -> None:
    root = make_folder(class_files({"a": 3, "b": 3, ".c": 3, ".git": 3}) | {".config/x.txt": b""})
    assert "hidden folders with images are no classes (.c)" in said(root, "note")
    assert Dataset.open(root).ignored == ()


def test_a_split_without_class_folders_is_not_said_to_be_there(make_folder: MakeFolder) -> None:
    dataset = Dataset.open(make_folder(class_files(TWO, "train/") | {"test/0.png": 90, "test/1.png": 91}))
    assert dataset.layout == "class folders in train/ (train)"
    assert "2 (an image outside the class folders)" in dataset.seen.line()


def test_a_missing_label_that_became_a_class_is_said(make_folder: MakeFolder) -> None:
    root = make_folder(class_files({"cat": 3, "NaN": 3}))
    assert "1 class with a name that stands for no label ('NaN': 3 images)" in said(root)

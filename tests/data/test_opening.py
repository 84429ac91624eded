"""Each form of DATA opens; what is wrong ends in one clear line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nns.data import Dataset
from nns.errors import DatasetError

from .conftest import MakeFolder, class_files


def labels_by_key(dataset: Dataset) -> dict[str, str]:
    return {item.key: dataset.classes[item.label] for item in dataset.items}


def refusal(data: str | Path, *, require_labels: bool = True) -> str:
    with pytest.raises(DatasetError) as caught:
        Dataset.open(data, require_labels=require_labels)
    message = str(caught.value)
    assert "\n" not in message
    assert ";" in message, "a message ends in the next step"
    return message


def test_importing_loads_nothing_heavy() -> None:
    code = (
        "import sys, nns.data; "
        "print([m for m in ('torch', 'torchvision', 'sklearn', 'h5py', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_class_folders(make_folder: MakeFolder) -> None:
    root = make_folder(class_files({"dog": 3, "cat": 4}))
    dataset = Dataset.open(root)
    assert dataset.name == "data"
    assert dataset.path == str(root)
    assert dataset.classes == ("cat", "dog")
    assert dataset.labelled
    assert len(dataset) == 7
    assert dataset.splits == ()
    assert dataset.labels.tolist() == [0] * 4 + [1] * 3
    assert labels_by_key(dataset)["dog/2.png"] == "dog"


def test_nested_images_hidden_files_and_other_files(make_folder: MakeFolder) -> None:
    files = class_files({"cat": 3, "dög haus": 3})
    files |= {"cat/deep/er/ä b.PNG": 90, "cat/.hidden.png": 91, ".git/x.png": 92, "cat/.thumbs/x.png": 93}
    files |= {"cat/notes.txt": b"x", "read me": b"x", "loose.png": 94, "cat/Thumbs.db": b"x"}
    dataset = Dataset.open(make_folder(files))
    assert dataset.classes == ("cat", "dög haus")
    assert len(dataset) == 7
    assert labels_by_key(dataset)["cat/deep/er/ä b.PNG"] == "cat"
    assert {skipped.path for skipped in dataset.ignored} == {"cat/notes.txt", "read me", "loose.png", "cat/Thumbs.db"}


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_split_folders(make_folder: MakeFolder, val: str) -> None:
    files = class_files({"a": 2, "b": 2}, "train/") | class_files({"a": 1, "b": 1}, f"{val}/", 50)
    dataset = Dataset.open(make_folder(files | class_files({"a": 1}, "test/", 80)))
    assert dataset.splits == ("train", "val", "test")
    assert dataset.classes == ("a", "b")
    assert [item.split for item in dataset.items].count("train") == 4


def test_train_may_be_a_class(make_folder: MakeFolder) -> None:
    dataset = Dataset.open(make_folder(class_files({"car": 3, "train": 3, "plane": 3})))
    assert dataset.classes == ("car", "plane", "train")
    assert dataset.splits == ()


def test_a_folder_beside_the_splits_is_ignored_and_told(make_folder: MakeFolder) -> None:
    train, test = class_files({"a": 2, "b": 2}, "train/"), class_files({"a": 2, "b": 2}, "test/", 50)
    dataset = Dataset.open(make_folder(train | test | {"extra/x.png": 99, "top.png": 98}, "both"))
    assert dataset.splits == ("train", "test")
    assert {skipped.path for skipped in dataset.ignored} == {"extra", "top.png"}
    dataset = Dataset.open(make_folder(train | {"papers/x.pdf": b""}, "papers"))
    assert dataset.splits == ("train",)
    assert "rename train/ if it is a class" in refusal(make_folder(train | {"car/x.png": 99}, "either"))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, "no images"),
        ({"notes.txt": b"x"}, "no images"),
        (class_files({"cat": 3}), "one class only, 'cat'"),
        (class_files({"cat": 3, "dog": 1}), "'dog' has 1 image, at least 3"),
        (class_files({"cat": 3, "dog": 2}), "'dog' has 2 images, at least 3"),
        (class_files({"cat": 1, "dog": 2, "fox": 3}), "'cat' has 1 image (1 other class also too few), at least 3"),
        (class_files({"cat": 3, "dog": 3}) | {"fox/notes.txt": b"x"}, "class 'fox' has no images"),
        ({"a.png": 0, "b.png": 1}, "can be searched with, not fine-tuned on"),
        ({"a.png": 0, "b.png": 1} | class_files({"cat": 3}, "", 9), "can be searched with, not fine-tuned on"),
        (class_files({"a": 3, "b": 3}, "val/"), "no train/"),
        (class_files({"a": 3, "b": 3}, "wrapped/"), "did you mean the folder 'wrapped' inside it?"),
        ({"train/a.png": 0, "test/b.png": 1}, "no class folders"),
        (class_files({"a": 2, "b": 1}, "train/"), "'b' has 1 image in train, at least 2"),
        (class_files({"a": 2, "b": 2}, "train/") | {"test/c/x.png": 9}, "class 'c' is in"),
        (class_files({"a": 2, "b": 2}, "train/") | {"train/c/x.txt": b""}, "class 'c' has no images"),
    ],
)
def test_folders_that_cannot_be_trained_on(
    make_folder: MakeFolder, files: dict[str, int | bytes], expected: str
) -> None:
    assert expected in refusal(make_folder(files))


def test_one_image_a_class_is_enough_where_val_is_given(make_folder: MakeFolder) -> None:
    files = class_files({"a": 1, "b": 1}, "train/") | class_files({"a": 1, "b": 1}, "val/", 9)
    assert len(Dataset.open(make_folder(files))) == 4


def test_flat_folder_is_enough_to_search(make_folder: MakeFolder) -> None:
    dataset = Dataset.open(make_folder({"b.png": 0, "a.JPG": 1, "sub/c.png": 2, "x.txt": b""}), require_labels=False)
    assert not dataset.labelled
    assert dataset.classes == ()
    assert dataset.labels.tolist() == [-1, -1, -1]


def test_one_class_is_enough_to_search(make_folder: MakeFolder) -> None:
    dataset = Dataset.open(make_folder(class_files({"cat": 1})), require_labels=False)
    assert dataset.classes == ("cat",)


def test_nothing_there(tmp_path: Path) -> None:
    assert "no dataset at" in refusal(tmp_path / "nope")
    assert "no dataset at" in refusal("")
    (tmp_path / "a.png").write_bytes(b"")
    assert "neither a folder nor a .csv" in refusal(tmp_path / "a.png")


def test_links_in_circles_end(make_folder: MakeFolder) -> None:
    root = make_folder(class_files({"cat": 3, "dog": 3}))
    (root / "cat" / "again").symlink_to(root)
    (root / "cat" / "self").symlink_to(root / "cat")
    (root / "dog" / "up").symlink_to("..")
    (root / "whole").symlink_to(root)
    (root / "cat" / "x").mkdir()
    (root / "cat" / "y").mkdir()
    (root / "cat" / "x" / "to_y").symlink_to(root / "cat" / "y")
    (root / "cat" / "y" / "to_x").symlink_to(root / "cat" / "x")
    dataset = Dataset.open(root)
    assert dataset.classes == ("cat", "dog")
    assert len(dataset) == 6


def test_links_that_point_at_themselves_are_named_and_refuse_nothing(make_folder: MakeFolder) -> None:
    root = make_folder(class_files({"cat": 3, "dog": 3}))
    for name in ("cat/self.png", "cat/selfdir", "top"):
        (root / name).symlink_to(Path(name).name)
    (root / "dog" / "one.jpg").symlink_to("two.jpg")
    (root / "dog" / "two.jpg").symlink_to("one.jpg")
    dataset = Dataset.open(root)
    assert dataset.classes == ("cat", "dog")
    assert {skipped.path for skipped in dataset.ignored} == {"cat/selfdir", "top"}
    assert {skipped.path for skipped in dataset.unreadable(workers=1)} == {"cat/self.png", "dog/one.jpg", "dog/two.jpg"}


def test_linked_classes_and_images_are_read(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder(class_files({"cat": 3, "dog": 3}))
    elsewhere = make_folder(class_files({"fox": 3}, "", 50), "elsewhere")
    (root / "fox").symlink_to(elsewhere / "fox")
    (root / "cat" / "link.png").symlink_to(elsewhere / "fox" / "0.png")
    dataset = Dataset.open(root)
    assert dataset.classes == ("cat", "dog", "fox")
    assert len(dataset) == 10


def test_a_pipe_named_like_an_image_does_not_hang(make_folder: MakeFolder) -> None:
    root = make_folder(class_files({"cat": 3, "dog": 3}))
    os.mkfifo(root / "cat" / "pipe.png")
    dataset = Dataset.open(root)
    assert len(dataset) == 6
    assert dataset.ignored[0].path == "cat/pipe.png"


def test_names_that_are_no_utf8(make_folder: MakeFolder) -> None:
    root = make_folder(class_files({"cat": 3, "dog": 3}))
    (root / os.fsdecode(b"cat/\xff.png")).write_bytes(b"")
    dataset = Dataset.open(root)
    for item in dataset.items:
        item.key.encode()
    assert dataset.digest


def test_the_current_folder_has_a_name(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_folder(class_files({"cat": 3, "dog": 3}), "my pets"))
    assert Dataset.open(".").name == "my pets"


def test_what_is_a_path_and_what_a_name(tmp_path):
    from nns.data.formats import is_path
    from nns.verbs import default_output

    (tmp_path / "birds").mkdir()
    assert is_path(str(tmp_path / "birds"))
    assert is_path("nothing-there")
    assert not is_path("torchvision:MNIST")
    assert str(default_output("torchvision:MNIST")) == "MNIST-nns"
    assert str(default_output(tmp_path / "birds")) == "birds-nns"

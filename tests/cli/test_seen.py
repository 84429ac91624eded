"""What is in DATA is said by ``doctor``, ``search`` and ``finetune``; a network is not written into its own data."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nns.data import Dataset
from nns.verbs import default_output


@pytest.fixture
def split_data(small_zoo, tmp_path):
    """The query dataset as people lay it out: ``seg_train`` and ``seg_test``, with files of other kinds."""
    for split, numbers in (("seg_train", range(12)), ("seg_test", range(12, 16))):
        for digit in "89":
            (tmp_path / "data" / split / digit).mkdir(parents=True)
            for number in numbers:
                shutil.copy(small_zoo.query / digit / f"{number:03d}.png", tmp_path / "data" / split / digit)
    (tmp_path / "data" / "seg_train" / "8" / "x.heic").write_text("no image")
    (tmp_path / "data" / "__MACOSX").mkdir()
    return tmp_path / "data"


LINE = (
    ": 32 images; 2 classes (8 16, 9 16); train 24, test 8; class folders in seg_train/ (train), seg_test/ (test); "
    "left out: 1 (a folder of the system or of a tool), 1 (.heic is HEIC, which cannot be read)\n"
)


def test_doctor_says_what_it_sees(nns, split_data):
    done = nns("doctor", split_data)
    assert done.code == 0
    said = " ".join(done.out.split())
    for part in (
        "images 32", "layout class folders in seg_train/ (train), seg_test/ (test)", "classes 2", "train 24, test 8",
        "sizes 32x32", "modes L 32", "left out 1 (a folder of the system or of a tool), 1 (.heic is HEIC",
        "class train test", "8 12 4", "9 12 4", "1 left out, of a format that is not read",
    ):  # fmt: skip
        assert part in said
    document = nns("doctor", split_data, "--json").json
    assert document["splits"] == {"train": 24, "test": 8}
    assert document["layout"] == "class folders in seg_train/ (train), seg_test/ (test)"


def test_search_and_finetune_say_it_in_one_line(nns, small_zoo, split_data, tmp_path):
    done = nns("search", split_data, "--zoo", small_zoo.path, "--backend", "example")
    assert " ".join(done.out.split()).startswith(f"{split_data}{LINE.strip()}")
    document = nns("search", split_data, "--zoo", small_zoo.path, "--backend", "example", "--json").json["dataset"]
    assert document["class_sizes"] == {"8": 16, "9": 16}
    assert document["splits"] == {"train": 24, "test": 8}
    assert document["left_out"][".heic is HEIC, which cannot be read"] == 1
    options = ("--zoo", small_zoo.path, "--backend", "example", "--try", 1, "--epochs", 1, "-o", tmp_path / "model")
    done = nns("finetune", split_data, *options)
    assert done.err.count(LINE) == 1, "once, though a search is part of it"
    found = nns("finetune", split_data, *options, "--json").json["dataset"]
    assert (found["images"], found["path"], found["splits"]) == (32, str(split_data), {"train": 24, "test": 8})


def test_what_may_be_read_wrongly_is_said_before_training(nns, small_zoo, split_data, tmp_path):
    (split_data / "seg_train").rename(split_data / "treino")
    (split_data / "seg_test").rename(split_data / "teste")
    warning = "warning: all 2 classes (teste, treino) hold the same subfolders (8, 9)"
    page = tmp_path / "page.html"
    done = nns("search", split_data, "--zoo", small_zoo.path, "--backend", "example", "--report", page)
    assert warning in done.err
    assert f"<p>{warning.capitalize()}" in page.read_text()
    assert "2 classes (teste 8, treino 24)" in page.read_text()
    options = ("--zoo", small_zoo.path, "--backend", "example", "--try", 1, "--epochs", 1, "-o", tmp_path / "model")
    assert warning in nns("finetune", split_data, *options).err


def test_a_network_is_not_written_into_its_own_data(nns, small_zoo, split_data, tmp_path, monkeypatch):
    monkeypatch.chdir(split_data)
    digest = Dataset.open(".").digest
    before = sorted(split_data.rglob("*"))
    done = nns("finetune", ".", "--zoo", small_zoo.path, "--backend", "example", "--try", 1, "--epochs", 1, "--json")
    assert done.json["output"] == str(tmp_path / "data-nns")
    assert sorted(split_data.rglob("*")) == before
    (tmp_path / "data-nns").rename(split_data / "mine")
    assert Dataset.open(".").digest == digest, "one that was put there is no part of it"


def test_where_a_network_goes(tmp_path, monkeypatch):
    inside = tmp_path / "pets.v1" / "cat"
    inside.mkdir(parents=True)
    (tmp_path / "pets.v2").mkdir()
    (tmp_path / "pets.csv").touch()
    monkeypatch.chdir(tmp_path)
    assert str(default_output("pets.v1")) == "pets.v1-nns"
    assert str(default_output(tmp_path / "pets.v2")) == "pets.v2-nns"
    assert str(default_output("pets.csv")) == "pets-nns"
    assert default_output(tmp_path) == tmp_path.parent / f"{tmp_path.name}-nns"
    monkeypatch.chdir(inside)
    assert default_output("..") == tmp_path / "pets.v1-nns"
    assert default_output(Path("..") / "cat") == tmp_path / "pets.v1" / "cat-nns"
    assert str(default_output(["an image"])) == "data-nns"

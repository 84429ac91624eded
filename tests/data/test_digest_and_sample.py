"""Identity and sample follow the content, not place, names or order."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from nns.data import Dataset

from .conftest import MakeFolder, class_files


def contents(dataset: Dataset, indices: np.ndarray) -> list[tuple[str, str]]:
    return [(dataset.classes[dataset.items[i].label], dataset.content_digests[i]) for i in indices]


@pytest.fixture
def twins(make_folder: MakeFolder) -> tuple[Dataset, Dataset]:
    """The same images twice, under other names, in another place and order, one of them nested."""
    here = class_files({"cat": 30, "dog": 12, "fox": 5})
    there = {f"{key.split('/')[0]}/sub/{1000 - i}.png": seed for i, (key, seed) in enumerate(here.items())}
    return Dataset.open(make_folder(here, "here")), Dataset.open(make_folder(there, "far/away"))


def test_digest_is_independent_of_place_names_and_order(twins: tuple[Dataset, Dataset]) -> None:
    assert twins[0].digest == twins[1].digest
    assert len(twins[0].digest) == 64


def test_digest_of_a_table_equals_that_of_the_folder(twins: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    folder = twins[0]
    rows = [f"{item.source},{folder.classes[item.label]}" for item in reversed(folder.items)]
    table = tmp_path / "t.csv"
    table.write_text("path,label\n" + "\n".join(rows))
    assert Dataset.open(table).digest == folder.digest


def test_digest_depends_on_content_class_and_split(make_folder: MakeFolder) -> None:
    base = class_files({"cat": 3, "dog": 3})
    variants = [
        base,
        base | {"cat/0.png": 77},
        base | {"cat/copy.png": 0},
        class_files({"cat": 3, "wolf": 3}),
        class_files({"cat": 3, "dog": 3}, "train/"),
    ]
    digests = {Dataset.open(make_folder(files, str(i))).digest for i, files in enumerate(variants)}
    assert len(digests) == len(variants)


def test_digest_is_stable_over_versions(make_folder: MakeFolder) -> None:
    """A zoo stores digests: this one changes only with a new ``nns-dataset-N`` header."""
    root = make_folder({"a/1.png": b"one", "b/2.png": b"two"})
    dataset = Dataset.open(root, require_labels=False)
    assert dataset.digest[:12] == "e4e32f59a6b4"


def test_digest_ignores_what_cannot_be_opened(make_folder: MakeFolder) -> None:
    files = class_files({"cat": 3, "dog": 3})
    plain = Dataset.open(make_folder(files, "plain"))
    root = make_folder(files, "broken")
    (root / "cat" / "gone.png").symlink_to("nowhere.png")
    broken = Dataset.open(root)
    assert len(broken) == 7
    assert broken.digest == plain.digest


def test_digest_is_kept(twins: tuple[Dataset, Dataset]) -> None:
    first = twins[0].digest
    for item in twins[0].items:
        assert isinstance(item.source, Path)
        item.source.unlink()
    assert twins[0].digest == first


def test_sample_is_the_same_content_everywhere(twins: tuple[Dataset, Dataset]) -> None:
    here, there = (contents(dataset, dataset.sample(seed=3)) for dataset in twins)
    assert here == there


def test_sample_sizes_and_seeds(twins: tuple[Dataset, Dataset]) -> None:
    dataset = twins[0]
    sample = dataset.sample(per_class=10, limit=200)
    assert np.bincount(dataset.labels[sample]).tolist() == [10, 10, 5]
    assert len(set(sample.tolist())) == 25
    assert (np.diff(dataset.labels[sample]) >= 0).all()
    assert dataset.sample(per_class=10).tolist() == sample.tolist()
    assert dataset.sample(per_class=10, seed=1).tolist() != sample.tolist()
    assert np.bincount(dataset.labels[dataset.sample(limit=9)]).tolist() == [3, 3, 3]
    assert len(dataset.sample(limit=2)) == 2
    assert len(dataset.sample(limit=0)) == 0


def test_excluded_images_are_replaced_and_the_rest_stays(twins: tuple[Dataset, Dataset]) -> None:
    dataset = twins[0]
    before = dataset.sample(per_class=5).tolist()
    after = dataset.sample(per_class=5, exclude=[before[0]]).tolist()
    assert len(after) == len(before)
    assert set(before) - set(after) == {before[0]}


def test_sample_takes_copies_once_and_only_training_images(make_folder: MakeFolder) -> None:
    files = class_files({"a": 3, "b": 3}, "train/") | class_files({"a": 3, "b": 3}, "test/", 50)
    dataset = Dataset.open(make_folder(files | {"train/a/copy.png": 0}))
    sample = dataset.sample()
    assert len(sample) == 6
    assert {dataset.items[i].split for i in sample} == {"train"}


def test_unlabelled_sample_goes_up_to_the_limit(make_folder: MakeFolder) -> None:
    files = {f"{number}.png": number for number in range(40)}
    dataset = Dataset.open(make_folder(files), require_labels=False)
    assert len(dataset.sample(per_class=10, limit=25)) == 25
    assert len(dataset.sample()) == 40


def test_five_hundred_files_open_and_hash_quickly(make_folder: MakeFolder) -> None:
    root = make_folder({f"{number % 5}/{number}.png": bytes([number % 256]) * 4000 for number in range(500)})
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        assert Dataset.open(root).digest
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.3  # some 20 ms; the rest is for a busy machine

"""Decoded datasets on disk: the same arrays as without, shared, made anew when damaged, done without when need be."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nns.data import Dataset, cache, cached_arrays
from nns.types import SplitArrays

from .conftest import MakeFolder, class_files, encoded, noise

SIZE = 8


@pytest.fixture
def data(make_folder: MakeFolder) -> Path:
    return make_folder(class_files({"cat": 20, "dog": 12}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "some" / "cache"


def hashed(data: Path) -> Dataset:
    """An opened dataset as a worker gets it: with its digests, without the bytes."""
    dataset = Dataset.open(data)
    assert dataset.digest
    sent: Dataset = pickle.loads(pickle.dumps(dataset))
    return sent


def get(folder: Path, data: Path, max_images: int | None = None, *, seed: int = 0, size: int = SIZE) -> SplitArrays:
    return cached_arrays(folder, hashed(data), size, seed, max_images)


def parts(arrays: SplitArrays) -> list[np.ndarray]:
    splits = [split for split in (arrays.train, arrays.val, arrays.test) if split is not None]
    return [array for split in splits for array in (split.images, split.labels)]


def same(one: SplitArrays, two: SplitArrays) -> bool:
    named = (one.name, one.classes) == (two.name, two.classes)
    pairs = zip(parts(one), parts(two), strict=True)
    return named and all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


def mapped(arrays: SplitArrays) -> bool:
    return all(isinstance(array, np.memmap) and not array.flags.writeable for array in parts(arrays))


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the dataset was opened")

    def forbid() -> None:
        monkeypatch.setattr(Dataset, "decode", refuse)

    return forbid


def test_first_decoded_then_mapped(data: Path, folder: Path, no_decoding: Callable[[], None]) -> None:
    plain, _ = Dataset.open(data).decode_splits(SIZE, seed=3, test=0.0)
    dataset = hashed(data)
    first = cached_arrays(folder, dataset, SIZE, 3, None)
    no_decoding()
    again = cached_arrays(folder, dataset, SIZE, 3, None)
    assert same(first, plain)
    assert same(again, plain)
    assert mapped(first)
    assert mapped(again)
    assert again.test is None
    with pytest.raises(ValueError, match="read-only"):
        again.train.images[0] = 0


def test_the_images_may_be_gone(data: Path, folder: Path) -> None:
    dataset = hashed(data)
    first = get(folder, data)
    shutil.rmtree(data)
    assert same(cached_arrays(folder, dataset, SIZE, 0, None), first)


def test_the_own_splits_of_a_dataset_are_kept(make_folder: MakeFolder, folder: Path) -> None:
    files = class_files({"a": 6, "b": 6}, "train/") | class_files({"a": 1, "b": 3}, "test/", 60)
    data = make_folder(files)
    assert same(get(folder, data), Dataset.open(data).decode_splits(SIZE, test=0.0)[0])
    again = get(folder, data)
    assert again.test is not None
    assert again.test.labels.tolist() == [0, 1, 1, 1]


def test_at_most_so_many_training_images_drawn_by_class(data: Path, folder: Path) -> None:
    whole = get(folder, data)
    few = get(folder, data, 11, seed=0)
    assert sorted(np.bincount(few.train.labels)) == [5, 6]
    assert same(dataclasses.replace(few, train=whole.train), whole)
    everything = {image.tobytes() for image in whole.train.images}
    assert {image.tobytes() for image in few.train.images} < everything
    other = get(folder, data, 11, seed=1)
    assert not np.array_equal(few.train.images, other.train.images)
    assert same(dataclasses.replace(get(folder, data, 1000)), whole)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 10, 12])
def test_draws_are_even_sorted_and_of_their_seed(limit: int) -> None:
    labels = np.array([0] * 7 + [1] * 2 + [2] * 3)
    drawn = cache.draw_by_class(labels, limit, seed=4)
    assert drawn.tolist() == sorted(set(drawn.tolist()))
    assert len(drawn) == limit
    counts = np.bincount(labels[drawn], minlength=3)
    for count, there in zip(counts, [7, 2, 3], strict=True):
        assert count in (there, counts.max(), counts.max() - 1)
    assert np.array_equal(drawn, cache.draw_by_class(labels, limit, seed=4))


def test_whatever_changes_the_arrays_is_another_entry(data: Path, folder: Path, make_folder: MakeFolder) -> None:
    asked = [(SIZE, 0, None), (SIZE, 0, 10), (SIZE, 1, None), (SIZE + 1, 0, None)]
    found = [get(folder, data, limit, seed=seed, size=size) for size, seed, limit in asked]
    assert len(list(folder.iterdir())) == 4
    for number, (size, seed, limit) in enumerate(asked):
        assert same(get(folder, data, limit, seed=seed, size=size), found[number])
    other = make_folder(class_files({"cat": 20, "dog": 12}, first_seed=100), "other")
    assert not same(dataclasses.replace(get(folder, other), name="data"), found[0])


def test_another_format_is_not_read(data: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    get(folder, data)
    monkeypatch.setattr(cache, "FORMAT", cache.FORMAT + 1)
    get(folder, data)
    assert len(list(folder.iterdir())) == 2


FILES = ["entry.json", "train-images.npy", "train-labels.npy", "val-images.npy", "val-labels.npy"]


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def flip_the_header(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[30] ^= 1
    path.write_bytes(content)


def make_a_zip(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04" + path.read_bytes()[4:])


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [cut, empty, flip, flip_the_header, make_a_zip, Path.unlink])
def test_a_damaged_entry_is_made_anew(data: Path, folder: Path, name: str, damage: Callable[[Path], None]) -> None:
    get(folder, data)
    (entry,) = folder.iterdir()
    assert sorted(path.name for path in entry.iterdir()) == sorted(FILES)
    before = {path.name: path.read_bytes() for path in entry.iterdir()}
    damage(entry / name)
    assert same(get(folder, data), Dataset.open(data).decode_splits(SIZE, test=0.0)[0])
    assert {path.name: path.read_bytes() for path in entry.iterdir()} == before
    assert list(folder.iterdir()) == [entry]


@pytest.mark.parametrize("text", ["[]", "{}", '{"about": 3}', "[" * 100_000, '{"xxh3": []}'])
def test_an_entry_that_is_something_else(data: Path, folder: Path, text: str) -> None:
    first = get(folder, data)
    (about,) = folder.glob("*/entry.json")
    about.write_text(text)
    assert same(get(folder, data), first)
    assert json.loads(about.read_bytes())["classes"] == ["cat", "dog"]


def test_what_is_mapped_survives_its_entry(data: Path, folder: Path) -> None:
    first = get(folder, data)
    (entry,) = folder.iterdir()
    before = first.train.images.copy()
    (entry / "entry.json").unlink()
    get(folder, data)
    assert np.array_equal(first.train.images, before)
    shutil.rmtree(folder)
    assert np.array_equal(first.train.images, before)


def test_a_full_disk_is_no_failure(data: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *_: object, **__: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    arrays = get(folder, data)
    assert same(arrays, Dataset.open(data).decode_splits(SIZE, test=0.0)[0])
    assert not mapped(arrays)
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_is_no_failure(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    arrays = get(tmp_path / "file", data)
    assert same(arrays, Dataset.open(data).decode_splits(SIZE, test=0.0)[0])
    assert not mapped(arrays)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_ours_is_no_failure(data: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir(mode=0o500)
    assert not mapped(get(tmp_path / "cache", data))


def test_images_that_changed_are_not_kept_under_the_old_digest(data: Path, folder: Path) -> None:
    dataset = hashed(data)
    (data / "cat" / "0.png").write_bytes(encoded(noise(999)))
    arrays = cached_arrays(folder, dataset, SIZE, 0, None)
    assert same(arrays, Dataset.open(data).decode_splits(SIZE, test=0.0)[0])
    assert not folder.exists()


def test_a_copy_with_times_of_its_own_is_no_change(data: Path, folder: Path) -> None:
    dataset = hashed(data)
    os.utime(data / "cat" / "0.png", (1, 1))
    assert mapped(cached_arrays(folder, dataset, SIZE, 0, None))
    assert dataset.changed == ()


FETCH = """
import sys, time
from pathlib import Path
import numpy as np
from nns.data import Dataset, cached_arrays
folder, data, start = sys.argv[1:]
time.sleep(max(0, float(start) - time.time()))
images = cached_arrays(Path(folder), Dataset.open(data), 8, 0, None).train.images
print(isinstance(images, np.memmap), images.sum())
"""


@pytest.mark.parametrize("damaged", [False, True])
def test_several_processes_may_race(data: Path, folder: Path, damaged: bool) -> None:
    expected = Dataset.open(data).decode_splits(SIZE, test=0.0)[0].train.images.sum()
    if damaged:
        get(folder, data)
        flip(next(folder.glob("*/train-images.npy")))
    command = [sys.executable, "-c", FETCH, str(folder), str(data), str(time.time() + 2)]
    racing = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    found = [process.communicate(timeout=120)[0].split() for process in racing]
    assert {total for _, total in found} == {str(expected)}
    if not damaged:  # else one may find nothing while another replaces it
        assert {kept for kept, _ in found} == {"True"}
    (entry,) = folder.iterdir()
    assert sorted(path.name for path in entry.iterdir()) == sorted(FILES)
    assert mapped(get(folder, data))


def test_what_a_killed_process_left_is_not_in_the_way(
    data: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(cache, "_fill", die)
        killed.setattr(shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            get(folder, data)
    assert len(list(folder.iterdir())) == 1
    assert mapped(get(folder, data))


def test_mapped_arrays_train_as_others_do(data: Path, folder: Path) -> None:
    torch = pytest.importorskip("torch")
    from nns.backends.seeding import seeded
    from nns.finetuning import Recipe, train
    from nns.types import Preprocessing

    def trained(arrays: SplitArrays) -> dict[str, object]:
        with seeded(0):
            net = torch.nn.Sequential(
                torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 2)
            )
        recipe = Recipe(epochs=2, batch_size=8, device="cpu")
        result = train(net, arrays, Preprocessing(SIZE), recipe, seed=5)
        return {**result.module.state_dict(), "losses": torch.tensor([epoch.val_loss for epoch in result.history])}

    plain, _ = Dataset.open(data).decode_splits(SIZE, test=0.0)
    kept = get(folder, data)
    assert mapped(kept)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_cache = trained(kept)
    for name, tensor in trained(plain).items():
        assert torch.equal(tensor, from_cache[name]), name

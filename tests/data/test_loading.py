"""Decoding many images, with what cannot be read counted and named."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from nns.data import Dataset, decode, parallel
from nns.data.parallel import choose_workers
from nns.errors import DatasetError

from .conftest import MakeFolder, class_files, encoded, noise

TEXT = b"this is a text"


def test_load_arrays_splits_a_plain_folder(make_folder: MakeFolder) -> None:
    dataset = Dataset.open(make_folder(class_files({"cat": 20, "dog": 3})))
    arrays, skipped = dataset.decode_splits(8)
    assert skipped == ()
    assert arrays.name == "data"
    assert arrays.classes == ("cat", "dog")
    assert arrays.test is not None
    for part in (arrays.train, arrays.val, arrays.test):
        assert part.images.shape == (len(part), 3, 8, 8)
        assert part.images.dtype == np.uint8
        assert part.labels.dtype == np.int64
        assert set(part.labels.tolist()) == {0, 1}
    assert [len(part) for part in (arrays.train, arrays.val, arrays.test)] == [15, 4, 4]
    everything = [image.tobytes() for p in (arrays.train, arrays.val, arrays.test) for image in p.images]
    assert len(set(everything)) == 23


def test_load_arrays_does_not_depend_on_names_or_threads(make_folder: MakeFolder) -> None:
    files = class_files({"cat": 20, "dog": 20})
    renamed = {f"{key.split('/')[0]}/{100 - seed}.png": seed for key, seed in files.items()}  # type: ignore[operator]
    first, _ = Dataset.open(make_folder(files, "a")).decode_splits(8, seed=5, workers=1)
    second, _ = Dataset.open(make_folder(renamed, "b")).decode_splits(8, seed=5, workers=3)
    assert {i.tobytes() for i in first.val.images} == {i.tobytes() for i in second.val.images}
    other, _ = Dataset.open(make_folder(files, "a")).decode_splits(8, seed=6)
    assert {i.tobytes() for i in first.val.images} != {i.tobytes() for i in other.val.images}


def test_load_arrays_keeps_given_splits(make_folder: MakeFolder) -> None:
    train, val = class_files({"a": 6, "b": 6}, "train/"), class_files({"a": 2, "b": 2}, "val/", 40)
    test = class_files({"a": 1, "b": 3}, "test/", 60)
    full, _ = Dataset.open(make_folder(train | val | test, "full")).decode_splits(8)
    assert full.test is not None
    assert [len(full.train), len(full.val), len(full.test)] == [12, 4, 4]
    no_test, _ = Dataset.open(make_folder(train | val, "no_test")).decode_splits(8)
    assert [len(no_test.train), len(no_test.val), no_test.test] == [12, 4, None]
    no_val, _ = Dataset.open(make_folder(train | test, "no_val")).decode_splits(8)
    assert no_val.test is not None
    assert [len(no_val.train), len(no_val.val), len(no_val.test)] == [10, 2, 4]
    only_train, _ = Dataset.open(make_folder(train, "only_train")).decode_splits(8)
    assert [len(only_train.train), len(only_train.val), only_train.test] == [10, 2, None]


def test_unreadable_images_are_skipped_counted_and_named(make_folder: MakeFolder) -> None:
    whole = encoded(noise(0, (60, 60)), "JPEG")
    files = class_files({"cat": 6, "dog": 6}) | {"cat/text.png": TEXT, "dog/half.jpg": whole[:800]}
    arrays, skipped = Dataset.open(make_folder(files)).decode_splits(8)
    assert arrays.test is not None
    assert len(arrays.train) + len(arrays.val) + len(arrays.test) == 12
    assert [s.path for s in skipped] == ["cat/text.png", "dog/half.jpg"]
    assert "not an image" in skipped[0].reason
    assert "truncated" in skipped[1].reason.lower()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({f"{c}/{n}.png": TEXT for c in "ab" for n in range(3)}, "none of the 6 images"),
        (class_files({"a": 3, "b": 2}) | {"b/x.png": TEXT}, "'b' has 2 images readable (b/x.png: not an image"),
        (class_files({"a": 3, "b": 3}, "train/") | {"val/a/x.png": TEXT}, "no image of val can be read"),
    ],
)
def test_too_little_is_left(make_folder: MakeFolder, files: dict[str, int | bytes], expected: str) -> None:
    with pytest.raises(DatasetError) as caught:
        Dataset.open(make_folder(files)).decode_splits(8)
    assert expected in str(caught.value)


def test_load_arrays_refuses_unlabelled_images(make_folder: MakeFolder) -> None:
    with pytest.raises(DatasetError, match="not fine-tuned on"):
        Dataset.open(make_folder({"a.png": 0}), require_labels=False).decode_splits(8)


def test_load_images_keeps_order_and_reports(make_folder: MakeFolder) -> None:
    dataset = Dataset.open(make_folder(class_files({"cat": 4, "dog": 4}) | {"cat/9.png": TEXT}))
    keys = [item.key for item in dataset.items]
    indices = [keys.index("dog/0.png"), keys.index("cat/9.png"), keys.index("cat/1.png")]
    images, kept, skipped = dataset.decode(indices, 8)
    assert kept.tolist() == [indices[0], indices[2]]
    assert [s.path for s in skipped] == ["cat/9.png"]
    for image, index in zip(images, kept, strict=True):
        assert (image == decode(dataset.items[index].source, 8)).all()
    none, kept, skipped = dataset.decode([], 8)
    assert none.shape == (0, 3, 8, 8)
    assert len(kept) == len(skipped) == 0


def test_load_sample_replaces_unreadable_images(make_folder: MakeFolder) -> None:
    files = class_files({"cat": 10, "dog": 10}) | {f"cat/bad{n}.png": TEXT + bytes([n]) for n in range(10)}
    dataset = Dataset.open(make_folder(files))
    images, kept, skipped = dataset.decode_sample(8, per_class=10)
    assert images.shape == (20, 3, 8, 8)
    assert np.bincount(dataset.labels[kept]).tolist() == [10, 10]
    assert {s.path for s in skipped} == {f"cat/bad{n}.png" for n in range(10)}


def test_load_sample_of_nothing_readable(make_folder: MakeFolder) -> None:
    dataset = Dataset.open(make_folder({"a.png": TEXT, "b.png": b""}), require_labels=False)
    with pytest.raises(DatasetError, match="none of the 2 images tried can be read"):
        dataset.decode_sample(8)


@pytest.mark.parametrize("workers", [1, 2])
def test_progress_reaches_the_total(make_folder: MakeFolder, workers: int) -> None:
    dataset = Dataset.open(make_folder(class_files({"cat": 25, "dog": 25})))
    seen: list[tuple[int, int]] = []
    dataset.decode(range(50), 8, workers=workers, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (50, 50)
    assert seen == sorted(seen)


def test_threads_are_for_many_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = [tmp_path / f"{n}.png" for n in range(100)]
    for path in small:
        path.write_bytes(b"x" * 3000)
    assert choose_workers(small) == 1
    large = tmp_path / "large.jpg"
    large.write_bytes(b"x" * 200_000)
    assert choose_workers([large] * 5) == 1
    monkeypatch.setattr(parallel, "_processors", lambda: 6)
    assert choose_workers([large] * 100) == 6
    assert choose_workers([tmp_path / "gone"] * 100) == 1


def test_two_hundred_small_images_decode_quickly(make_folder: MakeFolder) -> None:
    content = encoded(noise(0, (64, 64)))
    dataset = Dataset.open(make_folder({f"{n % 4}/{n}.png": content for n in range(200)}))
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        dataset.decode(range(200), 64)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.4  # some 50 ms; the rest is for a busy machine


def test_unreadable_images_are_found_wherever_they_are(tmp_path):
    from PIL import Image

    from nns.data import Dataset

    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(5):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / name / f"{number}.png")
    (tmp_path / "b" / "text.png").write_text("no image")
    whole = (tmp_path / "a" / "0.png").read_bytes()
    (tmp_path / "a" / "cut.png").write_bytes(whole[: len(whole) // 2])
    dataset = Dataset.open(tmp_path)
    assert [item.path for item in dataset.unreadable()] == ["a/cut.png", "b/text.png"]
    text = next(index for index, item in enumerate(dataset.items) if item.key == "b/text.png")
    assert [item.path for item in dataset.unreadable()] == ["a/cut.png", "b/text.png"], "known by now"
    assert Dataset.open(tmp_path).unreadable(max_bytes=10) == ()
    sampled = Dataset.open(tmp_path)
    sampled.decode([text], 8)
    seen = []
    assert [item.path for item in sampled.unreadable(progress=lambda *step: seen.append(step))] == [
        "b/text.png",
        "a/cut.png",
    ]
    assert seen[-1] == (len(dataset) - 1, len(dataset) - 1), "what was decoded is not looked at again"

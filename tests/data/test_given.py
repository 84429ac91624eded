"""Datasets of images that are in hand: lists, arrays, torch datasets."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nns import Dataset
from nns.errors import DatasetError

from .conftest import MakeFolder, class_files, encoded, noise

LABELS = ["cat", "dog", "cat", "dog", "cat", "dog"]


def pixels(dataset: Dataset) -> np.ndarray:
    images, kept, skipped = dataset.decode(range(len(dataset)), 8)
    assert (len(kept), skipped) == (len(dataset), ())
    return images


@pytest.fixture
def images() -> list[Image.Image]:
    return [noise(seed) for seed in range(6)]


def test_a_dataset_is_returned_as_it_is(make_folder: MakeFolder) -> None:
    dataset = Dataset.open(make_folder(class_files({"cat": 3, "dog": 3})))
    assert Dataset.of(dataset) is dataset
    assert Dataset.of(str(dataset.path)) == dataset
    flat = Dataset.of(make_folder({"a.png": 1}, "flat"), require_labels=False)
    with pytest.raises(DatasetError, match="no labels"):
        Dataset.of(flat)


def test_pairs_of_images_and_names(images: list[Image.Image]) -> None:
    dataset = Dataset.of(list(zip(images, LABELS, strict=True)))
    assert dataset.classes == ("cat", "dog")
    assert dataset.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert (repr(dataset), len(dataset.digest)) == ("Dataset('6 images', 6 images, 2 classes)", 64)
    shuffled = Dataset.of([(images[i], LABELS[i]) for i in (3, 1, 0, 5, 2, 4)])
    assert shuffled.digest == dataset.digest
    sent = pickle.loads(pickle.dumps(dataset))
    assert sent.digest == dataset.digest
    assert (pixels(sent) == pixels(dataset)).all()


def test_every_kind_of_image_gives_the_same_pixels(images: list[Image.Image]) -> None:
    arrays = np.stack([np.asarray(image) for image in images])
    tensors = torch.from_numpy(arrays.transpose(0, 3, 1, 2).copy())
    expected = pixels(Dataset.of((images, LABELS)))
    kinds = [
        arrays,
        arrays.transpose(0, 3, 1, 2),
        arrays.astype(np.int64),
        arrays / 255,
        tensors,
        tensors.float() / 255,
        list(tensors),
    ]
    for given in kinds:
        dataset = Dataset.of((given, LABELS))
        assert (pixels(dataset) == expected).all()
        assert dataset.digest == Dataset.of((images, LABELS)).digest


def test_grey_images(images: list[Image.Image]) -> None:
    grey = np.stack([np.asarray(image.convert("L")) for image in images])
    expected = pixels(Dataset.of(([image.convert("L") for image in images], LABELS)))
    for given in (grey, grey[..., None], grey[:, None], grey > 300):
        assert pixels(Dataset.of((given, LABELS))).shape == expected.shape
    assert (pixels(Dataset.of((grey[:, None], LABELS))) == expected).all()


@pytest.mark.parametrize("labels", [[10, 2, 10, 2, 10, 2], np.array([10, 2] * 3), torch.tensor([10, 2] * 3)])
def test_numbers_keep_their_order(images: list[Image.Image], labels: object) -> None:
    dataset = Dataset.of((images, labels))
    assert dataset.classes == ("2", "10")
    assert dataset.labels.tolist() == [1, 0] * 3


def test_paths_and_images_without_labels(make_folder: MakeFolder, images: list[Image.Image]) -> None:
    root = make_folder(class_files({"cat": 3, "dog": 3}))
    paths = sorted(root.glob("*/*.png"))
    dataset = Dataset.of([(str(path), path.parent.name) for path in paths])
    assert dataset.digest == Dataset.open(root).digest
    for given in (paths, images, [(image, None) for image in images]):
        assert not Dataset.of(given, require_labels=False).labelled


class Pets(torch.utils.data.Dataset):  # type: ignore[type-arg]
    classes = ["dog", "cat"]  # noqa: RUF012

    def __init__(self, transform: object = None) -> None:
        self.asked = 0

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        self.asked += 1
        return noise(index), 1 - index % 2


def test_a_torch_dataset() -> None:
    given = Pets()
    dataset = Dataset.of(given)
    assert (dataset.name, dataset.classes) == ("Pets", ("dog", "cat"))
    assert [dataset.classes[label] for label in dataset.labels] == LABELS
    assert dataset.digest == Dataset.of(([noise(seed) for seed in range(6)], LABELS)).digest
    with_targets = Pets()
    with_targets.targets = [1, 0] * 3  # type: ignore[attr-defined]
    assert Dataset.of(with_targets).digest == dataset.digest
    assert with_targets.asked <= 7, "labels were read from the images"


def test_it_trains(images: list[Image.Image]) -> None:
    arrays, skipped = Dataset.of((images, LABELS)).decode_splits(8)
    assert skipped == ()
    assert [len(part) for part in (arrays.train, arrays.val, arrays.test)] == [2, 2, 2]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (3, "a int is no dataset"),
        ([], "no images were given"),
        (([noise(0)] * 3, ["a"]), "3 images were given with 1 labels"),
        ([(noise(0), "a"), (noise(1), None)], "None is no label beside 'a'"),
        ([(noise(0), 1.5)] * 6, "1.5 is no label"),
        ([("gone.png", "a"), (noise(1), 2)], "2 is no label beside 'a'"),
        ((np.zeros((6, 5, 5, 7)), LABELS), "not an image of 1, 3 or 4 channels"),
        ((np.full((6, 5, 5, 3), -1.5), LABELS), "must not be normalised"),
        ((np.full((6, 5, 5, 3), 256), LABELS), "neither integers of 0..255"),
        ([(object(), "a")] * 6, "a object is not an image"),
        ([(noise(n), "a") for n in range(6)], "one class only"),
        ([(noise(n), n % 3) for n in range(6)], "class '0' has 2 images"),
    ],
)
def test_what_cannot_be_used(data: object, expected: str) -> None:
    with pytest.raises(DatasetError) as caught:
        Dataset.of(data)
    assert expected in str(caught.value)
    assert ";" in str(caught.value), "a message ends in the next step"


def test_what_is_no_image_among_images_is_skipped(images: list[Image.Image]) -> None:
    given = [*images, np.zeros((2, 3, 4, 5)), "gone.png"]
    dataset = Dataset.of((given, [*LABELS, "cat", "dog"]))
    _, kept, skipped = dataset.decode(range(8), 8)
    assert kept.tolist() == list(range(6))
    assert skipped[0].path == "6"
    assert skipped[1].path.endswith("gone.png")


def test_true_is_not_one() -> None:
    pixels = np.zeros((4, 8, 8, 3), np.uint8)
    with pytest.raises(DatasetError, match="is no label beside"):
        Dataset.of([(image, label) for image, label in zip(pixels, [1, True, 0, False], strict=True)])


class Labelled:
    """Six images and labels."""

    def __init__(self, targets: object) -> None:
        self.targets = targets

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> object:
        return np.full((8, 8, 3), index, np.uint8), self.targets[index]  # type: ignore[index]


PIXELS = np.zeros((6, 8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ((PIXELS, np.eye(2)[[0, 1, 0, 1, 0, 1]]), r"a label of shape \(2,\) is not one class"),
        ((PIXELS, torch.eye(2)[[0, 1, 0, 1, 0, 1]]), r"a label of shape \(2,\) is not one class"),
        ((PIXELS, [0.0, 1.0] * 3), "0.0 is no label; give every image a name or a whole number"),
        ((PIXELS, np.array([0, np.nan] * 3)), "0.0 is no label"),
        ((PIXELS, ["", "a"] * 3), "a label is empty"),
        ((PIXELS, [None, "a"] * 3), "None is no label|'a' is no label beside None"),
        ((PIXELS, 5), "a tuple of ndarray and int is no dataset"),
        (Labelled([0.2, 0.7, 1.2, 1.7, 0.1, 1.1]), "does not give one class an image"),
        (Labelled(["1", "01"] * 3), "does not give one class an image"),
        (Labelled(torch.eye(2)[[0, 1, 0, 1, 0, 1]]), "does not give one class an image"),
    ],
)
def test_labels_that_are_none(data: object, expected: str) -> None:
    with pytest.raises(DatasetError, match=expected):
        Dataset.of(data)


def test_minus_one_beside_zero_is_said() -> None:
    assert "'-1': 2 images" in Dataset.of(Labelled([-1, 0, 1] * 2), require_labels=False).seen.warnings[0]
    assert Dataset.of(Labelled([-1, 1] * 3)).seen.warnings == ()
    assert Dataset.of(Labelled(torch.tensor([0.0, 1.0] * 3))).classes == ("0", "1")


def test_images_that_are_opened_only_are_checked_like_files(tmp_path: Path) -> None:
    whole = encoded(noise(0, (48, 48)), "JPEG")
    paths = [tmp_path / f"{number}.jpg" for number in range(8)]
    for path in paths:
        path.write_bytes(whole)
    for damaged in (0, 3):
        paths[damaged].write_bytes(whole[: len(whole) * 6 // 10] + b"\xff\xd9")
    opened = [Image.open(path) for path in paths]
    dataset = Dataset.of([(image, "ab"[number % 2]) for number, image in enumerate(opened)])
    for size in (8, 16):  # more than once: they stay as they were given
        images, kept, skipped = dataset.decode(range(8), size)
        assert [each.path for each in skipped] == ["0", "3"]
        assert "truncated" in skipped[0].reason
        assert kept.tolist() == [1, 2, 4, 5, 6, 7]
    opened[1].load()
    assert (dataset.decode([1], 16)[0][0] == images[0]).all()


def test_files_of_a_torch_dataset_are_checked_and_deep_ones_not_cut_off(tmp_path: Path) -> None:
    from torch.utils.data import Subset
    from torchvision.datasets import ImageFolder

    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(6):
            deep = np.random.default_rng(number).integers(0, 4096, (48, 48)).astype(np.uint16)
            Image.fromarray(deep).save(tmp_path / name / f"{number}.png")
    whole = encoded(noise(0, (48, 48)), "JPEG")
    (tmp_path / "a" / "x.jpg").write_bytes(whole)
    (tmp_path / "a" / "y.jpg").write_bytes(whole[: len(whole) * 6 // 10] + b"\xff\xd9")
    folder = ImageFolder(str(tmp_path))
    for collection in (folder, Subset(folder, list(range(14)))):
        dataset = Dataset.of(collection)
        images, _, skipped = dataset.decode(range(14), 48)
        assert [each.path for each in skipped] == ["7"]
        assert abs(images.mean() - 127.5) < 4

"""Photographs and scans: solar cells (elpv-dataset), animals and things at 28 px (animal-mnist), digits."""

from __future__ import annotations

import gzip
import io
import pickle
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bank.drawing import ArrayPicture, Collected, ImageFile, Picture
from bank.errors import BankError
from bank.packages import Shelf, Source
from bank.task import Task

ELPV = Source("pypi", "elpv-dataset")
ANIMALS = Source("pypi", "animal-mnist")
_GRADES = {0: "intact", 1: "maybe-defective", 2: "likely-defective", 3: "defective"}


@dataclass(frozen=True)
class SolarCells:
    """Electroluminescence photographs of solar cells, by defect ``grade``, ``defect`` or cell ``type``."""

    label: str
    only_type: str | None = None

    def __call__(self, shelf: Shelf) -> Collected:
        data = "elpv_dataset/data"
        found: dict[str, list[Picture]] = defaultdict(list)
        for line in (shelf.path(ELPV) / data / "labels.csv").read_text().splitlines():
            path, probability, kind = line.split()
            grade = round(float(probability) * 3)
            if self.only_type not in {None, kind}:
                continue
            if self.label == "defect" and grade not in {0, 3}:
                continue
            label = kind if self.label == "type" else _GRADES[grade]
            found[label].append(ImageFile(f"pypi/{ELPV.name}/{data}/{path}"))
        return found


@dataclass(frozen=True)
class Rows:
    """Rows of a labelled array, of some of its classes."""

    array: str
    labels: tuple[int, ...]

    def __call__(self, shelf: Shelf) -> Collected:
        found: dict[str, list[Picture]] = defaultdict(list)
        for index, label in enumerate(load_labels(shelf, self.array)):
            if int(label) in self.labels:
                found[str(int(label))].append(ArrayPicture(self.array, index))
        return found


def photo_tasks() -> Iterator[Task]:
    """Every task of photographs and scanned digits."""
    cells = (ELPV,)
    yield Task("photos-solar-grade", "photos", cells, SolarCells("grade"), size=96, per_class=500)
    yield Task("photos-solar-grade-mono", "photos", cells, SolarCells("grade", "mono"), size=64, per_class=300)
    yield Task("photos-solar-grade-poly", "photos", cells, SolarCells("grade", "poly"), size=64, per_class=300)
    yield Task("photos-solar-defect-mono", "photos", cells, SolarCells("defect", "mono"), size=96, per_class=320)
    yield Task("photos-solar-defect-poly", "photos", cells, SolarCells("defect", "poly"), size=96, per_class=400)
    yield Task("photos-solar-type", "photos", cells, SolarCells("type"), size=64, per_class=500)
    animals, first, second = (ANIMALS,), tuple(range(5)), tuple(range(5, 10))
    yield Task("photos-animal-mnist", "photos", animals, Rows("animals", first + second), size=32, per_class=200)
    yield Task("photos-animal-mnist-0-4", "photos", animals, Rows("animals", first), size=32, per_class=300)
    yield Task("photos-animal-mnist-5-9", "photos", animals, Rows("animals", second), size=32, per_class=300)
    yield Task("digits-sklearn", "digits", (), Rows("digits", first + second), size=32, per_class=180)
    yield Task("digits-sklearn-0-4", "digits", (), Rows("digits", first), size=32, per_class=60)
    yield Task("digits-sklearn-5-9", "digits", (), Rows("digits", second), size=32, per_class=60)


@lru_cache(maxsize=4)
def load_array(shelf: Shelf, name: str) -> NDArray[np.uint8]:
    """Grey images, N x H x W."""
    if name == "digits":
        return (_sklearn_digits()[0] * (255 / 16)).round().astype(np.uint8)
    return _read_pickled_array(shelf, "data").astype(np.uint8)


@lru_cache(maxsize=4)
def load_labels(shelf: Shelf, name: str) -> NDArray[np.int64]:
    """Labels of the images of the same name, N."""
    if name == "digits":
        return _sklearn_digits()[1]
    return _read_pickled_array(shelf, "label").astype(np.int64)


def _sklearn_digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    from sklearn.datasets import load_digits  # type: ignore[import-untyped,unused-ignore]

    digits = load_digits()
    return digits.images, digits.target


def _read_pickled_array(shelf: Shelf, part: str) -> NDArray[np.generic]:
    folder = shelf.path(ANIMALS) / "animal_mnist" / "data" / "Animal_MNIST"
    data = gzip.decompress((folder / f"animal_{part}_version_3.gz").read_bytes())
    array = _ArrayOnly(io.BytesIO(data)).load()
    if not isinstance(array, np.ndarray):
        raise BankError(f"animal-mnist: {part} is {type(array).__name__}, not an array")
    return array


class _ArrayOnly(pickle.Unpickler):
    """Reads a pickled numpy array and refuses everything else that a pickle can name, so no code can run."""

    _allowed = frozenset({("multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")})

    def find_class(self, module: str, name: str) -> object:
        """Resolve the three names that an array needs.

        Raises:
            BankError: the pickle names anything else.
        """
        if (module.rsplit(".", 1)[-1], name) not in self._allowed or module.split(".")[0] != "numpy":
            raise BankError(f"animal-mnist: refusing to unpickle {module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)

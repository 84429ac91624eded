"""Real images for the demo: photographs of solar cells (elpv-dataset) and handwritten digits (scikit-learn).

``images.json`` names which of them by their position among those of their class: those, and no others of these two
collections, were held back from the pictures that the starter zoo's own networks were taught with
(benchmarks/starter/README.md).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from nns.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

CELL_SIZE = 128
DIGIT_SIZE = 32
GRADES = {"intact": 0, "defective": 3}


def lay_out(folder: Path) -> tuple[Path, ...]:
    """Write the demo's images into class folders below ``folder``; what is there already is kept.

    Returns:
        The two folders, one of each kind of images.

    Raises:
        UsageError: If the package with the photographs is not installed.
    """
    chosen = json.loads(Path(__file__).with_name("images.json").read_text(encoding="utf-8"))
    found = {"solar-cells": _solar_cells(), "digits-5-9": _digits()}
    return tuple(
        _write(folder / name, {label: [images[label][index] for index in rows] for label, rows in chosen[name].items()})
        for name, images in found.items()
    )


@dataclass(frozen=True)
class _Cell:
    path: Path

    def __call__(self) -> Image:
        from PIL.Image import Resampling

        from nns.data.opening import open_bytes

        return open_bytes(self.path.read_bytes()).convert("L").resize((CELL_SIZE, CELL_SIZE), Resampling.LANCZOS)


def _solar_cells() -> dict[str, Sequence[Callable[[], Image]]]:
    """List the polycrystalline ones: ``labels.csv`` holds path, probability of a defect (thirds), and silicon type."""
    found = find_spec("elpv_dataset")
    if found is None or not found.submodule_search_locations:
        raise UsageError("the demo needs photographs of solar cells: pip install elpv-dataset")
    data = Path(found.submodule_search_locations[0]) / "data"
    rows = [line.split() for line in (data / "labels.csv").read_text(encoding="utf-8").splitlines()]
    of_kind = [(path, round(float(probability) * 3)) for path, probability, kind in rows if kind == "poly"]
    return {name: [_Cell(data / path) for path, each in of_kind if each == grade] for name, grade in GRADES.items()}


@dataclass(frozen=True)
class _Digit:
    grey: object

    def __call__(self) -> Image:
        import numpy as np
        from PIL import Image

        scaled = (np.asarray(self.grey) * (255 / 16)).astype(np.uint8)
        return Image.fromarray(scaled).resize((DIGIT_SIZE, DIGIT_SIZE), Image.Resampling.BICUBIC)


def _digits() -> dict[str, Sequence[Callable[[], Image]]]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return {str(digit): [_Digit(image) for image in digits.images[digits.target == digit]] for digit in range(5, 10)}


def _write(folder: Path, classes: Mapping[str, Sequence[Callable[[], Image]]]) -> Path:
    for name, images in classes.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(images):
            target = folder / name / f"{number:04d}.png"
            if not target.exists():
                image().save(target)
    return folder

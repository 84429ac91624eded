"""Real images for the demo: handwritten digits (scikit-learn) and photographs of solar cells (elpv-dataset).

The zoo is built on solar cells and on the digits 0 to 4; the dataset that is searched with holds the digits 5
to 9, of which the zoo has neither a class nor an image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from nns.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

CELL_SIZE = 96
DIGIT_SIZE = 32
PER_CLASS = 60
DIGIT_TASKS = ((0, 1), (2, 3, 4))
QUERY_DIGITS = (5, 6, 7, 8, 9)
QUERY_PER_CLASS = 120
GRADES = {0: "intact", 1: "perhaps-defective", 2: "likely-defective", 3: "defective"}


@dataclass(frozen=True)
class DemoData:
    """Where the images were laid out.

    Attributes:
        zoo: Folders that the zoo is built on.
        query: Folder that is searched with and fine-tuned on; it shares no image with the others.
    """

    zoo: tuple[Path, ...]
    query: Path


def lay_out(folder: Path) -> DemoData:
    """Write the demo's images into class folders below ``folder``; what is there already is kept.

    Raises:
        UsageError: If the package with the photographs is not installed.
    """
    cells = _solar_cells()
    zoo = [_write(folder / f"digits-{'-'.join(map(str, task))}", _digits(task, PER_CLASS)) for task in DIGIT_TASKS]
    for kind in ("mono", "poly"):
        of_kind = [cell for cell in cells if cell.kind == kind]
        zoo.append(_write(folder / f"solar-{kind}-defects", _by_grade(of_kind, {0: "intact", 3: "defective"})))
        zoo.append(_write(folder / f"solar-{kind}-grades", _by_grade(of_kind, GRADES)))
    query = _write(folder / "digits-5-9", _digits(QUERY_DIGITS, QUERY_PER_CLASS))
    return DemoData(tuple(zoo), query)


@dataclass(frozen=True)
class _Cell:
    path: Path
    grade: int
    kind: str

    def __call__(self) -> Image:
        from PIL import Image

        return Image.open(self.path).convert("L").resize((CELL_SIZE, CELL_SIZE), Image.Resampling.LANCZOS)


def _solar_cells() -> Sequence[_Cell]:
    """List the photographs: ``labels.csv`` holds path, probability of a defect (thirds), and silicon type."""
    found = find_spec("elpv_dataset")
    if found is None or not found.submodule_search_locations:
        raise UsageError("the demo needs photographs of solar cells: pip install elpv-dataset")
    data = Path(found.submodule_search_locations[0]) / "data"
    cells = []
    for line in (data / "labels.csv").read_text(encoding="utf-8").splitlines():
        path, probability, kind = line.split()
        cells.append(_Cell(data / path, round(float(probability) * 3), kind))
    return cells


def _by_grade(cells: Sequence[_Cell], grades: Mapping[int, str]) -> dict[str, Sequence[Callable[[], Image]]]:
    return {name: [cell for cell in cells if cell.grade == grade][:PER_CLASS] for grade, name in grades.items()}


def _digits(classes: Sequence[int], per_class: int) -> dict[str, Sequence[Callable[[], Image]]]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return {
        str(wanted): [_Digit(image) for image in digits.images[digits.target == wanted][:per_class]]
        for wanted in classes
    }


@dataclass(frozen=True)
class _Digit:
    grey: object

    def __call__(self) -> Image:
        import numpy as np
        from PIL import Image

        scaled = (np.asarray(self.grey) * (255 / 16)).astype(np.uint8)
        return Image.fromarray(scaled).resize((DIGIT_SIZE, DIGIT_SIZE), Image.Resampling.BICUBIC)


def _write(folder: Path, classes: Mapping[str, Sequence[Callable[[], Image]]]) -> Path:
    for name, images in classes.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(images):
            target = folder / name / f"{number:04d}.png"
            if not target.exists():
                image().save(target)
    return folder

"""Make ``benchmarks/bank`` importable as ``bank``; a shelf made by hand, so that no network is needed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

_BENCHMARKS = str(Path(__file__).resolve().parents[2] / "benchmarks")
if _BENCHMARKS not in sys.path:
    sys.path.insert(0, _BENCHMARKS)

from bank.packages import Shelf, Source  # noqa: E402


def put(shelf: Shelf, source: Source, version: str = "1.0") -> Path:
    """Put an empty package on the shelf and return its folder."""
    folder = shelf.path(source)
    folder.mkdir(parents=True)
    folder.with_name(f"{source.name}.json").write_text(json.dumps({"version": version, "bytes": 1}))
    return folder


def picture(number: int, size: int = 64) -> Image.Image:
    """A noise picture of its own for each number."""
    pixels = np.random.default_rng(number).integers(0, 255, (size, size, 4), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(name="put")
def put_fixture() -> Callable[..., Path]:
    """The function `put`, for tests, which cannot import a conftest by name."""
    return put


@pytest.fixture(name="picture")
def picture_fixture() -> Callable[..., Image.Image]:
    """The function `picture`, for tests."""
    return picture


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """An empty shelf."""
    return Shelf(tmp_path / "cache")


@pytest.fixture
def emoji_shelf(shelf: Shelf) -> Shelf:
    """A shelf with a made emoji package: 3 categories of 80 pictures each, one of them with a skin tone."""
    folder = put(shelf, Source("npm", "emoji-datasource-apple"))
    images = folder / "img" / "apple" / "64"
    images.mkdir(parents=True)
    entries = []
    for number in range(240):
        category = ("Objects", "Food & Drink", "People & Body")[number % 3]
        entry = {
            "unified": f"1F{number:03X}",
            "image": f"1f{number:03x}.png",
            "category": category,
            "subcategory": f"part-{number % 9}",
            "short_name": f"n{number}",
            "has_img_apple": True,
        }
        picture(number).save(images / entry["image"])
        if number == 2:
            toned = f"1F{number:03X}-1F3FB"
            entry["skin_variations"] = {"1F3FB": {"unified": toned, "image": f"{toned.lower()}.png"}}
            picture(1000).save(images / f"{toned.lower()}.png")
        entries.append(entry)
    (folder / "emoji.json").write_text(json.dumps(entries))
    return shelf

"""Makes small image files."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeImage = Callable[..., Path]
MakeFolder = Callable[..., Path]


def noise(seed: int, size: tuple[int, int] = (12, 8)) -> Image.Image:
    """A random RGB image, the same for the same seed; ``size`` is (width, height)."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, format_: str = "PNG", **options: object) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Write a tree of files: ``{"cat/a.png": 3, "notes.txt": b"…"}``; an int is the seed of a noise image."""

    def make(files: dict[str, int | bytes], name: str = "data") -> Path:
        root = tmp_path / name
        root.mkdir(parents=True, exist_ok=True)
        for key, content in files.items():
            path = root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(noise(content)) if isinstance(content, int) else content)
        return root

    return make


def class_files(classes: dict[str, int], prefix: str = "", first_seed: int = 0) -> dict[str, int | bytes]:
    """Files of a folder of class folders: so many different images a class."""
    keys = [f"{prefix}{name}/{number}.png" for name, count in classes.items() for number in range(count)]
    return {key: first_seed + seed for seed, key in enumerate(keys)}

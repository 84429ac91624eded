"""What the generalists' images must not hold, and how they are cut and shifted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from starter import checking, crops, cutting
from starter.augmenting import shifted
from starter.excluded import Twins, is_held, measuring_tasks


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """Smooth random pictures, (n, 64, 64, 3): they look alike at any size, as drawings do."""
    small = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((64, 64), Image.Resampling.BICUBIC)) for one in small])


def through(image: np.ndarray, side: int) -> np.ndarray:
    """A picture that was stored at another size in between."""
    shrunk = Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(shrunk.resize((64, 64), Image.Resampling.BICUBIC))


def test_the_same_picture_is_found_at_other_sizes_and_others_are_not():
    held, others = pictures(20), pictures(20, seed=1)
    twins = Twins(held)
    assert twins.find(held).all()
    assert twins.find(np.stack([through(image, side) for image in held for side in (32, 48, 96)])).all()
    assert not twins.find(others).any()


def test_measuring_tasks_and_their_kin_are_held():
    assert len(measuring_tasks()) == 32
    assert all(is_held(task) for task in measuring_tasks())
    assert is_held("emoji-facebook-objects")
    assert is_held("glyphs-thai-first-half")
    assert not is_held("emoji-apple-objects")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_crops_have_both_sizes_and_show_something(mode: str):
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    cut = list(cutting.cut(Image.fromarray(noise).convert(mode), 5, np.random.default_rng(1)))
    assert len(cut) == 5
    assert [array.shape for array in cut[0]] == [(64, 64, 3), (80, 80, 3)]
    assert not list(cutting.cut(Image.new("RGB", (400, 400)), 5, np.random.default_rng(1)))


def test_a_shift_moves_pixels_and_mirrors_the_edge():
    images = pictures(30)
    moved = shifted(images, 6, np.random.default_rng(0))
    assert moved.shape == images.shape
    assert (shifted(images, 0, np.random.default_rng(0)) == images).all()
    inner = images[0, 20:44, 20:44]
    places = [
        (r, c) for r in range(13) for c in range(13) if (moved[0, r + 14 : r + 38, c + 14 : c + 38] == inner).all()
    ]
    assert len(places) == 1


def sources(out: Path, learned: np.ndarray) -> None:
    """Write one source to learn from, and one for each task that measures."""
    folders = {f"bank-{task}": pictures(3, seed=n) for n, task in enumerate(sorted(measuring_tasks()), start=10)}
    for name, images in {**folders, "some-package": learned}.items():
        found = [[image, np.asarray(Image.fromarray(image).resize((80, 80)))] for image in images]
        about = {"kind": "test", "held": name in folders}
        crops._write_source(out / "sources" / name, found, about, 0.0)


def test_joining_leaves_out_twins_and_the_check_passes_only_then(tmp_path: Path):
    secret = pictures(3, seed=10)
    sources(tmp_path, np.concatenate([pictures(40), secret]))
    crops.join(tmp_path)
    images = np.load(tmp_path / "images64.npy")
    assert len(images) == 40
    checking.main(tmp_path)
    np.save(tmp_path / "images64.npy", np.concatenate([images[:-1], secret[:1]]))
    with pytest.raises(SystemExit, match="1 of 40 pictures"):
        checking.main(tmp_path)


def test_joining_refuses_when_a_measuring_task_was_never_read(tmp_path: Path):
    sources(tmp_path, pictures(4))
    (tmp_path / "sources/bank-photos-animal-mnist-5-9").rename(tmp_path / "gone")
    with pytest.raises(SystemExit, match="photos-animal-mnist-5-9"):
        crops.join(tmp_path)

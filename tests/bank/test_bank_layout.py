"""Laying out: same seed, same bytes; blanks and duplicates go; a task that is there stays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image

from bank.build import build
from bank.drawing import Collected
from bank.errors import BankError, ShortTaskError
from bank.layout import digest_folder, lay_out, read_record
from bank.packages import Shelf
from bank.task import MAX_IMAGES, Task


@dataclass(frozen=True)
class Noise:
    """A picture that depends on its number (``same``) or on the generator it is given."""

    number: int
    same: bool = False
    blank: bool = False

    @property
    def key(self) -> str:
        return f"{self.number:05}"

    def draw(self, shelf: Shelf, size: int, rng: Random) -> Image.Image | None:
        if self.blank:
            return Image.new("RGBA", (size, size))
        seed = 7 if self.same else rng.getrandbits(32)
        return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (size, size), dtype=np.uint8))


@dataclass(frozen=True)
class Classes:
    classes: tuple[tuple[str, tuple[Noise, ...]], ...]

    def __call__(self, shelf: Shelf) -> Collected:
        return dict(self.classes)


def make(*classes: Sequence[Noise], name: str = "made", per_class: int = 150) -> Task:
    named = tuple((f"c{number:02}", tuple(pictures)) for number, pictures in enumerate(classes))
    return Task(name, "made", (), Classes(named), size=32, per_class=per_class)


def noises(count: int) -> list[Noise]:
    return [Noise(number) for number in range(count)]


def test_same_seed_gives_same_digest_and_another_seed_another(shelf: Shelf, tmp_path: Path) -> None:
    task = make(noises(120), noises(120))
    first = lay_out(task, shelf, tmp_path / "a", seed=0)
    assert lay_out(task, shelf, tmp_path / "b", seed=0).digest == first.digest
    assert lay_out(task, shelf, tmp_path / "c", seed=1).digest != first.digest


def test_order_in_which_pictures_are_collected_does_not_matter(shelf: Shelf, tmp_path: Path) -> None:
    forward = lay_out(make(noises(120), noises(120)), shelf, tmp_path / "a", seed=0)
    backward = lay_out(make(noises(120)[::-1], noises(120)), shelf, tmp_path / "b", seed=0)
    assert forward.digest == backward.digest


def test_blank_and_duplicate_pictures_are_dropped(shelf: Shelf, tmp_path: Path) -> None:
    twins = [Noise(1000 + number, same=True) for number in range(5)]
    blanks = [Noise(2000 + number, blank=True) for number in range(5)]
    laid = lay_out(make(noises(110) + twins + blanks, noises(110) + twins), shelf, tmp_path, seed=0)
    assert sorted(laid.classes.values()) == [110, 111]


def test_small_classes_are_left_out_and_totals_are_capped(shelf: Shelf, tmp_path: Path) -> None:
    laid = lay_out(make(*[noises(120)] * 20, noises(7)), shelf, tmp_path, seed=0)
    assert len(laid.classes) == 20
    assert laid.images == MAX_IMAGES
    assert len(list((tmp_path / "made" / "c00").iterdir())) == MAX_IMAGES // 20


def test_too_small_a_task_is_an_error_and_leaves_nothing(shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(ShortTaskError, match="made: 2 classes, 40 images"):
        lay_out(make(noises(20), noises(20)), shelf, tmp_path, seed=0)
    assert not (tmp_path / "made").exists()


def test_a_task_that_is_right_is_kept_and_a_damaged_one_is_made_again(shelf: Shelf, tmp_path: Path) -> None:
    task = make(noises(120), noises(120))
    laid = lay_out(task, shelf, tmp_path, seed=0)
    picture = tmp_path / "made" / "c00" / "0000.png"
    before = picture.stat().st_mtime_ns
    assert lay_out(task, shelf, tmp_path, seed=0) == laid
    assert picture.stat().st_mtime_ns == before
    picture.write_bytes(b"damaged")
    assert lay_out(task, shelf, tmp_path, seed=0) == laid
    assert digest_folder(tmp_path / "made") == laid.digest
    assert read_record(tmp_path, "made") == laid


def test_build_writes_a_manifest_with_totals(
    emoji_shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bank.packages.subprocess.run", lambda *_, **__: pytest.fail("went to a registry"))
    built = build(tmp_path / "out", emoji_shelf.root, only="emoji-apple-category", jobs=1)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [task["name"] for task in manifest["tasks"]] == ["emoji-apple-category"]
    (task,) = manifest["tasks"]
    assert task["sources"] == {"npm:emoji-datasource-apple": "1.0"}
    assert task["classes"] == {"food-drink": 80, "objects": 80, "people-body": 80}
    assert manifest["totals"] | {"bytes": 0} == {
        "tasks": 1, "images": 240, "classes": 3, "families": {"emoji": 1}, "bytes": 0,
    }  # fmt: skip
    assert task["digest"] == built.laid[0].digest
    with Image.open(tmp_path / "out" / "emoji-apple-category" / "objects" / "0000.png") as image:
        assert (image.mode, image.size) == ("RGBA", (64, 64))


def test_no_matching_task_is_a_plain_error(tmp_path: Path) -> None:
    with pytest.raises(BankError, match="--list"):
        build(tmp_path, tmp_path / "cache", only="nothing-*")

"""Predictions of image files by a folder that was handed over; no zoo anywhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nns.data.rendering import Rendering
from nns.errors import UsageError, WeightsError
from nns.finetuning import Card, FineTuned, LadderResult, load_handover, predict, read_card, write_handover
from nns.plugins import Registry
from nns.types import SplitArrays


@pytest.fixture
def folder(tmp_path: Path, result: LadderResult, card: Card) -> Path:
    return write_handover(tmp_path / "out", result.module, card)


@pytest.fixture
def images(tmp_path: Path, digits: SplitArrays) -> list[Path]:
    assert digits.test is not None
    paths = []
    for index, pixels in enumerate(digits.test.images[:40]):
        paths.append(tmp_path / f"{index}.png")
        Image.fromarray(pixels.transpose(1, 2, 0)).save(paths[-1])
    return paths


def test_digits_are_told_apart(folder: Path, images: list[Path], digits: SplitArrays, registry: Registry) -> None:
    predictions, skipped = predict(folder, images, registry=registry, batch_size=16)
    assert skipped == ()
    assert [prediction.path for prediction in predictions] == [str(path) for path in images]
    assert digits.test is not None
    hits = [p.label == digits.classes[label] for p, label in zip(predictions, digits.test.labels, strict=False)]
    assert sum(hits) / len(hits) > 0.6
    for prediction in predictions:
        assert prediction.top[0] == (prediction.label, prediction.probability)
        assert len(prediction.top) == 3
        assert prediction.top[0][1] >= prediction.top[1][1] >= prediction.top[2][1]


def test_batches_do_not_matter(folder: Path, images: list[Path], registry: Registry) -> None:
    tuned = load_handover(folder, registry=registry)
    one, _ = predict(tuned, images[:5], batch_size=1)
    all_, _ = predict(tuned, images[:5])
    assert [p.label for p in one] == [p.label for p in all_]
    assert [p.probability for p in one] == pytest.approx([p.probability for p in all_], abs=1e-5)


def test_unreadable_images_are_skipped_and_named(folder: Path, images: list[Path], registry: Registry) -> None:
    broken = folder.parent / "broken.png"
    broken.write_bytes(images[0].read_bytes()[:60])
    gone = folder.parent / "gone.png"
    predictions, skipped = predict(folder, [gone, images[0], broken], registry=registry)
    assert [prediction.path for prediction in predictions] == [str(images[0])]
    assert [one.path for one in skipped] == [str(gone), str(broken)]
    assert skipped[0].reason == "no such file"


def test_no_images_no_predictions(folder: Path, registry: Registry) -> None:
    assert predict(folder, [], registry=registry) == ((), ())


def test_all_classes_at_most(folder: Path, images: list[Path], registry: Registry) -> None:
    (prediction,), _ = predict(folder, images[:1], registry=registry, top=99)
    assert len(prediction.top) == 10
    assert sum(value for _, value in prediction.top) == pytest.approx(1)


def test_settings_are_checked(result: LadderResult, card: Card) -> None:
    for settings in ({"top": 0}, {"batch_size": 0}):
        with pytest.raises(UsageError):
            predict(FineTuned(result.module, card), [], **settings)


def test_images_are_rendered_as_those_of_the_dataset_were(
    tmp_path: Path, result: LadderResult, card: Card, digits: SplitArrays, registry: Registry
) -> None:
    assert digits.test is not None
    rendering = Rendering(integers=(0.0, 4095.0), background=0)
    folder = write_handover(tmp_path / "deep", result.module, replace(card, rendering=rendering))
    assert read_card(folder).rendering == rendering
    dim = (digits.test.images[0] // 8).transpose(1, 2, 0)
    Image.fromarray(dim).save(tmp_path / "dim.png")
    Image.fromarray(np.rint(dim[..., 0] * (4095 / 255)).astype(np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(np.dstack([np.full_like(dim, 255), dim[..., 0]])).save(tmp_path / "transparent.png")
    found, skipped = predict(folder, [tmp_path / f"{n}.png" for n in ("dim", "deep", "transparent")], registry=registry)
    assert not skipped
    assert [each.probability for each in found] == pytest.approx([found[0].probability] * 3, abs=1e-6)
    Image.fromarray(np.full((8, 8), 4095, np.uint16)).save(tmp_path / "bright.png")  # and no image decides for itself
    both, _ = predict(folder, [tmp_path / "deep.png", tmp_path / "bright.png"], registry=registry)
    assert both[0].probability == pytest.approx(found[1].probability, abs=1e-6)


@pytest.mark.parametrize(
    "rendering",
    [{"integers": [5, 5]}, {"floats": [1, 0]}, {"background": 256}, {"integers": [0, 1e400]}, {"integers": [0]}, []],
)
def test_a_rendering_that_makes_no_sense_is_damage(
    tmp_path: Path, result: LadderResult, card: Card, rendering: object
) -> None:
    folder = write_handover(tmp_path / "out", result.module, card)
    row = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**row, "rendering": rendering}).replace("Infinity", "1e400"))
    with pytest.raises(WeightsError, match="damaged"):
        read_card(folder)


def test_a_card_without_a_rendering_is_read(tmp_path: Path, result: LadderResult, card: Card) -> None:
    folder = write_handover(tmp_path / "out", result.module, card)
    row = json.loads((folder / "card.json").read_text())
    del row["rendering"]
    (folder / "card.json").write_text(json.dumps(row))
    assert read_card(folder).rendering is None


def test_the_read_me_says_how_images_are_rendered(tmp_path: Path, result: LadderResult, card: Card) -> None:
    rendering = Rendering(integers=(0.0, 4095.0), background=0)
    folder = write_handover(tmp_path / "out", result.module, replace(card, rendering=rendering))
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "0 becomes 0 and 4095 becomes 255 and transparency is laid onto black" in text

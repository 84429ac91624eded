"""Probabilities that mean what they say: the temperature, and how far off they are."""

from __future__ import annotations

import math
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nns.finetuning import Card, LadderResult, climb, export, predict, read_card, write_handover
from nns.finetuning.calibration import (
    LEAST_IMAGES,
    Calibration,
    calibrate,
    calibration_error,
    fit_temperature,
    measure_reliability,
    reliability_bins,
    softmax,
)
from nns.finetuning.measures import f1_interval, wilson
from nns.plugins import Registry
from nns.types import SplitArrays

from .conftest import RECIPE, entrant_of, without_test


def boastful(count: int, times: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of an honest classifier of five classes, times something: the labels are drawn from the honest ones."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(0, 2, (count, 5)).astype(np.float32)
    chances = softmax(honest, 1.0)
    labels = np.array([rng.choice(5, p=row / row.sum()) for row in chances.astype(np.float64)])
    return honest * np.float32(times), labels


@pytest.mark.parametrize("times", [0.5, 1.0, 3.0])
def test_the_temperature_is_what_logits_were_multiplied_by(times: float) -> None:
    logits, labels = boastful(4000, times)
    assert fit_temperature(logits, labels) == pytest.approx(times, rel=0.08)


def test_of_what_is_always_right_it_is_bounded() -> None:
    logits = np.eye(3, dtype=np.float32).repeat(30, 0) * 8
    surest = softmax(logits, fit_temperature(logits, logits.argmax(1))).max()
    assert surest == pytest.approx(1 - (2 / 3) / 92, abs=1e-3), "90 of 90 right is not certainty"
    assert 10 < fit_temperature(logits, (logits.argmax(1) + 1) % 3) < 21


def test_with_few_images_nothing_changes() -> None:
    logits, labels = boastful(LEAST_IMAGES, 3.0)
    assert calibrate(logits[:-1], labels[:-1]) == Calibration(1.0, LEAST_IMAGES - 1)
    assert calibrate(logits, labels).temperature > 1.5
    assert not Calibration(1.0, LEAST_IMAGES - 1).fitted


def test_the_error_is_the_mean_distance_of_what_is_said_and_what_is_so() -> None:
    chances = np.array([[0.95, 0.05]] * 4 + [[0.3, 0.7]] * 6, np.float32)
    labels = np.array([0, 0, 1, 1, 1, 1, 1, 1, 0, 0])  # 2 of 4 right at 95 %, 4 of 6 at 70 %
    sure, unsure = reliability_bins(chances, labels)[::-1]
    assert (sure.low, sure.high, sure.images, sure.accuracy) == (0.9, 1.0, 4, 0.5)
    assert unsure.interval == wilson(4, 6)
    assert calibration_error(chances, labels) == pytest.approx(0.4 * 0.45 + 0.6 * (0.7 - 4 / 6), abs=1e-6)


def test_before_and_after() -> None:
    logits, labels = boastful(3000, 3.0)
    found = measure_reliability(logits, labels, Calibration(3.0, 80))
    assert found.ece < 0.03 < 0.1 < found.ece_before
    assert 0.003 < found.ece_noise < 0.02, "of 3000 honest images"
    few = measure_reliability(logits[:60], labels[:60], Calibration(3.0, 80))
    assert 0.05 < few.ece_noise < 0.15, "and of 60"
    assert "off in the mean" in found.sentence()
    assert "80 validation images" in found.sentence()
    without = measure_reliability(logits, labels, None)
    assert (without.temperature, without.fitted_on, without.ece) == (1.0, 0, without.ece_before)
    assert f"from {LEAST_IMAGES} validation images on" in without.sentence()


def test_intervals_of_f1_hold_what_they_say() -> None:
    rng = np.random.default_rng(0)
    right, missed, wrong = 0.08, 0.02, 0.03
    true = 2 * right / (2 * right + missed + wrong)
    hits = 0
    for _ in range(1000):
        tp, fn, fp, _rest = rng.multinomial(100, [right, missed, wrong, 1 - right - missed - wrong])
        low, high = f1_interval(tp, tp + fn, tp + fp)
        hits += low <= true <= high
    assert 0.93 < hits / 1000 < 0.975
    assert f1_interval(0, 0, 0) == (0.0, 1.0)


def test_the_ladder_fits_it_on_the_validation_split(result: LadderResult, digits: SplitArrays, card: Card) -> None:
    assert result.calibration is not None
    assert (result.calibration.images, result.calibration.fitted) == (100, True)
    images = torch.tensor(digits.val.images).float()
    pre = result.winner.preprocessing
    mean, std = torch.tensor(pre.mean).view(1, 3, 1, 1) * 255, torch.tensor(pre.std).view(1, 3, 1, 1) * 255
    with torch.inference_mode():
        logits = result.module((images - mean) / std).numpy()
    assert result.calibration.temperature == pytest.approx(fit_temperature(logits, digits.val.labels), rel=1e-2)
    assert card.calibration == result.calibration


def test_few_validation_images_leave_probabilities_alone(digits: SplitArrays) -> None:
    few = without_test(
        replace(digits, val=replace(digits.val, images=digits.val.images[:20], labels=digits.val.labels[:20]))
    )
    found = climb([entrant_of(4)], lambda _: few, replace(RECIPE, epochs=1))
    assert found.calibration == Calibration(1.0, 20)


@pytest.fixture
def hot(tmp_path: Path, result: LadderResult, card: Card) -> Path:
    return write_handover(tmp_path / "out", result.module, replace(card, calibration=Calibration(2.5, 100)))


def test_predictions_are_divided_by_it(
    hot: Path, result: LadderResult, digits: SplitArrays, registry: Registry
) -> None:
    assert digits.test is not None
    Image.fromarray(digits.test.images[0].transpose(1, 2, 0)).save(hot.parent / "x.png")
    (found,), _ = predict(hot, [hot.parent / "x.png"], registry=registry, top=10)
    cold = write_handover(hot.parent / "cold", result.module, replace(read_card(hot), calibration=None))
    (before,), _ = predict(cold, [hot.parent / "x.png"], registry=registry, top=10)
    assert found.label == before.label
    raised = {name: chance ** (1 / 2.5) for name, chance in before.top}
    for name, chance in found.top:
        assert chance == pytest.approx(raised[name] / sum(raised.values()), abs=1e-4)


@pytest.mark.parametrize("temperature", [0.0, -1.0, 1e9, 1e-9])
def test_a_card_with_an_impossible_temperature_is_damaged(
    tmp_path: Path, result: LadderResult, card: Card, temperature: float
) -> None:
    from nns.errors import WeightsError

    folder = write_handover(tmp_path / "out", result.module, replace(card, calibration=Calibration(temperature, 100)))
    with pytest.raises(WeightsError, match="temperature"):
        read_card(folder)


@pytest.mark.slow
@pytest.mark.skipif(
    any(find_spec(package) is None for package in ("onnx", "onnxscript", "onnxruntime")), reason="needs nns[export]"
)
def test_the_exported_model_says_the_same(hot: Path, digits: SplitArrays, registry: Registry) -> None:
    import onnxruntime

    assert digits.test is not None
    exported = export(hot, "onnx", registry=registry)
    session = onnxruntime.InferenceSession(exported.path)
    assert session.get_modelmeta().custom_metadata_map["nns.temperature"].startswith("2.5 ")
    for number, image in enumerate(digits.test.images[:3]):
        Image.fromarray(image.transpose(1, 2, 0)).save(hot.parent / f"{number}.png")
    found, _ = predict(hot, [hot.parent / f"{number}.png" for number in range(3)], registry=registry, top=10)
    (logits,) = session.run(None, {"images": digits.test.images[:3]})
    chances = torch.tensor(logits).softmax(1).numpy()
    for row, prediction in zip(chances, found, strict=True):
        of: dict[str, Any] = dict(zip(digits.classes, row, strict=True))
        assert {name: pytest.approx(of[name], abs=1e-4) for name, _ in prediction.top} == dict(prediction.top)
    assert math.isclose(float(chances[0].sum()), 1.0, abs_tol=1e-5)

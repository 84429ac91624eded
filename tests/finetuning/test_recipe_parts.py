"""Each part of a recipe does what it says, and nothing where it is off."""

from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch

from nns.backends import batches
from nns.backends.batches import move_and_tint
from nns.backends.seeding import seeded
from nns.finetuning import evaluate, train
from nns.finetuning._recipe_parts import create_mixup, create_optimizer
from nns.types import SplitArrays

from .conftest import PREPROCESSING, RECIPE, entrant_of

ONE = replace(RECIPE, epochs=1)


def test_each_image_is_moved_and_tinted_by_its_own_draw() -> None:
    images = torch.rand(1, 3, 16, 16).expand(8, -1, -1, -1)
    with seeded(0):
        moved = move_and_tint(images)
    assert moved.shape == images.shape
    assert all(not torch.allclose(moved[0], other, atol=0.05) for other in moved[1:])
    with seeded(0):
        torch.testing.assert_close(move_and_tint(images), moved)


def test_nothing_drawn_nothing_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TURN", "ZOOM", "STRETCH", "SHIFT", "TINT"):
        monkeypatch.setattr(batches, name, 0.0)
    images = torch.rand(4, 3, 16, 16)
    torch.testing.assert_close(move_and_tint(images), images)


def test_mirrored_only_if_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TURN", "ZOOM", "STRETCH", "SHIFT", "TINT"):
        monkeypatch.setattr(batches, name, 0.0)
    image = torch.rand(1, 3, 16, 16)
    with seeded(1):
        found = move_and_tint(image.expand(32, -1, -1, -1), flip=True)
    mirrored = sum(torch.allclose(each, image[0].flip(-1), atol=1e-5) for each in found)
    same = sum(torch.allclose(each, image[0], atol=1e-5) for each in found)
    assert mirrored + same == 32
    assert 8 < mirrored < 24


def test_the_first_layers_move_least() -> None:
    network = timm.create_model("test_efficientnet", num_classes=4)
    groups = create_optimizer(network, replace(RECIPE, layer_decay=0.5)).param_groups
    scales = {id(p): group.get("lr_scale", 1.0) for group in groups for p in group["params"]}
    assert scales[id(network.classifier.weight)] == 1
    assert scales[id(network.conv_stem.weight)] == min(scales.values()) < 0.1
    plain = create_optimizer(network, RECIPE).param_groups
    assert all(group.get("lr_scale", 1.0) == 1 for group in plain)


def test_what_is_averaged_is_what_is_measured_and_handed_over(digits: SplitArrays) -> None:
    plain = train(entrant_of(8).build(), digits, PREPROCESSING, ONE)
    averaged = train(entrant_of(8).build(), digits, PREPROCESSING, replace(ONE, ema=0.9))
    assert evaluate(averaged.module, digits.val, PREPROCESSING)[1] == averaged.val_accuracy
    assert averaged.history[0].train_loss == plain.history[0].train_loss, "the training itself is the same"
    weights, others = (next(result.module.parameters()) for result in (plain, averaged))
    assert not torch.equal(weights, others)


def test_mixed_labels_are_shares_of_two_classes() -> None:
    mix = create_mixup(replace(RECIPE, mixup=1.0, label_smoothing=0.0), 5)
    with seeded(0):
        _, shares = mix(torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 3]))
    assert shares.shape == (4, 5)
    torch.testing.assert_close(shares.sum(1), torch.ones(4))
    assert shares[0, 0] + shares[0, 3] == pytest.approx(1)
    assert create_mixup(RECIPE, 5) is None


def test_statistics_of_norms_stay_as_they_came(digits: SplitArrays) -> None:
    def statistics(still: bool) -> torch.Tensor:
        module = train(entrant_of(8).build(), digits, PREPROCESSING, replace(ONE, still_norms=still)).module
        return module.state_dict()["body.1.running_mean"]

    assert torch.equal(statistics(True), torch.zeros(8))
    assert not torch.equal(statistics(False), torch.zeros(8))

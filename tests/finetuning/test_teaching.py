"""A network that is fine-tuned first teaches others, as long as it is the better one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nns.backends.batches import normalise
from nns.backends.steps import TEMPERATURE, train_step
from nns.finetuning import checkpoint, climb, train
from nns.finetuning.checkpoint import Checkpoint
from nns.finetuning.epochs import Epoch
from nns.finetuning.teaching import Lesson, Teacher, Unlabelled, fine_tune_teacher
from nns.types import Preprocessing, SplitArrays

from .conftest import PREPROCESSING, RECIPE, SIZE, entrant_of
from .test_checkpoint import Killed, KilledAt, outcome

THREE = replace(RECIPE, epochs=3)


@pytest.fixture
def at_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)


def teacher_of(score: float, width: int = 16, unlabelled: Any = None) -> Teacher:
    entrant = entrant_of(width, seed=3)
    return Teacher(entrant, entrant.build(), Epoch(1, 1.0, 1.0, score), 0.0, unlabelled)


@pytest.fixture
def unlabelled(digits: SplitArrays) -> Unlabelled:
    assert digits.test is not None
    return Unlabelled(list(digits.test.images[:70].transpose(0, 2, 3, 1)))


def test_half_of_the_loss_is_what_the_teacher_says() -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(6, 3, 4, 4), torch.tensor([0, 1, 2, 0])  # two images have no labels
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    says = F.softmax(torch.randn(6, 3), 1)
    logits = net(images)
    hard = F.cross_entropy(logits[:4], labels, label_smoothing=0.1)
    soft = F.kl_div(F.log_softmax(logits / TEMPERATURE, 1), says, reduction="batchmean") * TEMPERATURE**2
    expected = torch.autograd.grad((hard + soft) / 2, list(net.parameters()))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    train_step(net, images, labels, optimizer, torch.amp.GradScaler("cuda", enabled=False), 0.1, said=says)
    for parameter, gradient in zip(net.parameters(), expected, strict=True):
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, gradient, atol=1e-6)


@pytest.mark.parametrize("size", [SIZE, 2 * SIZE])
def test_the_teacher_sees_with_its_own_eyes(digits: SplitArrays, size: int) -> None:
    seen: list[torch.Tensor] = []
    mine = Preprocessing(size, (0.1, 0.2, 0.3), (0.5, 1.0, 2.0))
    teacher = replace(teacher_of(1.0), entrant=replace(entrant_of(4), preprocessing=mine))

    class Looks(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(images)
            return torch.zeros(len(images), 10)

    lesson = Lesson(replace(teacher, module=Looks()), PREPROCESSING, "cpu")
    images = digits.train.images[:4]
    says = lesson.say(normalise(images, PREPROCESSING))
    larger = np.repeat(np.repeat(images, size // SIZE, 2), size // SIZE, 3)
    assert seen[0].shape == (4, 3, size, size)
    difference = (seen[0] - normalise(larger, mine)).abs()
    assert float(difference.max() if size == SIZE else difference.mean()) < (1e-5 if size == SIZE else 0.2)
    assert torch.allclose(says, torch.full((4, 10), 0.1))


def test_it_is_listened_to_as_long_as_it_is_the_better_one(
    digits: SplitArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[int] = []
    say = Lesson.say
    monkeypatch.setattr(Lesson, "say", lambda self, images: (said.append(len(images)), say(self, images))[1])

    def steps(score: float) -> int:
        said.clear()
        train(entrant_of(8).build(), digits, PREPROCESSING, THREE, teacher=teacher_of(score))
        return len(said)

    each = -(-len(digits.train) // THREE.batch_size)
    assert steps(0.0) == each  # better than nothing, not than what one epoch gives
    assert steps(1.1) == 3 * each


def test_images_without_labels_come_along(
    digits: SplitArrays, unlabelled: Unlabelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[int] = []
    say = Lesson.say
    monkeypatch.setattr(Lesson, "say", lambda self, images: (said.append(len(images)), say(self, images))[1])
    train(entrant_of(8).build(), digits, PREPROCESSING, THREE, teacher=teacher_of(1.1, unlabelled=unlabelled))
    assert set(said) == {2 * THREE.batch_size, 2 * (len(digits.train) % THREE.batch_size)}
    assert (len(unlabelled), unlabelled.at(SIZE).shape) == (70, (70, 3, SIZE, SIZE))


def test_a_student_of_few_images_learns_from_what_has_no_labels(digits: SplitArrays) -> None:
    """Forty labelled digits, and 360 that a good teacher has an opinion of."""
    good = train(entrant_of(16).build(), digits, PREPROCESSING, replace(RECIPE, epochs=8))
    few = replace(digits, train=replace(digits.train, images=digits.train.images[:40], labels=digits.train.labels[:40]))
    others = Unlabelled(list(digits.train.images[40:].transpose(0, 2, 3, 1)))
    teacher = Teacher(entrant_of(16), good.module, good.best, 0.0, others)
    recipe = replace(RECIPE, epochs=30)
    alone = train(entrant_of(8).build(), few, PREPROCESSING, recipe)
    taught = train(entrant_of(8).build(), few, PREPROCESSING, recipe, teacher=teacher)
    assert taught.val_accuracy > alone.val_accuracy + 0.05


@pytest.mark.parametrize("writes", [1, 20, 40])
def test_killed_anywhere_a_taught_one_ends_with_the_same_weights(
    data_of: Callable[..., Any], unlabelled: Unlabelled, tmp_path: Path, at_each_step: None, writes: int
) -> None:
    recipe = replace(THREE, augment="affine", mixup=0.2)

    def run(kept: Checkpoint | None) -> Any:
        teacher = teacher_of(1.1, unlabelled=unlabelled)
        return outcome(climb([entrant_of(8), entrant_of(4)], data_of, recipe, checkpoint=kept, teacher=teacher))

    expected = run(None)
    with pytest.raises(Killed):
        run(KilledAt(tmp_path / "run", {}, writes))
    torch.manual_seed(1)
    assert run(Checkpoint(tmp_path / "run", {})) == expected


def test_a_teacher_goes_on_and_is_trained_once(
    digits: SplitArrays, tmp_path: Path, at_each_step: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fine_tune(kept: Checkpoint, data: SplitArrays = digits) -> Teacher:
        return fine_tune_teacher(
            entrant_of(8), lambda _: data, THREE, seconds=None, seed=0, on_event=None, checkpoint=kept
        )

    def weights(teacher: Teacher) -> dict[str, bytes]:
        return {name: tensor.numpy().tobytes() for name, tensor in teacher.module.state_dict().items()}

    expected = fine_tune(Checkpoint(tmp_path / "another", {}))
    with pytest.raises(Killed):
        fine_tune(KilledAt(tmp_path / "run", {}, 20))
    found = fine_tune(Checkpoint(tmp_path / "run", {}))
    assert weights(found) == weights(expected)
    again = fine_tune(Checkpoint(tmp_path / "run", {}), replace(digits, train=replace(digits.train, images=None)))
    assert weights(again) == weights(expected)
    assert again.best == found.best
    assert again.best.val_accuracy > 0.6


def test_a_teacher_does_not_see_the_test_split(digits: SplitArrays, tmp_path: Path) -> None:
    assert digits.test is not None
    hidden = replace(digits, test=replace(digits.test, images=None))  # whoever looks fails
    recipe = replace(RECIPE, epochs=1)
    fine_tune_teacher(
        entrant_of(8), lambda _: hidden, recipe, seconds=None, seed=0, on_event=None,
        checkpoint=Checkpoint(tmp_path / "run", {}),
    )  # fmt: skip

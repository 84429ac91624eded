"""One network, one dataset: it learns, ends when it must, and keeps the best epoch."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch

from nns.backends.batches import augmenter, batches, normalise
from nns.backends.seeding import seeded
from nns.errors import UsageError
from nns.finetuning import Epoch, Recipe, TrainingResult, evaluate, resolve_device, train
from nns.finetuning._recipe_parts import cosine
from nns.finetuning.pace import measure_pace
from nns.types import LabelledArrays, SplitArrays

from .conftest import PREPROCESSING, RECIPE, Clock, entrant_of


def run(data: SplitArrays, recipe: Recipe = RECIPE, **kwargs: Any) -> TrainingResult:
    return train(entrant_of(8).build(), data, PREPROCESSING, recipe, **kwargs)


def same(one: TrainingResult, two: TrainingResult) -> bool:
    other = two.module.state_dict()
    return all(torch.equal(tensor, other[name]) for name, tensor in one.module.state_dict().items())


def test_it_learns_digits_and_gives_back_the_best_epoch(digits: SplitArrays) -> None:
    result = run(digits)
    assert result.stopped == "epochs"
    assert [epoch.epoch for epoch in result.history] == [1, 2, 3, 4]
    assert result.val_accuracy == max(epoch.val_accuracy for epoch in result.history) > 0.6
    assert not result.module.training
    loss, accuracy = evaluate(result.module, digits.val, PREPROCESSING)
    assert accuracy == result.val_accuracy
    assert loss == pytest.approx(result.best.val_loss)


def test_same_seed_same_weights_other_seed_others(digits: SplitArrays) -> None:
    recipe = replace(RECIPE, epochs=1)
    state = torch.random.get_rng_state()
    assert same(run(digits, recipe, seed=3), run(digits, recipe, seed=3))
    assert not same(run(digits, recipe, seed=3), run(digits, recipe, seed=4))
    assert torch.equal(state, torch.random.get_rng_state())


class SmallMaps(torch.nn.Module):
    """Convolutions of all kinds that training on the CPU computes in its own way."""

    def __init__(self) -> None:
        super().__init__()
        nn = torch.nn
        self.body = nn.Sequential(
            nn.Conv2d(3, 32, 3, stride=4, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.Hardswish(inplace=True),
            nn.Conv2d(32, 32, 5, padding=2, groups=32, bias=False),
            nn.Conv2d(32, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(128, 32, 3, padding=1),
            nn.Flatten(),
        )
        self.classifier = nn.Linear(32 * 4, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.body(images))
        return logits


def small_maps() -> torch.nn.Module:
    with seeded(0):
        return SmallMaps()


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_training_is_what_a_plain_loop_does(digits: SplitArrays, optimizer: Literal["adamw", "sgd"]) -> None:
    """The layout, the fused optimizer and the products in place of convolutions change nothing but rounding."""
    few = replace(digits, train=LabelledArrays(digits.train.images[:64], digits.train.labels[:64]))
    recipe = replace(RECIPE, epochs=1, optimizer=optimizer, lr=1e-3, warmup=0.0, label_smoothing=0.1)
    result = train(small_maps(), few, PREPROCESSING, recipe, seed=3)
    module = small_maps()
    decayed = [parameter for parameter in module.parameters() if parameter.dim() > 1]
    others = [parameter for parameter in module.parameters() if parameter.dim() <= 1]
    groups: list[dict[str, Any]] = [{"params": others, "weight_decay": 0.0}, {"params": decayed, "weight_decay": 0.01}]
    plain = (
        torch.optim.AdamW(groups, fused=False)
        if optimizer == "adamw"
        else torch.optim.SGD(groups, momentum=0.9, nesterov=True)
    )
    images, labels = normalise(few.train.images, PREPROCESSING), torch.from_numpy(few.train.labels)
    with seeded(3):
        augment = augmenter(PREPROCESSING.size)
        for step, (batch, target) in enumerate(batches(images, labels, recipe.batch_size, augment)):
            for group in plain.param_groups:
                group["lr"] = recipe.lr * cosine(step / 2, 0.0)
            plain.zero_grad()
            torch.nn.functional.cross_entropy(module(batch), target, label_smoothing=0.1).backward()
            plain.step()
    expected = module.state_dict()
    for name, tensor in result.module.state_dict().items():
        torch.testing.assert_close(
            tensor, expected[name], rtol=1e-3, atol=1e-4, msg=lambda text, n=name: f"{n}: {text}"
        )
    assert evaluate(module.eval(), digits.val, PREPROCESSING)[0] == pytest.approx(result.best.val_loss, rel=1e-3)


def test_same_seed_same_weights_with_all_kinds_of_convolutions(digits: SplitArrays) -> None:
    results = [train(small_maps(), digits, PREPROCESSING, replace(RECIPE, epochs=2), seed=1) for _ in range(2)]
    assert same(*results)
    assert not any("forward" in vars(layer) for layer in results[0].module.modules())


def test_only_the_head_is_trained(digits: SplitArrays) -> None:
    module = entrant_of(8).build()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    train(module, digits, PREPROCESSING, replace(RECIPE, epochs=1, head_only=True))
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name]) == name.startswith("body."), name  # batch norm's statistics too
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_head_only_needs_a_linear_head(digits: SplitArrays) -> None:
    with pytest.raises(UsageError, match="no linear classifier"):
        train(torch.nn.Conv2d(3, 10, 16), digits, PREPROCESSING, replace(RECIPE, head_only=True))


class InterruptAt:
    """Raises Ctrl-C at the n-th call."""

    def __init__(self, call: int) -> None:
        self.left = call

    def __call__(self, *_: object) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def test_interrupt_in_the_second_epoch_keeps_the_first(digits: SplitArrays) -> None:
    result = run(digits, on_images=InterruptAt(13 + 5))
    assert result.stopped == "interrupted"
    assert len(result.history) == 1
    assert evaluate(result.module, digits.val, PREPROCESSING)[1] == result.val_accuracy
    first = run(digits, on_epoch=InterruptAt(1))
    assert same(result, first)


def test_interrupt_in_the_first_epoch_measures_what_there_is(digits: SplitArrays) -> None:
    result = run(digits, on_images=InterruptAt(5))
    assert result.stopped == "interrupted"
    assert [epoch.epoch for epoch in result.history] == [1]
    assert not math.isnan(result.history[0].train_loss)
    assert evaluate(result.module, digits.val, PREPROCESSING)[1] == result.val_accuracy


@pytest.mark.parametrize(("validation", "epochs"), [(1, 1), (2, 1)])
def test_interrupt_during_validation(digits: SplitArrays, validation: int, epochs: int) -> None:
    module = entrant_of(8).build()
    interrupt = InterruptAt(validation)
    module.register_forward_pre_hook(lambda net, _: None if net.training else interrupt())
    result = train(module, digits, PREPROCESSING, RECIPE)
    assert result.stopped == "interrupted"
    assert len(result.history) == epochs
    assert evaluate(result.module, digits.val, PREPROCESSING)[1] == result.val_accuracy


@pytest.mark.parametrize("seconds", [0.3, 1.0, 4.5])  # an epoch takes 1.04
def test_a_budget_is_used_up_and_kept(digits: SplitArrays, clock: Clock, seconds: float) -> None:
    epochs: list[Epoch] = []
    result = run(digits, replace(RECIPE, epochs=10_000, seconds=seconds), on_epoch=epochs.append)
    assert result.stopped == "budget"
    assert result.seconds == clock.now == pytest.approx(seconds, abs=0.08)  # a step
    assert tuple(epochs) == result.history
    assert result.val_accuracy > (0.6 if seconds > 4 else 0.1)


def test_no_time_at_all_still_gives_a_measured_network(digits: SplitArrays) -> None:
    result = run(digits, replace(RECIPE, seconds=1e-9))
    assert result.stopped == "budget"
    assert len(result.history) == 1
    assert not math.isnan(result.val_accuracy)


def test_what_falls_behind_is_stopped(digits: SplitArrays) -> None:
    recipe = replace(RECIPE, epochs=4)
    limits: list[dict[int, float]] = [{}, {2: 0.0}, {2: 1.1}, {5: 1.1}]
    assert [len(run(digits, recipe, stop_below=each).history) for each in limits] == [4, 4, 2, 4]
    assert run(digits, recipe, stop_below={1: 1.1}).stopped == "halved"


def test_patience(digits: SplitArrays) -> None:
    result = run(digits, replace(RECIPE, lr=0.0, epochs=9, patience=2))
    assert result.stopped == "patience"
    assert len(result.history) < 9


def test_without_validation_images_there_is_no_accuracy(digits: SplitArrays) -> None:
    nothing = LabelledArrays(digits.val.images[:0], digits.val.labels[:0])
    result = run(replace(digits, val=nothing), replace(RECIPE, epochs=1))
    assert math.isnan(result.val_accuracy)


def test_pace_leaves_the_network_as_it_is(digits: SplitArrays) -> None:
    module = entrant_of(8).build()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    pace = measure_pace(module, digits, PREPROCESSING, RECIPE)
    assert 0 < pace.epoch(digits) < 60
    assert 0 < pace.test(digits) < pace.epoch(digits)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_cosine_rises_and_falls() -> None:
    assert cosine(0.05, 0.1) == pytest.approx(0.5)
    assert cosine(0.1, 0.1) == pytest.approx(1.0)
    assert cosine(0.55, 0.1) == pytest.approx(0.5)
    assert cosine(1.0, 0.1) == pytest.approx(0.0)
    assert cosine(0.0, 0.0) == pytest.approx(1.0)


def test_devices() -> None:
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") in {"cpu", "cuda"}
    with pytest.raises(UsageError, match="'tpu'"):
        resolve_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="`device` 'auto'"):
            resolve_device("cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("head_only", [False, True])
def test_cuda(digits: SplitArrays, head_only: bool) -> None:
    result = run(digits, replace(RECIPE, device="cuda", head_only=head_only))
    assert result.device == "cuda"
    assert result.val_accuracy > 0.4
    assert {parameter.device.type for parameter in result.module.parameters()} == {"cpu"}

"""A training that is killed goes on as if nothing had happened; one that runs away or out of memory is mended once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nns.finetuning import Entrant, LadderEvent, LadderResult, Recipe, _run, checkpoint, climb, train
from nns.finetuning._run import DivergedError
from nns.finetuning.checkpoint import Checkpoint
from nns.types import SplitArrays

from .conftest import PREPROCESSING, RECIPE, entrant_of

ALL_PARTS = replace(RECIPE, augment="affine", ema=0.9, mixup=0.2, label_smoothing=0.1)


class Killed(BaseException):
    """What no training catches."""


class KilledAt(Checkpoint):
    """Kills the run after so many checkpoints."""

    def __init__(self, path: Path, settings: dict[str, Any], writes: int) -> None:
        super().__init__(path, settings)
        self.left = writes

    def write(self, state: Any) -> None:
        super().write(state)
        self.left -= 1
        if not self.left:
            raise Killed


@pytest.fixture
def data_of(digits: SplitArrays) -> Callable[[Any], SplitArrays]:
    return lambda preprocessing: digits


@pytest.fixture
def at_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)


def three() -> list[Entrant]:
    return [entrant_of(8), entrant_of(12), entrant_of(4)]


def outcome(result: LadderResult) -> tuple[Any, ...]:
    weights = {name: tensor.numpy().tobytes() for name, tensor in result.module.state_dict().items()}
    return weights, result.history, result.tried, result.val_accuracy, result.test_accuracy


@pytest.mark.parametrize(
    ("recipe", "writes"),
    [
        (RECIPE, 1),
        (RECIPE, 13),
        (replace(RECIPE, optimizer="sgd"), 30),
        (ALL_PARTS, 14),
        (ALL_PARTS, 45),
        (ALL_PARTS, 81),
    ],
)
def test_killed_anywhere_it_ends_with_the_same_weights(
    data_of: Any, tmp_path: Path, at_each_step: None, recipe: Recipe, writes: int
) -> None:
    recipe = replace(recipe, epochs=3)
    expected = outcome(climb(three(), data_of, recipe, seed=5))
    file = tmp_path / "run"
    with pytest.raises(Killed):
        climb(three(), data_of, recipe, seed=5, checkpoint=KilledAt(file, {}, writes))
    np.random.seed(1)  # what a new process has in its generators must not matter
    torch.manual_seed(1)
    events: list[LadderEvent] = []
    assert outcome(
        climb(three(), data_of, recipe, seed=5, checkpoint=Checkpoint(file, {}), on_event=events.append)
    ) == (expected)
    assert events[0].kind == "resumed"


def test_killed_again_and_again(data_of: Any, tmp_path: Path, at_each_step: None) -> None:
    expected = outcome(climb(three(), data_of, ALL_PARTS))
    for _ in range(100):
        try:
            found = climb(three(), data_of, ALL_PARTS, checkpoint=KilledAt(tmp_path / "run", {}, 9))
        except Killed:
            continue
        break
    assert outcome(found) == expected


def test_only_a_run_of_the_same_settings_goes_on(data_of: Any, tmp_path: Path, at_each_step: None) -> None:
    file, kinds = tmp_path / "run", []
    with pytest.raises(Killed):
        climb(three(), data_of, RECIPE, checkpoint=KilledAt(file, {"seed": 0}, 20))
    climb(three(), data_of, RECIPE, checkpoint=Checkpoint(file, {"seed": 1}), on_event=lambda e: kinds.append(e.kind))
    assert "resumed" not in kinds


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", b"PK\x03\x04" + bytes(100)])
def test_what_is_no_checkpoint_starts_anew(data_of: Any, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "run"
    file.write_bytes(content)
    expected = outcome(climb([entrant_of(8)], data_of, RECIPE))
    assert outcome(climb([entrant_of(8)], data_of, RECIPE, checkpoint=Checkpoint(file, {}))) == expected


def test_a_budget_counts_what_was_used_before(data_of: Any, tmp_path: Path, clock: Any) -> None:
    recipe, file = replace(RECIPE, epochs=10_000), tmp_path / "run"
    with pytest.raises(Killed):  # one checkpoint an epoch of about 1.04 s
        climb([entrant_of(8)], data_of, recipe, budget_seconds=10, checkpoint=KilledAt(file, {}, 4))
    used = clock.now
    result = climb([entrant_of(8)], data_of, recipe, budget_seconds=10, checkpoint=Checkpoint(file, {}))
    assert 3 < used < 6
    assert clock.now == pytest.approx(10, abs=0.3)
    assert result.seconds == pytest.approx(10, abs=0.3)


def test_without_room_for_one_the_training_goes_on(
    data_of: Any, tmp_path: Path, at_each_step: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "replacing", full)
    result = climb([entrant_of(8)], data_of, RECIPE, checkpoint=Checkpoint(tmp_path / "run", {}))
    assert result.val_accuracy > 0.6
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_no_number_leads_back_to_good_weights_once(
    digits: SplitArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls, told = _run.train_step, [], []

    def spoiling(module: Any, *args: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == 20:  # in the second epoch
            with torch.no_grad():
                next(module.parameters()).fill_(float("nan"))
        return real(module, *args, **more)

    monkeypatch.setattr(_run, "train_step", spoiling)
    result = train(entrant_of(8).build(), digits, PREPROCESSING, RECIPE, on_trouble=told.append)
    assert len(told) == 1
    assert "epoch 2" in told[0]
    assert [epoch.epoch for epoch in result.history] == [1, 2, 3, 4]
    assert all(np.isfinite(epoch.train_loss) for epoch in result.history)
    assert result.val_accuracy > 0.5


def test_a_loss_that_runs_away_twice_is_an_error(digits: SplitArrays) -> None:
    with pytest.raises(DivergedError, match=r"rate of 100000, and at 10000 again; take a lower `lr`"):
        train(entrant_of(8).build(), digits, PREPROCESSING, replace(RECIPE, lr=1e5))


def test_a_network_that_runs_away_is_out_and_the_others_go_on(data_of: Any, digits: SplitArrays) -> None:
    def spoilt() -> Any:
        module = entrant_of(12).build()
        with torch.no_grad():
            next(module.parameters()).fill_(float("nan"))
        return module

    result = climb([replace(entrant_of(12), build=spoilt), entrant_of(8)], data_of, RECIPE)
    assert result.winner.id == "8"
    assert {one.network: one.stopped for one in result.tried} == {"8": "finished", "12": "halved"}
    with pytest.raises(DivergedError):
        climb([replace(entrant_of(12), build=spoilt)], data_of, RECIPE)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("not enough memory")]
)
def test_out_of_memory_halves_the_batch(digits: SplitArrays, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    real, told, sizes = _run.train_step, [], set()

    def small(module: Any, images: torch.Tensor, *args: Any, **more: Any) -> Any:
        if len(images) > 8:
            raise error
        sizes.add(len(images))
        return real(module, images, *args, **more)

    monkeypatch.setattr(_run, "train_step", small)
    result = train(entrant_of(8).build(), digits, PREPROCESSING, RECIPE, on_trouble=told.append)
    assert [message.split(":")[1].split()[0] for message in told] == ["16", "8"]
    assert sizes == {8}
    assert result.val_accuracy > 0.5


def test_memory_that_is_never_enough_is_an_error(digits: SplitArrays, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **more: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(_run, "train_step", never)
    with pytest.raises(MemoryError):
        train(entrant_of(8).build(), digits, PREPROCESSING, RECIPE)

"""Successive halving: who is trained for how long, who wins, what an end before time leaves."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from nns.backends.steps import predict_classes
from nns.errors import UsageError
from nns.finetuning import Entrant, LadderEvent, LadderResult, Recipe, climb, evaluate, ladder, train
from nns.finetuning._rungs import affordable, plan_rungs
from nns.types import Preprocessing, SplitArrays

from .conftest import PREPROCESSING, RECIPE, Clock, entrant_of, without_test

DataOf = Callable[[Preprocessing], SplitArrays]
WIDTHS = (2, 4, 12, 8)


def four() -> list[Entrant]:
    return [entrant_of(width) for width in WIDTHS]


class Recorder:
    """Keeps the events; raises Ctrl-C at the n-th of one kind."""

    def __init__(self, kind: str = "", call: int = 0) -> None:
        self.events: list[LadderEvent] = []
        self.kind, self.call = kind, call

    def __call__(self, event: LadderEvent) -> None:
        self.events.append(event)
        if self.call and self.count(self.kind) == self.call and event.kind == self.kind:
            raise KeyboardInterrupt

    def count(self, kind: str) -> int:
        return sum(event.kind == kind for event in self.events)


def test_rungs_halve_the_candidates_and_double_the_epochs() -> None:
    rungs = plan_rungs(10, 20, 0.5)
    assert [(rung.entrants, rung.epochs) for rung in rungs] == [(10, 2), (5, 5), (2, 10), (1, 20)]
    assert [rung.until for rung in rungs] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 1.0])
    assert [(rung.entrants, rung.epochs) for rung in plan_rungs(1, 7, 0.5)] == [(1, 7)]
    assert [rung.epochs for rung in plan_rungs(4, 8, 0.5, timed=True)] == [8, 8, 8]
    assert [rung.entrants for rung in plan_rungs(3, 1, 0.99)] == [3, 2, 1]
    assert all(rung.epochs >= 1 for rung in plan_rungs(100, 1, 0.5))


def test_as_many_candidates_as_the_budget_has_epochs_for() -> None:
    assert affordable(10, epoch_seconds=1.0, seconds=60.0, keep=0.5) == 10
    assert affordable(10, epoch_seconds=1.0, seconds=12.0, keep=0.5) == 3
    assert affordable(10, epoch_seconds=1.0, seconds=0.1, keep=0.5) == 1


def test_what_calls_everything_one_class_says_so(data_of: DataOf, monkeypatch: pytest.MonkeyPatch) -> None:
    assert climb(four()[:1], data_of, RECIPE).only_class is None
    compute = ladder.compute_logits
    monkeypatch.setattr(ladder, "compute_logits", lambda *args: compute(*args) * 0 + [0.0, 1.0, *[0.0] * 8])
    assert climb(four()[:1], data_of, RECIPE).only_class == 1


def test_the_better_half_goes_on(data_of: DataOf) -> None:
    recorder = Recorder()
    result = climb(four(), data_of, RECIPE, on_event=recorder)
    tried = {one.network: one for one in result.tried}
    assert len(result.tried) == 4
    assert result.tried[0].network == result.winner.id
    assert Counter(one.stopped for one in result.tried) == {"halved": 3, "finished": 1}
    assert sorted(sum(one.rungs) for one in result.tried) == [1, 1, 3, 7]  # 1, 1 + 2, 1 + 2 + 4
    assert sum(tried[result.winner.id].rungs) == len(result.history) == 7
    assert tried[result.winner.id].epochs == result.epochs == RECIPE.epochs, "as the user gave them"
    assert tried[result.winner.id].trained() == "1 + 2 + 4"
    assert [epoch.epoch for epoch in result.history] == list(range(1, 8))

    firsts = {e.network: e.epoch.val_accuracy for e in recorder.events if e.rung == 1 and e.epoch}
    seconds = {event.network for event in recorder.events if event.rung == 2 and event.kind == "train"}
    assert min(firsts[network] for network in seconds) >= max(firsts[n] for n in firsts.keys() - seconds)
    assert [event.entrants for event in recorder.events if event.kind == "rung"] == [4, 2, 1]
    assert recorder.count("train") == 7
    assert recorder.count("out") == 3


def test_the_winner_is_measured_and_good(data_of: DataOf, digits: SplitArrays) -> None:
    result = climb(four(), data_of, RECIPE)
    assert result.val_accuracy == max(epoch.val_accuracy for epoch in result.history) > 0.7
    assert result.val_accuracy == max(one.val_accuracy for one in result.tried)
    assert evaluate(result.module, digits.val, PREPROCESSING)[1] == result.val_accuracy
    assert digits.test is not None
    assert evaluate(result.module, digits.test, PREPROCESSING)[1] == result.test_accuracy
    assert not result.interrupted


def test_test_images_are_seen_once_by_the_winner_alone(
    data_of: DataOf, digits: SplitArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def counted(module: torch.nn.Module, split: Any, *args: Any) -> Any:
        seen.append(split)
        return predict_classes(module, split, *args)

    monkeypatch.setattr(ladder, "predict_classes", counted)
    climb(four()[:2], data_of, replace(RECIPE, epochs=1))
    assert seen == [digits.test]


def test_without_a_test_split(digits: SplitArrays) -> None:
    assert climb([entrant_of(4)], lambda _: without_test(digits), replace(RECIPE, epochs=1)).test_accuracy is None


def test_epochs_alone_are_deterministic(data_of: DataOf) -> None:
    recipe = replace(RECIPE, epochs=2)
    one, two = (climb(four(), data_of, recipe, seed=5) for _ in range(2))
    assert one.tried == two.tried
    assert one.history == two.history
    other = two.module.state_dict()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.module.state_dict().items())


def test_one_candidate_is_just_trained(data_of: DataOf, digits: SplitArrays) -> None:
    result = climb([entrant_of(8)], data_of, RECIPE, seed=2)
    plain = train(entrant_of(8).build(), digits, PREPROCESSING, RECIPE, seed=2)
    assert result.history == plain.history
    assert result.tried[0].stopped == "finished"


def test_a_longer_training_that_is_worse_does_not_count(data_of: DataOf, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Counter[str]()

    def spoiling(module: torch.nn.Module, data: SplitArrays, pre: Preprocessing, recipe: Recipe, **kwargs: Any) -> Any:
        calls["train"] += 1
        last = calls["train"] == 3
        return train(module, data, pre, replace(recipe, lr=1e3) if last else recipe, **kwargs)

    monkeypatch.setattr(ladder, "train", spoiling)
    result = climb([entrant_of(8), entrant_of(12)], data_of, RECIPE)
    best = max(result.history, key=lambda epoch: epoch.val_accuracy)
    assert best.epoch <= 2
    assert result.val_accuracy == best.val_accuracy
    assert evaluate(result.module, data_of(PREPROCESSING).val, PREPROCESSING)[1] == best.val_accuracy


@pytest.mark.parametrize(
    ("kind", "call", "epochs"),
    [("epoch", 1, [1, 0, 0, 0]), ("epoch", 3, [1, 1, 1, 0]), ("train", 2, [1, 0, 0, 0]), ("epoch", 6, [3, 1, 1, 1])],
)
def test_interrupt_keeps_the_best_so_far(
    data_of: DataOf, digits: SplitArrays, kind: str, call: int, epochs: list[int]
) -> None:
    recorder = Recorder(kind, call)
    result = climb(four(), data_of, RECIPE, on_event=recorder)
    assert result.interrupted
    assert sorted((sum(one.rungs) for one in result.tried), reverse=True) == epochs
    assert result.tried[0].stopped == "interrupted"
    assert {one.stopped for one in result.tried} <= {"interrupted", "halved"}
    assert all(math.isnan(one.val_accuracy) for one in result.tried if not one.epochs)
    assert result.val_accuracy == max(e.epoch.val_accuracy for e in recorder.events if e.epoch)
    assert evaluate(result.module, digits.val, PREPROCESSING)[1] == result.val_accuracy
    assert result.test_accuracy is not None


def test_interrupt_before_anything_is_an_interrupt(data_of: DataOf) -> None:
    with pytest.raises(KeyboardInterrupt):
        climb(four(), data_of, RECIPE, on_event=Recorder("train", 1))


def test_interrupt_during_the_test_keeps_the_network(data_of: DataOf) -> None:
    result = climb([entrant_of(4)], data_of, replace(RECIPE, epochs=1), on_event=Recorder("test", 1))
    assert result.interrupted
    assert result.test_accuracy is None


def timed(entrants: Sequence[Entrant], data_of: DataOf, seconds: float) -> LadderResult:
    return climb(entrants, data_of, replace(RECIPE, epochs=10_000), budget_seconds=seconds)


def test_a_budget_is_used_up_and_kept(data_of: DataOf, clock: Clock) -> None:
    seconds = 15.0
    result = timed(four(), data_of, seconds)
    assert result.seconds == clock.now == pytest.approx(seconds, rel=0.1)
    assert Counter(one.stopped for one in result.tried) == {"halved": 3, "budget": 1}
    assert sum(result.tried[0].rungs) == max(sum(one.rungs) for one in result.tried)
    assert result.val_accuracy > 0.7


def test_a_budget_for_few_candidates_leaves_out_the_last(data_of: DataOf, clock: Clock) -> None:
    result = timed(four(), data_of, 1.5)  # an epoch of the first takes 0.25
    left_out = [one for one in result.tried if not one.epochs]
    assert [one.network for one in left_out] == ["12", "8"]
    assert {one.stopped for one in left_out} == {"budget"}
    assert clock.now == pytest.approx(1.5, rel=0.1)


def test_time_that_ends_in_the_middle_of_a_rung(data_of: DataOf, digits: SplitArrays, clock: Clock) -> None:
    def slow(preprocessing: Preprocessing) -> SplitArrays:
        clock.now += 2.0
        return digits

    result = timed(four(), slow, 7.0)
    assert Counter(one.stopped for one in result.tried) == {"budget": 4}
    assert result.val_accuracy == max(one.val_accuracy for one in result.tried if one.epochs)


def test_epochs_may_end_it_before_the_budget(data_of: DataOf, clock: Clock) -> None:
    result = climb(four()[:2], data_of, RECIPE, budget_seconds=1e6)
    assert result.tried[0].stopped == "finished"
    assert (result.epochs, result.tried[0].rungs) == (4, (4, 4))


@pytest.mark.parametrize("seconds", [1e-9, 0.1])
def test_a_budget_too_small_for_an_epoch_still_gives_a_network(data_of: DataOf, clock: Clock, seconds: float) -> None:
    result = timed(four(), data_of, seconds)
    assert result.winner.id == "2"  # the best guess
    assert result.tried[0].stopped == "budget"
    assert not math.isnan(result.val_accuracy)


def test_settings_are_checked(data_of: DataOf) -> None:
    with pytest.raises(UsageError, match="no candidate"):
        climb([], data_of, RECIPE)
    with pytest.raises(UsageError, match="'2' is named twice"):
        climb([entrant_of(2), entrant_of(2)], data_of, RECIPE)
    with pytest.raises(UsageError, match="epochs"):
        climb(four(), data_of, replace(RECIPE, epochs=0))
    with pytest.raises(UsageError, match="budget"):
        climb(four(), data_of, RECIPE, budget_seconds=0)
    with pytest.raises(UsageError, match="keep"):
        climb(four(), data_of, RECIPE, keep=1.0)
    with pytest.raises(UsageError, match="'tpu'"):
        climb(four(), data_of, replace(RECIPE, device="tpu"))

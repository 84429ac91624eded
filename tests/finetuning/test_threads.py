"""Threads of a training: chosen by its own work, noted, and the same ones when it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nns import threads
from nns.finetuning import Card, LadderEvent, Recipe, _threads, card_json, climb
from nns.finetuning._threads import training_threads
from nns.finetuning.card import decode_card
from nns.finetuning.checkpoint import Checkpoint
from nns.finetuning.ladder import Entrant
from nns.types import SplitArrays

from .conftest import PREPROCESSING, RECIPE, entrant_of
from .test_checkpoint import Killed, KilledAt

DataOf = Callable[[Any], SplitArrays]
ONCE = replace(RECIPE, epochs=2)


@pytest.fixture(autouse=True)
def _two_threads_and_nothing_said(monkeypatch: pytest.MonkeyPatch, _one_thread: None) -> None:
    for name in threads.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    torch.set_num_threads(2)


def quickest(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Say that so many threads are the quickest, once the work was done."""

    def measured(work: Callable[[int], object], most_units: int, whole: Callable[[float], float]) -> int:
        work(1)
        return count

    monkeypatch.setattr(_threads, "measured_threads", measured)


def threads_of_epochs(data_of: DataOf, entrants: list[Entrant], **more: Any) -> tuple[set[int], Any]:
    used: set[int] = set()

    def note(event: LadderEvent) -> None:
        if event.kind == "epoch":
            used.add(torch.get_num_threads())

    return used, climb(entrants, data_of, ONCE, on_event=note, **more)


@pytest.mark.parametrize("count", [1, 2])
def test_all_of_a_ladder_has_the_number_measured(data_of: DataOf, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    quickest(count, monkeypatch)
    used, result = threads_of_epochs(data_of, [entrant_of(8), entrant_of(4)])
    assert used == {count}
    assert result.threads == count
    assert torch.get_num_threads() == 2


def test_the_network_and_the_generators_are_left_as_they_are() -> None:
    module = entrant_of(8).build()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state = torch.get_rng_state()
    assert training_threads(module, PREPROCESSING, RECIPE, "cpu", 10_000) in {1, 2}
    assert training_threads(module, PREPROCESSING, replace(RECIPE, head_only=True), "cpu", 10_000, 1.0) in {1, 2}
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in module.parameters())


def test_a_number_measured_and_the_same_one_given_end_with_the_same_weights(
    data_of: DataOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def weights() -> list[bytes]:
        result = climb([entrant_of(8)], data_of, ONCE)
        assert result.threads == 2
        return [tensor.numpy().tobytes() for tensor in result.module.state_dict().values()]

    quickest(2, monkeypatch)
    measured = weights()
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(_threads, "measured_threads", lambda *_: pytest.fail("the user has said it"))
    assert weights() == measured


def test_what_goes_on_has_the_number_that_it_had(
    data_of: DataOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quickest(1, monkeypatch)
    with pytest.raises(Killed):
        climb([entrant_of(8)], data_of, ONCE, checkpoint=KilledAt(tmp_path / "run", {}, 1))
    assert torch.get_num_threads() == 2
    quickest(2, monkeypatch)
    used, result = threads_of_epochs(data_of, [entrant_of(8)], checkpoint=Checkpoint(tmp_path / "run", {}))
    assert used == {1}
    assert result.threads == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    used, result = threads_of_epochs(data_of, [entrant_of(8)], checkpoint=Checkpoint(tmp_path / "run", {}))
    assert result.threads == 2


@pytest.mark.parametrize(("budget", "expected"), [(None, 10.0), (3600.0, 10.0), (3.0, 3.0)])
def test_what_the_whole_training_takes_is_known_from_a_step(
    budget: float | None, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []

    def measured(work: object, most_units: int, whole: Callable[[float], float]) -> int:
        assert most_units == 8
        given.append(whole(0.1))
        return 1

    monkeypatch.setattr(_threads, "measured_threads", measured)
    training_threads(entrant_of(4).build(), PREPROCESSING, Recipe(epochs=4), "cpu", 100, budget)
    assert given == [pytest.approx(expected)]


def test_the_card_has_it(card: Card) -> None:
    assert decode_card(card_json(replace(card, threads=2))).threads == 2
    old = card_json(card)
    del old["threads"]
    assert decode_card(old).threads == 0


def test_elsewhere_than_on_the_cpu_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_threads, "measured_threads", lambda *_: pytest.fail("it does not matter"))
    assert training_threads(entrant_of(4).build(), PREPROCESSING, RECIPE, "cuda", 100) == 2

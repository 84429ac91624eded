"""The ladder: successive halving over networks, so that training time goes to the best ones.

All entrants get a short training, the better half by validation accuracy a longer one, and so on; the
last gets the longest. Each training has a cosine schedule of its own, down to zero: accuracies of networks
at a high learning rate say little about which is better.

A survivor goes on from the weights it has reached, with a warm restart of the rate (Loshchilov & Hutter 2017,
"SGDR"), not from its pretrained weights anew: starting over would throw away half of all the training that
the winner ever gets. If a longer training does not beat a shorter one of the same network, the weights of
the shorter one are the ones that count.

Source: successive halving, Karnin, Koren & Somekh 2013; Jamieson & Talwalkar 2016.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.backends.steps import compute_logits, predict_classes
from nns.errors import UsageError
from nns.finetuning._climber import Climber, Entrant, EventKind, LadderEvent, LadderResult, Stopped, Tried
from nns.finetuning._run import DivergedError
from nns.finetuning._rungs import Rung, affordable, plan_rungs
from nns.finetuning._threads import training_threads
from nns.finetuning.calibration import Calibration, calibrate
from nns.finetuning.checkpoint import Checkpoint
from nns.finetuning.choosing import gains
from nns.finetuning.distributed import world
from nns.finetuning.epochs import Epoch
from nns.finetuning.measures import macro_f1
from nns.finetuning.pace import measure_pace
from nns.finetuning.recipe import Recipe
from nns.finetuning.training import resolve_device, train
from nns.quantities import counted
from nns.threads import limited_threads, threads_given
from nns.types import Preprocessing, SplitArrays

if TYPE_CHECKING:
    from torch import nn

    from nns.finetuning.teaching import Teacher

__all__ = ["Entrant", "LadderEvent", "LadderResult", "Tried", "climb"]

DataOf = Callable[[Preprocessing], SplitArrays]


def climb(
    entrants: Sequence[Entrant],
    data_of: DataOf,
    recipe: Recipe,
    *,
    budget_seconds: float | None = None,
    keep: float = 0.5,
    seed: int = 0,
    on_event: Callable[[LadderEvent], None] | None = None,
    checkpoint: Checkpoint | None = None,
    teacher: Teacher | None = None,
) -> LadderResult:
    """Fine-tune the entrant that turns out best on the validation split. One entrant is just trained.

    Without a time budget the last rung has ``recipe.epochs`` epochs, the one before ``keep`` times as many,
    and so on; on the CPU the result then depends on ``seed`` and the number of threads alone, which is measured on
    a few steps of the first entrant unless OMP_NUM_THREADS says it. With a budget,
    ``recipe.epochs`` is the most that each training may have; half of the time is for the last rung, the
    rest is spread evenly over the others, and what one leaves goes to the next. Entrants at the end of
    the list that could not have one epoch each are left out. A budget too small for one epoch gives the
    first entrant, trained for a part of one.

    Which is best is what validation says of each against the first, weighed by how many images that rests on, and what
    was expected of them: a few images overturn no order.

    Ctrl-C ends the ladder and keeps the best network so far, which is still measured on the test split;
    another Ctrl-C leaves that out.

    Args:
        entrants: The networks, best guess first.
        data_of: Gives the data decoded for an input; called before each training, so it should remember.
        recipe: How each is trained.
        budget_seconds: Wall-clock budget of everything, decoding and the final test included; by default
            ``recipe.seconds``.
        keep: Share of the entrants that goes on to the next rung, 0 < keep < 1.
        seed: Of shuffling and augmentation.
        on_event: Called as things happen.
        teacher: Who teaches them all.
        checkpoint: Where the state is kept while it climbs, and gone on from if it is there; it is left there.

    Returns:
        The winner, and what became of the others.

    Raises:
        UsageError: No entrant, two with one id, settings out of range, or the loss of every entrant ran away.
        KeyboardInterrupt: If it comes before there is anything to keep.
    """
    seconds = recipe.seconds if budget_seconds is None else budget_seconds
    _check_arguments(entrants, recipe, seconds, keep)
    ladder = _Ladder(entrants, data_of, replace(recipe, seconds=None), seconds, keep, seed, on_event, checkpoint)
    ladder.teacher = teacher
    with ladder.threads_within():
        try:
            ladder.run()
        except KeyboardInterrupt:
            ladder.interrupt()
        return ladder.result()


def _check_arguments(entrants: Sequence[Entrant], recipe: Recipe, seconds: float | None, keep: float) -> None:
    if not entrants:
        raise UsageError("no candidate networks to fine-tune; name at least one")
    ids = [entrant.id for entrant in entrants]
    for network in ids:
        if ids.count(network) > 1:
            raise UsageError(f"network {network!r} is named twice")
    if recipe.epochs < 1:
        raise UsageError(f"epochs must be 1 or more, not {recipe.epochs}")
    if seconds is not None and not seconds > 0:
        raise UsageError(f"the budget must be more than 0 seconds, not {seconds}")
    if not 0 < keep < 1:
        raise UsageError(f"keep must be between 0 and 1, not {keep}")
    resolve_device(recipe.device)


class _Ladder:
    """One run of the ladder: who is still in, and the clock."""

    def __init__(
        self,
        entrants: Sequence[Entrant],
        data_of: DataOf,
        recipe: Recipe,
        seconds: float | None,
        keep: float,
        seed: int,
        on_event: Callable[[LadderEvent], None] | None,
        checkpoint: Checkpoint | None,
    ) -> None:
        self.climbers = [Climber(entrant) for entrant in entrants]
        self.alive = list(self.climbers)
        self.data_of, self.recipe, self.seconds = data_of, recipe, seconds
        self.keep, self.seed, self.on_event = keep, seed, on_event
        self.checkpoint = checkpoint
        self.world = world()
        self.teacher: Teacher | None = None
        self.started = time.perf_counter()
        self.interrupted = False
        self.only_class: int | None = None
        self.rungs: tuple[Rung, ...] = ()
        self.number = self.entered = 0
        self.diverged: DivergedError | None = None
        self.threads = 0
        self._limit = ExitStack()

    def threads_within(self) -> ExitStack:
        """Return the context at whose end there are as many threads as before."""
        return self._limit

    def _limit_threads(self, count: int) -> None:
        self.threads = count
        self._limit.enter_context(limited_threads(count))

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self.started

    @property
    def training_seconds(self) -> float | None:
        """The budget, less what calibration and the final test take."""
        if self.seconds is None:
            return None
        return self.seconds - max((climber.test_seconds for climber in self.alive), default=0.0)

    def run(self) -> None:
        """Climb all rungs."""
        saved = self.checkpoint.read() if self.checkpoint else None
        if saved:
            self._restore(saved)
        self._limit_threads(self._choose_threads(saved))
        if not saved and self.seconds is not None:
            self._enter_affordable(self.seconds)
        self.entered = len(self.alive) if saved is None else saved["entered"]
        timed = self.seconds is not None
        self.rungs = plan_rungs(self.entered, self.recipe.epochs, self.keep, timed=timed)
        if saved:
            self._tell("resumed", message=f"rung {self.number} of {len(self.rungs)}, after {self.elapsed:.0f} s")
        for number, rung in enumerate(self.rungs, 1):
            if number < self.number:
                continue
            resumed = saved if number == self.number else None
            self.number = number
            if resumed is None:
                self._halve(rung.entrants)
                self._tell(
                    "rung", message=f"{counted(rung.entrants, 'entrant')}, up to {counted(rung.epochs, 'epoch')} each"
                )
            for turn, climber in enumerate(self.alive):
                if resumed and turn < resumed["turn"]:
                    continue
                if self._time_is_over():
                    for late in self.alive[turn:]:
                        self._leave(late, "budget", "the time is over")
                    return
                self._train(climber, rung, turn, resumed["run"] if resumed and turn == resumed["turn"] else None)

    def _choose_threads(self, saved: Mapping[str, Any] | None) -> int:
        """Return the number that a run had that goes on now, since weights depend on it; else the quickest."""
        if saved and saved.get("threads") and not threads_given():
            return int(saved["threads"])
        first = self.alive[0]
        data = self._prepare(first)
        assert first.module is not None
        device, inputs = resolve_device(self.recipe.device), first.entrant.preprocessing
        return training_threads(first.module, inputs, self.recipe, device, len(data.train), self.seconds)

    def _state(self, turn: int, run: dict[str, Any]) -> dict[str, Any]:
        """Return everything that the rest of the ladder depends on; ``run`` is the training of this turn."""
        return {
            "elapsed": self.elapsed,
            "entered": self.entered,
            "threads": self.threads,
            "sizes": {climber.entrant.id: climber.entrant.preprocessing.size for climber in self.climbers},
            "number": self.number,
            "turn": turn,
            "alive": [climber.entrant.id for climber in self.alive],
            "climbers": {climber.entrant.id: climber.state() for climber in self.climbers},
            "run": run,
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.started = time.perf_counter() - state["elapsed"]
        by_id = {climber.entrant.id: climber for climber in self.climbers}
        for network, of_it in state["climbers"].items():
            by_id[network].restore(of_it)
        self.alive = [by_id[network] for network in state["alive"]]
        self.number = state["number"]

    def _enter_affordable(self, seconds: float) -> None:
        """Leave out the last entrants if the budget has no epoch for each of them."""
        first = self.alive[0]
        data = self._prepare(first)
        assert first.module is not None
        pace = measure_pace(first.module, data, first.entrant.preprocessing, self.recipe)
        first.test_seconds = pace.test(data)
        count = affordable(len(self.alive), pace.epoch(data), seconds - self.elapsed - first.test_seconds, self.keep)
        count = self.world.agree(count)
        for climber in self.alive[count:]:
            self._leave(climber, "budget", "the budget has no epoch for it")
        self.alive = self.alive[:count]

    def _halve(self, count: int) -> None:
        if count == len(self.alive):
            return
        by_id = {climber.entrant.id: climber for climber in self.alive}
        ranked = [by_id[each] for each in self.world.agree([each.entrant.id for each in self._best_first(self.alive)])]
        self.alive = ranked[:count]
        for climber in ranked[count:]:
            self._leave(climber, "halved", f"validation accuracy {climber.tried().val_accuracy:.3f}")
            climber.drop_weights()

    def _best_first(self, climbers: Sequence[Climber]) -> list[Climber]:
        """Sort by what validation says and what was expected; what was never measured comes last."""
        measured = [climber for climber in self.climbers if climber in climbers and climber.right is not None]
        rest = [climber for climber in climbers if climber not in measured]
        if not measured:
            return rest
        labels = self.data_of(measured[0].entrant.preprocessing).val.labels
        found = gains(
            [climber.entrant.expected for climber in measured],
            [climber.right for climber in measured if climber.right is not None],
            labels,
            skewed=any(climber.best and climber.best.val_macro_f1 is not None for climber in measured),
        )
        order = np.argsort(-found, kind="stable")  # of equals the first, as the entrants came
        return [measured[index] for index in order] + rest

    def _time_is_over(self) -> bool:
        budget = self.training_seconds
        if budget is None:
            return False
        return self.world.agree(self.elapsed >= budget and any(climber.best for climber in self.climbers))

    def _prepare(self, climber: Climber) -> SplitArrays:
        data = self.data_of(climber.entrant.preprocessing)
        if climber.module is None:
            climber.module = climber.entrant.build()
        return data

    def _train(self, climber: Climber, rung: Rung, turn: int, resume: Mapping[str, Any] | None) -> None:
        entrant = climber.entrant
        data = self._prepare(climber)
        assert climber.module is not None
        budget, seconds = self.training_seconds, None
        if budget is not None:
            used = resume["elapsed"] if resume else 0.0
            seconds = used + max(0.0, budget * rung.until - self.elapsed) / (len(self.alive) - turn)
            seconds = self.world.agree(seconds)
        self._tell("train", entrant.id, message=entrant.name)
        try:
            result = train(
                climber.module,
                data,
                entrant.preprocessing,
                replace(self.recipe, epochs=rung.epochs, seconds=seconds),
                seed=self.seed + self.number - 1,
                on_epoch=lambda epoch: self._tell("epoch", entrant.id, epoch=epoch, before=len(climber.history)),
                save=partial(self._save, turn),
                resume=resume,
                on_trouble=lambda message: self._tell("trouble", entrant.id, message=message),
                teacher=self.teacher,
            )
        except DivergedError as error:
            self.diverged = error
            climber.give_up()
            self._tell("out", entrant.id, message=str(error))
            return
        climber.take(result, data, self.number)
        if result.stopped == "interrupted":
            raise KeyboardInterrupt

    def _save(self, turn: int, run: Callable[[], dict[str, Any]], at_end_of_epoch: bool) -> None:
        if self.checkpoint and self.world.first and self.checkpoint.due(at_end_of_epoch):
            self.checkpoint.write(self._state(turn, run()))

    def interrupt(self) -> None:
        """Note Ctrl-C for all that are still in."""
        self.interrupted = True
        for climber in self.alive:
            climber.stopped = "interrupted"

    def _leave(self, climber: Climber, why: Stopped, message: str) -> None:
        climber.stopped = why
        self._tell("out", climber.entrant.id, message=message)

    def result(self) -> LadderResult:
        """Choose the winner by validation, measure it on the test split, once."""
        measured = [climber for climber in self.climbers if climber.best_state is not None]
        if not measured and self.diverged:
            raise self.diverged
        if not measured:
            raise KeyboardInterrupt  # nothing else ends a ladder before anything was measured
        winner = self._best_first(measured)[0]
        module = winner.best_module()
        calibration = self._calibrate(winner.entrant, module)
        test_accuracy, macro_f1 = self._test(winner.entrant, module)
        losers = [climber for climber in self.climbers if climber is not winner]
        losers.sort(key=lambda climber: (climber.rungs, climber.rank), reverse=True)
        return LadderResult(
            winner=winner.entrant,
            module=module,
            val_accuracy=winner.tried().val_accuracy,
            test_accuracy=test_accuracy,
            epochs=winner.tried().epochs,
            seconds=self.elapsed,
            device=resolve_device(self.recipe.device),
            history=tuple(winner.history),
            tried=tuple(climber.tried() for climber in (winner, *losers)),
            interrupted=self.interrupted,
            macro_f1=macro_f1,
            calibration=calibration,
            threads=self.threads,
            only_class=self.only_class,
        )

    def _calibrate(self, winner: Entrant, module: nn.Module) -> Calibration | None:
        """Fit the temperature on the validation split; None if Ctrl-C comes."""
        device = resolve_device(self.recipe.device)
        try:
            val = self.data_of(winner.preprocessing).val
            if not len(val):
                return Calibration(1.0, 0)
            logits = compute_logits(module.to(device), val, winner.preprocessing, device)
            if len(said := np.unique(logits.argmax(1))) == 1 < len(np.unique(val.labels)):
                self.only_class = int(said[0])
            return calibrate(logits, val.labels)
        except KeyboardInterrupt:
            self.interrupted = True
            return None
        finally:
            module.to("cpu")

    def _test(self, winner: Entrant, module: nn.Module) -> tuple[float | None, float | None]:
        """Return accuracy and macro F1 on the test split, None without one."""
        device = resolve_device(self.recipe.device)
        try:
            test = self.data_of(winner.preprocessing).test
            if test is None or not len(test):
                return None, None
            self._tell("test", winner.id, message=counted(len(test), "image"))
            said = predict_classes(module.to(device), test, winner.preprocessing, device)
            return float((said == test.labels).mean()), macro_f1(test.labels, said)
        except KeyboardInterrupt:
            self.interrupted = True
            return None, None
        finally:
            module.to("cpu")

    def _tell(
        self, kind: EventKind, network: str = "", *, epoch: Epoch | None = None, message: str = "", before: int = 0
    ) -> None:
        if not self.on_event or not self.world.first:
            return
        rung = self.rungs[self.number - 1] if self.number else Rung(len(self.alive), 0, 0.0)
        self.on_event(
            LadderEvent(
                kind=kind,
                rung=self.number,
                rungs=len(self.rungs),
                entrants=rung.entrants,
                epochs=rung.epochs,
                seconds=self.elapsed,
                network=network,
                epoch=epoch,
                message=message,
                before=before,
            )
        )

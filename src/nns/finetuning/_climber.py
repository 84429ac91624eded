"""What goes up a ladder, and what comes of it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nns.finetuning.calibration import Calibration
from nns.finetuning.epochs import Epoch, rank
from nns.finetuning.training import TrainingResult
from nns.types import Json, Preprocessing, SplitArrays

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import nn

Stopped = Literal["finished", "halved", "budget", "patience", "diverged", "interrupted"]
EventKind = Literal["rung", "train", "epoch", "out", "test", "resumed", "trouble"]

_STOPPED: dict[str, Stopped] = {
    "epochs": "finished",
    "budget": "budget",
    "patience": "patience",
    "interrupted": "interrupted",
}


@dataclass(frozen=True)
class Entrant:
    """A network that may be fine-tuned.

    Attributes:
        id: Its id in the zoo.
        name: Its architecture, for people.
        build: Makes it: pretrained weights, with a new head for the classes of the data. Called once at most.
        preprocessing: Its input.
        expected: The accuracy that is expected of it, 0..1; None: nothing is.
    """

    id: str
    name: str
    build: Callable[[], nn.Module]
    preprocessing: Preprocessing
    expected: float | None = None


@dataclass(frozen=True)
class Tried:
    """What became of one entrant.

    Attributes:
        network: Its id.
        val_accuracy: Best top-1 accuracy on the validation split, 0..1; NaN if it was never measured.
        epochs: Epochs of its last training, one cut short counted: what the user gave as most.
        stopped: ``"finished"``: had all its epochs; ``"halved"``: others were better; ``"budget"``: its time
            was over; ``"patience"``: got no better; ``"diverged"``: its loss ran away twice; ``"interrupted"``: Ctrl-C.
        rungs: Epochs of each of its trainings, a rung of the ladder each; the last are ``epochs``.
    """

    network: str
    val_accuracy: float
    epochs: int
    stopped: Stopped
    rungs: tuple[int, ...] = ()

    def trained(self) -> str:
        """Say for how many epochs, rung by rung: ``5 + 10``."""
        return " + ".join(map(str, self.rungs)) or str(self.epochs)


@dataclass(frozen=True)
class LadderEvent:
    """Progress of a ladder.

    Attributes:
        kind: ``"rung"`` as a rung begins, ``"train"`` as an entrant's training begins, ``"epoch"`` after each
            epoch, ``"resumed"`` where an interrupted run goes on, ``"trouble"`` if something went wrong that is mended
            (``message`` says what), ``"out"`` when an entrant is left out (``message`` says why), ``"test"`` before the
            winner is measured on the test split.
        rung: Number of the rung, from 1; 0 before the first.
        rungs: Number of rungs, 0 before they are planned.
        entrants: Entrants in this rung.
        epochs: Epochs that each training of this rung has at most.
        seconds: Since the ladder began.
        network: Id of the entrant, empty for ``"rung"``.
        epoch: The epoch, for ``"epoch"``; numbered within this training.
        message: For people.
        before: Epochs that this network had in earlier trainings, for ``"epoch"``.
    """

    kind: EventKind
    rung: int
    rungs: int
    entrants: int
    epochs: int
    seconds: float
    network: str = ""
    epoch: Epoch | None = None
    message: str = ""
    before: int = 0


@dataclass(frozen=True)
class LadderResult:
    """The winner of a ladder.

    Attributes:
        winner: The entrant.
        module: The network, trained, at its best epoch, in eval mode on the CPU.
        val_accuracy: Top-1 accuracy on the validation split by which it was chosen, 0..1.
        test_accuracy: Top-1 accuracy on the test split, measured once, 0..1; None without a test split.
        macro_f1: Mean F1 of the classes on the test split, each class counted alike, 0..1; None without one.
        epochs: Epochs of its last training.
        seconds: Wall-clock time of the whole ladder.
        device: Where it ran.
        history: Its epochs over all rungs, numbered through.
        tried: All entrants, the winner first, then by how far they came.
        interrupted: Whether Ctrl-C ended the ladder.
        calibration: By what its logits are divided; None if Ctrl-C left that out.
        threads: Threads that it ran with, on which weights depend in their last digits; 0 if that is not known.
        only_class: What the winner says of every validation image, if that is one class: it has learned nothing yet.
        taught_by: What there is to say of the network that taught the winner; None: none did.
    """

    winner: Entrant
    module: nn.Module
    val_accuracy: float
    test_accuracy: float | None
    epochs: int
    seconds: float
    device: str
    history: tuple[Epoch, ...]
    tried: tuple[Tried, ...]
    interrupted: bool
    macro_f1: float | None = None
    taught_by: Json | None = None
    calibration: Calibration | None = None
    threads: int = 0
    only_class: int | None = None


@dataclass
class Climber:
    """An entrant on the ladder.

    Attributes:
        entrant: What it is.
        module: The network as it was last trained, once it is built.
        best: Its best epoch, numbered over all its trainings.
        best_state: The weights of that epoch.
        right: (n,) which validation images it classified rightly then.
        history: All its epochs.
        stopped: Why it is not trained on.
        rungs: Rungs it was trained in.
        trained: Epochs of each of its trainings.
        test_seconds: What calibration and the test will take, 0 as long as that is not known.
    """

    entrant: Entrant
    module: nn.Module | None = None
    best: Epoch | None = None
    best_state: dict[str, torch.Tensor] | None = None
    right: NDArray[np.bool_] | None = None
    history: list[Epoch] = field(default_factory=list)
    stopped: Stopped = "finished"
    rungs: int = 0
    test_seconds: float = 0.0
    trained: list[int] = field(default_factory=list)

    @property
    def rank(self) -> tuple[float, float]:
        """Sort key: higher is better."""
        return rank(self.best) if self.best else (-math.inf, -math.inf)

    def tried(self) -> Tried:
        """Say what became of it."""
        accuracy = self.best.val_accuracy if self.best else math.nan
        epochs = self.trained[-1] if self.trained else 0
        return Tried(self.entrant.id, accuracy, epochs, self.stopped, tuple(self.trained))

    def take(self, result: TrainingResult, data: SplitArrays, rung: int) -> None:
        """Note a training; its weights count if they are the best so far."""
        offset = len(self.history)
        if self.best is None or rank(result.best) > rank(self.best):
            self.best_state = copy.deepcopy(result.module.state_dict())
            self.best = replace(result.best, epoch=offset + result.best.epoch)
            self.right = result.right
        self.history += [replace(epoch, epoch=offset + epoch.epoch) for epoch in result.history]
        self.trained.append(len(result.history))
        self.stopped = _STOPPED[result.stopped]
        self.rungs = rung
        if len(data.val):
            images = len(data.val) + (len(data.test) if data.test else 0)
            self.test_seconds = result.validation_seconds * images / len(data.val)

    def give_up(self) -> None:
        """Note that its training came to nothing: its weights are what they were at its best, if there was one."""
        self.stopped = "diverged"
        self.module = self.module if self.best_state is None else self.best_module()

    def best_module(self) -> nn.Module:
        """Return the network with its best weights."""
        assert self.module is not None
        assert self.best_state is not None
        self.module.load_state_dict(self.best_state)
        return self.module

    def state(self) -> dict[str, Any]:
        """Return all but what the entrant is; tensors are those in use."""
        return {
            "module": None if self.module is None else self.module.state_dict(),
            "best": self.best and astuple(self.best),
            "best_state": self.best_state,
            "right": None if self.right is None else self.right.tolist(),
            "history": [astuple(epoch) for epoch in self.history],
            "stopped": self.stopped,
            "rungs": self.rungs,
            "test_seconds": self.test_seconds,
            "trained": list(self.trained),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Become what it was at a state of :meth:`state`."""
        if state["module"] is not None:
            self.module = self.entrant.build()
            self.module.load_state_dict(state["module"])
        self.best = state["best"] and Epoch(*state["best"])
        self.best_state = state["best_state"]
        self.right = None if state["right"] is None else np.array(state["right"], np.bool_)
        self.history = [Epoch(*row) for row in state["history"]]
        self.stopped, self.rungs, self.test_seconds = state["stopped"], state["rungs"], state["test_seconds"]
        self.trained = list(state["trained"])

    def drop_weights(self) -> None:
        """Free the memory of one that is out."""
        self.module = self.best_state = None

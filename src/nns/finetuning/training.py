"""The training loop: one network, one dataset; the best epoch is chosen on the validation split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nns.backends.seeding import seeded
from nns.backends.steps import evaluate
from nns.errors import UsageError
from nns.finetuning._run import Run
from nns.finetuning.checkpoint import Saver
from nns.finetuning.distributed import ALONE
from nns.finetuning.epochs import Epoch
from nns.finetuning.recipe import Recipe
from nns.types import Preprocessing, SplitArrays

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from nns.finetuning.teaching import Teacher

__all__ = ["Epoch", "TrainingResult", "evaluate", "resolve_device", "train"]


@dataclass(frozen=True)
class TrainingResult:
    """A trained network.

    Attributes:
        module: The network at its best epoch, in eval mode on the CPU.
        val_accuracy: Top-1 accuracy of that epoch on the validation split, 0..1; NaN without such a split.
        history: All epochs; the last may be one that was cut short.
        stopped: ``"epochs"``, ``"budget"``, ``"patience"``, ``"halved"`` or ``"interrupted"``.
        seconds: Wall-clock time.
        device: Where it ran.
        best: The epoch whose weights these are.
        validation_seconds: What the last validation took.
        right: (n,) which validation images that epoch classified rightly.
    """

    module: nn.Module
    val_accuracy: float
    history: tuple[Epoch, ...]
    stopped: str
    seconds: float
    device: str
    best: Epoch
    validation_seconds: float
    right: NDArray[np.bool_]


def resolve_device(wanted: str) -> str:
    """Turn ``auto`` into ``cuda`` where there is one, else ``cpu``.

    Raises:
        UsageError: If CUDA is asked for and not there, or the name is unknown.
    """
    import torch

    if wanted not in {"auto", "cpu", "cuda"}:
        raise UsageError(f"unknown device {wanted!r}: it must be auto, cpu or cuda")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UsageError("device 'cuda' was asked for, but PyTorch sees no CUDA device here; take `device` 'auto'")
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def check_compile(device: str) -> None:
    """See that ``torch.compile`` works here, on something small.

    Raises:
        UsageError: If not; it needs a C++ compiler, for a GPU Triton, and a Python that it knows.
    """
    import torch

    try:
        torch.compile(torch.nn.Linear(2, 2).to(device))(torch.ones(1, 2, device=device))
    except Exception as error:
        why = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UsageError(f"`compile` cannot be had here, train without it: {why[:300]}") from error


def train(
    module: nn.Module,
    data: SplitArrays,
    preprocessing: Preprocessing,
    recipe: Recipe,
    *,
    seed: int = 0,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_images: Callable[[int], None] | None = None,
    stop_below: Mapping[int, float] | None = None,
    keep_interrupted: bool = True,
    save: Saver | None = None,
    resume: Mapping[str, Any] | None = None,
    on_trouble: Callable[[str], None] | None = None,
    teacher: Teacher | None = None,
) -> TrainingResult:
    """Train a network in place and give it back at its best epoch.

    On CUDA the loop runs in channels-last memory format and half precision. Two runs on the CPU with the
    same seed and thread count and no time budget give the same weights.

    A budget that ends within an epoch cuts it short, early enough for a last validation. Ctrl-C ends the
    training and keeps the best epoch so far; if none is complete yet, the network as it is at that moment
    is measured and handed back. A second Ctrl-C during that is raised.

    A loss that runs away, or is no number, is met once by returning to the best weights so far at a tenth of the rate;
    memory that runs out, by half of the images a step.

    Args:
        module: The network, with a head for the classes of ``data``.
        data: The dataset; ``test`` is not touched.
        preprocessing: The network's input.
        recipe: How to train.
        seed: Of shuffling and augmentation.
        on_epoch: Called after each epoch.
        on_images: Called after each step with the number of images.
        stop_below: Epoch to validation accuracy: with less than that at that epoch, training ends.
        save: Called after each step and epoch with what gives the state of the training, to keep it if that is due.
        resume: Such a state: the training goes on from there, on the CPU as if it had never stopped.
        on_trouble: Called with what went wrong and what is done about it.
        teacher: Who teaches it as long as it is the better of the two, see :mod:`nns.finetuning.teaching`.
        keep_interrupted: Whether Ctrl-C hands back what there is; if not, it is raised.

    Returns:
        The network at its best epoch, with the history.

    Raises:
        UsageError: If the recipe's device is not there, ``head_only`` finds no linear classifier, or the loss runs away
            twice.
    """
    run = Run(module, data, preprocessing, recipe, resolve_device(recipe.device), on_images, teacher)
    with seeded(seed):
        if resume:
            run.restore(resume)
        try:
            stopped = _epochs(run, on_epoch, stop_below or {}, save, on_trouble or (lambda message: None))
        except KeyboardInterrupt:
            if not keep_interrupted:
                raise
            run.world = ALONE  # the others may be anywhere
            stopped = "interrupted"
    best = run.best.epoch if run.best else run.measure(len(run.history) + 1)
    assert run.best is not None
    right = run.best.right
    trained = run.finish()
    return TrainingResult(
        module=trained,
        val_accuracy=best.val_accuracy,
        history=tuple(run.history),
        stopped=stopped,
        seconds=run.budget.elapsed,
        device=run.device,
        best=best,
        validation_seconds=run.budget.reserve,
        right=right,
    )


def _epochs(
    run: Run,
    on_epoch: Callable[[Epoch], None] | None,
    stop_below: Mapping[int, float],
    save: Saver | None,
    on_trouble: Callable[[str], None],
) -> str:
    """Train until something ends it, and say what."""
    for number in range(run.next_epoch, run.recipe.epochs + 1):
        if not _train_epoch(run, number, save, on_trouble):
            return "budget"
        epoch = run.measure(number)
        if on_epoch:
            on_epoch(epoch)
        if save:
            save(run.state, True)
        if epoch.val_accuracy < stop_below.get(number, 0.0):
            return "halved"
        if number < run.recipe.epochs and run.budget.seconds is not None and run.world.agree(run.budget.spent):
            return "budget"
        patience = run.recipe.patience
        if patience is not None and run.best and number - run.best.epoch.epoch >= patience:
            return "patience"
    return "epochs"


def _train_epoch(run: Run, number: int, save: Saver | None, on_trouble: Callable[[str], None]) -> int:
    """Train one epoch, whatever goes wrong once; return the number of steps."""
    while True:
        try:
            steps = run.train_epoch(number, save=save)
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error) or not run.halve_batch():
                raise
            on_trouble(f"memory is out: {run.batch_size} images a step from now on")
            continue
        if not run.diverged:
            return steps
        run.go_back()
        on_trouble(f"the training ran away in epoch {number}: back to the best weights so far, at a tenth of the rate")


def _is_out_of_memory(error: Exception) -> bool:
    import torch

    # torch's allocator of the CPU raises a plain RuntimeError
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "not enough memory" in str(error)

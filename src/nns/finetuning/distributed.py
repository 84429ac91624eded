"""Several processes that train one network together, as torchrun starts them: one for each GPU.

Each reads the same data and takes its share of the images of every step; gradients are averaged
(DistributedDataParallel). Everything that a clock or a measurement decides, the first process decides for all, or they
would wait for one another for ever. The first alone prints, writes and keeps.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from nns.errors import NnsError, UsageError

if TYPE_CHECKING:
    import torch
    from torch import nn

T = TypeVar("T")

PATIENCE = timedelta(minutes=30)
"""What processes wait for one another at most: one may fetch weights, or decode, while the others wait."""

LOST = re.compile("gloo|nccl|connection|socket|timed out", re.IGNORECASE)
"""What is in the message of the error of a process that waited for one that is no more."""

SAID = "another process says so"
"""Note of an error that is not to be said once more."""


@dataclass(frozen=True)
class World:
    """The processes of one training.

    Attributes:
        rank: Which of them this is, from 0.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    def agree(self, value: T) -> T:
        """Return the first process's value, on all of them."""
        if self.size == 1:
            return value
        from torch import distributed

        found: list[Any] = [value]
        # over gloo in any case, since what is sent is in the memory of the machine
        distributed.broadcast_object_list(found, 0, device=_cpu())
        agreed: T = found[0]
        return agreed

    def from_first(self, work: Callable[[], T]) -> T:
        """Return what the first process's work comes to, on all of them; what it raises, all raise."""
        if self.size == 1:
            return work()
        found: tuple[T | None, Exception | None] = (None, None)
        if self.first:
            try:
                found = work(), None
            except Exception as raised:  # noqa: BLE001 - whatever it is, the others must not wait for it
                found = None, raised
        value, error = self.agree(found)
        if error is not None:
            if not self.first:
                error.add_note(SAID)
            raise error
        return value  # type: ignore[return-value]

    def total(self, value: torch.Tensor) -> torch.Tensor:
        """Return the sum over all processes."""
        if self.size > 1:
            from torch import distributed

            distributed.all_reduce(value)
        return value

    def share(self, batch: torch.Tensor) -> torch.Tensor:
        """Return this process's part of the images of a step."""
        return batch if self.size == 1 else batch[self.rank :: self.size]

    def together(self, module: nn.Module) -> nn.Module:
        """Return what computes as the network does, and averages gradients over the processes."""
        if self.size == 1 or not any(parameter.requires_grad for parameter in module.parameters()):
            return module
        from torch.nn.parallel import DistributedDataParallel

        # the gradient of a 1x1 kernel lies in memory as it likes, which is said to be slower than it is
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        return DistributedDataParallel(module, static_graph=True)  # so that a layer may get no gradient

    def align(self, module: nn.Module) -> None:
        """Copy the first process's statistics of batch norms to all: in the last step each saw images of its own."""
        if self.size > 1:
            from torch import distributed

            for buffer in module.buffers():
                distributed.broadcast(buffer, 0)


ALONE = World()
_world = ALONE
_world_was: World | None = None


@contextmanager
def quiet_unless_first() -> Iterator[None]:
    """Within the context, let nothing of a process but the first reach stderr.

    Raises:
        SystemExit: In place of an error that the first one says, too.
    """
    if _rank() == 0:
        yield
        return
    try:
        with open(os.devnull, "w", encoding="utf-8") as nothing, redirect_stderr(nothing):
            yield
    except NnsError as error:
        if _world_was is None or SAID in getattr(error, "__notes__", ()):
            raise SystemExit(error.exit_code) from error
        raise


def _rank() -> int:
    number = os.environ.get("RANK", "")
    return int(number) if processes_started() > 1 and number.isdecimal() else 0


def world() -> World:
    """Return the processes that train together; by default this one alone."""
    return _world


def processes_started() -> int:
    """Return how many processes torchrun has started."""
    number = os.environ.get("WORLD_SIZE", "")
    return int(number) if number.isdecimal() and "RANK" in os.environ and "MASTER_ADDR" in os.environ else 1


@contextmanager
def joined_world(device: str) -> Iterator[World]:
    """Within the context, train together with the other processes that torchrun has started, if it has.

    Args:
        device: ``"cuda"`` (a GPU for each process of a machine) or ``"cpu"``.

    Raises:
        UsageError: If there are more processes than GPUs.
    """
    global _world, _world_was
    if processes_started() == 1 or _world is not ALONE:
        yield _world
        return
    import torch
    from torch import distributed

    if device == "cuda":
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise UsageError(
                f"torchrun started more processes on this machine than its {torch.cuda.device_count()} GPUs: "
                f"start {torch.cuda.device_count()}, or take `device` cpu"
            )
        torch.cuda.set_device(local)  # so that "cuda" is the process's own
    distributed.init_process_group("cpu:gloo,cuda:nccl" if device == "cuda" else "gloo", timeout=PATIENCE)
    _world = _world_was = World(distributed.get_rank(), distributed.get_world_size())
    try:
        yield _world
    except RuntimeError as error:
        if isinstance(error, NnsError) or not LOST.search(str(error)):
            raise
        lost = NnsError(f"another process has ended: {next(iter(str(error).splitlines()))[:200]}")
        lost.add_note(SAID)
        raise lost from error
    finally:
        _world = ALONE
        distributed.destroy_process_group()


def _cpu() -> Any:
    import torch

    return torch.device("cpu")

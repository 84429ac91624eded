"""What an executor promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self, TypeVar

from nns.errors import NnsError

T = TypeVar("T")

RETRIES = 2
"""How often an item is run again whose worker died."""


class WorkerLostError(NnsError, RuntimeError):
    """The process or machine that ran an item died, as often as it was tried."""


class Executor(ABC):
    """Runs items elsewhere, some at the same time, and loses none of them.

    When a worker process or a machine dies, only what it was running is affected, and that is run again by itself;
    an item whose worker died each time fails alone, with :class:`WorkerLostError`. What was merely queued never
    counts as lost. A function may therefore run more than once, and must bear it.

    As a context manager it waits for what was submitted; an exception on the way out, Ctrl-C among them, cancels.

    Attributes:
        name: What it is called on the command line.
        slots_are_processes: Whether items run in other processes; if not, ``submit`` itself runs them.
        elsewhere: Whether they may run on other machines, which need not see what this one sees.
    """

    name: str
    slots_are_processes: bool = True
    elsewhere: bool = False

    @property
    @abstractmethod
    def slots(self) -> int:
        """How many items run at the same time, at least 1; more may be submitted, and wait."""

    @abstractmethod
    def submit(self, function: Callable[..., T], *args: Any) -> Future[T]:
        """Run ``function(*args)``.

        Args:
            function: A function at the top of a module that the workers can import.
            *args: What can be pickled.

        Returns:
            What will hold the result, or the exception of the function, of its own type.
        """

    def on_each_machine(self, function: Callable[..., T], *args: Any) -> dict[str, T | BaseException]:
        """Run ``function(*args)`` on each other machine, as it is now: what it gives, or raises, by address."""
        return {}

    @abstractmethod
    def shutdown(self, cancel: bool = False) -> None:
        """End the workers.

        Args:
            cancel: End them at once, in the middle of what they do: every future that is not done raises
                ``CancelledError``. Otherwise wait for all that was submitted.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.shutdown(cancel=kind is not None)
        except KeyboardInterrupt:
            self.shutdown(cancel=True)
            raise

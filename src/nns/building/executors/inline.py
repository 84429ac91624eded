"""Items in this process, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from nns.building.executors._base import Executor, T


class InlineExecutor(Executor):
    """Runs each item while it is submitted, in this process: for small zoos and for debugging."""

    name = "inline"
    slots_are_processes = False

    @property
    def slots(self) -> int:
        """One."""
        return 1

    def submit(self, function: Callable[..., T], *args: Any) -> Future[T]:
        """Run ``function(*args)`` now.

        Raises:
            KeyboardInterrupt: After Ctrl-C; all other exceptions are in the future.
        """
        future: Future[T] = Future()
        try:
            future.set_result(function(*args))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is for whoever asks for the result
            future.set_exception(error)
        return future

    def shutdown(self, cancel: bool = False) -> None:
        """Do nothing: everything is done already."""

"""Progress on stderr: a bar where rich is installed and stderr is a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """Where progress goes."""

    def say(self, line: str) -> None:
        """Show a line."""

    def advance(self, line: str) -> None:
        """Show a line, and that one more of the total is done."""


class _Lines:
    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def advance(self, line: str) -> None:
        self.done += 1
        self.say(f"[{self.done}/{self.total}] {line}")


@contextmanager
def show_progress(total: int) -> Iterator[Progress]:
    """Progress over ``total`` tasks."""
    try:
        from rich.console import Console
        from rich.progress import Progress as Bar
    except ImportError:
        yield _Lines(total)
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(total)
        return
    with Bar(console=console, transient=True) as bar:
        yield _Rich(bar, bar.add_task("tasks", total=total))


class _Rich:
    def __init__(self, bar: object, task: object) -> None:
        self.bar, self.task = bar, task

    def say(self, line: str) -> None:
        self.bar.console.print(line, highlight=False, markup=False)  # type: ignore[attr-defined]

    def advance(self, line: str) -> None:
        self.say(line)
        self.bar.advance(self.task)  # type: ignore[attr-defined]

"""Progress bars of as many parts as the terminal has room for; no part is cut, so that ids and numbers are whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.progress import ProgressColumn, Task, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

LEAST_BAR = 8
"""Columns below which a bar shows nothing."""

MARKS = re.compile(r"( · |, )")
"""Between what of a description may be left out by itself."""


@dataclass(frozen=True)
class Part:
    """What is said of a task, in the order in which it is shown.

    Attributes:
        text: The text.
        rank: Those of low ranks are shown first, the others as far as there is room.
        mark: What stands before it.
    """

    text: str
    rank: int
    mark: str = "  "


def described(text: str, rank: int, least: int) -> list[Part]:
    """Return the parts of a description: its beginning, and what comes behind a mark, which is of a lower rank."""
    first, *rest = MARKS.split(text)
    marks, more = rest[::2], rest[1::2]
    ranks = range(least + len(more), least, -1) if marks[:1] == [" · "] else range(least, least + len(more))
    return [Part(first, rank), *map(Part, more, ranks, marks)]


class Fitted(ProgressColumn):
    """A line for each task: its name, a bar, and what fits of the other parts.

    Args:
        console: Where it is drawn.
        parts: Returns the name of a task, and what is said of it.
        bar: Columns of the bar at most.
    """

    def __init__(self, console: Console, parts: Callable[[Task], tuple[str, Sequence[Part]]], bar: int = 24) -> None:
        """Begin with no task."""
        super().__init__()
        self._console, self._parts, self._bar, self._named = console, parts, bar, 0
        self._elapsed, self._left = TimeElapsedColumn(), TimeRemainingColumn(compact=True)

    def render(self, task: Task) -> Text:
        """Draw one task."""
        name, parts = self._parts(task)
        room = self._console.width - 1  # a full line makes some terminals begin another
        self._named = max(self._named, cell_len(name))
        name += " " * (min(self._named, room // 3) - cell_len(name))
        shown, used = set[int](), cell_len(name)
        for number in sorted(range(len(parts)), key=lambda number: parts[number].rank):
            wanted = cell_len(parts[number].mark + parts[number].text)
            if parts[number].text and used + wanted <= room:
                shown.add(number)
                used += wanted
        line = Text(name, end="", no_wrap=True, overflow="ignore")
        width = min(self._bar, room - used - 2)
        if width >= LEAST_BAR and task.total:
            done = round(width * min(1.0, task.completed / task.total))
            line.append("  " * bool(name)).append("━" * done, "bar.complete").append(self._rest(width - done))
        for number in sorted(shown):
            line.append((parts[number].mark if line.plain else "") + parts[number].text)
        return line

    def _rest(self, width: int) -> Text:
        plain = self._console.no_color or self._console.color_system is None or self._console.options.ascii_only
        return Text((" " if plain else "━") * width, "bar.back")

    def elapsed(self, task: Task) -> str:
        """Return the time since the task began."""
        return self._elapsed.render(task).plain

    def left(self, task: Task) -> str:
        """Return about the time that is left, empty where nobody knows."""
        text = self._left.render(task).plain
        return "" if text.startswith("-") else text

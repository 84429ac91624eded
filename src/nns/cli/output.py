"""Where output goes: results to stdout as tables or JSON, progress to stderr if that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nns.cli.streams import results
from nns.cli.text import ascii_json, one_line, printable
from nns.jsonable import jsonable

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console
    from rich.text import Text

    from nns.data import Seen
    from nns.tables import Table

PLAIN_WIDTH = 120
"""Columns of a table that goes to a file or a pipe."""


def print_json(document: Any) -> None:
    """Print one JSON document, in ASCII; NaN and infinity become null, and no name in it can drive the terminal."""
    print(ascii_json(jsonable(document), indent=2), file=results())


def console() -> Console:
    """Return the console for results."""
    from rich.console import Console

    return Console(file=results(), width=None if results().isatty() else PLAIN_WIDTH, highlight=False)


def note(message: str) -> None:
    """Say something about the run, on one line of stderr."""
    print(one_line(message), file=sys.stderr)


def say_data(json: bool, line: bool = True) -> Callable[[Seen], None]:
    """Return what says on stderr what is in DATA, and what is odd about how it was read; JSON holds that already."""

    def say(seen: Seen) -> None:
        for text in () if json else ([seen.line()] if line else []) + [f"warning: {each}" for each in seen.warnings]:
            note(text)

    return say


def print_table(
    title: str, columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]], caption: str | None = None
) -> None:
    """Print a table.

    Args:
        title: Above it, one line.
        columns: ``(heading, "left" or "right")`` of each column.
        rows: The cells; text from wherever, shown as it is.
        caption: Below it; may have lines.
    """
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_header=any(heading for heading, _ in columns))
    for heading, justify in columns:
        table.add_column(heading, justify="right" if justify == "right" else "left", overflow="fold")
    for row in rows:
        table.add_row(*[_plain(one_line(cell)) for cell in row])
    out = console()
    # not the table's own title and caption, which Rich wraps to the width of the table
    out.print(_plain(one_line(title)), style="italic", soft_wrap=True)
    out.print(table)
    if caption:
        out.print(_plain(printable(caption)), style="dim italic", soft_wrap=True)


def render_table(table: Table) -> None:
    """Print the table of a result."""
    print_table(table.title, table.columns, table.rows, table.caption or None)


def print_text(text: str) -> None:
    """Print a sentence, its width that of the terminal."""
    console().print(_plain(one_line(text)), soft_wrap=not results().isatty())


def _plain(text: str) -> Text:
    """Keep Rich from taking anything in a text for markup, links or emoji."""
    from rich.text import Text

    return Text(text)


IN_IMAGES = frozenset({"reading images", "checking images", "computing features"})
"""What is counted in images, so that images a second are shown."""


@contextmanager
def progress_bar() -> Iterator[Callable[..., None]]:
    """Show a progress bar on stderr, if it is a terminal, and remove it at the end.

    Yields:
        ``update(what, done, total, note="")``; ``total`` may be None.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    if not sys.stderr.isatty():
        yield lambda what, done, total, note="": None
        return
    columns = [
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    ]
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tasks: dict[str, Any] = {}

        def update(what: str, done: int, total: int | None, note: str = "") -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(one_line(what), total=total, rate="", note="")
            speed = next((t.speed for t in progress.tasks if t.id == tasks[what]), None)
            rate = f"{speed:.0f} images/s" if speed and what in IN_IMAGES else ""
            progress.update(tasks[what], completed=done, total=total, rate=rate, note=one_line(note))

        yield update

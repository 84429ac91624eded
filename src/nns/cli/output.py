"""Where output goes: results to stdout as tables or JSON, progress to stderr if that is a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any

from nns.cli.streams import results
from nns.cli.text import ascii_json, one_line, printable
from nns.jsonable import jsonable

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.text import Text

    from nns.data import Seen
    from nns.tables import Columns, Table

PLAIN_WIDTH = 120
"""Columns of a line that goes to a file or a pipe, as far as words allow."""


def print_json(document: Any) -> None:
    """Print one JSON document, in ASCII; NaN and infinity become null, and no name in it can drive the terminal."""
    print(ascii_json(jsonable(document), indent=2), file=results())


def _width() -> int | None:
    """Return the columns of what the result is shown on: of the terminal, or as COLUMNS says."""
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told):
        return int(told)
    with suppress(OSError, ValueError):
        return os.get_terminal_size(results().fileno()).columns or None
    return None


def print_lines(text: str, style: str = "") -> None:
    """Print text to stdout as it is, lines of any length, in a style of Rich if that is a terminal."""
    out = results()
    if not out.isatty():
        print(text, file=out)
        return
    from rich.console import Console

    Console(file=out, highlight=False).print(_plain(text), style=style, soft_wrap=True)


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
    title: str,
    columns: Columns,
    rows: Sequence[Sequence[str]],
    caption: str | None = None,
    least: Sequence[str] = (),
) -> None:
    """Print a table in the width there is; columns that it has no room for are left out, and named.

    Args:
        title: Above it, one line.
        columns: ``(heading, "left" or "right")`` of each column.
        rows: The cells; text from wherever, shown as it is.
        caption: Below it; may have lines.
        least: Headings of the columns that are left out first.
    """
    from nns.cli.table_layout import fold_text, lay_out

    width = _width()
    cells = [[_spelled(one_line(cell)) for cell in row] for row in rows]
    table = lay_out(columns, cells, width or PLAIN_WIDTH, least=least, drop=width is not None)
    print_lines(fold_text(one_line(title), width) if width else one_line(title), "italic")
    print_lines("")
    if table.head:
        print_lines("\n".join(table.head), "bold")
    print_lines("\n".join([*table.body, ""]))
    left_out = f"No room here for {', '.join(table.left_out)}: a wider terminal or --json has more."
    for text in filter(None, (left_out if table.left_out else "", printable(caption or ""))):
        print_lines(fold_text(text, width) if width else text, "dim italic")


def render_table(table: Table) -> None:
    """Print the table of a result."""
    print_table(table.title, table.columns, table.rows, table.caption or None, table.least)


def print_text(text: str) -> None:
    """Print a sentence, its width that of the terminal."""
    from nns.cli.table_layout import fold_text

    width = _width()
    print_lines(fold_text(one_line(text), width) if width else one_line(text))


def _spelled(text: str) -> str:
    """Write a text in characters that the stream has, before it is measured."""
    encoding = results().encoding or "utf-8"
    return text.encode(encoding, "nns.spell").decode(encoding)


def _plain(text: str) -> Text:
    """Keep Rich from taking anything in a text for markup, links or emoji."""
    from rich.text import Text

    return Text(text)


SAY_EVERY = 10.0
"""Seconds between two lines of progress where there is no terminal, and before the first."""
SAY_AGAIN = 6
"""Times as long until a line that has not changed is said once more."""


@contextmanager
def _said_progress() -> Iterator[Callable[..., None]]:
    """Say on a line now and then how far it is: logs of CI and pipes have no bars."""
    from threading import Event, Thread

    from nns.quantities import format_seconds

    said, ended, began = [""], Event(), perf_counter()

    def say() -> None:
        before, again = "", 0
        while not ended.wait(SAY_EVERY):
            again = 0 if said[0] != before else again + 1
            before = said[0]
            if before and again % SAY_AGAIN == 0:
                note(f"{before} · {format_seconds(perf_counter() - began)}")

    def update(what: str, done: int, total: int | None, note: str = "") -> None:
        counted = f": {done}" + ("" if total is None else f" of {total}") if done or total else ""
        said[0] = f"{what}{counted}" + (f" · {note}" if note else "")

    thread = Thread(target=say, daemon=True)  # of its own: what takes minutes may call nothing in between
    thread.start()
    try:
        yield update
    finally:
        ended.set()
        thread.join()


IN_IMAGES = frozenset({"reading images", "checking images", "computing features"})
"""What is counted in images, so that images a second are shown."""


@contextmanager
def progress_bar() -> Iterator[Callable[..., None]]:
    """Show a progress bar on stderr, and remove it at the end; without a terminal say now and then how far it is.

    Yields:
        ``update(what, done, total, note="")``; ``total`` may be None.
    """
    if not sys.stderr.isatty():
        with _said_progress() as say:
            yield say
        return
    from rich.console import Console
    from rich.progress import Progress, Task

    from nns.cli.bars import Fitted, Part, described

    console = Console(stderr=True)

    def parts(task: Task) -> tuple[str, list[Part]]:
        counted = f"{int(task.completed)}/{'?' if task.total is None else int(task.total)}"
        rate, left = Part(task.fields["rate"], 4), Part(line.left(task), 3)
        return task.description, [Part(counted, 0), rate, left, *described(task.fields["note"], 1, 2)]

    line = Fitted(console, parts)
    with Progress(line, console=console, transient=True) as progress:
        tasks: dict[str, Any] = {}

        def update(what: str, done: int, total: int | None, note: str = "") -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(one_line(what), total=total, rate="", note="")
            speed = next((t.speed for t in progress.tasks if t.id == tasks[what]), None)
            rate = f"{speed:.0f} images/s" if speed and what in IN_IMAGES else ""
            progress.update(tasks[what], completed=done, total=total, rate=rate, note=one_line(note))

        yield update

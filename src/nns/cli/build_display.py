"""Watching ``nns zoo build``: bars on a terminal, and JSON lines in a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Self

from nns.building import BuildEvent, BuildReport
from nns.cli.build_log import BuildLog, error_line, log_line
from nns.cli.build_progress import BuildProgress, label
from nns.cli.output import note, progress_bar
from nns.cli.streams import descriptors, is_descriptor, stderr_stream
from nns.cli.text import one_line

END = "\0\n"
"""Line after which no strays come."""


@contextmanager
def build_display(log: Path | None = None) -> Iterator[Callable[[BuildEvent | BuildReport], None]]:
    """Show a build on stderr, live if that is a terminal, and write its events to a file.

    A failure is told as a line, wherever stderr goes; one of the same reason on the same dataset only once. What
    backends and worker processes print goes to stderr as well, above the bars: stdout is for the result.

    Args:
        log: File to append JSON lines to. If it cannot be written any more, that is said and the build goes on.

    Yields:
        What takes the events, and the report at the end.

    Raises:
        UsageError: If the file cannot be opened.
    """
    told: set[tuple[str, str]] = set()
    with ExitStack() as stack:
        lines = stack.enter_context(BuildLog(log)) if log is not None else None
        screen = stack.enter_context(_Bars() if sys.stderr.isatty() else _Lines())

        def take(event: BuildEvent | BuildReport) -> None:
            if lines is not None and (wrong := lines.write(log_line(event, datetime.now(UTC)))):
                screen.say(wrong)
            if isinstance(event, BuildReport):
                return
            screen.show(event)
            if event.kind == "failed":
                item, where = event.item, event.item.dataset_name if event.item is not None else ""
                if (where, event.message) not in told:
                    told.add((where, event.message))
                    what = f"{item.backend}:{label(item)} on {where}: " if item is not None else ""
                    screen.say(f"failed: {what}{event.message}")

        try:
            yield take
        except Exception as error:
            if lines is not None:
                lines.write(error_line(error, datetime.now(UTC)))
            raise


class _Lines:
    """Lines on stderr, where that is no terminal."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(redirect_stdout(sys.stderr))
        self._stack.enter_context(descriptors(2, 2))
        self._update = self._stack.enter_context(progress_bar())
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def say(self, line: str) -> None:
        note(line)

    def show(self, event: BuildEvent) -> None:
        parts = {"dataset": "reading datasets", "architecture": "counting architectures", "merge": "writing the file"}
        running = f"{event.running} running, {event.transfers} of {event.transfers_total} transfers"
        if event.kind in parts:
            self._update(parts[event.kind], event.counted, event.to_count or None)
        else:
            self._update("networks", event.done, event.total, running)


class _Bars(_Lines):
    """Bars, and lines above them."""

    def __enter__(self) -> Self:
        from rich.console import Console

        console = Console(stderr=True)
        if strays := is_descriptor(sys.stderr, 2):
            terminal = self._stack.enter_context(stderr_stream(os.dup(2), sys.stderr.encoding, closes=True))
            # which Rich would ask stdin for, as stdout and stderr will be pipes
            width, height = (0, 0) if sys.stdin and sys.stdin.isatty() else os.get_terminal_size(terminal.fileno())
            console = Console(file=terminal, width=width or None, height=height or None)
        self._progress = BuildProgress(console)
        self._stack.enter_context(self._progress.bars)
        if strays:
            self._stack.enter_context(self._strays())
        return self

    def say(self, line: str) -> None:
        self._progress.bars.console.print(one_line(line), markup=False, highlight=False, soft_wrap=True)

    def show(self, event: BuildEvent) -> None:
        self._progress.show(event)
        self._progress.bars.refresh()

    @contextmanager
    def _strays(self) -> Iterator[None]:
        """Show what others print past this process's own streams: else it would land in the middle of the bars."""
        reading, writing = os.pipe()

        def pass_on() -> None:
            with os.fdopen(reading, errors="backslashreplace") as lines:
                for line in lines:
                    if line == END:
                        return
                    if line.isspace():
                        continue
                    with suppress(OSError):  # whoever prints must not wait for this
                        self.say(line.rstrip())

        thread = Thread(target=pass_on, daemon=True)
        thread.start()
        try:
            with descriptors(writing, writing):
                yield
        finally:
            os.write(writing, f"\n{END}".encode())
            os.close(writing)
            thread.join()

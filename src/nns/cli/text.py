"""Text from files and zoos, made safe to print."""

from __future__ import annotations

import json
from typing import Any


def printable(text: str) -> str:
    """Escape what could drive or deceive a terminal, so that a name from a stranger's file is only a name.

    That is whatever Unicode does not call printable: control characters (C0, DEL, C1), marks that reverse or hide
    text (U+202E, U+200B, U+2066, ...), odd spaces, lone surrogates. Newlines stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str) -> str:
    """Escape as :func:`printable` does, and newlines as well: a name cannot begin a line of its own."""
    return printable(text).replace("\n", "\\n")


def escape_logs() -> None:
    """Escape what is logged where nobody has set up logging: names out of files are in it."""
    import logging

    class OneLine(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return one_line(super().format(record))

    if logging.lastResort:
        logging.lastResort.setFormatter(OneLine())


def traceback_of(error: BaseException) -> str:
    """Write an error as Python would, with its causes; of each message every line but its own is escaped."""
    import traceback

    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    before = [traceback_of(cause), "", "Then:", ""] if cause else []
    frames = [printable(line.rstrip()) for line in traceback.format_tb(error.__traceback__)]
    what = one_line(f"{type(error).__module__}.{type(error).__qualname__}: {error}")
    return "\n".join([*before, "Traceback (most recent call last):", *frames, what])


def ascii_json(document: Any, indent: int | None = None) -> str:
    """Write JSON in printable ASCII, which no stream lacks and nothing in which drives a terminal."""
    text = json.dumps(document, ensure_ascii=True, allow_nan=False, indent=indent)
    return text.replace("\x7f", "\\u007f")  # the one control character that JSON lets through

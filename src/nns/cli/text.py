"""Text from files and zoos, made safe to print."""

from __future__ import annotations

import json


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


def printable_json(text: str) -> str:
    """Escape in JSON what :func:`printable` would, as JSON does; other characters stay readable."""
    return "\n".join(line if line.isprintable() else _escaped(line) for line in text.split("\n"))


def _escaped(line: str) -> str:
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)


def counted(number: int, one: str, many: str = "") -> str:
    """Write a number of things: ``1 network``, ``2 networks``."""
    return f"{number} {one if number == 1 else many or one + 's'}"

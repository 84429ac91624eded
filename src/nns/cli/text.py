"""Text from files and zoos, made safe to print."""

from __future__ import annotations


def printable(text: str) -> str:
    """Escape control characters, so that a name from a stranger's file cannot drive the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)

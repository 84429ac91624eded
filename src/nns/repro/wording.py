"""Texts that go through a lock, which may be a stranger's, into logs that act on what they read."""

from __future__ import annotations


def plain(text: str) -> str:
    """Escape what drives a terminal, a runner of GitHub (``::error``, ``##[error]``) or one of GitLab.

    A runner takes a line of output for a command where it begins so, or anywhere in it; a fold in a long line may be
    the beginning of one.
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text.replace("::", ": :").replace("##[", "## [")

"""Where plugins print: to stderr, since stdout is for the result of whoever imports nns."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, redirect_stdout
from typing import Any


def prints_to_stderr() -> AbstractContextManager[Any]:
    """Return the context in which what is printed goes to stderr.

    It goes there through a stream of its own: a plugin that wraps ``sys.stdout`` closes what is below the wrapper once
    that is gone, and everybody's stderr with it.
    """
    try:
        stream: Any = open(sys.stderr.fileno(), "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115 - a log that a plugin starts writes to it ever after
    except (OSError, ValueError, AttributeError):  # there is none, or none with a descriptor
        stream = sys.stderr
    return redirect_stdout(stream)

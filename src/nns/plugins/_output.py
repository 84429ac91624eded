"""Where plugins print: to stderr, since stdout is for the result of whoever imports nns."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, redirect_stdout
from typing import TextIO

_copy: TextIO | None = None


def prints_to_stderr() -> AbstractContextManager[TextIO]:
    """Return the context in which what is printed goes to stderr.

    It goes through a copy of the stream that stays open: a log that a plugin starts writes to it ever after, and a
    plugin that wraps ``sys.stdout`` closes what is below it once its wrapper is gone.
    """
    global _copy
    try:
        if sys.stderr is not sys.__stderr__:
            return redirect_stdout(sys.stderr)  # somebody has put their own in its place
        if _copy is None or _copy.closed or _copy.buffer.closed:
            _copy = os.fdopen(os.dup(sys.stderr.fileno()), "w", 1, sys.stderr.encoding, sys.stderr.errors)
    except (OSError, ValueError, AttributeError):  # there is none, or none with a descriptor
        return redirect_stdout(sys.stderr)
    return redirect_stdout(_copy)

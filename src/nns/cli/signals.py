"""Ctrl-C and signals that end: at any moment a word and an exit code, and what was finished is kept."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
IMPORTING = "<frozen importlib._bootstrap>"
SHOW_CURSOR = "\x1b[?25h"

PATIENCE = 1.0
"""Seconds for which an import may go on; torch and timm take some. Later what it makes of the exception is undone."""

_received: list[int] = []
_late: set[int] = set()
"""Signals that have waited for an import."""

_around = 0
"""Imports around the command line, whose ends are not waited for: of a script that runs it as it is imported."""


def received() -> int:
    """Return the signal that asked first for an end, or 0."""
    return _received[0] if _received else 0


def exit_code() -> int:
    """Return the exit code after that signal, as shells have it: 130, 143, 129."""
    return 128 + (received() or signal.SIGINT)


def complaint() -> str:
    """Say what ended the command."""
    number = received()
    return "interrupted" if number in (0, signal.SIGINT) else f"ended by {signal.Signals(number).name}"


@contextmanager
def ending_signals() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP raise KeyboardInterrupt, on which every command keeps what it has finished.

    What was ignored from the beginning, as SIGHUP under nohup, stays ignored.
    """
    global _around
    _received.clear()
    _late.clear()
    _around = _imports(sys._getframe())
    before = {}
    try:
        for number in ENDING:
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                before[number] = signal.signal(number, _end)
    except ValueError:  # not in the main thread
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt; once an import that is under way has ended, if that is soon.

    An exception in the middle of an import of C code may become an ImportError, a plugin that is said to be broken, or
    nothing at all. At the second signal such an import is not waited for.
    """
    late, again = number in _late, bool(_received)
    _late.discard(number)
    _received.append(number)
    if late or _imports(frame) <= _around:
        raise KeyboardInterrupt
    if again:
        sys.stderr.write(f"{SHOW_CURSOR if sys.stderr.isatty() else ''}error: {complaint()}\n")
        os._exit(exit_code())
    threading.Thread(target=_end_after_import, args=(number,), daemon=True).start()


def _end_after_import(number: int) -> None:
    main = threading.main_thread().ident
    assert main is not None
    until = time.monotonic() + PATIENCE
    while _imports(sys._current_frames().get(main)) > _around and time.monotonic() < until:
        time.sleep(0.01)
    _late.add(number)
    signal.pthread_kill(main, number)  # wakes it, whatever it waits for


def _imports(frame: FrameType | None) -> int:
    """Count the imports that are under way."""
    found = 0
    while frame is not None:
        found += frame.f_code.co_filename == IMPORTING
        frame = frame.f_back
    return found

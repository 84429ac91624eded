"""The standard streams: closed, full, in another encoding, or written to by whoever feels like it."""

from __future__ import annotations

import atexit
import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from typing import TextIO

from nns.errors import NnsError

EXIT_NO_READER = 128 + 13
"""Exit code where nobody reads the result any more, as that of a command that SIGPIPE ends."""

SPELLED = {"→": "->", "…": "...", "×": "x", "·": "-", "–": "-", "—": "-", "µ": "u", "─": "-", "━": "=", "│": "|"}
"""Our own characters for a stream that has no code for them; all others are escaped."""


def _spell(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(SPELLED.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lacking), error.end


codecs.register_error("nns.spell", _spell)


class StderrStream(io.TextIOWrapper):
    """Text for people: if it cannot be shown any more, as the terminal is gone, the work goes on."""

    def write(self, text: str, /) -> int:
        """Write as far as that is possible."""
        with suppress(OSError):
            try:
                super().write(text)
            except ValueError:  # closed, as a plugin does that wraps what it takes for stdout
                os.write(2, text.encode(self.encoding, "nns.spell"))
        return len(text)

    def flush(self) -> None:
        """Flush as far as that is possible."""
        try:
            super().flush()
        except OSError:
            _to_nowhere(self)
        except ValueError:
            pass  # closed: what was written went straight to the descriptor


class StdoutStream(io.TextIOWrapper):
    """Text that is the result: if it cannot be written, the command fails."""

    def write(self, text: str, /) -> int:
        """Write.

        Raises:
            SystemExit: If nobody reads it any more, as in ``nns zoo ls zoo.h5 | head``.
            NnsError: If it cannot be written for another reason.
        """
        try:
            return super().write(text)
        except OSError as error:
            raise self._failure(error) from error

    def flush(self) -> None:
        """Flush; raises what :meth:`write` does."""
        try:
            super().flush()
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> BaseException:
        _to_nowhere(self)
        if isinstance(error, BrokenPipeError):
            return SystemExit(EXIT_NO_READER)
        return NnsError(f"cannot write the result to stdout: {error.strerror}")


def stderr_stream(descriptor: int, encoding: str | None = None, closes: bool = False) -> StderrStream:
    """Return a stream of text for people on a descriptor, which stays open unless it ``closes``."""
    raw = open(descriptor, "wb", closefd=closes)  # noqa: SIM115 - the stream has it
    return StderrStream(raw, encoding or "utf-8", "nns.spell", line_buffering=True)


def _stdout_stream(descriptor: int, like: TextIO | None) -> StdoutStream:
    raw = open(descriptor, "wb", closefd=False)  # noqa: SIM115 - the stream has it
    return StdoutStream(
        raw, getattr(like, "encoding", None) or "utf-8", "nns.spell", line_buffering=os.isatty(descriptor)
    )


def _to_nowhere(stream: TextIO) -> None:
    """Let what is still buffered, and what comes, go nowhere: else closing the stream would fail once more."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


@contextmanager
def standard_streams() -> Iterator[None]:
    """Make the standard streams fit to be written to, whatever they are, and write out the result at the end.

    Streams that are no descriptors, as tests have them, stay what they are.
    """
    _open_closed()
    streams = sys.stdin, sys.stdout, sys.stderr
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False, encoding="utf-8")  # noqa: SIM115 - it is a standard stream
    if sys.stdout is None or is_descriptor(sys.stdout, 1):
        sys.stdout = _stdout_stream(1, sys.stdout)
    if sys.stderr is None or is_descriptor(sys.stderr, 2):
        sys.stderr = stderr_stream(2, getattr(sys.stderr, "encoding", None))
    try:
        yield
        sys.stdout.flush()
    finally:
        if isinstance(sys.stdout, StdoutStream):
            atexit.unregister(_nothing_more)
            atexit.register(_nothing_more)  # the last to be registered is the first to run
        ours, (sys.stdin, sys.stdout, sys.stderr) = (sys.stdout, sys.stderr), streams
        for stream in ours:
            if isinstance(stream, StdoutStream | StderrStream):
                with suppress(NnsError, SystemExit):  # a command that failed has said why
                    stream.flush()


def _nothing_more() -> None:
    """Send to stderr what others print as Python ends: the result is out."""
    sys.stdout = sys.stderr
    with suppress(OSError):
        os.dup2(2, 1)


def _open_closed() -> None:
    """Open those of the descriptors 0 to 2 that are closed: else the next file, say a zoo, becomes stdout."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            if nowhere != descriptor:
                os.dup2(nowhere, descriptor)
                os.close(nowhere)


_results: TextIO | None = None


def results() -> TextIO:
    """Return the stream for the result: stdout, also where that is kept clean."""
    return sys.stdout if _results is None else _results


@contextmanager
def clean_stdout() -> Iterator[None]:
    """Send to stderr whatever plugins, libraries and processes that are started print: stdout is for the result."""
    global _results
    if _results is not None:
        yield
        return
    with ExitStack() as stack:
        found = sys.stdout
        if is_descriptor(found, 1):
            found.flush()
            kept = os.dup(1)
            stack.callback(os.close, kept)
            stack.enter_context(descriptors(2, 2))
            found = _stdout_stream(kept, found)
        # a stream of its own, so that a plugin which wraps it and closes the wrapper closes no more than that
        own = stderr_stream(2, sys.stderr.encoding) if isinstance(sys.stderr, StderrStream) else sys.stderr
        stack.enter_context(redirect_stdout(own))
        _results = found
        try:
            yield
        finally:
            _results = None
            found.flush()


@contextmanager
def descriptors(out: int, err: int) -> Iterator[None]:
    """Let what is printed to the descriptors 1 and 2, by processes that are started as well, go elsewhere."""
    print(end="", flush=True)
    kept = []
    try:
        for number, target in ((1, out), (2, err)):
            with suppress(OSError):  # one that is closed stays so
                kept.append((number, os.dup(number)))
                os.dup2(target, number)
        yield
    finally:
        for number, before in kept:
            os.dup2(before, number)
            os.close(before)


def is_descriptor(stream: TextIO | None, number: int) -> bool:
    """Whether a stream writes to a descriptor."""
    try:
        return stream is not None and stream.fileno() == number
    except (OSError, ValueError):
        return False

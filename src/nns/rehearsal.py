"""Reading what a stranger sent in a process that may take only so much memory and time, before it is read here.

A few kilobytes can stand for a structure that has no end when it is walked over, hashed or written out: lists in which
each holds the one before twice, keys of nested tuples, keys with ten thousand dots. Not every such form can be told
from its bytes, so the reading is done once by a child of this process; what it survives is done again here, which
saves handing over what was read.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress

from nns.errors import NnsError

SECONDS = 60.0
"""How long reading a file may take."""

MEMORY = 2 << 30
"""Bytes that reading a file may take, beside a multiple of its own size."""

_FINE, _RAISED, _TOO_MUCH = b"f", b"r", b"m"


class TooMuchError(NnsError):
    """Reading took more memory or time than it may."""


def rehearse(read: Callable[[], object], size: int, seconds: float = SECONDS, memory: int = MEMORY) -> None:
    """Do something in a child of this process, to see that it ends; on systems without fork nothing is done.

    What it raises is left to whoever does it again; what it says is not to be seen.

    Args:
        read: What is to be done; it must not write anything.
        size: Bytes of the file: four times as many may be taken, too.
        seconds: Time that it may take.
        memory: Bytes that it may take.

    Raises:
        TooMuchError: If it takes more.
    """
    if not hasattr(os, "fork") or sys.platform != "linux":
        return
    ours, theirs = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of other threads: the child takes none of their locks
        child = os.fork()
    if not child:
        _be_child(read, theirs, memory + 4 * size, seconds)
    os.close(theirs)
    try:
        told = _answer(ours, seconds)
    finally:
        os.close(ours)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if told not in (_FINE, _RAISED):
        raise TooMuchError(f"reading it takes more than {seconds:g} s, or {(memory + 4 * size) >> 20} MB of memory")


def _answer(pipe: int, seconds: float) -> bytes:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([pipe], [], [], left)[0]:
            return os.read(pipe, 1)  # nothing: it was killed
    return b""


def _be_child(read: Callable[[], object], pipe: int, memory: int, seconds: float) -> None:
    told = _TOO_MUCH
    try:
        _limit(memory, seconds)
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(1)  # the threads of the parent are not here, and whoever waits for them hangs
        read()
        told = _FINE
    except (MemoryError, RecursionError):
        pass
    except BaseException as error:  # noqa: BLE001 - whoever reads again says it
        told = _TOO_MUCH if "alloc" in str(error)[:2000].lower() else _RAISED
    finally:
        with suppress(BaseException):
            os.write(pipe, told)
        os._exit(0)  # no flush of the parent's streams, no handlers of its exit


def _limit(memory: int, seconds: float) -> None:
    import resource

    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_DFL)
    with open("/proc/self/statm", "rb") as pages:
        now = int(pages.read().split()[0]) * resource.getpagesize()
    for kind, most in ((resource.RLIMIT_AS, now + memory), (resource.RLIMIT_CPU, int(seconds) + 1)):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nothing, stream)
    sys.stdout = sys.stderr = open(nothing, "w", encoding="utf-8")  # noqa: SIM115 - they may be of other descriptors

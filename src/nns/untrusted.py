"""The one opener of files that may come from a stranger: regular files only, bounded, and never waiting for ever.

A name may lead anywhere: to a named pipe that nobody writes to, to ``/dev/zero``, to 40 GB of holes. Links are
followed, and what they end at decides. A disk answers; a server or a program behind a mount may not, so whatever such
a file is asked for has a deadline.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from nns.places import MAX_WEIGHTS_BYTES

T = TypeVar("T")
PathLike = str | os.PathLike[str]

SECONDS = 30.0
"""How long a file that is on no disk may take to be opened, or to give its next block."""

SLOWEST = 100_000
"""Bytes a second that such a file gives at least, over all of it."""

BLOCK = 1 << 20


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        what: What messages call it, with its article.
        max_bytes: Bytes that one may have.
    """

    what: str
    max_bytes: int


IMAGE = Kind("an image", 256 << 20)  # 100 million pixels are decoded at most, in RGB and uncompressed 300 MB
TABLE = Kind("a table", 256 << 20)  # two million images
TEXT = Kind("a list of names", 16 << 20)
RECIPE = Kind("a recipe", 10**6)
SEARCH = Kind("the result of a search", 64 << 20)
LOCK = Kind("a lock", 16 << 20)
CARD = Kind("a card", 8 << 20)  # some 100,000 class names
ANNOUNCED = Kind("a list of networks", 256 << 20)
PINS = Kind("a list of pins", 64 << 20)
BENCH = Kind("a result of the benchmark", 1 << 30)
HISTORY = Kind("a history", 64 << 20)
WEIGHTS = Kind("a file of weights", MAX_WEIGHTS_BYTES)

_KINDS = {
    stat.S_ISFIFO: "a named pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}

_DISKS = {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "jfs", "reiserfs", "tmpfs", "ramfs"}
_DISKS |= {"overlay", "aufs", "squashfs", "erofs", "iso9660", "udf", "vfat", "exfat", "ntfs3", "hfsplus", "apfs"}
_DISKS |= {"cgroup", "cgroup2", "proc", "sysfs", "devtmpfs", "devpts", "mqueue", "nsfs", "rootfs"}
"""File systems that answer at once; of any other there may be a server or a program behind it."""


class RefusedFileError(OSError):
    """A file that is not read for what it is: no regular file, too large, or silent. ``strerror`` says which."""


def open_file(path: PathLike, kind: Kind) -> io.BufferedReader:
    """Open a file for reading.

    Raises:
        RefusedFileError: If it is no regular file after following links, larger than its kind may be, or silent; what
            is read later raises it, too.
        OSError: If it cannot be opened.
    """
    file = _patiently(_open, path, kind)
    return io.BufferedReader(file, BLOCK if kind is WEIGHTS else io.DEFAULT_BUFFER_SIZE)


def read_file(path: PathLike, kind: Kind) -> bytes:
    """Read a file whole; see :func:`open_file`."""
    with open_file(path, kind) as file:
        return file.read()


def check_file(path: PathLike, kind: Kind) -> os.stat_result:
    """See that a file may be opened, for libraries that take a name and open it themselves.

    Raises:
        RefusedFileError: As :func:`open_file`.
        OSError: If it cannot be looked at.
    """
    return _patiently(_checked, path, kind)


class _Bounded(io.FileIO):
    """A regular file that gives no more than its kind may have: those of /proc say that they have nothing."""

    def __init__(self, descriptor: int, path: PathLike, kind: Kind) -> None:
        super().__init__(descriptor, "rb")
        self._path, self._kind = path, kind

    def readall(self) -> bytes:
        # one read for a file that is as long as it says, and never more memory than its kind may take
        start, size = time.monotonic(), os.fstat(self.fileno()).st_size - self.tell()
        found = [self._block(max(0, size) + 1)]
        done = len(found[0])
        while done > size and found[-1]:
            found.append(self._block(BLOCK))
            done += len(found[-1])
            if time.monotonic() - start > SECONDS + done / SLOWEST:
                raise _silent(self._path)
        return b"".join(found)

    def readinto(self, buffer: Any) -> int:
        block = self._block(len(memoryview(buffer).cast("B")))
        memoryview(buffer).cast("B")[: len(block)] = block
        return len(block)

    def _block(self, size: int) -> bytes:
        block = _patiently(super().read, size) if _waits() else super().read(size)
        if block is None:  # a file of the kernel that has nothing yet: it was opened so that it does not wait
            raise _silent(self._path)
        if self.tell() > self._kind.max_bytes:
            raise _too_large(self._path, self._kind)
        return block


def _open(path: PathLike, kind: Kind) -> _Bounded:
    _checked(path, kind)  # before it is opened: to open a device may do something
    flags = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    descriptor = os.open(path, flags)
    try:
        _check(os.fstat(descriptor), path, kind)  # another file may have taken its name meanwhile
        return _Bounded(descriptor, path, kind)
    except BaseException:
        os.close(descriptor)
        raise


def _checked(path: PathLike, kind: Kind) -> os.stat_result:
    found = os.stat(path)
    _check(found, path, kind)
    return found


def _check(found: os.stat_result, path: PathLike, kind: Kind) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(found.st_mode):
        what = next((name for test, name in _KINDS.items() if test(found.st_mode)), "something else")
        raise RefusedFileError(errno.EINVAL, f"it is {what}, no regular file", os.fspath(path))
    if found.st_size > kind.max_bytes:
        raise _too_large(path, kind, f"it has {_size(found.st_size)}")


def _too_large(path: PathLike, kind: Kind, what: str = "it goes on") -> RefusedFileError:
    message = f"{what}, more than {kind.what} may have ({_size(kind.max_bytes)})"
    return RefusedFileError(errno.EFBIG, message, os.fspath(path))


def _silent(path: PathLike) -> RefusedFileError:
    return RefusedFileError(errno.ETIMEDOUT, f"it gave nothing for {SECONDS:g} s", os.fspath(path))


def _size(count: int) -> str:
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count} bytes"


@lru_cache(maxsize=1)
def _waits() -> bool:
    """Return whether anything is mounted that may keep a reader waiting; where nobody says, it may be."""
    try:
        with open("/proc/self/mountinfo", "rb") as lines:
            rows = [line.split() for line in lines]
        kinds = {row[4]: row[row.index(b"-") + 1].decode("ascii", "replace") for row in rows}
    except (OSError, ValueError, IndexError):
        return True
    kernels = (b"/proc/", b"/sys/", b"/dev/")  # on many a machine an automatic mount of the kernel's own is below
    return any(kind not in _DISKS and not place.startswith(kernels) for place, kind in kinds.items())


class _Worker:
    """A thread that makes calls for others, who need not wait for it. One that hangs does not keep the process."""

    def __init__(self) -> None:
        self.calls: SimpleQueue[Callable[[], Any]] = SimpleQueue()
        self.answers: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        threading.Thread(target=self._run, daemon=True, name="nns-untrusted").start()

    def _run(self) -> None:
        while True:
            call = self.calls.get()
            try:
                self.answers.put((call(), None))
            except BaseException as error:  # noqa: BLE001 - raised where the answer is waited for
                self.answers.put((None, error))
            del call


_idle: list[_Worker] = []
"""Threads that wait for a call; to hand one over takes 10 microseconds, to start a thread 60."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # threads are not in the child


def _patiently(function: Callable[..., T], subject: Any, *more: Any) -> T:
    """Make a call that may hang, within :data:`SECONDS`."""
    if not _waits():
        return function(subject, *more)
    try:
        worker = _idle.pop()
    except IndexError:
        worker = _Worker()
    worker.calls.put(lambda: function(subject, *more))
    try:
        value, error = worker.answers.get(timeout=SECONDS)
    except Empty:
        raise _silent(str(subject)) from None
    _idle.append(worker)
    if error is not None:
        raise error
    return value  # type: ignore[no-any-return]

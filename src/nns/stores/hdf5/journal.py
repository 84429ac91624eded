"""The journal: a folder beside the zoo file where each write is one immutable shard.

A shard is built under a temporary name, flushed to the disk, given its name by a hard link (which never
replaces), and the folder is flushed; only then is the write acknowledged. No lock is taken.
"""

from __future__ import annotations

import errno
import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from nns.errors import ZooError
from nns.files import flush
from nns.stores._digest import canonical_json
from nns.stores.hdf5.columns import Column, write_file
from nns.untrusted import ANNOUNCED, read_file

_SHARD = re.compile(
    r"(network|supernet|dataset)-[A-Za-z0-9._-]{1,64}(~[0-9]{1,6})?\.h5"
    r"|(space|latency|transfer)-([0-9]{20})-[0-9a-f]{32}\.h5",
    re.ASCII,
)
# what link says on file systems without hard links, as exFAT and some network ones
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
T = TypeVar("T")

_LOCK = ".lock"
_BESIDE = ".beside-a-file"
_ADDING = ".adding"
_BATCH = "batch-"
MERGING = "merge-"
"""Kind of temporary file that only who has the lock writes: in large zoos as large as these."""

STALE_SECONDS = 3600.0
"""Age at which a temporary file is taken for the rest of a crash."""


def reason(error: OSError) -> str:
    """Say on one line why something could not be written; of HDF5's long texts only what the system said."""
    said = re.search(r"error message = '([^']+)'", str(error))
    text = os.strerror(error.errno) if error.errno else said[1] if said else str(error.strerror or error)
    return " ".join(text.split())[:160]


class Journal:
    """The journal folder of the zoo at ``path``."""

    def __init__(self, path: Path) -> None:
        """Name the folder; it is made at the first write."""
        self.path = path
        self._marked = False
        self.folder = path.with_name(path.name + ".journal")
        self._held: dict[Path, int] = {}  # locked as long as they are in use
        self._flushing = threading.Lock()
        self._flushed: int | None = None  # a descriptor: while it is open no other folder gets the inode number

    def names(self) -> list[str]:
        """List the shards, in the order in which later ones win."""
        self._refuse_link()
        # a listing is no snapshot: what is linked meanwhile may be missing. A shard that was acknowledged before the
        # call is always in it, or has been merged, so whoever lists first and opens the main file after misses nothing
        try:
            with os.scandir(self.folder) as found:
                return sorted(item.name for item in found if _SHARD.fullmatch(item.name))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ZooError(f"{self.folder} cannot be read: {error.strerror}") from error

    def _refuse_link(self) -> None:
        """A link would lead to the shards of another zoo, which a merge would remove."""
        if self.folder.is_symlink():
            raise ZooError(f"{self.folder} is a symbolic link; a journal is a folder of its own")

    def sequenced(self, kind: str) -> str:
        """Make a name for a space or latencies that sorts after every shard seen so far."""
        # the clock may step back, or that of another machine be ahead: a write that follows an acknowledged one has to
        # sort after it whatever the clocks say. 20 digits hold every nanosecond until the year 5138, zeros in front
        # make names sort as numbers. The random part keeps two writers of one nanosecond apart
        seen = [int(match[4]) for name in self.names() if (match := _SHARD.fullmatch(name)) and match[4]]
        return f"{kind}-{max(time.time_ns(), max(seen, default=0) + 1):020d}-{uuid.uuid4().hex}.h5"

    def commit(self, name: str, columns: Mapping[str, Column], about: Mapping[str, Any]) -> bool:
        """Write a shard for good.

        Returns:
            False if there is a shard of that name already, which then stays as it is.

        Raises:
            ZooError: If it cannot be written, for example for want of space.
        """
        return self._in_folder(lambda: self._commit(name, columns, about))

    def write(self, columns: Mapping[str, Column], about: Mapping[str, Any]) -> Path:
        """Write a file that is no shard, under a temporary name. The caller gives it to :meth:`discard`.

        Raises:
            ZooError: If it cannot be written.
        """

        def write() -> Path:
            path = self._write(columns, about, _BATCH)
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            _flock(descriptor, wait=True, shared=True)  # shared, as HDF5 locks so what it reads
            if not path.exists():  # a sweep found it before it was locked: write it again
                os.close(descriptor)
                raise FileNotFoundError(path)
            self._held[path] = descriptor
            return path

        return self._in_folder(write)

    def discard(self, files: Iterable[Path]) -> None:
        """Remove files that :meth:`write` wrote, and the folder if nothing is left in it."""
        for file in files:
            with suppress(OSError):  # the next merge removes it
                file.unlink(missing_ok=True)
            if file in self._held:
                os.close(self._held.pop(file))
        self.remove_if_empty()

    def temporary(self, kind: str = "") -> Path:
        """Make a name for a file that is not finished; one of a merge, which holds the lock, or of a batch says so."""
        return self.folder / f"tmp-{os.getpid()}-{kind}{uuid.uuid4().hex}.h5"

    def _in_folder(self, work: Callable[[], T]) -> T:
        """Do something in the folder, which is made if need be; a merge may remove it, empty, at any moment."""
        self._refuse_link()
        try:
            for _ in range(100):  # each round lost to a merge that found the folder empty; two in a row is rare
                with suppress(FileNotFoundError):
                    if not self.folder.exists():
                        self._marked = False  # the mark went with the folder
                        self.folder.mkdir(parents=True, exist_ok=True)
                    if self.path.exists():
                        self.mark()
                    return work()
            raise ZooError(f"{self.folder} is removed again and again; write without merging at the same time")
        except ZooError:
            raise
        except OSError as error:
            raise ZooError(f"{self.folder} cannot be written: {reason(error)}") from error

    def _write(self, columns: Mapping[str, Column], about: Mapping[str, Any], kind: str = "") -> Path:
        temporary = self.temporary(kind)
        try:
            write_file(temporary, columns, about)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return temporary

    def _commit(self, name: str, columns: Mapping[str, Column], about: Mapping[str, Any]) -> bool:
        # 1. all bytes under a temporary name, flushed: a shard must be whole from the moment it has its name
        temporary = self._write(columns, about)
        try:
            # 2. the name. From here readers may show the record, though it is not acknowledged yet; link never
            # replaces, so of two writers of one name exactly one is told that its shard is fresh
            fresh = _link(temporary, self.folder / name)
        finally:
            with suppress(OSError):  # killed before this line: a second name of the shard, gone in an hour
                temporary.unlink(missing_ok=True)
        # 3. flush the name: a cut of power may take it before that. Somebody else's shard too, since the caller
        # acknowledges it as well, and that somebody may not have come to its own flush
        try:
            flush(self.folder)
            self._flush_name()
        except FileNotFoundError:  # merged already: then it is safe in the main file
            pass
        except OSError as error:
            what = "is written and counts, but the disk may not have it yet, so a cut of power may take it"
            raise ZooError(f"{self.folder / name} {what}: {reason(error)}") from error
        return fresh

    def _flush_name(self) -> None:
        """Flush the name of the folder itself, once for each folder: a merge may have removed the one before."""
        with self._flushing:
            if self._flushed is not None:
                if os.path.samestat(os.fstat(self._flushed), self.folder.stat()):
                    return
                self._forget()
            # opened before the flush: if the folder is replaced in between, the inode that is kept is not that of the
            # new one, which is then flushed at the next write
            descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            flush(self.folder.parent)
            self._flushed = descriptor

    def _forget(self) -> None:
        if self._flushed is not None:
            os.close(self._flushed)
            self._flushed = None

    def __del__(self) -> None:
        """Let go of the folder."""
        self._forget()

    def remove(self, names: list[str]) -> None:
        """Delete shards, earlier ones first, and flush the folder.

        Raises:
            ZooError: If that cannot be.
        """
        try:
            # in order: of two shards of one space or transfer the later wins, so the earlier must not outlive it
            for name in names:
                with suppress(FileNotFoundError):  # a process killed after its rename left some of them to this one
                    (self.folder / name).unlink()
            with suppress(FileNotFoundError):
                flush(self.folder)
        except OSError as error:
            raise ZooError(f"{self.folder} cannot be written: {reason(error)}") from error

    @contextmanager
    def announce(self, names: Iterable[str]) -> Iterator[None]:
        """Say, under the lock, which networks and supernets are being brought into the file without a shard.

        Whoever links a shard of one of these looks here afterwards, and waits for what comes of it.
        """
        path = self.folder / _ADDING
        try:
            try:
                # not flushed: after a cut of power nobody runs who could be waiting for it
                path.write_bytes(canonical_json(sorted(names)))
            except OSError as error:
                raise ZooError(f"{self.folder} cannot be written: {reason(error)}") from error
            yield
        finally:
            with suppress(OSError):  # what stays there only makes others wait for the lock
                path.unlink(missing_ok=True)

    def wait_if_announced(self, name: str) -> None:
        """Wait until nobody is about to bring ``name`` into the file by another way than the journal."""
        try:
            announced = read_file(self.folder / _ADDING, ANNOUNCED)
        except FileNotFoundError:
            return
        except OSError as error:
            raise ZooError(f"{self.folder / _ADDING} cannot be read: {reason(error)}") from error
        # one that is only half written is taken to name everybody: waiting costs time, not waiting a network. Ids hold
        # no quotes, so the quoted id is in the text only if it is in the list
        if f'"{name}"'.encode() in announced or not announced.endswith(b"]"):
            with self.lock():  # whoever announced it has come to an end, or was killed
                (self.folder / _ADDING).unlink(missing_ok=True)

    def mark(self) -> None:
        """Note that there is a main file, so that its loss does not pass for a zoo that never had one."""
        if not self._marked:
            flush(self.path.parent)  # whoever gave it its name may not have come to that yet
            # not blocking: a named pipe of that name, in a folder from a stranger, would wait for a reader
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            os.close(os.open(self.folder / _BESIDE, flags, 0o666))
            self._marked = True

    def is_marked(self) -> bool:
        """Return whether there was a main file."""
        return (self.folder / _BESIDE).exists()

    def stale(self) -> list[str]:
        """List, under the lock, temporary files that processes left which were killed.

        Those of merges, as whoever writes one has the lock; those of batches whose own lock nobody has; others an hour
        older than the lock, which is touched first. Both times are the file system's, so the clocks of the machines do
        not matter.
        """
        found = []
        # an hour is much: 16 MB take 10 ms from the first byte to the name. Even of a writer that was only slow nothing
        # is lost: it does not find its file, and writes it again
        try:
            (self.folder / _LOCK).touch()
            now = (self.folder / _LOCK).stat().st_mtime
            for item in self.folder.glob("tmp-*.h5"):
                with suppress(FileNotFoundError):
                    age = now - item.lstat().st_mtime
                    if age > STALE_SECONDS or MERGING in item.name or (_BATCH in item.name and _is_free(item)):
                        found.append(item.name)
        except OSError:
            return []
        return sorted(found)

    @contextmanager
    def lock(self, make: bool = False) -> Iterator[bool]:
        """Hold the lock of the one merge at a time, waiting for it.

        Gives False if there is no journal and it is not to be made. The lock file and the folder are removed at
        the end if nothing is left in the folder.

        Raises:
            ZooError: If the folder cannot be written.
        """
        import fcntl

        self._refuse_link()
        path = self.folder / _LOCK
        while True:
            try:
                if make:
                    self.folder.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
            except FileNotFoundError:
                if make:
                    continue
                yield False
                return
            except OSError as error:
                raise ZooError(f"{self.folder} cannot be written: {reason(error)}") from error
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # goes with the process, however it ends: no lock is ever stale
            # whoever held it may have removed the file; then this lock is of a file without a name, and another
            # process may hold that of a new one: begin again
            with suppress(FileNotFoundError):
                if path.stat().st_ino == os.fstat(descriptor).st_ino:
                    break
            os.close(descriptor)
        try:
            yield True
        finally:
            # still under the lock. A writer may link a shard after the look: then rmdir fails, and the shard stays;
            # the mark is gone then until the next merge, or another process's write, makes it again
            with suppress(OSError):
                if all(item.name in (_LOCK, _BESIDE) for item in os.scandir(self.folder)):
                    (self.folder / _BESIDE).unlink(missing_ok=True)
                    path.unlink()
                    self.folder.rmdir()
            os.close(descriptor)

    def remove_if_empty(self) -> None:
        """Remove the folder if nothing is left in it: what was refused leaves no trace."""
        with suppress(ZooError), self.lock():  # leaving the lock removes an empty folder; the next merge does so, too
            pass


def _is_free(path: Path) -> bool:
    """Return whether nobody has a file locked."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        return _flock(descriptor, wait=False)
    finally:
        os.close(descriptor)


def _flock(descriptor: int, wait: bool, shared: bool = False) -> bool:
    import fcntl

    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if target.exists():  # between this look and the rename another may take the name: docs/zoo-format.md says so
            return False
        os.replace(source, target)
    return True

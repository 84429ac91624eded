"""The folder beside a zoo while it is built: who builds, which items they have claimed, and what was counted."""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from nns.errors import ZooError
from nns.stores import HDF5Store, canonical_json
from nns.types import Json

BUILDS = ".builds"
"""File that every build has locked, shared: who gets it alone knows that nobody builds."""

DONE = b"done"

ATTEMPTS = 1000
"""How often a folder is made that others remove meanwhile."""

Numbers = tuple[list[float], list[float]]
"""Graph statistics of an architecture, and its costs."""

MOST = 64 << 20
"""Bytes of counted architectures that are read at most; 500 take a megabyte."""


class BuildFolder:
    """What several builds of one zoo share, and what one that was killed leaves to the next.

    Decoded images are in folders of their own (:func:`nns.data.cached_arrays`). All locks are of the system's: they go
    with the process, however it ends.

    Args:
        zoo: The zoo file.
    """

    def __init__(self, zoo: Path) -> None:
        """Name the folder; it is made by :meth:`enter`."""
        self.path = zoo.with_name(zoo.name + ".images")
        self._builds = -1
        self._claimed: dict[str, int] = {}
        self._counted: dict[str, Numbers] | None = None

    def enter(self) -> None:
        """Say that a build runs. Waits for a collection of garbage.

        Raises:
            OSError: If the folder cannot be written.
        """
        for left in reversed(range(ATTEMPTS)):
            try:
                (self.path / "claims").mkdir(parents=True, exist_ok=True)
                self._builds = _locked(self.path / BUILDS, fcntl.LOCK_SH)
            except FileExistsError:  # it went between two looks of mkdir's: another build removes it at this moment
                if not left:
                    raise
            if self._builds >= 0:
                return
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(self.path))

    def leave(self, remove: bool) -> None:
        """End the claims; if nobody else builds, ``remove`` the folder with all that is in it."""
        for descriptor in self._claimed.values():
            os.close(descriptor)
        self._claimed.clear()
        if self._builds < 0:
            return
        with suppress(BlockingIOError):
            # the own lock goes first, so that of two builds that end at one moment the second removes it
            fcntl.flock(self._builds, fcntl.LOCK_UN)
            if remove:
                fcntl.flock(self._builds, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._remove()
        os.close(self._builds)
        self._builds = -1

    def _remove(self) -> None:
        # renamed first: a build that begins meanwhile makes a folder of its own, from which nothing goes
        gone = self.path.with_name(f".{self.path.name}-{os.getpid()}-{secrets.token_hex(4)}")
        with suppress(OSError):
            if os.path.samestat((self.path / BUILDS).stat(), os.fstat(self._builds)):
                self.path.rename(gone)
        for each in self.path.parent.glob(f".{glob.escape(self.path.name)}-*"):  # this one, and those of killed builds
            shutil.rmtree(each, ignore_errors=True)

    @property
    def prepared(self) -> HDF5Store:
        """A zoo of what has been described, and enters the zoo itself only when all is."""
        return HDF5Store(self.path / "prepared.h5")

    def claim(self, key: str, again: bool = False) -> bool | None:
        """Claim an item, so that no other build does it.

        Args:
            key: What the item is.
            again: Also if it is said to be finished.

        Returns:
            Whether it was claimed; None if another build has finished it.

        Raises:
            ZooError: If the folder cannot be written.
        """
        try:
            (self.path / "claims").mkdir(parents=True, exist_ok=True)  # somebody may have taken the folder for rubbish
            descriptor = os.open(self._claim(key), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            raise ZooError(f"{self.path} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not again and os.pread(descriptor, len(DONE), 0) == DONE:
                os.close(descriptor)
                return None
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._claimed[key] = descriptor
        return True

    def release(self, key: str, done: bool) -> None:
        """End a claim; ``done`` says to other builds that the zoo has what came of it."""
        descriptor = self._claimed.pop(key)
        with suppress(OSError):  # a full disk: then others look for themselves
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, DONE if done else b"", 0)
        os.close(descriptor)

    def _claim(self, key: str) -> Path:
        return self.path / "claims" / hashlib.sha256(key.encode()).hexdigest()[:32]

    def counted(self, what: Json) -> Numbers | None:
        """Return what was counted of an architecture before, by this build or one that was killed."""
        if self._counted is None:
            self._counted = dict(_read_counts(self.path / "counts.jsonl"))
        return self._counted.get(_name(what))

    def keep(self, what: Json, numbers: Numbers) -> None:
        """Keep what was counted of an architecture: a line is whole or not there."""
        line = json.dumps([_name(what), *numbers], allow_nan=False) + "\n"
        with suppress(OSError, ValueError):  # without room it is counted again
            descriptor = os.open(
                self.path / "counts.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666
            )
            try:
                os.write(descriptor, b"\n" + line.encode())  # a line that a kill has cut does not spoil this one
            finally:
                os.close(descriptor)


@contextmanager
def beside_builds(zoo: Path) -> Iterator[bool]:
    """Return whether a build of a zoo is under way; if none is, none begins within the context."""
    path = BuildFolder(zoo).path / BUILDS
    descriptor = -1
    try:
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        busy = False
    except BlockingIOError:
        busy = True
    try:
        yield busy
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _locked(path: Path, how: int) -> int:
    """Open and lock a file; -1 if who had it before has removed it, or its folder."""
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        fcntl.flock(descriptor, how)
        with suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(descriptor)):
                return descriptor
        os.close(descriptor)
    return -1


def _name(what: Json) -> str:
    return hashlib.sha256(canonical_json(what)).hexdigest()


def _read_counts(path: Path) -> Iterator[tuple[str, Numbers]]:
    try:
        with path.open("rb") as file:
            lines = file.read(MOST).splitlines()
    except OSError:
        return
    for line in lines:
        with suppress(ValueError, TypeError, RecursionError):
            name, statistics, costs = json.loads(line)
            if isinstance(name, str) and all(map(_is_number, (*statistics, *costs))):
                yield name, (_floats(statistics), _floats(costs))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) < float("inf")


def _floats(values: Sequence[float]) -> list[float]:
    return [float(value) for value in values]

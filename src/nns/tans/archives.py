"""Reading a file that ``torch.save`` wrote and a stranger sent: first what it is and calls for, then what it holds.

Such a file is a zip archive of one pickle and the numbers of each tensor. Tensors are mapped, not read, so a file of
many gigabytes costs only what is taken out of it.
"""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from nns.backends.archives import BROKEN, ArchiveError, check_archive
from nns.errors import ZooError
from nns.rehearsal import TooMuchError, rehearse
from nns.tans.scalars import stand_ins
from nns.tans.scanning import RefusedPickle, check_pickle
from nns.untrusted import WEIGHTS, open_file

T = TypeVar("T")

MAX_PICKLE = 16 << 20
"""Bytes of the pickle in an archive; the largest published one has 4 MB. A byte may become 200 in memory."""


class ForeignPickleError(ZooError):
    """A pickle that calls for something else than tensors and numbers, and so is not unpickled.

    Attributes:
        name: What it calls for first, as ``module.name``; empty if it is damaged rather than foreign.
    """

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True)
class Archive:
    """A file that was looked at and may be read.

    Attributes:
        path: Where it is.
        size: Its bytes: nothing that is taken out of it may be larger.
    """

    path: Path
    size: int

    def load(self) -> Any:
        """Read it: plain values and tensors on the CPU that are mapped from the file.

        Raises:
            ZooError: If torch cannot read it.
        """
        import torch

        try:
            with torch.serialization.safe_globals(stand_ins()):
                return torch.load(self.path, map_location="cpu", weights_only=True, mmap=True)
        except Exception as error:  # a damaged file raises whatever it likes
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            raise ZooError(f"{self.path} cannot be read ({reason}); get it again") from error


def open_archive(path: Path, max_bytes: int) -> Archive:
    """Look at a file and at what its pickle calls for, without unpickling anything.

    Args:
        path: A regular file, no symbolic link.
        max_bytes: Bytes that it may have.

    Raises:
        ForeignPickleError: If its pickle calls for anything but tensors and numbers.
        ZooError: If it is no such file, too large, damaged, or compressed.
    """
    size = file_size(path, max_bytes)
    try:
        check_archive(path)
        with open_file(path, WEIGHTS) as file, zipfile.ZipFile(file) as archive:
            data = archive.read(_pickle_of(path, archive.infolist()))
    except ArchiveError as error:
        raise ZooError(f"{path} {error}; get it again") from error
    except BROKEN as error:
        raise ZooError(f"{path} is truncated, or no file that torch.save wrote; get it again") from error
    except OSError as error:
        if isinstance(error, ZooError):
            raise
        raise ZooError(f"{path} cannot be read ({error.strerror or error})") from error
    try:
        check_pickle(data)
    except RefusedPickle as error:
        raise ForeignPickleError(f"{path} was refused: its pickle {error}", error.name) from error
    return Archive(path, size)


def rehearsed(read: Callable[[], T], path: Path) -> T:
    """Read a file, after it was read in a process that may take only so much memory and time.

    Raises:
        ZooError: If it takes more, or whatever ``read`` raises.
    """
    import torch  # noqa: F401 - here, so that the child need not

    try:
        rehearse(read, path.stat().st_size if path.is_file() else 0)
    except TooMuchError as error:
        raise ZooError(f"{path} is no published file: {error}") from error
    return read()


def file_size(path: Path, max_bytes: int) -> int:
    """Return the bytes of a regular file.

    Raises:
        ZooError: If there is none, it is a link, a folder or something else, or larger than ``max_bytes``.
    """
    try:
        found = os.lstat(path)
    except OSError as error:
        raise ZooError(f"{path} cannot be read ({error.strerror})") from error
    if not stat.S_ISREG(found.st_mode):
        what = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "a folder" if stat.S_ISDIR(found.st_mode) else ""
        raise ZooError(f"{path} is {what or 'something else'}, where a regular file is due; put the file itself there")
    if found.st_size > max_bytes:
        raise ZooError(f"{path} has {found.st_size} bytes, more than the {max_bytes} that such a file may have")
    return found.st_size


def _pickle_of(path: Path, members: list[zipfile.ZipInfo]) -> zipfile.ZipInfo:
    """Find the pickle.

    Raises:
        ZooError: If it is missing or too large.
    """
    pickles = [member for member in members if member.filename.partition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        raise ZooError(f"{path} is no file that torch.save wrote: it holds no data.pkl")
    if pickles[0].file_size > MAX_PICKLE:
        raise ZooError(f"{path} has a pickle of {pickles[0].file_size} bytes, more than the {MAX_PICKLE} it may have")
    return pickles[0]

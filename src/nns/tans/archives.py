"""Reading a file that ``torch.save`` wrote and a stranger sent: first what it is and calls for, then what it holds.

Such a file is a zip archive of one pickle and the numbers of each tensor. Tensors are mapped, not read, so a file of
many gigabytes costs only what is taken out of it.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nns.errors import ZooError
from nns.tans.scalars import stand_ins
from nns.tans.scanning import RefusedPickle, check_pickle
from nns.untrusted import WEIGHTS, open_file

MAX_PICKLE = 16 << 20
"""Bytes of the pickle in an archive; the largest published one has 4 MB. A byte may become 200 in memory."""

MAX_DIRECTORY = 32 << 20
"""Bytes of an archive's table of contents, that is about half a million tensors."""

_END, _END_64, _LOCATOR_64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_END_BYTES, _LOCATOR_BYTES, _END_64_BYTES = 22, 20, 56


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
        with open_file(path, WEIGHTS) as file:
            if _directory_bytes(file, size) > MAX_DIRECTORY:
                raise ZooError(f"{path} has a table of contents of more than {MAX_DIRECTORY >> 20} MB")
            with zipfile.ZipFile(file) as archive:
                data = archive.read(_pickle_of(path, archive.infolist(), size))
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError, ValueError, RuntimeError) as error:
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


def _directory_bytes(file: Any, size: int) -> int:
    """Find the size of an archive's table of contents, which would all be read at once; ValueError if there is none."""
    start = max(0, size - _END_BYTES - 0xFFFF)
    file.seek(start)
    tail = file.read(size - start)
    at = tail.rfind(_END)
    if at < 0 or at + _END_BYTES > len(tail):
        raise ValueError("no end of an archive")
    (length,) = struct.unpack_from("<I", tail, at + 12)
    locator = at - _LOCATOR_BYTES
    if locator >= 0 and tail[locator : locator + 4] == _LOCATOR_64:
        (offset,) = struct.unpack_from("<Q", tail, locator + 8)
        if offset + _END_64_BYTES > size:
            raise ValueError("an end of an archive beyond the end of the file")
        file.seek(offset)
        record = file.read(_END_64_BYTES)
        # zipfile looks right before the locator, whatever the locator says
        beside = start + locator - _END_64_BYTES
        file.seek(max(0, beside))
        other = file.read(_END_64_BYTES)
        lengths = [struct.unpack_from("<Q", r, 40)[0] for r in (record, other) if r[:4] == _END_64]
        length = max([length if length != 0xFFFFFFFF else 0, *lengths])
    return int(length)


def _pickle_of(path: Path, members: list[zipfile.ZipInfo], size: int) -> zipfile.ZipInfo:
    """Check the table of contents, and find the pickle.

    Raises:
        ZooError: If something is compressed, there twice, larger than the file, or the pickle is missing or too large.
    """
    if any(member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 for member in members):
        raise ZooError(f"{path} is compressed, which torch.save never does; unpack and save it again")
    if sum(member.file_size for member in members) > size:
        raise ZooError(f"{path} says that it holds more bytes than it has; get it again")
    names = [member.filename.casefold() for member in members]
    if len(set(names)) != len(names) or len({name.partition("/")[0] for name in names}) > 1:
        raise ZooError(f"{path} holds something twice, or two archives in one; get it again")
    pickles = [member for member in members if member.filename.partition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        raise ZooError(f"{path} is no file that torch.save wrote: it holds no data.pkl")
    if pickles[0].file_size > MAX_PICKLE:
        raise ZooError(f"{path} has a pickle of {pickles[0].file_size} bytes, more than the {MAX_PICKLE} it may have")
    return pickles[0]

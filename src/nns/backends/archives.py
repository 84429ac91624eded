"""The zip archive that ``torch.save`` writes, looked at before anybody unpickles what is in it."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Any

from nns.untrusted import WEIGHTS, open_file

MAX_DIRECTORY = 32 << 20
"""Bytes of an archive's table of contents, that is about half a million tensors."""

BROKEN = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    NotImplementedError,
    EOFError,
    ValueError,
    RuntimeError,
    struct.error,
)
"""What :mod:`zipfile` raises on a file that is damaged."""

_END, _END_64, _LOCATOR_64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_END_BYTES, _LOCATOR_BYTES, _END_64_BYTES = 22, 20, 56


class ArchiveError(ValueError):
    """An archive that ``torch.save`` does not write, or a damaged one."""


def check_archive(path: Path) -> None:
    """See that an archive is what ``torch.save`` writes, and that no bit of it was changed.

    torch itself looks at no checksum, so a flipped bit would become a weight.

    Raises:
        ArchiveError: If it is compressed, says more than it holds, holds something twice, or a checksum is wrong.
        OSError: If it cannot be read.
    """
    try:
        with open_file(path, WEIGHTS) as file:
            size = file.seek(0, 2)
            if directory_bytes(file, size) > MAX_DIRECTORY:
                raise ArchiveError(f"has a table of contents of more than {MAX_DIRECTORY >> 20} MB")
            with zipfile.ZipFile(file) as archive:
                check_members(archive.infolist(), size)
                if bad := archive.testzip():
                    raise ArchiveError(f"is damaged: {bad!r:.80} has another checksum than when it was written")
    except ArchiveError:
        raise
    except BROKEN as error:
        raise ArchiveError("is truncated, or no file that torch.save wrote") from error


def check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    """Check a table of contents.

    Raises:
        ArchiveError: If something is compressed, there twice, or larger than the file.
    """
    if any(member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 for member in members):
        raise ArchiveError("is compressed, which torch.save never does; unpack and save it again")
    if sum(member.file_size for member in members) > size:
        raise ArchiveError("says that it holds more bytes than it has; get it again")
    names = [member.filename.casefold() for member in members]
    if len(set(names)) != len(names) or len({name.partition("/")[0] for name in names}) > 1:
        raise ArchiveError("holds something twice, or two archives in one; get it again")


def directory_bytes(file: Any, size: int) -> int:
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

"""Writing beside, then renaming: a file or folder under its own name is always whole, the old one or the new one.

What a crash leaves: killed before the rename, the old content and a temporary name that begins with a dot; killed
after it, the new content. A cut of power is the same, since the content is flushed before the rename: without that,
file systems may keep the new name and lose what was in it. The rename itself is flushed last, so what has returned
stays.
"""

from __future__ import annotations

import glob
import mmap
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


def real_path(path: Path) -> Path:
    """Follow links as far as they lead; ``Path.resolve`` raises RuntimeError at one that points at itself."""
    return Path(os.path.realpath(path))


def flush(path: Path) -> None:
    """Flush the bytes of a file, or the names in a folder, to the disk.

    Raises:
        OSError: If that cannot be.
    """
    # read-only is enough for fsync, and a folder cannot be opened otherwise
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _beside(path: Path) -> Path:
    # in the same folder, since a rename between file systems copies; the suffix stays, as writers look at it
    return path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.{path.name}")


OLD_ENOUGH = 600.0
"""Seconds after which what a process of another machine may still be writing is not thought of any more."""


def sweep_beside(path: Path) -> None:
    """Remove what processes that were killed while they wrote ``path`` left beside it.

    A folder that one had moved away, and not yet replaced, comes back. What belongs to a process that runs, or is
    younger than ten minutes, stays.
    """
    for left in path.parent.glob(f".*-*.{glob.escape(path.name)}"):
        found = re.fullmatch(r"\.(\d+)-[0-9a-f]{8}\..+", left.name)
        with suppress(OSError):  # somebody else sweeps, or it may not be removed
            if not found or _runs(int(found[1])) or time.time() - left.lstat().st_mtime < OLD_ENOUGH:
                continue
            if left.is_dir() and not left.is_symlink():
                if (left / "old").is_dir() and not path.exists():
                    (left / "old").rename(path)
                shutil.rmtree(left)
            else:
                left.unlink()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it runs, as somebody else's
        return True
    return True


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name; the file that the block writes there takes the place of ``path`` if the block ends well.

    Folders above it are made. If the block fails, ``path`` is as it was and nothing is left behind.

    Raises:
        OSError: If it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        yield temporary
        flush(temporary)  # before the rename: a name must never stand for less than was written
        os.replace(temporary, path)  # a reader opens the old file or the new one, there is no moment without
        flush(path.parent)  # after it: until then a cut of power may bring the old file back
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all; text is UTF-8.

    Raises:
        OSError: If it cannot be written; what was there is as it was.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file, waiting for it; the file is made if it is not there, and stays.

    To remove it would let two processes hold locks on two files of one name.

    Raises:
        OSError: If it cannot be opened.
    """
    import fcntl

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # goes with the process, however it ends: no lock is ever stale
        yield
    finally:
        os.close(descriptor)


@contextmanager
def replacing_folder(path: Path, flushed: bool = True) -> Iterator[Path]:
    """Yield an empty folder that takes the place of ``path``, if there is one, when the block ends well.

    Folders have no atomic replace: between the two renames a reader finds no ``path``, and a process killed there
    leaves the old one in a folder beside it whose name begins with a dot.

    Args:
        path: Where the folder shall be.
        flushed: Flush each file; not needed where a damaged one is found out and made again.

    Raises:
        OSError: If it cannot be written, or somebody else makes ``path`` between the two renames.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = _beside(path)
    staging.mkdir()
    folder, old = staging / "new", staging / "old"
    try:
        folder.mkdir()
        yield folder
        for item in (*folder.rglob("*"), folder) if flushed else ():
            flush(item)
        if path.exists():
            path.rename(old)
        folder.rename(path)
        if flushed:
            flush(path.parent)
    finally:
        if old.exists() and not path.exists():  # the second rename failed
            old.rename(path)
        shutil.rmtree(staging, ignore_errors=True)


RELEASED_FROM = 256 * 2**20
"""Bytes of a mapped array from which on its pages are released: they are looked up again when they are needed."""


def release_pages(array: Any) -> None:
    """Take the pages of a large array that is mapped from a file out of this process; else nothing happens.

    They stay in the system's cache of files as long as there is room, but count no more as memory of this process, and
    are given up more easily. What was written stays written.
    """
    mapping = getattr(array, "_mmap", None)
    if mapping is not None and len(mapping) >= RELEASED_FROM and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)

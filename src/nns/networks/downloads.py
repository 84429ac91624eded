"""Bringing the bytes of a file onto the disk: bounded, and where they broke off before."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from nns.errors import WeightsError
from nns.places import MAX_WEIGHTS_BYTES
from nns.untrusted import WEIGHTS, open_file

if TYPE_CHECKING:
    from nns.networks.pins import Content
    from nns.types import PartProgress

BLOCK = 256 << 10
"""Bytes that are written at a time."""


class Bounded:
    """A file that is written at its end, counts what it has, and takes no more than it may."""

    def __init__(self, file: BinaryIO, most: int, progress: PartProgress | None) -> None:
        """Go on at the end of ``file``."""
        self._file, self._most, self._progress = file, most, progress
        self.size = file.seek(0, os.SEEK_END)

    def write(self, data: bytes) -> int:
        """Append.

        Raises:
            WeightsError: If that were too much.
        """
        if self.size + len(data) > self._most:
            raise WeightsError(f"more than the {self._most} bytes come that were announced; nothing of them is kept")
        self._file.write(data)
        self.size += len(data)
        if self._progress:
            self._progress(self.size, self._most)
        return len(data)

    def tell(self) -> int:
        """Return the size."""
        return self.size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go back, before what is there is cut off."""
        self.size = self._file.seek(offset, whence)
        return self.size

    def truncate(self) -> int:
        """Cut off what comes after."""
        return self._file.truncate(self.size)


@contextmanager
def partial(path: Path) -> Iterator[BinaryIO]:
    """Open the beginning of a file that is not whole yet, for this process alone; others wait.

    It stays when the block fails, so that the next fetch goes on from there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # who held the lock before may have renamed the file that was opened here
            if path.exists() and os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                yield file
                return


def fetch_url(
    url: str, target: BinaryIO, size: int | None, headers: dict[str, str], progress: PartProgress | None
) -> None:
    """Write what is at an https address behind what ``target`` has of it already.

    huggingface_hub does it: its session, proxies and certificates, and its going on where a connection was cut.
    """
    from huggingface_hub.file_download import http_get

    bounded = Bounded(target, MAX_WEIGHTS_BYTES if size is None else size, progress)
    with _small_steps():
        http_get(url, bounded, resume_size=bounded.size, headers=headers, expected_size=size)  # type: ignore[arg-type]
    target.flush()


@contextmanager
def _small_steps() -> Iterator[None]:
    """Let huggingface_hub hand over what comes, and show no bar of its own.

    It hands over 10 MB at a time: of a network of 10 MB a cut connection would lose all, and a bar would show nothing.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    bars, before = "huggingface_hub.http_get", getattr(constants, "DOWNLOAD_CHUNK_SIZE", None)
    hidden = are_progress_bars_disabled(bars)
    constants.DOWNLOAD_CHUNK_SIZE = BLOCK
    try:
        if not hidden:
            disable_progress_bars(bars)
        yield
    finally:
        if before is not None:
            constants.DOWNLOAD_CHUNK_SIZE = before
        if not hidden:
            enable_progress_bars(bars)


def fetch_by_driver(url: str, target: BinaryIO, size: int | None, progress: PartProgress | None) -> None:
    """Write what is at an address that fsspec has a driver for behind what ``target`` has of it already.

    Raises:
        WeightsError: If the driver is not installed.
    """
    import fsspec  # type: ignore[import-untyped]

    try:
        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise WeightsError(f"{url}: {error}") from error
    bounded = Bounded(target, MAX_WEIGHTS_BYTES if size is None else size, progress)
    with system.open(path, "rb") as source:
        source.seek(bounded.size)
        copy: Callable[[int], bytes] = source.read
        while block := copy(BLOCK):
            bounded.write(block)
    target.flush()


def digest_of(path: Path) -> str:
    """Return the hex sha256 of a file."""
    with open_file(path, WEIGHTS) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def problem_of(path: Path, known: Content) -> str | None:
    """Say how a file differs from what is known of it, None if it does not; the size first, which costs nothing."""
    size = path.stat().st_size
    if known.bytes is not None and size != known.bytes:
        return f"{size} bytes where {known.bytes} are meant"
    if known.sha256 is not None and not (found := digest_of(path)).startswith(known.sha256):
        return f"sha256 {found} where {known.sha256}{'' if known.whole else '…'} is meant"
    return None

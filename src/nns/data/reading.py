"""The one reader of images' bytes: a file is opened once and hashed once, whoever asks for it.

A command hashes a dataset, samples it, looks for unreadable images and decodes it, all of the same files. So what was
read is kept until the dataset goes, as long as there is room, and its digest for good.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any

from PIL import Image

from nns.data.items import ImageSource
from nns.data.listening import listening
from nns.data.opening import open_bytes
from nns.untrusted import IMAGE, open_file

KEPT_BYTES = 256 * 2**20
"""Bytes of files that all datasets of a process keep, together: some ten thousand photographs of 25 kB.

A build opens dozens of datasets, so it is no bound for each of them. What does not fit is read again when it is needed,
but never hashed again."""

UNREADABLE = ""
"""Content digest of a source that cannot be opened."""

_Stamp = tuple[int, int]


@dataclass(frozen=True, eq=False)
class ReceivedImage:
    """An image file that is on no disk, as one that was sent here: its content is that of the file."""

    content: bytes

    def open(self) -> Image.Image:
        """Open it without decoding it; raises whatever Pillow raises on a bad file."""
        return open_bytes(self.content)


def read_file(path: Path) -> tuple[bytes, _Stamp]:
    """Read a file whole: Pillow then cannot keep it open, and one large read is the fastest.

    Returns:
        The bytes, and the size and time of change (in nanoseconds) of the very file that they were read from.
    """
    with open_file(path, IMAGE) as file:
        return file.read(), _stamp(file.fileno())


def open_image(source: ImageSource) -> Image.Image:
    """Open an image without decoding it; raises whatever Pillow raises on a bad file."""
    return open_bytes(read_file(source)[0]) if isinstance(source, Path) else source.open()


class _Room:
    """What is left of :data:`KEPT_BYTES`."""

    def __init__(self) -> None:
        self.used = 0
        self._lock = Lock()  # a dataset is read by several threads

    def take(self, size: int) -> bool:
        """Reserve so many bytes; False if there is no room for them."""
        with self._lock:
            fits = self.used + size <= KEPT_BYTES
            self.used += size * fits
            return fits

    def give_back(self, size: int) -> None:
        with self._lock:
            self.used -= size


_room = _Room()


class ImageReader:
    """Reads the images of one dataset.

    The first that is kept stays: a dataset is gone through from its beginning every time, and a cache that drops the
    oldest would then hold nothing of a dataset that is larger than the cache.

    Digests travel to other processes with it, the bytes do not. Where a file has another size or time of change than
    when it was hashed, the bytes that are read then are hashed again, so that a copy on another machine, with times of
    its own, is no change; see :meth:`has_changed`.
    """

    def __init__(self) -> None:
        """Start with nothing read."""
        self._kept: dict[Path, bytes] = {}
        self._digests: dict[Path, str] = {}
        self._stamps: dict[Path, _Stamp] = {}
        self._held = 0
        self._keeps = True
        self._changed: set[Path] = set()

    def let_go(self) -> None:
        """Forget the bytes of all files, for good: their room is needed; what is asked for again is read again."""
        self._keeps = False
        self._kept.clear()
        _room.give_back(self._held)
        self._held = 0

    @property
    def held(self) -> int:
        """Bytes of files that are kept."""
        return self._held

    def read(self, path: Path) -> bytes:
        """Return the bytes of a file.

        Raises:
            OSError: It cannot be read.
        """
        kept = self._kept.get(path)
        if kept is not None:
            return kept
        content, stamp = read_file(path)
        if self._stamps.get(path) != stamp:  # new to us, or it may have changed
            self._note(path, sha256(content).hexdigest(), stamp)
        if self._keeps and _room.take(len(content)):
            self._kept[path] = content
            self._held += len(content)
        return content

    def open(self, source: ImageSource) -> Image.Image:
        """Do as :func:`open_image`, from the bytes that are kept where they are."""
        return open_bytes(self.read(source)) if isinstance(source, Path) else source.open()

    def digest(self, source: ImageSource) -> str:
        """Return the content digest of an image, without reading it again where it was read.

        Returns:
            Hex sha256 of the file's bytes, or of mode, size and pixels of an image that is no file;
            :data:`UNREADABLE` where it cannot be opened.
        """
        if isinstance(source, ReceivedImage):
            return sha256(source.content).hexdigest()
        try:
            if not isinstance(source, Path):
                return _digest_of_pixels(source.open)
            if source not in self._digests:
                self.read(source)
            return self._digests[source]
        except (OSError, ValueError, TypeError):
            return UNREADABLE

    def has_changed(self, source: ImageSource) -> bool:
        """Return whether a file held other bytes when it was read again than when it was hashed."""
        return isinstance(source, Path) and source in self._changed

    def _note(self, path: Path, digest: str, stamp: _Stamp) -> None:
        if self._digests.get(path, digest) != digest:
            self._changed.add(path)
        self._digests[path], self._stamps[path] = digest, stamp

    def __getstate__(self) -> dict[str, Any]:
        """Leave the bytes behind: a process that trains reads the files for itself, or finds them decoded."""
        return {**vars(self), "_kept": {}, "_held": 0}

    def __del__(self) -> None:
        """Make room for others."""
        _room.give_back(self._held)


def _stamp(descriptor: int) -> _Stamp:
    """Tell a file from what it is after a change, as far as that can be told without reading it."""
    info = os.fstat(descriptor)
    return info.st_size, info.st_mtime_ns


def _digest_of_pixels(open_image: Callable[[], Image.Image]) -> str:
    with listening(), open_image() as image:
        digest = sha256(f"{image.mode} {image.width}x{image.height}\n".encode())
        digest.update(image.tobytes())
    return digest.hexdigest()

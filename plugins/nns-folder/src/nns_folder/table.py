"""The table of a folder: what checkpoints there are."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from nns.building.references import Reference, read_references
from nns.networks.remembered import recall, remember
from nns.places import check_path
from nns.plugins import UsageError, WeightsError
from nns.untrusted import WEIGHTS, check_file, open_file

if TYPE_CHECKING:
    from nns.types import PartProgress

FOLDER = "NNS_FOLDER"
"""Environment variable: the folders, with the separator of paths between."""

TABLE = "networks.csv"
BLOCK = 1 << 20
NEEDED = ("backend", "architecture", "classes", "data")

_log = logging.getLogger("nns")


@dataclass(frozen=True)
class Checkpoint:
    """A row of a table whose file is there.

    Attributes:
        folder: The folder of the table.
        file: The file's path below it, with slashes.
        about: What the table says.
    """

    folder: Path
    file: str
    about: Reference

    @property
    def name(self) -> str:
        """What the network is called."""
        return self.file.rpartition(".")[0].replace("/", "-")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of its classes, in the order of its outputs."""
        return self.about.classes or ()

    @property
    def content(self) -> tuple[int, str]:
        """Size and sha256. A digest is kept in the user's cache, and computed anew when the file changes."""
        path = self.folder / self.file
        found = check_file(path, WEIGHTS)
        about = [str(path), found.st_size, found.st_mtime_ns]
        known = recall("digests", about)
        if not known or len(known) != 8:
            with open_file(path, WEIGHTS) as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            known = [int(digest[at : at + 8], 16) for at in range(0, 64, 8)]
            remember("digests", about, known)
        return found.st_size, "".join(f"{int(part):08x}" for part in known)

    def copy(self, target: Path, progress: PartProgress | None) -> None:
        """Write the file to another.

        Raises:
            WeightsError: If it cannot be read.
        """
        try:
            size = check_file(self.folder / self.file, WEIGHTS).st_size
            with open_file(self.folder / self.file, WEIGHTS) as source, target.open("wb") as copied:
                while block := source.read(BLOCK):
                    copied.write(block)
                    if progress:
                        progress(copied.tell(), size)
        except OSError as error:
            raise WeightsError(f"{self.folder / self.file} cannot be copied: {error.strerror}") from error


def checkpoints() -> dict[str, Checkpoint]:
    """List the checkpoints of all folders by name; files that are not there are said once, and left out.

    Raises:
        UsageError: If a table cannot be read, or two checkpoints have one name.
    """
    found: dict[str, Checkpoint] = {}
    for folder in filter(None, os.environ.get(FOLDER, "").split(os.pathsep)):
        for each in _read(Path(folder).expanduser().absolute()):
            if other := found.get(each.name):
                raise UsageError(f"{other.folder / other.file} and {each.folder / each.file} are both {each.name!r}")
            found[each.name] = each
    return found


def _read(folder: Path) -> Iterator[Checkpoint]:
    for about in read_references(folder / TABLE):
        if about.file is None:
            raise UsageError(f"{folder / TABLE} refers to {about.name}, which is no file of the folder")
        if missing := [name for name in NEEDED if not getattr(about, name)]:
            raise UsageError(f"{folder / TABLE}: {about.file.name} needs the column {missing[0]}")
        try:
            file = Path(os.path.normpath(about.file)).relative_to(folder).as_posix()
            check_path(file, "folder")
        except ValueError as error:
            raise UsageError(f"{folder / TABLE}: {about.file} is not below the folder") from error
        if (folder / file).is_file():
            yield Checkpoint(folder, file, about)
        else:
            _say_missing(folder / file)


@lru_cache(maxsize=1000)
def _say_missing(path: Path) -> None:
    _log.warning("%s, which %s lists, is not there", path, TABLE)

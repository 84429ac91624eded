"""Networks in files of a folder with a table, as backends of plugins offer them: a share of a team."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from nns.building.references import Reference, read_references
from nns.errors import UsageError, WeightsError
from nns.networks.remembered import recall, remember
from nns.places import BackendWeights, check_path
from nns.untrusted import WEIGHTS, check_file, open_file

if TYPE_CHECKING:
    from nns.types import PartProgress

TABLE = "networks.csv"
BLOCK = 1 << 20

_log = logging.getLogger("nns")


@dataclass(frozen=True)
class SharedFile:
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

    @property
    def weights(self) -> BackendWeights:
        """Where a zoo finds it; who changes a file makes another network of it."""
        size, sha256 = self.content
        return BackendWeights(f"{sha256[:12]}/{self.file}", size, sha256)

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


def shared_files(variable: str, needed: Sequence[str]) -> dict[str, SharedFile]:
    """List the files of all folders by the names of their networks; what is not there is said once, and left out.

    Args:
        variable: Environment variable that names the folders, with the separator of paths between.
        needed: Columns that each row of a table must fill; those that there may be are of ``nns zoo add --table``.

    Raises:
        UsageError: If a table cannot be read, a row makes no sense, or two networks have one name.
    """
    found: dict[str, SharedFile] = {}
    for folder in filter(None, os.environ.get(variable, "").split(os.pathsep)):
        for each in _read(Path(folder).expanduser().absolute(), needed):
            if other := found.get(each.name):
                raise UsageError(f"{other.folder / other.file} and {each.folder / each.file} are both {each.name!r}")
            found[each.name] = each
    return found


def _read(folder: Path, needed: Sequence[str]) -> Iterator[SharedFile]:
    for about in read_references(folder / TABLE):
        if about.file is None:
            raise UsageError(f"{folder / TABLE} refers to {about.name}, which is no file of the folder")
        if missing := [name for name in needed if not getattr(about, name)]:
            raise UsageError(f"{folder / TABLE}: {about.file.name} needs the column {missing[0]}")
        try:
            file = Path(os.path.normpath(about.file)).relative_to(folder).as_posix()
            check_path(file, "folder")
        except ValueError as error:
            raise UsageError(f"{folder / TABLE}: {about.file} is not below the folder") from error
        if (folder / file).is_file():
            yield SharedFile(folder, file, about)
        else:
            _say_missing(folder / file)


def find_shared(files: Iterable[SharedFile], name: str) -> SharedFile:
    """Find the file that weights of a zoo mean; a zoo may name anything, so only what is in a table is found.

    Raises:
        WeightsError: If none is meant.
    """
    wanted = name.partition("/")[2]
    for each in files:
        if each.file == wanted:
            return each
    raise WeightsError(f"no folder has {wanted!r:.120} in its table")


@lru_cache(maxsize=1000)
def _say_missing(path: Path) -> None:
    _log.warning("%s, which %s lists, is not there", path, TABLE)

"""What is known of files that a zoo names without a digest: taken at the first fetch, required ever after."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from nns.errors import WeightsError
from nns.files import write_whole
from nns.places import MAX_WEIGHTS_BYTES
from nns.untrusted import PINS, read_file

DIGITS = 64
"""Hex digits of a sha256."""

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}", re.ASCII)


@dataclass(frozen=True)
class Content:
    """What a file holds, as far as known.

    Attributes:
        bytes: Its size.
        sha256: Its hex digest, or the beginning of it.
        revision: The commit that it is of, where it is in a repository.
    """

    bytes: int | None = None
    sha256: str | None = None
    revision: str | None = None

    @property
    def whole(self) -> bool:
        """Whether the digest is known to its end."""
        return self.sha256 is not None and len(self.sha256) == DIGITS

    @classmethod
    def of(cls, value: Any) -> Content:
        """Read what :func:`write_pin` wrote.

        Raises:
            ValueError: If it is something else.
        """
        if not isinstance(value, dict):
            raise ValueError("no object")
        size, sha256, revision = (value.get(name) for name in ("bytes", "sha256", "revision"))
        if type(size) is not int or not 0 <= size <= MAX_WEIGHTS_BYTES:
            raise ValueError(f"{size!r:.20} bytes")
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            raise ValueError(f"sha256 {sha256!r:.80}")
        if revision is not None and not (isinstance(revision, str) and _COMMIT.fullmatch(revision)):
            raise ValueError(f"revision {revision!r:.80}")
        return cls(size, sha256, revision)


def pins_path() -> Path:
    """Return the file of pins, in the user's data folder."""
    from platformdirs import user_data_path

    return user_data_path("nns", appauthor=False) / "pins.json"


def read_pins() -> dict[str, Content]:
    """Read all pins; none if there is no file yet.

    Raises:
        WeightsError: If the file is damaged: what it required is not known, so nothing is fetched instead.
    """
    path = pins_path()
    try:
        status = path.stat()
        return dict(_parsed(path, status.st_mtime_ns, status.st_ino))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{path}, which says what files of weights must hold, is damaged ({error})") from error


@lru_cache(maxsize=1)  # a search asks for the place of each network that it shows
def _parsed(path: Path, time: int, inode: int) -> dict[str, Content]:
    return {str(key): Content.of(value) for key, value in json.loads(read_file(path, PINS)).items()}


def write_pin(key: str, content: Content) -> None:
    """Keep what a file holds; two processes that pin at one moment may lose one pin, which is then taken anew."""
    pins = {**read_pins(), key: content}
    rows = {name: asdict(pin) for name, pin in sorted(pins.items())}
    try:
        write_whole(pins_path(), json.dumps(rows, indent=1))
    except OSError as error:
        raise WeightsError(f"{pins_path()} cannot be written: {error.strerror}") from error

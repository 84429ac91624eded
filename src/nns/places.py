"""Where the weights of a network are, as a zoo says it: checked, since a zoo may come from a stranger."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, get_args
from urllib.parse import urlsplit

MAX_WEIGHTS_BYTES = 100 * 10**9
"""Bytes of a file with weights that a zoo may name, at most."""

MAX_TEXT = 2048
"""Characters of an address or a path, at most."""

SCHEMES = ("https", "s3", "gs", "smb", "sftp")
"""Schemes of addresses, for which fsspec has drivers. No ``file``: that would read whatever this machine has."""

LOOPBACK = ("127.0.0.1", "localhost")
"""Hosts for which ``http`` is an address, too, as tests and mirrors on one machine need."""

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_BEGINNING = re.compile(r"[0-9a-f]{8,64}", re.ASCII)
_REPO_PART = r"[A-Za-z0-9](?:[A-Za-z0-9_]|[-.](?![-.]))*(?<![-.])"
_REPO = re.compile(rf"{_REPO_PART}/{_REPO_PART}", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}", re.ASCII)
_ADDRESS = re.compile(r"[a-z][a-z0-9]*://[!-~]+", re.ASCII)


def check_path(path: object, what: str) -> None:
    """Refuse a path that is not below where it is meant to be.

    Raises:
        ValueError: If it is absolute, has ``..`` in it, or is no path on every system.
    """
    parts = path.split("/") if isinstance(path, str) and len(path) <= MAX_TEXT and path.isprintable() else [".."]
    if {"", ".", ".."} & set(parts) or "\\" in str(path) or ":" in str(path):
        raise ValueError(f"file {path!r:.80} is not below its {what}")


def _check_content(size: object, sha256: object, *, known: bool, part: bool = False) -> None:
    unknown = not known
    if not (unknown and size is None) and (type(size) is not int or not 0 <= size <= MAX_WEIGHTS_BYTES):
        raise ValueError(f"bytes {size!r:.40} are not those of a file of at most {MAX_WEIGHTS_BYTES // 10**9} GB")
    pattern, digits = (_BEGINNING, "8 to 64") if part else (_SHA256, "64")
    if not (unknown and sha256 is None) and not (isinstance(sha256, str) and pattern.fullmatch(sha256)):
        raise ValueError(f"sha256 {sha256!r:.80} is not that of a file: {digits} hex digits")


@dataclass(frozen=True)
class StoredWeights:
    """Weights that the zoo itself stores."""

    kind: ClassVar = "stored"


STORED = StoredWeights()
"""The place of weights of which nothing else is said."""


@dataclass(frozen=True)
class PackagedWeights:
    """Weights in a file that an installed package brings.

    Attributes:
        package: Name by which the package is imported, without dots.
        file: Path of the file below it, with slashes.
        bytes: Size of the file.
        sha256: Hex digest of the file.
    """

    kind: ClassVar = "package"
    package: str
    file: str
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        """Refuse what could lead out of a package.

        Raises:
            ValueError: If it does, or a field has the wrong type.
        """
        check_path(self.file, "package")
        if not isinstance(self.package, str) or not self.package.isidentifier():
            raise ValueError(f"package {self.package!r:.80} is not the name of one")
        _check_content(self.bytes, self.sha256, known=True)


@dataclass(frozen=True)
class HubWeights:
    """Weights in a file of a repository of the hub: a zoo says which repository, never which server.

    Attributes:
        repo: ``org/name``.
        file: Path of the file in it, with slashes.
        revision: Commit, tag or branch; None: the default branch.
        bytes: Size of the file, as far as known.
        sha256: Hex digest of the file, as far as known.
    """

    kind: ClassVar = "hub"
    repo: str
    file: str
    revision: str | None = None
    bytes: int | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        """Refuse what is no file of a repository.

        Raises:
            ValueError: If a field is not what it must be.
        """
        named = isinstance(self.repo, str) and len(self.repo) <= 193 and _REPO.fullmatch(self.repo)
        if not named or self.repo.endswith(".git"):
            raise ValueError(f"repository {self.repo!r:.80} is not ORG/NAME")
        check_path(self.file, "repository")
        if self.revision is not None:
            fits = isinstance(self.revision, str) and _REVISION.fullmatch(self.revision)
            if not fits or ".." in self.revision or "//" in self.revision:
                raise ValueError(f"revision {self.revision!r:.80} is not the name of a commit, tag or branch")
        _check_content(self.bytes, self.sha256, known=False)


@dataclass(frozen=True)
class AddressWeights:
    """Weights at an address.

    Attributes:
        url: The address: one of :data:`SCHEMES`.
        bytes: Size of the file, as far as known.
        sha256: Hex digest of the file, as far as known: whole, or the beginning of it that file names of PyTorch have.
    """

    kind: ClassVar = "address"
    url: str
    bytes: int | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        """Refuse addresses of this machine, and what is none.

        Raises:
            ValueError: If a field is not what it must be.
        """
        if not isinstance(self.url, str) or len(self.url) > MAX_TEXT or not _ADDRESS.fullmatch(self.url):
            raise ValueError(f"address {str(self.url)!r:.80} is none")
        parts = urlsplit(self.url)  # ValueError for brackets that are no IPv6 address
        if parts.scheme not in SCHEMES and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
            raise ValueError(f"address {self.url!r:.80} is not one of {', '.join(SCHEMES)}")
        if not parts.hostname or "@" in parts.netloc or "#" in self.url or "\\" in self.url or "::" in self.url:
            raise ValueError(f"address {self.url!r:.80} has no host, or more in it than host and path")
        if not parts.path.strip("/") or ".." in parts.path.split("/"):
            raise ValueError(f"address {self.url!r:.80} names no file")
        _check_content(self.bytes, self.sha256, known=False, part=True)

    @property
    def host(self) -> str:
        """The host, bucket or server that is asked."""
        return urlsplit(self.url).netloc


@dataclass(frozen=True)
class BackendWeights:
    """Weights that the network's backend knows how to fetch: see :meth:`nns.backends.Backend.fetch_weights`.

    Attributes:
        name: What the backend calls them.
        bytes: Size of the file, as far as known.
        sha256: Hex digest of the file, as far as known.
    """

    kind: ClassVar = "backend"
    name: str
    bytes: int | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        """Refuse what is no name: it becomes part of a path, too.

        Raises:
            ValueError: If a field is not what it must be.
        """
        check_path(self.name, "backend")
        _check_content(self.bytes, self.sha256, known=False)


@dataclass(frozen=True)
class FileWeights:
    """Weights in a file in the folder of the zoo, or in a folder below it.

    Attributes:
        path: Path from the folder that the zoo is in, with slashes.
        bytes: Size of the file.
        sha256: Hex digest of the file.
    """

    kind: ClassVar = "file"
    path: str
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        """Refuse what could lead out of the folder.

        Raises:
            ValueError: If it does, or a field has the wrong type.
        """
        check_path(self.path, "zoo's folder")
        _check_content(self.bytes, self.sha256, known=True)


Weights = StoredWeights | PackagedWeights | HubWeights | AddressWeights | BackendWeights | FileWeights
"""Where the weights of a network are; :mod:`nns.networks.weights` reads them from there."""

RemoteWeights = HubWeights | AddressWeights | BackendWeights
"""What is to be fetched before it can be read."""

WEIGHTS_KINDS = {place.kind: place for place in get_args(Weights)}
"""The same by the word that stands in a zoo's JSON; ``"stored"`` is left out there."""

"""Files with weights that are elsewhere: what is known of them, whether they are on this disk, and how they get there.

Nothing here connects but :meth:`RemoteFile.fetch`.
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, assert_never
from urllib.parse import urlsplit

from nns.errors import NnsError, WeightsError
from nns.networks.downloads import digest_of, fetch_by_driver, fetch_url, partial, problem_of
from nns.networks.pins import Content, pins_path, read_pins, write_pin
from nns.places import AddressWeights, BackendWeights, HubWeights, RemoteWeights

if TYPE_CHECKING:
    from nns.backends import Backend
    from nns.types import PartProgress

Where = TypeVar("Where", HubWeights, AddressWeights, BackendWeights)

ALLOW_HTTP = "NNS_ALLOW_HTTP"
"""Environment variable: 1 lets addresses of this machine be fetched without encryption."""


class RemoteFile(ABC, Generic[Where]):
    """A file that is fetched once.

    Attributes:
        where: What and where it is, in a few words.
    """

    where: str

    def __init__(self, weights: Where) -> None:
        """Remember what the zoo says of it; nothing is read."""
        self._weights: Where = weights
        self._said = Content(weights.bytes, weights.sha256, getattr(weights, "revision", None))

    @property
    @abstractmethod
    def host(self) -> str:
        """Who is asked for it."""

    @abstractmethod
    def _find(self) -> Path | None:
        """Find it on this disk, not looked into yet."""

    @abstractmethod
    def _bring(self, progress: PartProgress | None) -> tuple[Path, Content]:
        """Fetch it; gives where it is and what it holds."""

    @abstractmethod
    def _commit(self, path: Path) -> str | None:
        """Return the revision of a file that is on this disk, None if there is no such thing."""

    @cached_property
    def known(self) -> Content:
        """What it must hold: what the zoo says, and where that says nothing, what was found at the first fetch."""
        said = self._said
        if said.whole and said.bytes is not None:
            return said
        pin = read_pins().get(self.where, Content())
        # a pin completes what is said, and contradicts it never: then the file that was pinned is not the one meant
        fits = pin.sha256 is not None and pin.sha256.startswith(said.sha256 or "")
        return Content(
            pin.bytes if said.bytes is None and fits else said.bytes,
            pin.sha256 if fits else said.sha256,
            pin.revision or said.revision,
        )

    def pinned(self) -> Where:
        """Return where it is, with all that is known of it."""
        changes = asdict(self.known)
        if not isinstance(self._weights, HubWeights):
            del changes["revision"]
        found: Where = replace(self._weights, **changes)
        return found

    @property
    def on_disk(self) -> bool:
        """Whether it is on this disk, by its name and size."""
        path = self._find()
        return path is not None and self.known.bytes in (None, path.stat().st_size)

    def path(self) -> Path | None:
        """Return the file if it is on this disk, every byte of it checked; None if it is not.

        Raises:
            WeightsError: If there is another one in its place.
        """
        path = self._find()
        if path is None:
            return None
        if problem := problem_of(path, self.known):
            raise WeightsError(f"{path} is not what {self.where} is to be ({problem}); remove it, and fetch it anew")
        if not self.known.whole:  # from a cache that somebody else filled
            self._pin(Content(path.stat().st_size, digest_of(path), self._commit(path)))
        return path

    def fetch(
        self, offline: bool = False, progress: PartProgress | None = None, tell: Callable[[str], None] | None = None
    ) -> Path:
        """Return the file, fetched if it is not on this disk.

        Args:
            offline: Whether connecting is forbidden; HF_HUB_OFFLINE=1 forbids it as well.
            progress: Called with bytes that are here and bytes in all.
            tell: Called with what was learned of the file, where neither the zoo nor a former fetch had said it.

        Raises:
            WeightsError: If it cannot be had: offline, refused, not there, or other bytes than are meant.
        """
        from nns.networks.hub import is_offline

        if (path := self.path()) is not None:
            return path
        if offline or is_offline():
            raise WeightsError(
                f"{self.where} is not on this disk, and nothing may be fetched here (offline); `nns zoo fetch` does it"
            )
        new = not self.known.whole
        try:
            path, found = self._bring(progress)
        except WeightsError:
            raise
        except Exception as error:  # a library raises whatever the network made it raise
            lines = str(error).strip().splitlines() or [""]
            raise WeightsError(
                f"{self.where} cannot be fetched from {self.host} ({type(error).__name__}: {lines[0]:.300})"
            ) from error
        if new:
            self._pin(found)
            if tell:
                revision = f"revision {found.revision}, " if found.revision else ""
                tell(f"{self.where}: {revision}sha256 {found.sha256}, kept in {pins_path()} and required from now on")
        return path

    def _pin(self, found: Content) -> None:
        write_pin(self.where, found)
        self.__dict__.pop("known", None)


class HubFile(RemoteFile[HubWeights]):
    """A file of a repository of the hub."""

    def __init__(self, weights: HubWeights) -> None:
        """See :class:`RemoteFile`."""
        super().__init__(weights)
        revision = f"@{weights.revision}" if weights.revision else ""
        self.where = f"hub:{weights.repo}{revision}/{weights.file}"

    @property
    def host(self) -> str:
        """The hub, or what HF_ENDPOINT says; never what a zoo says."""
        from nns.networks.hub import endpoint

        return endpoint()

    def _find(self) -> Path | None:
        from nns.networks.hub import cached

        return cached(self._weights, self.known)

    def _bring(self, progress: PartProgress | None) -> tuple[Path, Content]:
        from nns.networks.hub import download

        return download(self._weights, self.known, progress)

    def _commit(self, path: Path) -> str | None:
        from nns.networks.hub import commit_of

        return commit_of(path)


class CachedFile(RemoteFile[Where]):
    """A file in nns's own cache."""

    @cached_property
    def _place(self) -> Path:
        from platformdirs import user_cache_path

        folder = hashlib.sha256(self.where.encode()).hexdigest()[:32]
        name = urlsplit(self.where).path.rpartition("/")[2][-100:]
        return user_cache_path("nns", appauthor=False) / "weights" / folder / name

    def _find(self) -> Path | None:
        return self._place if self._place.is_file() else None

    def _commit(self, path: Path) -> str | None:
        return None

    def _bring(self, progress: PartProgress | None) -> tuple[Path, Content]:
        place, known = self._place, self.known
        unfinished = place.with_name(f"{place.name}.part")
        with partial(unfinished) as file:
            if not place.exists():  # somebody else may have fetched it meanwhile
                self._write(file, unfinished, progress)
                if problem := problem_of(unfinished, known):
                    unfinished.unlink()
                    raise WeightsError(f"{self.host} sent other bytes than {self.where} is to be ({problem})")
                unfinished.rename(place)
        return place, Content(place.stat().st_size, known.sha256 if known.whole else digest_of(place))

    @abstractmethod
    def _write(self, file: object, path: Path, progress: PartProgress | None) -> None:
        """Write what ``file``, at ``path``, lacks."""


class AddressFile(CachedFile[AddressWeights]):
    """A file at an address."""

    def __init__(self, weights: AddressWeights) -> None:
        """See :class:`RemoteFile`."""
        super().__init__(weights)
        self.where = weights.url

    @property
    def host(self) -> str:
        """The host of the address."""
        return str(self._weights.host)

    def _write(self, file: object, path: Path, progress: PartProgress | None) -> None:
        scheme = urlsplit(self.where).scheme
        if scheme == "http" and os.environ.get(ALLOW_HTTP) != "1":
            raise WeightsError(f"{self.where} is not encrypted; {ALLOW_HTTP}=1 allows it")
        if scheme in ("http", "https"):
            # without headers: a token is for the hub alone, not for a host that a zoo names
            fetch_url(self.where, file, self.known.bytes, {}, progress)  # type: ignore[arg-type]
        else:
            fetch_by_driver(self.where, file, self.known.bytes, progress)  # type: ignore[arg-type]


class BackendFile(CachedFile[BackendWeights]):
    """A file that a backend fetches."""

    def __init__(self, weights: BackendWeights, name: str, backend: Callable[[], Backend]) -> None:
        """See :class:`RemoteFile`; ``backend`` is called when something is to be fetched, or a host named."""
        super().__init__(weights)
        self.where = f"{name}:{weights.name}"
        self._backend = backend

    @property
    def host(self) -> str:
        """What the backend says; its name where it is not installed, or knows of no such weights."""
        try:
            return self._backend().weights_host(self._weights.name)
        except NnsError:
            return f"backend {self.where.partition(':')[0]}"

    def _write(self, file: object, path: Path, progress: PartProgress | None) -> None:
        self._backend().fetch_weights(self._weights.name, path, progress)


def remote_file(weights: RemoteWeights, name: str, backend: Callable[[], Backend]) -> RemoteFile[Any]:
    """Return the file that holds weights; ``name`` is that of the backend, which is made only if it has to help."""
    match weights:
        case HubWeights():
            return HubFile(weights)
        case AddressWeights():
            return AddressFile(weights)
        case BackendWeights():
            return BackendFile(weights, name, backend)
        case _:
            assert_never(weights)

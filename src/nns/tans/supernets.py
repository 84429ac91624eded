"""Supernets of the published networks, ``NAME.pt`` for the dataset NAME: found, read, and subnets cut from them.

Each was saved as a whole pickled module, which can run any code. One that holds only tensors is read as any other
file. Any other is left alone, or, if its reader trusts it, unpickled in a process of its own
(:mod:`nns.tans.unpickling`), from which only a file of plain tensors comes back.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nns.errors import WeightsError, ZooError
from nns.tans.architectures import FEATURES, largest_spec
from nns.tans.archives import ForeignPickleError, file_size, open_archive
from nns.types import ArchitectureSpec

if TYPE_CHECKING:
    import torch

    from nns.backends import Backend

MAX_BYTES = 1 << 30
"""Bytes of a supernet; a published one has about 70 MB."""

MAX_SECONDS = 300
"""Time to unpickle one."""

MAX_LEVELS = 4
"""Folders below the named one that supernets are looked for in."""

HEAD = "classifier.linear"


@dataclass(frozen=True)
class Supernet:
    """A supernet that was read.

    Attributes:
        module: The network, in eval mode, with a head for the classes of its dataset.
        own_head: Whether that is the head that came with it; else a fresh one, as its own tells other classes apart.
    """

    module: Any
    own_head: bool


def find_supernets(folder: Path, names: Collection[str]) -> dict[str, Path]:
    """Find ``NAME.pt`` in a folder and those below it, which are the folders of the unpacked ``ofa_nets.tar.gz``.

    Args:
        folder: Where to look; links to folders are not followed.
        names: Names of the datasets.

    Raises:
        ZooError: If there are two for one dataset.
    """
    wanted, found = {f"{name}.pt": name for name in names}, dict[str, Path]()
    for here, folders, files in os.walk(folder):
        if len(Path(here).relative_to(folder).parts) >= MAX_LEVELS:
            folders.clear()
        folders.sort()
        for file in sorted(set(files) & wanted.keys()):
            if wanted[file] in found:
                raise ZooError(f"two supernets of {wanted[file]!r}: {found[wanted[file]]} and {Path(here, file)}")
            found[wanted[file]] = Path(here, file)
    return dict(sorted(found.items()))


def read_tensors(path: Path, trusted: bool) -> Mapping[str, torch.Tensor]:
    """Read the tensors of a supernet by name.

    Args:
        path: The file.
        trusted: Whether it may be unpickled in a process of its own if it holds more than tensors.

    Raises:
        ForeignPickleError: If it holds more than tensors and is not trusted.
        ZooError: If it cannot be read.
    """
    try:
        loaded = open_archive(path, MAX_BYTES).load()
    except ForeignPickleError as error:
        if not trusted:
            raise
        if not error.name:
            raise
        return _unpickled_elsewhere(path)
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(state, dict):
        raise ZooError(f"{path} holds a {type(loaded).__name__} where a supernet is due")
    return state


def _unpickled_elsewhere(path: Path) -> Mapping[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file_size(path, MAX_BYTES)
    with tempfile.TemporaryDirectory(prefix="nns-") as folder:
        target, told = Path(folder, "tensors"), Path(folder, "told")
        command = [sys.executable, "-P", "-m", "nns.tans.unpickling", str(path.absolute()), str(target)]
        with told.open("wb") as out:
            try:
                done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, timeout=MAX_SECONDS, check=False)
            except subprocess.TimeoutExpired as error:
                raise ZooError(f"{path} was not unpickled within {MAX_SECONDS} s") from error
        if done.returncode:
            with told.open("rb") as out:
                reason = " ".join(out.read(400).decode(errors="replace").split())
            raise ZooError(reason or f"{path} cannot be unpickled: the process ended with {done.returncode}")
        file_size(target, MAX_BYTES)
        try:
            return load_file(target)
        except (SafetensorError, OSError, ValueError) as error:
            raise ZooError(f"{path}: what its process handed over are no tensors") from error


def build_supernet(backend: Backend, state: Mapping[str, torch.Tensor], classes: int, path: Path) -> Supernet:
    """Build the supernet that tensors belong to.

    Args:
        backend: The backend of its architecture.
        state: Its tensors, under the names of today's or of the first ofa.
        classes: Classes of its dataset.
        path: Where they come from, for messages.

    Raises:
        ZooError: If they are no supernet of width 1.2, or hold NaN.
    """
    import torch

    renamed = {}
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor) or tensor.layout is not torch.strided:
            raise ZooError(f"{path} holds something else than tensors with names")
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ZooError(f"{path}: tensor {name!r:.80} holds NaN or infinity")
        new = name.replace(".mobile_inverted_conv.", ".conv.")
        renamed[f"{HEAD}.{new.rpartition('.')[2]}" if new in ("classifier.weight", "classifier.bias") else new] = tensor
    head = renamed.get(f"{HEAD}.weight")
    if head is None or head.dim() != 2 or head.shape[1] != FEATURES or not len(head):
        raise ZooError(f"{path} is no supernet of OFA-MobileNetV3 at width 1.2: it has no head of {FEATURES} inputs")
    try:
        module = backend.load_supernet(largest_spec(), renamed, len(head))
    except WeightsError as error:
        raise ZooError(f"{path} is no supernet of OFA-MobileNetV3 at width 1.2 ({error})") from error
    own_head = len(head) == classes
    return Supernet(module if own_head else backend.replace_head(module, classes).eval(), own_head)


def cut_subnets(supernet: Supernet, specs: Collection[ArchitectureSpec]) -> Iterator[Any]:
    """Cut subnets as the published code does: with the batch-norm statistics of the supernet, in eval mode.

    Those are statistics of other activations than the subnet's. Training brings them right; before it, accuracies
    mean nothing.
    """
    for spec in specs:
        supernet.module.set_active_subnet(ks=spec.config["ks"], e=spec.config["e"], d=spec.config["d"])
        yield supernet.module.get_active_subnet(preserve_weight=True).eval()

"""Adding a network that was trained elsewhere: a checkpoint file, its architecture and its data."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nns.building.worker import Origin, describe
from nns.data import Dataset
from nns.data.formats import can_open
from nns.errors import UnknownNameError, UsageError, WeightsError
from nns.types import ArchitectureSpec, DatasetRecord, NetworkEntry, NetworkRecord, Preprocessing, Provenance
from nns.zoo import network_id

if TYPE_CHECKING:
    import torch
    from torch import nn

    from nns.backends import Backend
    from nns.zoo import Zoo

WRAPPERS = ("state_dict", "model_state_dict", "model", "network")
"""Keys under which training scripts keep the weights beside optimiser and epoch."""

PREFIXES = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and Lightning put before every name."""

NO_LICENSE = "NOASSERTION"
"""SPDX's word for a licence that nobody stated."""

SEED = 0


@dataclass(frozen=True)
class _Source:
    """The data that the network was trained on; ``dataset`` is None where only its name is known."""

    name: str
    digest: str
    classes: tuple[str, ...]
    dataset: Dataset | None


def add_checkpoint(
    zoo: Zoo,
    checkpoint: Path,
    backend: str,
    architecture: str,
    data: Any,
    *,
    image_size: int | None = None,
    license: str | None = None,
    trust_pickle: bool = False,
) -> NetworkEntry:
    """Add a network trained elsewhere; its fingerprint is taken here, so a fitted space needs no refit.

    Where ``data`` can be opened, its query features enter the zoo and the accuracy is measured on its
    validation split (carved out of the images where the dataset has none: the network may have been trained
    on them). Where it is only a name in the zoo, the accuracy stays unknown. Class names are assigned in the
    dataset's order, which is that of torchvision's ``ImageFolder``: sorted.

    Args:
        zoo: The zoo, which is written to and merged.
        checkpoint: ``.safetensors``, or a state dict that torch saved, bare or wrapped (:data:`WRAPPERS`).
        backend: The backend that builds the architecture.
        architecture: Its name, as the backend or a network of the zoo has it.
        data: What it was trained on, as :meth:`nns.data.Dataset.of` takes it, or the name of a dataset in the zoo.
        image_size: Side of its images in pixels; None: the architecture's own.
        license: SPDX name of the licence of the weights; None: not stated.
        trust_pickle: Unpickle a checkpoint that needs it, which runs whatever code is in it.

    Returns:
        The entry; the one that is there already if the same checkpoint was added before.

    Raises:
        UsageError: The checkpoint cannot be read, needs to be trusted, or does not fit architecture or data.
        UnknownNameError: There is no such backend, architecture, or dataset.
        DatasetError: ``data`` can be opened but not be used.
    """
    if image_size is not None and image_size < 1:
        raise UsageError(f"image size must be positive, not {image_size}")
    maker = zoo.registry.backend(backend)
    spec = _spec(maker, architecture, zoo)
    source = _source(data, zoo)
    state = read_state(checkpoint, trust_pickle=trust_pickle)
    classes = count_classes(maker, spec, state, checkpoint)
    if classes != len(source.classes):
        raise UsageError(
            f"{str(checkpoint)!r} tells {classes} classes apart, {source.name!r} has {len(source.classes)}: "
            "name the data that it was trained on"
        )
    module = _load(maker, spec, state, classes, checkpoint)
    preprocessing = maker.preprocessing(spec, image_size)
    made_of = {"recipe": "checkpoint", "image_size": preprocessing.size, "sha256": _digest(state)}
    identity = network_id(spec, source.digest or source.name, SEED, made_of)
    if identity in set(zoo.ids()):
        return _same(zoo.entry(identity), checkpoint, license)
    accuracy, dataset = float("nan"), None
    if source.dataset is not None:
        accuracy = _accuracy(module, source.dataset, preprocessing)
        source, dataset = _described(zoo, source, source.dataset)
    what = Origin(identity, source.classes, source.name, source.digest)
    record: NetworkRecord = describe(maker, spec, module, preprocessing, what, accuracy, Provenance.of(made_of))
    record = replace(record, entry=replace(record.entry, license=license or NO_LICENSE))
    # both or neither: with a dataset of its own but not the network, a zoo that was whole would not be any more
    zoo.store.add_all([record] if dataset is None else [record, dataset])
    return record.entry


def read_state(checkpoint: Path, *, trust_pickle: bool = False) -> dict[str, torch.Tensor]:
    """Read a state dict from a file, without what it is wrapped in.

    Raises:
        UsageError: If there is no such file, it is damaged, needs to be trusted, or holds no state dict.
    """
    if not checkpoint.is_file():
        raise UsageError(f"no checkpoint at {str(checkpoint)!r}: give a .safetensors file or a state dict of torch")
    if checkpoint.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return _unwrapped(load_file(checkpoint), checkpoint)
        except (SafetensorError, OSError, ValueError) as error:
            if isinstance(error, UsageError):
                raise
            raise UsageError(f"{str(checkpoint)!r} is not in safetensors format: {_line(error)}") from error
    return _unwrapped(_load_torch(checkpoint, trust_pickle), checkpoint)


def _load_torch(checkpoint: Path, trust_pickle: bool) -> Any:
    import pickle

    import torch

    if trust_pickle:
        logging.getLogger("nns").warning("unpickling %s: whatever code is in it runs now", checkpoint)
    try:
        return torch.load(checkpoint, map_location="cpu", weights_only=not trust_pickle)
    except pickle.UnpicklingError as error:
        if trust_pickle or not _is_pickle(checkpoint):
            raise UsageError(f"{str(checkpoint)!r} is no checkpoint of torch, or a damaged one") from error
        raise UsageError(
            f"{str(checkpoint)!r} holds more than tensors, and unpickling it can run any code in it; save "
            "model.state_dict() instead, or give `trust_pickle` if you know where it comes from"
        ) from error
    except Exception as error:  # a damaged or trusted pickle raises whatever it likes
        reason = f"{type(error).__name__}: {_line(error)}"
        raise UsageError(f"{str(checkpoint)!r} cannot be read as a checkpoint of torch ({reason})") from error


def _is_pickle(checkpoint: Path) -> bool:
    """Return whether a file looks like torch's zip archive or a bare pickle."""
    with checkpoint.open("rb") as file:
        return file.read(4)[:2] in {b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"}


def _unwrapped(loaded: Any, checkpoint: Path) -> dict[str, torch.Tensor]:
    import torch

    if isinstance(loaded, torch.nn.Module):
        loaded = loaded.state_dict()
    for wrapper in WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping | torch.nn.Module):
            inner = loaded[wrapper]
            return _unwrapped(inner, checkpoint)
    if not isinstance(loaded, Mapping) or not loaded:
        raise UsageError(f"{str(checkpoint)!r} holds no state dict but a {type(loaded).__name__}")
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise UsageError(
                f"{str(checkpoint)!r} holds no state dict: {str(name)!r:.60} is a {type(value).__name__}, no tensor"
            )
    state = dict(loaded)
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in state)), None):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def count_classes(backend: Backend, spec: ArchitectureSpec, state: Mapping[str, torch.Tensor], checkpoint: Path) -> int:
    """Find the number of classes in the weights of the head: the tensors whose shape follows the classes.

    Raises:
        UsageError: If the checkpoint has no such tensor.
    """
    plain = replace(spec, source="random")
    two, three = (backend.build(plain, classes).state_dict() for classes in (2, 3))
    head = [name for name, tensor in two.items() if tensor.shape != three[name].shape]
    for name in head:
        if name in state and state[name].dim() == two[name].dim() > 0:
            axis = next(i for i, (a, b) in enumerate(zip(two[name].shape, three[name].shape, strict=True)) if a != b)
            return int(state[name].shape[axis])
    missing = head[0] if head else "head"
    raise UsageError(
        f"{str(checkpoint)!r} has no tensor {missing!r}: it is no {spec.name!r} of backend {backend.name!r}, or comes "
        f"without its classifier (its tensors begin with {next(iter(state))!r:.60})"
    )


def _load(
    backend: Backend, spec: ArchitectureSpec, state: Mapping[str, torch.Tensor], classes: int, checkpoint: Path
) -> nn.Module:
    try:
        return backend.load(spec, state, classes)
    except WeightsError as error:
        raise UsageError(f"{str(checkpoint)!r}: {_line(error)}") from error


def _spec(backend: Backend, architecture: str, zoo: Zoo) -> ArchitectureSpec:
    """Find an architecture by name: among what the backend lists, else among the zoo's networks.

    Where the training elsewhere started from is not known, so the source is the one that needs no download.
    """
    try:
        offered = [spec for spec in backend.offers(architecture) if spec.name == architecture]
    except UnknownNameError:
        offered = []
        entries = [e.spec for e in zoo.entries() if (e.spec.backend, e.spec.name) == (backend.name, architecture)]
        if not entries:
            raise
        offered = entries[:1]
    if not offered:
        raise UnknownNameError(f"{architecture!r} is a pattern; name one architecture of backend {backend.name!r}")
    return replace(offered[0], source="random")


def _source(data: Any, zoo: Zoo) -> _Source:
    known = {record.name: record for record in zoo.datasets()}
    if not isinstance(data, str) or can_open(data, zoo.registry) or Path(data).expanduser().exists():
        dataset = Dataset.of(data, registry=zoo.registry)
        return _Source(dataset.name, dataset.digest, dataset.classes, dataset)
    if data in known:
        return _Source(data, known[data].digest, known[data].classes, None)
    for entry in zoo.entries():
        if entry.source_dataset == data:  # a dataset without query features, as ImageNet
            return _Source(data, entry.source_digest, entry.classes, None)
    error = UnknownNameError.among("dataset", data, {*known, *(entry.source_dataset for entry in zoo.entries())})
    raise UnknownNameError(f"{error}; it is no folder or table either")


def _described(zoo: Zoo, source: _Source, dataset: Dataset) -> tuple[_Source, DatasetRecord | None]:
    """Describe a dataset by the zoo's extractor, under the name that it gets there; None if it is there already."""
    names: set[str] = set()
    for record in zoo.datasets():
        if record.digest == source.digest:
            return replace(source, name=record.name), None
        names.add(record.name)
    name, number = source.name, 1
    while name in names:
        number += 1
        name = f"{source.name}-{number}"
    record = dataset.features(zoo.extractor, seed=SEED)
    return replace(source, name=name), replace(record, name=name)


def _accuracy(module: nn.Module, dataset: Dataset, preprocessing: Preprocessing) -> float:
    from nns.finetuning.evaluating import evaluate

    arrays, _ = dataset.decode_splits(preprocessing.size, seed=SEED, test=0.0)
    _, accuracy = evaluate(module, arrays.val, preprocessing)
    return accuracy


def _same(entry: NetworkEntry, checkpoint: Path, license: str | None) -> NetworkEntry:
    if license is not None and license != entry.license:
        raise UsageError(
            f"{str(checkpoint)!r} is in the zoo already, as {entry.id} under {entry.license!r}, not {license!r}"
        )
    return entry


def _digest(state: Mapping[str, torch.Tensor]) -> str:
    """Digest the tensors, whatever file they came in."""
    from safetensors.torch import save

    return hashlib.sha256(save({name: state[name].detach().contiguous().clone() for name in sorted(state)})).hexdigest()


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__

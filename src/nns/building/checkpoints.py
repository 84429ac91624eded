"""Adding a network that was trained elsewhere: a checkpoint file, its architecture and its data."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.backends.checkpoint import first_line, read_state
from nns.data import Dataset
from nns.data.formats import can_open
from nns.errors import UnknownNameError, UsageError, WeightsError
from nns.networks import Origin, describe_network
from nns.networks.weights import describe_file
from nns.plugins import install_hint
from nns.quantities import counted
from nns.types import ArchitectureSpec, DatasetRecord, NetworkEntry, NetworkRecord, Provenance
from nns.zoo import network_id

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import nn

    from nns.backends import Backend
    from nns.types import Preprocessing
    from nns.zoo import Zoo

NO_LICENSE = "NOASSERTION"
"""SPDX's word for a licence that nobody stated."""

SEED = 0

GUESSING = 0.05
"""Probability that guessing does as well, above which it may be guessing."""


@dataclass(frozen=True)
class _Source:
    """The data that the network was trained on; ``dataset`` is None where only its name is known."""

    name: str
    digest: str
    classes: tuple[str, ...]
    dataset: Dataset | None


@dataclass(frozen=True)
class Measured:
    """How good a network that was trained elsewhere is on its data, as nns reads them.

    Attributes:
        accuracy: Top-1 accuracy, 0..1.
        images: Images that it was measured on.
        guessing: Whether that is no better than guessing with classes as frequent as those that it says, at 5 %.
    """

    accuracy: float
    images: int
    guessing: bool

    def sentence(self) -> str:
        """Say it to people."""
        said = f"{self.accuracy:.1%} of {counted(self.images, 'image')} right"
        if not self.guessing:
            return said
        what = "check its preprocessing (`mean`, `std`, `image_size`) and the order of classes"
        return f"{said}, no better than guessing: {what}"


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
    reference: bool = False,
    classes: Sequence[str] | None = None,
    accuracy: float | None = None,
    mean: tuple[float, float, float] | None = None,
    std: tuple[float, float, float] | None = None,
    on_measured: Callable[[Measured], None] | None = None,
) -> NetworkEntry:
    """Add a network trained elsewhere; its fingerprint is taken here, so a fitted space needs no refit.

    Where ``data`` can be opened, its query features enter the zoo and the accuracy is measured on its
    validation split (carved out of the images where the dataset has none: the network may have been trained
    on them). Where it is only a name in the zoo, the accuracy stays unknown. Class names are assigned in the
    dataset's order, which is that of torchvision's ``ImageFolder``: sorted.

    Args:
        zoo: The zoo, which is written to and merged.
        checkpoint: ``.safetensors``, or a state dict that torch saved, bare or wrapped; see
            :func:`nns.backends.checkpoint.read_state`; or what else the backend reads.
        backend: The backend that builds the architecture.
        architecture: Its name, as the backend or a network of the zoo has it.
        data: What it was trained on, as :meth:`nns.data.Dataset.of` takes it, or the name of a dataset in the zoo.
        image_size: Side of its images in pixels; None: the architecture's own.
        license: SPDX name of the licence of the weights; None: not stated.
        trust_pickle: Unpickle a checkpoint that needs it, which runs whatever code is in it.
        reference: Only refer to the checkpoint, which must be in the folder of the zoo or below it, and stay there.
        classes: Names of its classes in the order of its outputs; None: in that of ``data``.
        accuracy: Its top-1 accuracy, 0..1, where that is known; None: what is measured where ``data`` can be opened.
        mean: Mean of each channel of its images; None: the architecture's own.
        std: Deviation of each channel.
        on_measured: Called with how good it is where ``data`` can be opened, before anything is written.

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
    spec = find_spec(maker, architecture, zoo)
    source = _source(data, zoo, classes)
    weights = describe_file(checkpoint, zoo.path) if reference else None
    if reference and trust_pickle:
        raise UsageError("a checkpoint that needs `trust_pickle` cannot be referred to: others would have to trust it")
    state = read_state(checkpoint, trust_pickle=True) if trust_pickle else _read(maker, spec, checkpoint)
    count = count_classes(maker, spec, state, checkpoint)
    if count != len(source.classes):
        raise UsageError(
            f"{str(checkpoint)!r} tells {count} classes apart, {source.name!r} has {len(source.classes)}: "
            "name the data that it was trained on"
        )
    try:
        module = maker.load(spec, state, count)
    except WeightsError as error:
        raise UsageError(f"{str(checkpoint)!r}: {first_line(error)}") from error
    own = maker.preprocessing(spec, image_size)
    preprocessing = replace(own, mean=mean or own.mean, std=std or own.std)
    made_of = {"recipe": "checkpoint", "image_size": preprocessing.size, "sha256": _digest(state)}
    identity = network_id(spec, source.digest or source.name, SEED, made_of)
    if identity in set(zoo.store.ids()):
        entry = zoo.network(identity).entry
        if license not in (None, entry.license):
            known = f"as {entry.id} under {entry.license!r}, not {license!r}"
            raise UsageError(f"{str(checkpoint)!r} is in the zoo already, {known}")
        return entry
    measured, dataset, found = float("nan") if accuracy is None else accuracy, None, None
    if source.dataset is not None:
        found = _measure(module, source, source.dataset, preprocessing)
        measured = found.accuracy if accuracy is None else accuracy
        source, dataset = _describe_dataset(zoo, source, source.dataset)
    what = Origin(identity, source.classes, source.name, source.digest)
    provenance = Provenance.of(made_of)
    record: NetworkRecord = describe_network(
        maker, spec, module, preprocessing, what, measured, provenance, weights=weights
    )
    record = replace(record, entry=replace(record.entry, license=license or NO_LICENSE))
    if found and on_measured:
        on_measured(found)
    # both or neither: with a dataset of its own but not the network, a zoo that was whole would not be any more
    zoo.store.add_all([record] if dataset is None else [record, dataset])
    return record.entry


def _read(maker: Backend, spec: ArchitectureSpec, checkpoint: Path) -> Mapping[str, torch.Tensor]:
    """Let the backend read a file: it may have a format of its own, or names of tensors from before."""
    try:
        return maker.read_weights(spec, checkpoint)
    except WeightsError as error:
        raise UsageError(str(error)) from error


def _measure(module: nn.Module, source: _Source, data: Dataset, preprocessing: Preprocessing) -> Measured:
    """Predict the validation split; classes may have another order than the data's."""
    from nns.backends.steps import predict_classes

    split = data.decode_splits(preprocessing.size, seed=SEED, test=0.0)[0].val
    said = predict_classes(module, split, preprocessing)
    place = np.array([source.classes.index(name) for name in data.classes])
    return _judge(place[split.labels], said, len(source.classes))


def _judge(labels: NDArray[np.int64], said: NDArray[np.int64], classes: int) -> Measured:
    from scipy.stats import binomtest

    right, images = int((labels == said).sum()), len(labels)
    if not images:
        return Measured(float("nan"), 0, False)
    # who says one class always is right as often as that is frequent, and knows nothing
    frequent = [np.bincount(each, minlength=classes) / images for each in (labels, said)]
    chance = float(np.clip(frequent[0] @ frequent[1], 1e-9, 1 - 1e-9))
    return Measured(right / images, images, bool(binomtest(right, images, chance, "greater").pvalue > GUESSING))


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


def find_spec(backend: Backend, architecture: str, zoo: Zoo) -> ArchitectureSpec:
    """Find an architecture by name: among what the backend lists, else among the zoo's networks.

    Where the training elsewhere started from is not known, so the source is the one that needs no download.
    """
    try:
        offered = [spec for spec in backend.offers(architecture) if spec.name == architecture]
    except UnknownNameError:
        offered = []
        entries = [e.spec for e in zoo.store.entries() if (e.spec.backend, e.spec.name) == (backend.name, architecture)]
        if not entries:
            raise
        offered = entries[:1]
    if not offered:
        raise UnknownNameError(f"{architecture!r} is a pattern; name one architecture of backend {backend.name!r}")
    return replace(offered[0], source="random")


def _source(data: Any, zoo: Zoo, classes: Sequence[str] | None = None) -> _Source:
    known = {record.name: record for record in zoo.datasets()}
    if not isinstance(data, str) or can_open(data, zoo.registry) or Path(data).expanduser().exists():
        dataset = Dataset.of(data, registry=zoo.registry)
        if classes is not None and sorted(classes) != sorted(dataset.classes):
            given, there = set(classes), set(dataset.classes)
            strange = next(iter([*sorted(given - there), *sorted(there - given)]), "one twice")
            raise UsageError(f"`classes` are not those of {dataset.name!r}: {strange!r}")
        return _Source(dataset.name, dataset.digest, tuple(classes or dataset.classes), dataset)
    if data in known:
        return _Source(data, known[data].digest, known[data].classes, None)
    for entry in zoo.store.entries():
        if entry.source_dataset == data:  # a dataset without query features, as ImageNet
            return _Source(data, entry.source_digest, entry.classes, None)
    if classes is not None:
        return _Source(data, "", tuple(classes), None)
    error = UnknownNameError.among("dataset", data, {*known, *(entry.source_dataset for entry in zoo.store.entries())})
    raise UnknownNameError(f"{error}; it is no folder or table either")


def _describe_dataset(zoo: Zoo, source: _Source, dataset: Dataset) -> tuple[_Source, DatasetRecord | None]:
    """Compute the query features of a dataset that the zoo lacks; give it the name it has, or gets, in the zoo.

    Raises:
        UsageError: If the zoo's extractor is not known here, so that no features can be compared with its own.
    """
    names, extractor = set(), zoo.extractor
    for record in zoo.datasets():
        if record.digest == source.digest:
            return replace(source, name=record.name), None
        if record.extractor != extractor.name:
            raise UsageError(
                f"the zoo's datasets are described by extractor {record.extractor!r}, which is not installed"
                f"{install_hint(record.extractor_from)}; install it, or name a dataset that the zoo has"
            )
        names.add(record.name)
    name, number = source.name, 1
    while name in names:
        number += 1
        name = f"{source.name}-{number}"
    record = dataset.features(extractor, seed=SEED)
    return replace(source, name=name), replace(record, name=name)


def _digest(state: Mapping[str, torch.Tensor]) -> str:
    """Digest the tensors, whatever file they came in."""
    from safetensors.torch import save

    return hashlib.sha256(save({name: state[name].detach().contiguous().clone() for name in sorted(state)})).hexdigest()

"""What a network is: its architecture, what it costs, where it comes from, what a zoo says of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from nns.places import STORED, StoredWeights, Weights
from nns.types.aliases import Json, Optimizer, Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_SIDE = 4096
"""Largest input in pixels that a record may ask for."""

MAX_CHANNEL = 1e6
"""Largest mean and deviation of a channel that a record may have."""


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes a network's input.

    Mean and deviation of ImageNet are the default. Weights that come trained were trained with certain ones, so a
    backend of such names them (:class:`nns.testing.BackendContract` asks); what nns trains itself may take the default.

    Attributes:
        size: Side of the square input in pixels.
        mean: Mean per channel (RGB, 0..1) that is subtracted; by default (0.485, 0.456, 0.406).
        std: Standard deviation per channel (RGB, 0..1) that divides; by default (0.229, 0.224, 0.225).
    """

    size: int
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ArchitectureSpec:
    """One architecture of one backend: everything needed to build it again, without weights.

    Attributes:
        backend: Name of the backend that builds it.
        name: Short unique name, e.g. ``mobilenetv3_small_050`` or ``mbv3-w0.5-d3e4k5-1f0c``.
        config: JSON-able settings that only the backend reads.
        source: Where its weights start from: ``"random"``, or what the backend calls a pretrained source.
    """

    backend: str
    name: str
    config: Json = field(default_factory=dict)
    source: str = "random"


@dataclass(frozen=True)
class NetworkCost:
    """The cost of a network without its classifier, and the width at which a classifier is put on.

    A linear classifier for ``C`` classes on ``feature_dim`` inputs adds ``(feature_dim + 1) * C``
    parameters, ``feature_dim * C`` MACs and four bytes a parameter.
    """

    body_params: int
    body_macs: int
    body_bytes: int
    feature_dim: int

    def params(self, classes: int) -> int:
        """Count parameters with a head for ``classes`` classes (0: without a head)."""
        return self.body_params + (self.feature_dim + 1) * classes

    def macs(self, classes: int) -> int:
        """Count multiply-accumulates of one image with a head for ``classes`` classes."""
        return self.body_macs + self.feature_dim * classes

    def bytes(self, classes: int) -> int:
        """Count bytes of the fp32 weights, buffers included, with a head for ``classes`` classes."""
        return self.body_bytes + 4 * (self.feature_dim + 1) * classes


@dataclass(frozen=True)
class Fingerprint:
    """What the space sees of a network.

    Attributes:
        topology: Backend's own topology vector (45 numbers for OFA-MobileNetV3), may be empty.
        functional: Features before the classifier on one fixed Gaussian noise image, (feature_dim,).
        graph: Statistics of the traced graph that every architecture has, (GRAPH_DIM,).
        kernel: Centred similarity matrix of the features of n fixed reference images, (n, n).
        surprise: How far each reference image lies from what the batch norms have seen, (rows, n).
    """

    topology: NDArray[np.float32]
    functional: NDArray[np.float32]
    graph: NDArray[np.float32]
    kernel: NDArray[np.float32]
    surprise: NDArray[np.float32]


FIXED_PARTS = ("graph", "kernel", "surprise")
"""Parts of a fingerprint that have one shape throughout a zoo."""

FINGERPRINT_PARTS = ("topology", "functional", *FIXED_PARTS)
"""All parts of a fingerprint."""


@dataclass(frozen=True)
class Training:
    """How a backend wants a network trained; what is None is left to the defaults of nns's own training.

    Attributes:
        epochs: Passes over the training split.
        optimizer: ``"adamw"`` or ``"sgd"``.
        lr: Peak learning rate.
        weight_decay: Applied to weights of two dimensions or more.
        momentum: Of SGD.
        batch_size: Images a step.
        warmup: Share of the training in which the rate rises, 0..1.
        label_smoothing: 0..1.
        flip: Mirror half of the batches.
        patience: Epochs without a better validation accuracy after which training stops.
        extra: Further settings, JSON-able, that only the backend reads.
    """

    epochs: int | None = None
    optimizer: Optimizer | None = None
    lr: float | None = None
    weight_decay: float | None = None
    momentum: float | None = None
    batch_size: int | None = None
    warmup: float | None = None
    label_smoothing: float | None = None
    flip: bool | None = None
    patience: int | None = None
    extra: Json = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return what is set, as it enters ids and provenances."""
        named = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "extra"}
        return {**{name: value for name, value in named.items() if value is not None}, **self.extra}

    def over(self, defaults: Settings) -> Settings:
        """Return a dataclass of settings with what is set here in place of its defaults; what it lacks is left out."""
        known = {each.name for each in fields(defaults)}  # type: ignore[arg-type]
        return replace(defaults, **{k: v for k, v in self.to_json().items() if k in known})  # type: ignore[type-var]


@dataclass(frozen=True)
class Provenance:
    """Where a network comes from. What code reads are attributes, everything else is for people.

    In a zoo it is one flat JSON object: what is set here, and the keys of ``extra``.

    Attributes:
        base: Id of the supernet or network that its weights come from.
        epochs: Epochs that its training was to have.
        trained_epochs: Epochs that it was trained for.
        images_seen: Images that it was trained on, each as often as it was seen.
        val_curve: Validation accuracy after each of them, 0..1.
        head: Where the head of a subnet comes from.
        extra: Settings, seed, seconds, versions: JSON-able.
    """

    base: str | None = None
    epochs: int | None = None
    trained_epochs: int | None = None
    images_seen: int | None = None
    val_curve: tuple[float, ...] = ()
    head: str | None = None
    extra: Json = field(default_factory=dict)

    @classmethod
    def of(cls, row: Json) -> Provenance:
        """Read a JSON object. Whoever wrote it may have used our names otherwise: that stays in ``extra``."""
        extra = dict(row)
        found: dict[str, Any] = {name: extra.pop(name) for name, kind in _PROVENANCE if type(extra.get(name)) is kind}
        curve = extra.get("val_curve")
        if isinstance(curve, list | tuple) and curve and all(type(each) in (int, float) for each in curve):
            found["val_curve"] = tuple(extra.pop("val_curve"))
        return cls(**found, extra=extra)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that :meth:`of` reads."""
        named = {name: getattr(self, name) for name, _ in _PROVENANCE}
        found = {**self.extra, **{name: value for name, value in named.items() if value is not None}}
        return {**found, "val_curve": list(self.val_curve)} if self.val_curve else found


_PROVENANCE = (("base", str), ("epochs", int), ("trained_epochs", int), ("images_seen", int), ("head", str))


@dataclass(frozen=True)
class NetworkEntry:
    """A network of a zoo, without its weights.

    Attributes:
        id: Unique in the zoo: hex digest of backend, architecture, source and training data.
        spec: The architecture.
        cost: Its counts.
        preprocessing: Its input.
        classes: Names of the classes its own head tells apart.
        source_dataset: Name of the dataset it was trained on (``"imagenet-1k"`` for the pretrained ones).
        source_digest: Content digest of that dataset, empty if unknown.
        accuracy: Top-1 accuracy on its own dataset's validation split, 0..1; NaN if unknown.
        license: SPDX name of the licence of the weights.
        provenance: Where it comes from.
        weights: Where its weights are.
        published: Top-1 accuracies that its authors published, 0..1, by dataset: ``imagenet``, ``imagenet-real``,
            ``imagenet-v2``, ``imagenet-sketch``, ``imagenet-r``, ``imagenet-a``, those that are known.
    """

    id: str
    spec: ArchitectureSpec
    cost: NetworkCost
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    source_dataset: str
    source_digest: str
    accuracy: float
    license: str
    provenance: Provenance = field(default_factory=Provenance)
    weights: Weights = STORED
    published: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the network as ``nns zoo ls --json`` prints it, counted with its own head."""
        classes = len(self.classes)
        place = {} if isinstance(self.weights, StoredWeights) else {"kind": self.weights.kind, **asdict(self.weights)}
        return {
            "id": self.id,
            "backend": self.spec.backend,
            "architecture": self.spec.name,
            "config": dict(self.spec.config),
            "weights_from": self.spec.source,
            "source_dataset": self.source_dataset,
            "classes": classes,
            "accuracy": None if math.isnan(self.accuracy) else self.accuracy,
            "params": self.cost.params(classes),
            "macs": self.cost.macs(classes),
            "bytes": self.cost.bytes(classes),
            "feature_dim": self.cost.feature_dim,
            "image_size": self.preprocessing.size,
            "license": self.license,
            "provenance": self.provenance.to_json(),
            **({"weights_at": place} if place else {}),
            **({"published": dict(self.published)} if self.published else {}),
        }


@dataclass(frozen=True)
class NetworkColumns:
    """Numbers of all networks of a zoo as columns, sorted by id: what filters and scores need, without an entry each.

    Attributes:
        ids: Fixed-width bytes, S64, ascending: ``np.searchsorted`` finds an id.
        body_params: Parameters without the head, int64.
        body_macs: Multiply-accumulates of one image without the head, int64.
        body_bytes: Bytes of the weights without the head, int64.
        feature_dim: Width of the features before the head, int64.
        classes: Number of classes of the network's own head, int64.
        accuracy: As in :class:`NetworkEntry`, float64, NaN if unknown.
        fingerprinted: Whether the zoo has a fingerprint of it, bool; not if its weights have never been on a disk.
    """

    ids: NDArray[np.bytes_]
    body_params: NDArray[np.int64]
    body_macs: NDArray[np.int64]
    body_bytes: NDArray[np.int64]
    feature_dim: NDArray[np.int64]
    classes: NDArray[np.int64]
    accuracy: NDArray[np.float64]
    fingerprinted: NDArray[np.bool_]

    @classmethod
    def of(cls, entries: Sequence[NetworkEntry]) -> NetworkColumns:
        """Collect the columns of networks, sorted by id, from their descriptions, which say nothing of fingerprints."""
        import numpy as np

        costs = [entry.cost for entry in entries]
        names = ("body_params", "body_macs", "body_bytes", "feature_dim")
        columns: dict[str, Any] = {name: np.array([getattr(c, name) for c in costs], np.int64) for name in names}
        columns["classes"] = np.array([len(entry.classes) for entry in entries], np.int64)
        columns["accuracy"] = np.array([entry.accuracy for entry in entries], np.float64)
        columns["fingerprinted"] = np.ones(len(entries), np.bool_)
        return cls(np.array([entry.id.encode() for entry in entries], "S64"), **columns)

    def __len__(self) -> int:
        """Count the networks."""
        return len(self.ids)

    def id(self, row: int) -> str:
        """Return the id in a row as a string."""
        return bytes(self.ids[row]).decode("ascii")


@dataclass(frozen=True)
class NetworkRecord:
    """A network as it is written into a store: entry, fingerprint and weights.

    Attributes:
        entry: Numbers and provenance.
        fingerprint: What the space sees; None if its weights are elsewhere and were not here yet.
        weights: The state dict in safetensors format; empty if the zoo does not store it.
    """

    entry: NetworkEntry
    fingerprint: Fingerprint | None
    weights: bytes


@dataclass(frozen=True)
class SupernetRecord:
    """A supernet as it is written into a store: no candidate of a search, but what subnets are cut from.

    Attributes:
        entry: Numbers and provenance of its largest subnet.
        weights: The state dict in safetensors format.
    """

    entry: NetworkEntry
    weights: bytes

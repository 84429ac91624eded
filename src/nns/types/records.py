"""What a zoo keeps beside networks, and what is said of keeping it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nns.types.aliases import Json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class TransferRecord:
    """How well a network of the zoo did after fine-tuning on another dataset: one cell of the transfer matrix.

    Network, dataset and recipe together are the key.

    Attributes:
        network_id: The network that the fine-tuning started from.
        dataset: Name of the dataset.
        dataset_digest: Its content digest.
        accuracy: Top-1 accuracy on its validation split afterwards, 0..1.
        epochs: Epochs trained.
        recipe: Settings of the fine-tuning, seed included: JSON-able; timing keys are kept but are no content.
    """

    network_id: str
    dataset: str
    dataset_digest: str
    accuracy: float
    epochs: int
    recipe: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Packing:
    """How weights are kept.

    Attributes:
        decoded: Bytes of the weights of all networks and supernets, each counted whole.
        stored: Bytes they take in the file.
        codecs: Name of a codec to the number of frames, their decoded and their stored bytes.
    """

    decoded: int
    stored: int
    codecs: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Decoded bytes for each stored one; 1 if nothing is stored."""
        return self.decoded / self.stored if self.stored else 1.0


@dataclass(frozen=True)
class Garbage:
    """What a collection of garbage removed.

    Attributes:
        supernets: Ids of supernets that no network refers to any more.
        latencies: Measured latencies of networks that are gone.
        transfers: Transfers of networks that are gone.
        files: Names of files that crashes had left in the journal.
        bytes_before: Bytes of the file and its journal before.
        bytes_after: And after.
    """

    supernets: tuple[str, ...] = ()
    latencies: int = 0
    transfers: int = 0
    files: tuple[str, ...] = ()
    bytes_before: int = 0
    bytes_after: int = 0


@dataclass(frozen=True)
class DatasetRecord:
    """A dataset that a zoo knows: its query features, not its images.

    Attributes:
        name: Name given when the zoo was built.
        digest: Content digest of the images and labels.
        classes: Class names.
        features: Query features of up to ten images a class, (n, feature_dim) float32.
        labels: Class index of each feature row, (n,) int64; -1 where unlabelled.
        images: Number of images of the whole dataset.
        extractor: Name of the frozen extractor that made the features.
        extractor_from: Distribution and version that it came from, as ``acme==0.2``; empty if unknown.
    """

    name: str
    digest: str
    classes: tuple[str, ...]
    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    images: int
    extractor: str
    extractor_from: str = field(default="", compare=False)


@dataclass(frozen=True)
class SpaceRecord:
    """A fitted space as it is stored.

    Attributes:
        name: Key under ``/spaces``.
        method: Registered method that reads it.
        settings: JSON-able constructor arguments.
        tensors: Weights in safetensors format.
        network_ids: Networks embedded at fit time, in the order of ``embeddings``.
        embeddings: Their embeddings, (n, dim) float32.
        report: Held-out recall, ranks, predictor error, seconds: JSON-able.
    """

    name: str
    method: str
    settings: Json
    tensors: bytes
    network_ids: Sequence[str]
    embeddings: NDArray[np.float32]
    report: Json = field(default_factory=dict)


@dataclass(frozen=True)
class LatencyRecord:
    """Measured latency of one network on one device: median seconds of one image, batch 1."""

    network_id: str
    device: str
    seconds: float

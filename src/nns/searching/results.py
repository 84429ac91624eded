"""What a search answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nns.searching.neighbours import Neighbourhood
from nns.types import Limits, NetworkEntry


@dataclass(frozen=True)
class QueryDataset:
    """The dataset that was searched with.

    Attributes:
        path: DATA as it was given.
        classes: Number of classes; None where it is unlabelled.
        images: Images found, unreadable ones included.
        skipped: Name and reason of each image that was to be read and could not be.
        digest: Content digest.
    """

    path: str
    classes: int | None
    images: int
    skipped: tuple[tuple[str, str], ...]
    digest: str


@dataclass(frozen=True)
class Candidate:
    """A network that meets the limits, counted with the head that the dataset needs.

    Attributes:
        rank: 1 is best.
        entry: The network.
        params: Parameters.
        macs: Multiply-accumulates of one image.
        bytes: Bytes of the fp32 weights.
        latency: Seconds of one image on this device; None where not measured.
        score: What the ranking is by.
        similarity: Cosine of dataset and network in the space.
        prior: Accuracy expected whatever the dataset, 0..1.
        predicted_accuracy: 0..1.
        interval: 80 % interval of that, from errors on held-out datasets; None where the space has none.
        terms: The parts of the score, by name.
        probe: Leave-one-out accuracy of a ridge classifier on the network's features of the images, 0..1; None where
            it was not probed. Where it was, the score has ``terms["probe"]`` in it.
    """

    rank: int
    entry: NetworkEntry
    params: int
    macs: int
    bytes: int
    latency: float | None
    score: float
    similarity: float
    prior: float
    predicted_accuracy: float
    interval: tuple[float, float] | None
    terms: Mapping[str, float] = field(default_factory=dict)
    probe: float | None = None


@dataclass(frozen=True)
class SearchSeconds:
    """Wall-clock seconds: reading images and computing features; filtering and scoring; everything; the probe."""

    features: float
    score: float
    total: float
    probe: float = 0.0


@dataclass(frozen=True)
class Gain:
    """What the choice is expected to be ahead of the static choice by.

    Attributes:
        points: Difference of the predicted accuracies, in points (hundredths).
        interval: 80 % interval of that, from the errors of such differences on held-out datasets; None if unknown.
    """

    points: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class SearchResult:
    """The answer of a search.

    Attributes:
        dataset: What was searched with.
        zoo_path: The zoo file.
        zoo_digest: Its content digest.
        zoo_networks: Networks in it.
        space: Name of the space that ranked.
        limits: The limits that hold.
        feasible: Networks that meet them.
        candidates: The best, in order.
        static_choice: The network that a ranking blind to the dataset picks within the same limits.
        seconds: Where the time went.
        neighbourhood: The datasets of the zoo that are most like it.
        gain: Expected gain of the first candidate over the static choice.
        together: The few to fine-tune together: the first candidate, and those that make up for it where it fails.
    """

    dataset: QueryDataset
    zoo_path: str
    zoo_digest: str
    zoo_networks: int
    space: str
    limits: Limits
    feasible: int
    candidates: tuple[Candidate, ...]
    static_choice: Candidate
    seconds: SearchSeconds
    neighbourhood: Neighbourhood
    gain: Gain
    together: tuple[Candidate, ...]

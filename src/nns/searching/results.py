"""What a search answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nns.errors import WeightsError
from nns.quantities import counted, format_bytes, format_count, format_seconds
from nns.searching.neighbours import Neighbourhood
from nns.tables import Table
from nns.types import Limits, NetworkEntry

if TYPE_CHECKING:
    from torch import nn

    from nns.data.seen import Seen
    from nns.history import OwnResults
    from nns.networks import WeightsPlace
    from nns.zoo import Zoo

ID_SHOWN = 10
"""Digits of an id in a table; every function takes any unique beginning."""


@dataclass(frozen=True)
class QueryDataset:
    """The dataset that was searched with.

    Attributes:
        path: DATA as it was given.
        classes: Number of classes; None where it is unlabelled.
        images: Images found, unreadable ones included.
        skipped: Name and reason of each image that was to be read and could not be.
        digest: Content digest.
        seen: What else is in it.
    """

    path: str
    classes: int | None
    images: int
    skipped: tuple[tuple[str, str], ...]
    digest: str
    seen: Seen | None = None


@dataclass(frozen=True, repr=False)
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
        probe: What the probe scored the network's features of the images; for the default one the leave-one-out
            accuracy of a ridge classifier, 0..1. None where it was not probed. Where it was, the score has
            ``terms["probe"]`` in it.
        weights: Where its weights are; None where nobody looked.
        zoo: The zoo that it is in; None if that is at a server.
        needs: What is not installed that would build it, in words; empty if nothing.
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
    weights: WeightsPlace | None = None
    zoo: Zoo | None = field(default=None, repr=False, compare=False)
    needs: str = ""

    def __repr__(self) -> str:
        """Return what it is, in one line."""
        return (
            f"<Candidate {self.rank}: {self.entry.id[:ID_SHOWN]}, {self.entry.spec.name} of "
            f"{self.entry.source_dataset}, {format_count(self.params)} parameters, "
            f"expected {self.predicted_accuracy:.0%}>"
        )

    def load(self, classes: int | None = None, *, seed: int = 0) -> nn.Module:
        """Load the network with its trained weights, on the CPU.

        Args:
            classes: Classes of a fresh head; None: its own head.
            seed: Of the fresh head's weights.

        Raises:
            WeightsError: If its weights are not at hand, as those of a server's zoo.
            ZooError: If they are damaged.
        """
        if self.zoo is None:
            raise WeightsError(f"network {self.entry.id} is in the zoo of a server, which gives no weights")
        return self.zoo.network(self.entry.id).load(classes, seed)

    def to_dict(self) -> dict[str, Any]:
        """Return the candidate as ``nns search`` writes it in JSON."""
        entry = self.entry
        return {
            "rank": self.rank,
            "id": entry.id,
            "backend": entry.spec.backend,
            "architecture": entry.spec.name,
            "source_dataset": entry.source_dataset,
            "params": self.params,
            "macs": self.macs,
            "bytes": self.bytes,
            "latency_ms": None if self.latency is None else round(self.latency * 1e3, 4),
            "score": round(self.score, 6),
            "similarity": round(self.similarity, 6),
            "prior": round(self.prior, 6),
            "predicted_accuracy": round(self.predicted_accuracy, 6),
            "interval": None if self.interval is None else [round(v, 6) for v in self.interval],
            "terms": {name: round(part, 6) for name, part in self.terms.items()},
            "probe": None if self.probe is None else round(self.probe, 6),
            "license": entry.license,
            "weights": None if self.weights is None else self.weights.to_dict(),
            "needs": self.needs or None,
        }


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


@dataclass(frozen=True, repr=False)
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
        rests_on: What the ranking rests on where the zoo has no fitted space; empty where it has one.
        left_out: Those that were expected to do better than the first candidate, but are not on this disk, in a search
            that may not fetch anything; the best few.
        unscored: Networks that meet the limits and were left out, since the zoo has no fingerprint of them.
        own: What the user's own fine-tunings added to the scores; None if nobody asked.
        probe_is_accuracy: Whether what the probe found are accuracies, 0..1; see :class:`nns.searching.probes.Probe`.
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
    own: OwnResults | None = None
    probe_is_accuracy: bool = True
    unscored: int = 0
    rests_on: str = ""
    left_out: tuple[Candidate, ...] = ()

    @property
    def best(self) -> Candidate:
        """The first candidate; ``best.load(classes=8)`` is its network with a new head."""
        return self.candidates[0]

    def __repr__(self) -> str:
        """Return what was found, in one line."""
        networks = f"{self.feasible} of {counted(self.zoo_networks, 'network')}"
        return f"<SearchResult for {self.dataset.path}: {networks} meet the limits, best {self.best!r}>"

    def _repr_html_(self) -> str:
        return self.table().html()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document of ``nns search``."""
        limits = self.limits
        return {
            "dataset": {
                "path": self.dataset.path,
                "classes": self.dataset.classes,
                "images": self.dataset.images,
                "skipped": [{"path": path, "reason": reason} for path, reason in self.dataset.skipped],
                "digest": self.dataset.digest,
                **({} if self.dataset.seen is None else self.dataset.seen.to_dict()),
            },
            "zoo": {"path": self.zoo_path, "digest": self.zoo_digest, "networks": self.zoo_networks},
            "space": self.space,
            "limits": {
                "max_params": limits.max_params,
                "max_macs": limits.max_macs,
                "max_size": limits.max_size,
                "max_latency_ms": None if limits.max_latency is None else limits.max_latency * 1e3,
                "backend": limits.backend,
                "license": limits.license,
            },
            "feasible": self.feasible,
            "unscored": self.unscored,
            "left_out": [candidate.to_dict() for candidate in self.left_out],
            "candidates": [candidate.to_dict() for candidate in self.candidates],
            "static_choice": self.static_choice.to_dict(),
            "together": [candidate.entry.id for candidate in self.together],
            "expected_gain": {
                "points": round(self.gain.points, 4),
                "interval": None if self.gain.interval is None else [round(v, 4) for v in self.gain.interval],
            },
            "neighbours": [
                {
                    "dataset": neighbour.name,
                    "distance": round(neighbour.distance, 6),
                    "winner": neighbour.winner or None,
                    "accuracy": None if math.isnan(neighbour.accuracy) else round(neighbour.accuracy, 6),
                }
                for neighbour in self.neighbourhood.nearest
            ],
            "far": self.neighbourhood.far,
            "own_results": None if self.own is None else self.own.to_dict(),
            "seconds": {
                "features": round(self.seconds.features, 4),
                "score": round(self.seconds.score, 6),
                "probe": round(self.seconds.probe, 4),
                "total": round(self.seconds.total, 4),
            },
        }

    def probe_text(self, candidate: Candidate) -> str:
        """Write what the probe found for a candidate: as a share only if it is one."""
        if candidate.probe is None:
            return "-"
        return f"{candidate.probe:.0%}" if self.probe_is_accuracy else f"{candidate.probe:.2f}"

    def table(self) -> Table:
        """Return the ranking as a table; latencies, probes and matches only where there are some."""
        timed = any(candidate.latency is not None for candidate in self.candidates)
        columns = [("#", "right"), ("network", "left"), ("architecture", "left"), ("trained on", "left")]
        columns += [("params", "right"), ("MACs", "right")] + ([("latency", "right")] if timed else [])
        probed = any(candidate.probe is not None for candidate in self.candidates)
        matched = any(candidate.similarity for candidate in self.candidates)  # without a space there is none
        columns += [("expected", "right")] + ([("match", "right")] if matched else [])
        columns += [("probe", "right")] if probed else []
        columns += [("score", "right")]
        elsewhere = any(
            each.zoo is not None and (each.needs or (each.weights is not None and not each.weights.on_disk))
            for each in self.candidates
        )
        columns += [("weights", "left"), ("license", "left")] if elsewhere else []
        rows = []
        for candidate in self.candidates:
            entry = candidate.entry
            row = [str(candidate.rank), entry.id[:ID_SHOWN], entry.spec.name, entry.source_dataset]
            row += [format_count(candidate.params), format_count(candidate.macs)]
            row += [format_seconds(candidate.latency) if candidate.latency is not None else "-"] if timed else []
            row += [_accuracy(candidate)] + ([f"{candidate.similarity:+.2f}"] if matched else [])
            row += [self.probe_text(candidate)] if probed else []
            row += [f"{candidate.score:.2f}"]
            row += [_weights(candidate), entry.license] if elsewhere else []
            rows.append(row)
        classes = counted(self.dataset.classes, "class") if self.dataset.classes is not None else "unlabelled"
        static = self.static_choice
        return Table(
            f"{self.dataset.path}: {counted(self.dataset.images, 'image')}, {classes}; "
            f"{self.feasible} of {counted(self.zoo_networks, 'network')} meet the limits",
            columns,
            rows,
            f"Blind to your images, {static.entry.id[:ID_SHOWN]} ({static.entry.spec.name}) would be picked; "
            f"here it is number {static.rank}. {format_seconds(self.seconds.total)} in all, "
            f"{format_seconds(self.seconds.score)} of it to score.\n" + _together(self),
            ("match", "MACs", "score", "license", "weights", "trained on", "params", "latency", "probe"),
        )


def _together(result: SearchResult) -> str:
    """Return which few are best fine-tuned together."""
    names = [f"number {each.rank} ({each.entry.id[:ID_SHOWN]})" for each in result.together]
    if len(names) == 1:
        return f"To fine-tune: {names[0]}."
    return f"To fine-tune {len(names)} and keep the best: {', '.join(names[:-1])} and {names[-1]}."


def _weights(candidate: Candidate) -> str:
    """Return whether weights are here, or what there is to fetch."""
    place = candidate.weights
    if candidate.needs:
        return "needs a plugin"
    if place is None or place.on_disk:
        return "here"
    if place.host is None:
        return "missing"
    if place.bytes is None:  # nobody said it: most files hold the weights as fp32
        entry = candidate.entry
        return f"to fetch: ~{format_bytes(entry.cost.bytes(len(entry.classes)))}"
    return f"to fetch: {format_bytes(place.bytes)}"


def _accuracy(candidate: Candidate) -> str:
    text = f"{candidate.predicted_accuracy:.0%}"
    if candidate.interval is None:
        return text
    low, high = candidate.interval
    return f"{text} ({low * 100:.0f}-{high:.0%})"

"""What is written down of each stage."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.building import BuildSettings
from nns.errors import ZooError
from nns.jsonable import jsonable
from nns.quantities import counted
from nns.repro.images import Images, image_digests
from nns.repro.wording import plain
from nns.stores import canonical_json, network_content_digest

if TYPE_CHECKING:
    from nns.data import Dataset
    from nns.finetuning.card import Card
    from nns.finetuning.exporting import Exported
    from nns.searching import Candidate, SearchResult
    from nns.space import Space
    from nns.types import NetworkEntry
    from nns.zoo import Zoo

DECIMALS = 6

MOST_NETWORKS = 1000
"""Networks of a zoo up to which each is written down; of a larger one its digest is, and numbers of every so many."""

MOST_PAIRS = 5000
"""Pairs of network and dataset whose prediction is written down."""


NETWORKS_OF = "networks of backend "


@dataclass(frozen=True)
class StageRecord:
    """What came out of one stage, by how far it carries.

    Attributes:
        stage: Name of the stage.
        facts: The same in every environment: ids, content digests of data, counts, samples drawn.
        numbers: Results in floating point by kind and name, rounded; within a tolerance in another environment.
        exact: The same in the same environment only: digests of weights, the order of a ranking.
        images: Of each dataset, what tells its images apart; compared where its digest differs.
    """

    stage: str
    facts: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    exact: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, Images] = field(default_factory=dict)


Parts = tuple[dict[str, str], dict[str, dict[str, float]], dict[str, str]]
"""Facts, numbers and exact values of one of several queries."""


def joined(stage: str, parts: Mapping[str, Parts]) -> StageRecord:
    """Make one record of those of several queries; with one alone names need not say which."""
    facts: dict[str, str] = {}
    numbers: dict[str, dict[str, float]] = {}
    exact: dict[str, str] = {}
    for query, (own_facts, own_numbers, own_exact) in parts.items():
        before = f"{query}: " if len(parts) > 1 else ""
        facts |= {before + key: value for key, value in own_facts.items()}
        exact |= {before + key: value for key, value in own_exact.items()}
        for kind, values in own_numbers.items():
            numbers.setdefault(kind, {}).update({before + key: value for key, value in values.items()})
    return StageRecord(stage, facts, numbers, exact)


def describe_data(named: Mapping[str, Dataset], recipe: BuildSettings | None) -> StageRecord:
    """Describe datasets and, where a file says what is built, that.

    Args:
        named: What each is called, to the dataset.
        recipe: What the file says.
    """
    facts = {
        name: plain(f"{dataset.name}: {len(dataset)} images, {len(dataset.classes)} classes, {dataset.digest}")
        for name, dataset in named.items()
    }
    # where data lies is no content of it
    settings = {} if recipe is None else {key: value for key, value in asdict(recipe).items() if key != "data"}
    facts |= {f"recipe: {key}": plain(_text(value)) for key, value in settings.items()}
    images = {name: image_digests(dataset) for name, dataset in named.items()}
    return StageRecord("data", facts, images=images)


def describe_build(zoo: Zoo) -> StageRecord:
    """Describe a zoo that was built just now."""
    facts: dict[str, str] = {}
    accuracies: dict[str, float] = {}
    exact: dict[str, str] = {}
    by_backend: dict[str, list[float]] = {}
    counts = Counter(entry.spec.backend for entry in zoo.store.entries())
    exact |= {f"{NETWORKS_OF}{backend}": str(count) for backend, count in sorted(counts.items())}
    for entry in _some(zoo.store.entries()):
        name = f"network {entry.id}"
        facts[name] = _about(entry)
        accuracies[name] = entry.accuracy
        by_backend.setdefault(f"backend {entry.spec.backend}", []).append(entry.accuracy)
        exact[name] = zoo.store.network_digest(entry.id)
    if transfers := zoo.store.transfers():
        facts["transfers"] = str(len(transfers))
    features: dict[str, float] = {}
    for record in zoo.datasets():
        features[f"mean of {plain(record.name)}"] = _round(float(np.mean(record.features)))
        features[f"deviation of {plain(record.name)}"] = _round(float(np.std(record.features)))
        exact[f"features of {plain(record.name)}"] = _sha256(np.ascontiguousarray(record.features).tobytes())
    known = {name: [value for value in values if math.isfinite(value)] for name, values in by_backend.items()}
    if transfers:
        known["transfers"] = [transfer.accuracy for transfer in transfers]
    means = {name: _round(float(np.mean(values))) for name, values in known.items() if values}
    numbers = {"features": features, "mean accuracy": means, "accuracy": _finite(accuracies)}
    return StageRecord("build", facts, numbers, exact | {"zoo": zoo.store.digest()})


def describe_zoo(zoo: Zoo) -> StageRecord:
    """Describe a zoo that is there: every byte of it is read, and what it holds is the same on every machine.

    Raises:
        ZooError: If it is damaged.
    """
    for what in zoo.store.damage():
        raise ZooError(f"the zoo {zoo.path} is damaged: {what}; `nns zoo verify` looks at all of it")
    entries = zoo.store.entries()
    facts = {"networks": str(len(entries))}
    if len(entries) <= MOST_NETWORKS:
        for entry in entries:
            fingerprint, weights = zoo.store.fingerprint(entry.id), zoo.store.weights_sha256(entry.id)
            accuracy = "unknown" if entry.accuracy != entry.accuracy else f"{entry.accuracy:.4f}"
            digest = network_content_digest(entry, fingerprint, weights)
            facts[f"network {entry.id}"] = f"{_about(entry)}, accuracy {accuracy}, {digest[:16]}"
    for record in zoo.datasets():
        facts[f"dataset {plain(record.name)}"] = f"{record.images} images, {record.digest[:16]}, {record.extractor}"
    for name in zoo.spaces():
        space = zoo.store.space(name)
        facts[f"space {plain(name)}"] = plain(f"{space.method}, {_sha256(space.tensors)[:16]}")
    return StageRecord("zoo", facts | {"zoo": zoo.store.digest()})


def describe_fit(zoo: Zoo, space: Space) -> StageRecord:
    """Describe a space that was fitted just now, by its record and what it predicts for the zoo's own datasets."""
    record, ids = space.record, zoo.store.ids()
    facts = {
        "method": record.method,
        "settings": canonical_json(dict(record.settings)).decode(),
        "networks": str(len(record.network_ids)),
        "datasets": ", ".join(plain(dataset.name) for dataset in zoo.datasets()),
    }
    rows = np.flatnonzero(space.scored).astype(np.int64)
    rows = rows[:: max(1, -(-len(rows) * len(zoo.datasets()) // MOST_PAIRS))]
    predicted: dict[str, float] = {}
    similarity: dict[str, float] = {}
    for dataset in zoo.datasets():
        scores = space.score(dataset, rows).details(range(len(rows)))
        for place, row in enumerate(rows.tolist()):
            predicted[f"{ids[row]} on {plain(dataset.name)}"] = scores.predicted[place]
            similarity[f"{ids[row]} and {plain(dataset.name)}"] = scores.similarity[place]
    exact = {
        "tensors": _sha256(record.tensors),
        "embeddings": _sha256(np.ascontiguousarray(record.embeddings).tobytes()),
        "held out": _sha256(canonical_json(jsonable(record.report.get("held_out"), DECIMALS, leave_out="seconds"))),
    }
    numbers = {"predicted accuracy": _finite(predicted), "similarity": _finite(similarity)}
    return StageRecord("fit", facts, numbers, exact)


def describe_search(query: Dataset, result: SearchResult, seed: int) -> Parts:
    """Describe the answer of one search."""
    sample = "\n".join(query.content_digests[index] for index in query.sample(seed=seed))
    facts = {"query": result.dataset.digest, "sample": _sha256(sample.encode()), "feasible": str(result.feasible)}
    facts["space"] = plain(result.space)
    sizes = {f"network {c.entry.id}": f"{c.params} parameters, {c.macs} MACs" for c in result.candidates}
    exact = {f"rank {c.rank}": c.entry.id for c in result.candidates} | {"static choice": result.static_choice.entry.id}
    # of all that there are, they are the same everywhere; which are the best so many, is as exact as the scores
    if len(result.candidates) >= result.feasible:
        facts |= sizes
    else:
        exact |= sizes
    return facts, _numbers(result.candidates), exact


def describe_finetune(card: Card, steady: bool) -> Parts:
    """Describe what was handed over.

    Args:
        card: Of the network.
        steady: Whether the same network must be chosen in every environment: nothing was trained before the search.
    """
    facts = {f"recipe: {key}": plain(_text(value)) for key, value in card.recipe.items() if key != "device"}
    facts["classes"] = plain(counted(len(card.classes), "class"))
    chosen = {
        "network": card.network,
        "architecture": plain(f"{card.spec.backend}:{card.spec.name}"),
        "cost": f"{card.params} parameters, {card.macs} MACs at {card.preprocessing.size} pixels",
    }
    measures = {
        "validation accuracy": card.val_accuracy, "test accuracy": card.test_accuracy, "macro F1": card.macro_f1,
    }  # fmt: skip
    known = _finite({name: value for name, value in measures.items() if value is not None})
    exact = {"weights": card.weights_sha256, "epochs": str(card.epochs)}
    return facts | (chosen if steady else {}), {"fine-tuned accuracy": known}, exact | ({} if steady else chosen)


def describe_export(found: Sequence[Exported]) -> Parts:
    """Describe the files that a network was exported to."""
    facts = {each.format: "written" for each in found}
    checks = {check.name: check for each in found for check in each.checks}
    accuracy = _finite({name: check.accuracy for name, check in checks.items() if check.accuracy is not None})
    exact = {f"bytes of {name}": str(check.bytes) for name, check in checks.items()}
    return facts, {"exported accuracy": accuracy} if accuracy else {}, exact


def _about(entry: NetworkEntry) -> str:
    classes = len(entry.classes)
    return plain(
        f"{entry.spec.backend}:{entry.spec.name} on {entry.source_dataset}, {classes} classes, "
        f"{entry.cost.params(classes)} parameters, {entry.cost.macs(classes)} MACs"
    )


def _some(entries: Sequence[NetworkEntry]) -> Sequence[NetworkEntry]:
    return entries[:: max(1, -(-len(entries) // MOST_NETWORKS))]


def _numbers(candidates: Sequence[Candidate]) -> dict[str, dict[str, float]]:
    predicted = {c.entry.id: c.predicted_accuracy for c in candidates}
    predicted |= {f"{c.entry.id}, blind to the data": c.prior for c in candidates}
    return {
        "predicted accuracy": _finite(predicted),
        "similarity": _finite({c.entry.id: c.similarity for c in candidates}),
        "score": _finite({c.entry.id: c.score for c in candidates}),
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else canonical_json(jsonable(value)).decode()


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    """Round what is a number; JSON has no other, and what becomes one or none is told by the facts."""
    return {name: _round(value) for name, value in values.items() if math.isfinite(value)}


def _round(value: float) -> float:
    return round(float(value), DECIMALS) + 0.0  # -0.0 becomes 0.0


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

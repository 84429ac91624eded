"""Running the stages and writing down what came out of each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nns.building import BuildEvent, BuildSettings, build_zoo
from nns.data import Dataset
from nns.errors import NnsError, UsageError
from nns.jsonable import jsonable
from nns.repro.digits import DIGITS_PREFIX, write_digits
from nns.repro.settings import STAGES, ReproSettings
from nns.searching import Candidate, search
from nns.space import Space
from nns.stores import canonical_json
from nns.zoo import Zoo

if TYPE_CHECKING:
    from nns.plugins import Registry

Progress = Callable[[str, int, int], None]
"""``progress(stage, done, total)``."""

DECIMALS = 6
ZOO_FILE = "zoo.h5"


@dataclass(frozen=True)
class StageRecord:
    """What came out of one stage, by how far it carries.

    Attributes:
        stage: Name of the stage.
        facts: The same in every environment: ids, content digests of data, counts, samples drawn.
        numbers: Results in floating point by kind and name, rounded; within a tolerance in another environment.
        exact: The same in the same environment only: digests of weights, the order of a ranking.
    """

    stage: str
    facts: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    exact: Mapping[str, str] = field(default_factory=dict)


def run_stages(
    settings: ReproSettings,
    work: Path,
    *,
    seeds: Mapping[str, int] | None = None,
    workers: int = 1,
    progress: Progress | None = None,
    registry: Registry | None = None,
) -> tuple[StageRecord, ...]:
    """Run data, build, fit and search in ``work``, on the calling thread's settings.

    Args:
        settings: What to run.
        work: Folder for the zoo, which must not be there yet.
        seeds: Seed by stage in place of the settings' own.
        workers: Processes that train, 0: this one alone; their number changes no result.
        progress: Called as things go on.
        registry: Plugins in place of the installed ones.

    Raises:
        UsageError: If ``work`` holds a zoo already: a build would go on with it instead of training.
        NnsError: If a training fails.
    """
    zoo_path = work / ZOO_FILE
    if zoo_path.exists():
        raise UsageError(f"{str(zoo_path)!r} is there already and a check must build anew; name an empty folder")
    work.mkdir(parents=True, exist_ok=True)
    tell = progress or (lambda stage, done, total: None)
    seed_of = dict.fromkeys(STAGES, settings.seed) | dict(seeds or {})

    tell("data", 0, 1)
    placed = replace(
        settings, data=tuple(_placed(data, work) for data in settings.data), query=_placed(settings.query, work)
    )
    labelled = [Dataset.of(data, registry=registry) for data in placed.data]
    query = Dataset.of(placed.query, require_labels=False, registry=registry)
    records = [_data(labelled, query)]
    tell("data", 1, 1)
    _build(placed, labelled, zoo_path, registry, seed_of["build"], workers, tell)
    with Zoo(zoo_path, registry=registry) as zoo:
        records.append(_built(zoo))
        tell("fit", 0, 1)
        Space.fit(zoo, method=placed.method, epochs=placed.space_epochs, seed=seed_of["fit"])
        records.append(_fitted(zoo, placed.method))
        tell("fit", 1, 1)
        tell("search", 0, 1)
        records.append(_searched(placed, query, zoo, seed_of["search"]))
        tell("search", 1, 1)
    return tuple(records)


def _placed(data: str, work: Path) -> str:
    return str(write_digits(data, work)) if data.startswith(DIGITS_PREFIX) else data


def _data(labelled: Sequence[Dataset], query: Dataset) -> StageRecord:
    facts: dict[str, str] = {}
    numbered = [(f"dataset {number}", dataset) for number, dataset in enumerate(labelled, 1)]
    for name, dataset in [*numbered, ("query", query)]:
        facts[name] = f"{dataset.name}: {len(dataset)} images, {len(dataset.classes)} classes, {dataset.digest}"
    return StageRecord("data", facts)


def _build(
    settings: ReproSettings,
    data: Sequence[Dataset],
    zoo: Path,
    registry: Registry | None,
    seed: int,
    workers: int,
    tell: Progress,
) -> None:
    def on_event(event: BuildEvent) -> None:
        tell("build", event.done, event.total)

    build_settings = BuildSettings(
        backends=settings.backends,
        networks=settings.networks,
        image_size=settings.image_size,
        max_images=settings.max_images,
        pretrained=False,
        epochs=settings.epochs,
        transfers=0,
        seed=seed,
    )
    report = build_zoo(zoo, build_settings, data=data, workers=workers, threads=1, on_event=on_event, registry=registry)
    if report.interrupted:
        raise KeyboardInterrupt
    if report.failed:
        dataset, backend, reason = min(report.failed)
        raise NnsError(f"training on {dataset!r} with backend {backend!r} failed: {reason}")


def _built(zoo: Zoo) -> StageRecord:
    facts: dict[str, str] = {}
    accuracies: dict[str, float] = {}
    exact: dict[str, str] = {}
    by_backend: dict[str, list[float]] = {}
    for entry in zoo.store.entries():
        name = f"network {entry.id}"
        classes = len(entry.classes)
        facts[name] = (
            f"{entry.spec.backend}:{entry.spec.name} on {entry.source_dataset}, {classes} classes, "
            f"{entry.cost.params(classes)} parameters, {entry.cost.macs(classes)} MACs"
        )
        accuracies[name] = _round(entry.accuracy)
        by_backend.setdefault(f"backend {entry.spec.backend}", []).append(entry.accuracy)
        exact[name] = zoo.store.network_digest(entry.id)
    features: dict[str, float] = {}
    for record in zoo.datasets():
        features[f"mean of {record.name}"] = _round(float(np.mean(record.features)))
        features[f"deviation of {record.name}"] = _round(float(np.std(record.features)))
        exact[f"features of {record.name}"] = _sha256(np.ascontiguousarray(record.features).tobytes())
    means = {name: _round(float(np.mean(values))) for name, values in by_backend.items()}
    numbers = {"features": features, "mean accuracy": means, "accuracy": accuracies}
    return StageRecord("build", facts, numbers, exact | {"zoo": zoo.store.digest()})


def _fitted(zoo: Zoo, method: str) -> StageRecord:
    record = zoo.store.space(method)
    facts = {
        "method": record.method,
        "settings": canonical_json(dict(record.settings)).decode(),
        "networks": str(len(record.network_ids)),
        "datasets": ", ".join(dataset.name for dataset in zoo.datasets()),
    }
    loaded, ids = Space.load(zoo, method), zoo.store.ids()
    rows = np.arange(len(ids), dtype=np.int64)
    predicted: dict[str, float] = {}
    similarity: dict[str, float] = {}
    for dataset in zoo.datasets():
        scores = loaded.score(dataset, rows).details(rows.tolist())
        for row, network in enumerate(ids):
            predicted[f"{network} on {dataset.name}"] = _round(float(scores.predicted[row]))
            similarity[f"{network} and {dataset.name}"] = _round(float(scores.similarity[row]))
    exact = {
        "tensors": _sha256(record.tensors),
        "embeddings": _sha256(np.ascontiguousarray(record.embeddings).tobytes()),
        "held out": _sha256(canonical_json(jsonable(record.report.get("held_out"), DECIMALS, leave_out="seconds"))),
    }
    return StageRecord("fit", facts, {"predicted accuracy": predicted, "similarity": similarity}, exact)


def _searched(settings: ReproSettings, query: Dataset, zoo: Zoo, seed: int) -> StageRecord:
    result = search(query, zoo, settings.limits, top=len(zoo.store.ids()), space=settings.method, seed=seed)
    sample = "\n".join(query.content_digests[index] for index in query.sample(seed=seed))
    facts = {"query": result.dataset.digest, "sample": _sha256(sample.encode()), "feasible": str(result.feasible)}
    facts |= {f"network {c.entry.id}": f"{c.params} parameters, {c.macs} MACs" for c in result.candidates}
    exact = {f"rank {c.rank}": c.entry.id for c in result.candidates} | {"static choice": result.static_choice.entry.id}
    return StageRecord("search", facts, _numbers(result.candidates), exact)


def _numbers(candidates: Sequence[Candidate]) -> dict[str, dict[str, float]]:
    predicted = {c.entry.id: _round(c.predicted_accuracy) for c in candidates}
    predicted |= {f"{c.entry.id}, blind to the data": _round(c.prior) for c in candidates}
    return {
        "predicted accuracy": predicted,
        "similarity": {c.entry.id: _round(c.similarity) for c in candidates},
        "score": {c.entry.id: _round(c.score) for c in candidates},
    }


def _round(value: float) -> float:
    return round(value, DECIMALS) + 0.0  # -0.0 becomes 0.0


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

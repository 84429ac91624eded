"""What a fine-tuning leaves in the user's history."""

from __future__ import annotations

import math
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from nns.history import FineTuning, KnownDataset, KnownResult
from nns.history.records import MAX_RESULTS, now, weights_of

if TYPE_CHECKING:
    from nns.data import Dataset
    from nns.finetuning._climber import Tried
    from nns.finetuning.report import FinetuneReport
    from nns.zoo import Zoo


def fine_tuning_of(report: FinetuneReport, dataset: Dataset, zoo: Zoo, seed: int = 0) -> FineTuning | None:
    """Describe a fine-tuning for the history; None if nothing was measured on a validation split.

    Args:
        report: What it came to.
        dataset: What it was on. Its features are those that the search computed, or are computed now.
        zoo: Where the networks are from.
        seed: Of the fine-tuning.
    """
    card = report.card
    size = card.preprocessing.size
    splits, _ = dataset.splits_at(size, seed=seed)  # decoded already
    measured = [tried for tried in card.tried if math.isfinite(tried.val_accuracy)][:MAX_RESULTS]
    if not measured or measured[0].network != card.network or not len(splits.val):
        return None
    return FineTuning(
        date=now(),
        nns=_version(),
        dataset=KnownDataset.of(dataset.features(zoo.extractor, seed=seed)),
        recipe={**_settings(card.recipe), "seed": seed, "image_size": size},
        seconds=card.seconds,
        device=card.device,
        validation=len(splits.val),
        results=tuple(_result(tried, report, zoo) for tried in measured),
    )


def _result(tried: Tried, report: FinetuneReport, zoo: Zoo) -> KnownResult:
    card = report.card
    entry = zoo.network(tried.network).entry
    won = tried.network == card.network
    epochs = sum(tried.rungs)
    within = [epoch.val_accuracy for epoch in card.history[:epochs] if math.isfinite(epoch.val_accuracy)]
    return KnownResult(
        network=entry.id,
        backend=entry.spec.backend,
        architecture=entry.spec.name,
        source=entry.spec.source,
        source_dataset=entry.source_dataset[:200],
        weights=weights_of(entry),
        params=entry.cost.body_params,
        accuracy=tried.val_accuracy,
        epochs=epochs,
        winner_accuracy=tried.val_accuracy if won else max(within, default=card.val_accuracy),
        stopped=tried.stopped,
        test_accuracy=card.test_accuracy if won else None,
        macro_f1=card.macro_f1 if won else None,
    )


def _settings(recipe: Any) -> dict[str, str | int | float | bool | None]:
    return {name: value for name, value in recipe.items() if isinstance(value, str | int | float | bool | None)}


def _version() -> str:
    try:
        return version("nns")
    except PackageNotFoundError:
        return "unknown"

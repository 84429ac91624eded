"""Transfers: fine-tuning networks of the zoo on other datasets of it for a short while, to learn how they move."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nns.building.plan import item_seed
from nns.building.worker import CurveTrainer, Place
from nns.space import family_of
from nns.types import Json, NetworkEntry, SplitArrays, Training, TransferRecord

if TYPE_CHECKING:
    from nns.building.settings import BuildSettings
    from nns.data import Dataset
    from nns.plugins import Registry


RESULTS_A_DATASET = 24
"""Results that a dataset gets before another gets any; see docs/results.md for what spreading them thinner costs."""


@dataclass(frozen=True)
class TransferItem:
    """Fine-tuning of one network on one dataset.

    Attributes:
        network_id: The network that it starts from.
        backend: Its backend.
        architecture: Its name.
        data: The dataset, with its digests, so that no worker hashes it again.
        dataset_name: Its name in the zoo.
        seed: Of the new head and of batches.
        data_seed: Of the splits and of the images that are drawn.
        max_images: Training images at most.
        training: How it is trained.
        recipe: The key under which the result is kept; see :func:`transfer_recipe`.
    """

    network_id: str
    backend: str
    architecture: str
    data: Dataset
    dataset_name: str
    seed: int
    data_seed: int
    max_images: int | None
    training: Training
    recipe: Json

    def decode(self, place: Place) -> SplitArrays:
        """Return its images, decoded as its network takes them."""
        with place.open_zoo() as zoo:
            size = zoo.network(self.network_id).entry.preprocessing.size
        return place.arrays(self.data, size, self.data_seed, self.max_images)

    @property
    def architectures(self) -> tuple[str, ...]:
        """Name of the architecture."""
        return (self.architecture,)

    @property
    def dataset_digest(self) -> str:
        """Content digest of the dataset."""
        return self.data.digest

    @property
    def claim(self) -> str:
        """What no two workers may do at a time, of whichever build of the zoo."""
        return f"{self.network_id} {self.dataset_digest}"

    @property
    def key(self) -> tuple[str, str]:
        """Network and dataset."""
        return self.network_id, self.dataset_digest


@dataclass(frozen=True)
class TransferResult:
    """What a transfer came to.

    Attributes:
        accuracies: Top-1 accuracy on the validation split, 0..1.
        images: Images trained on, epochs counted.
        seconds: Wall-clock time.
    """

    accuracies: tuple[float]
    images: int
    seconds: float


def transfer_recipe(settings: BuildSettings) -> dict[str, object]:
    """Return the settings of the fine-tuning, which are part of the key under which a transfer is kept."""
    return {**_training(settings).to_json(), "max_images": settings.max_images, "seed": settings.seed}


def _training(settings: BuildSettings) -> Training:
    return Training(epochs=settings.transfer_epochs, optimizer="adamw", lr=1e-3)


def plan_transfers(
    settings: BuildSettings, datasets: Sequence[tuple[str, Dataset]], entries: Sequence[NetworkEntry]
) -> tuple[TransferItem, ...]:
    """Choose pairs of network and foreign dataset: few datasets, evenly over them and over the networks.

    What a result tells of its network is how far it is above or below others on the same dataset, so a result on a
    dataset of which hardly another is known teaches little. The datasets are as many as get :data:`RESULTS_A_DATASET`
    results each, of different families as far as there are, and more only where networks run out. Networks and datasets
    are ordered by hashes of what they are, so that one more of either changes few pairs.

    Args:
        settings: They say how many.
        datasets: Name in the zoo and opened dataset.
        entries: Networks to start from.
    """
    digests = {dataset.digest for _, dataset in datasets}
    trained = sum(entry.source_digest in digests for entry in entries)
    wanted = settings.transfers_of(trained, len(entries) - trained, len(datasets))
    ordered = _by_family(settings, datasets)
    counts = dict.fromkeys((entry.id for entry in entries), 0)
    chosen: list[TransferItem] = []
    while ordered and len(chosen) < wanted:
        count = max(1, math.ceil((wanted - len(chosen)) / RESULTS_A_DATASET))
        some, ordered = ordered[:count], ordered[count:]
        turns = {dataset.digest: _foreign(settings, dataset, entries) for _, dataset in some}
        while any(turns.values()) and len(chosen) < wanted:
            for name, dataset in some:
                waiting = turns[dataset.digest]
                if waiting and len(chosen) < wanted:
                    entry = min(waiting, key=lambda each: counts[each.id])
                    waiting.remove(entry)
                    counts[entry.id] += 1
                    seed = item_seed(settings.seed, dataset.digest, entry.id)
                    what = (entry.id, entry.spec.backend, entry.spec.name, dataset, name, seed)
                    how = (settings.seed, settings.max_images, _training(settings), transfer_recipe(settings))
                    chosen.append(TransferItem(*what, *how))
    return tuple(chosen)


def _by_family(settings: BuildSettings, datasets: Sequence[tuple[str, Dataset]]) -> list[tuple[str, Dataset]]:
    """Order datasets by chance, but one of each family before the second of any."""
    shuffled = sorted(datasets, key=lambda named: item_seed(settings.seed, "transfers", named[1].digest))
    seen: Counter[str] = Counter()
    turns = []
    for name, _ in shuffled:
        turns.append(seen[family_of(name)])
        seen[family_of(name)] += 1
    return [shuffled[i] for i in sorted(range(len(shuffled)), key=lambda i: turns[i])]


def _foreign(settings: BuildSettings, dataset: Dataset, entries: Sequence[NetworkEntry]) -> list[NetworkEntry]:
    """List the networks that were not trained on a dataset, in a random order of its own."""
    foreign = [entry for entry in entries if entry.source_digest != dataset.digest]
    return sorted(
        foreign, key=lambda entry: (item_seed(settings.seed, "transfers", dataset.digest, entry.id), entry.id)
    )


def run_transfer(place: Place, item: TransferItem, registry: Registry | None = None) -> TransferResult:
    """Fine-tune a network of the zoo with a new head, and note its accuracy in the zoo."""
    started = time.perf_counter()
    with place.open_zoo(registry) as zoo:
        network = zoo.network(item.network_id)
        entry = network.entry
        size = entry.preprocessing.size
        arrays = place.arrays(item.data, size, item.data_seed, item.max_images)
        module = network.load(len(arrays.classes), item.seed)
        trainer = CurveTrainer(device=place.device)
        _, accuracy = trainer(module, arrays, entry.preprocessing, item.training, item.seed)
        seconds = time.perf_counter() - started
        epochs = item.training.epochs or 1
        record = TransferRecord(
            network_id=entry.id,
            dataset=item.dataset_name,
            dataset_digest=item.dataset_digest,
            accuracy=accuracy,
            epochs=epochs,
            recipe={**item.recipe, "seconds": round(seconds, 2)},
        )
        zoo.store.put_transfers([record])
    return TransferResult((accuracy,), epochs * len(arrays.train), seconds)

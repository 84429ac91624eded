"""One cell of a matrix: a network on a dataset, fine-tuned, with a new head alone, and scored without training."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.bench.recipe import HEAD_PENALTIES, CellRecipe
from nns.building.plan import item_seed
from nns.building.worker import Place
from nns.data import Dataset, cached_arrays
from nns.data.cache import draw_by_class
from nns.plugins import installed_plugins
from nns.searching.probes import features_of, make_probe
from nns.types import Json, LabelledArrays, SplitArrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.plugins import Registry
    from nns.types import NetworkEntry, Preprocessing


@dataclass(frozen=True)
class CellItem:
    """A cell to be made.

    Attributes:
        network_id: The network that is fine-tuned.
        data: The dataset.
        dataset: Its name.
        seed: Number of the repetition, from 0; only the first has the scores and the head.
        recipe: How.
    """

    network_id: str
    data: Dataset
    dataset: str
    seed: int
    recipe: CellRecipe

    @property
    def digest(self) -> str:
        """Content digest of the dataset."""
        return self.data.digest

    @property
    def key(self) -> tuple[str, str, int]:
        """Network, dataset and repetition."""
        return self.network_id, self.digest, self.seed


def run_cell(place: Place, item: CellItem, registry: Registry | None = None) -> Json:
    """Fine-tune a network of the zoo on a dataset, choose the epoch on validation, measure the test split once.

    Returns:
        JSON-able: ``network``, ``dataset``, ``digest``, ``seed``; ``val`` and ``test`` accuracy, ``best_epoch``,
        ``val_curve``, ``epoch_seconds`` of fine-tuning; in the first repetition ``head_val``, ``head_test``,
        ``head_seconds``, ``feature_seconds`` and ``scores``, ``score_seconds`` by name. Seconds are of one
        processor, so that what else runs on the machine does not count.
    """
    registry = registry or installed_plugins()
    with place.open_zoo(registry) as zoo:
        network = zoo.network(item.network_id)
        module = network.load()
    entry, backend = network.entry, network.backend
    recipe = item.recipe
    arrays = cached_arrays(
        Path(place.images), item.data, entry.preprocessing.size, recipe.data_seed, recipe.max_images, recipe.test
    )
    arrays = _with_test(arrays, recipe)
    found: dict[str, Any] = {
        "network": item.network_id,
        "dataset": item.dataset,
        "digest": item.digest,
        "seed": item.seed,
    }
    if item.seed == 0:
        found |= _frozen(registry, module, entry, arrays)
    module = backend.replace_head(module, len(arrays.classes), _seed(item, entry))
    return found | _tuned(module, entry.preprocessing, arrays, item, _seed(item, entry), place.device)


def _seed(item: CellItem, entry: NetworkEntry) -> int:
    return item_seed(item.seed, "bench", item.digest, entry.id)


def _with_test(arrays: SplitArrays, recipe: CellRecipe) -> SplitArrays:
    test = arrays.test
    assert test is not None
    if len(test) > recipe.max_test:
        drawn = draw_by_class(np.asarray(test.labels), recipe.max_test, recipe.data_seed)
        test = LabelledArrays(test.images[drawn], test.labels[drawn])
    return SplitArrays(arrays.name, arrays.classes, arrays.train, arrays.val, test)


def _frozen(registry: Registry, module: Any, entry: NetworkEntry, arrays: SplitArrays) -> dict[str, Any]:
    """Score the frozen features of the training split, and train a head on them."""
    assert arrays.test is not None
    backend = registry.backend(entry.spec.backend)
    started = time.process_time()
    features = {"train": features_of(backend, module, arrays.train.images, entry.preprocessing)}
    feature_seconds = time.process_time() - started
    scores, seconds = {}, {}
    for name in registry.names("probe"):
        probe = make_probe(registry, name)
        started = time.process_time()
        scores[name] = round(probe.score(features["train"], arrays.train.labels), 6)
        seconds[name] = round(time.process_time() - started, 4)
    started = time.process_time()
    for split, part in (("val", arrays.val), ("test", arrays.test)):
        features[split] = features_of(backend, module, part.images, entry.preprocessing)
    val, test = _head(features, arrays)
    return {
        "feature_seconds": round(feature_seconds, 4),
        "scores": scores,
        "score_seconds": seconds,
        "head_val": round(val, 6),
        "head_test": round(test, 6),
        "head_seconds": round(time.process_time() - started, 4),
    }


def _head(features: dict[str, NDArray[np.float32]], arrays: SplitArrays) -> tuple[float, float]:
    """Train logistic regressions on frozen features; validation chooses the penalty, the test is read once.

    Source of the procedure: Kornblith, Shlens, Le, "Do Better ImageNet Models Transfer Better?", CVPR 2019.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    assert arrays.test is not None
    centre = features["train"].mean(axis=0)
    scale = np.maximum(features["train"].std(axis=0), 1e-6)
    rows = {name: np.nan_to_num((part - centre) / scale) for name, part in features.items()}
    fitted = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for c in HEAD_PENALTIES:
            head = LogisticRegression(C=c, max_iter=100).fit(rows["train"], arrays.train.labels)
            fitted.append((float((head.predict(rows["val"]) == arrays.val.labels).mean()), head))
    val, head = max(fitted, key=lambda pair: pair[0])
    return val, float((head.predict(rows["test"]) == arrays.test.labels).mean())


def _tuned(
    module: Any, preprocessing: Preprocessing, arrays: SplitArrays, item: CellItem, seed: int, device: str
) -> dict[str, Any]:
    from nns.backends.steps import evaluate
    from nns.finetuning.training import train

    assert arrays.test is not None
    marks = [time.process_time()]
    result = train(
        module,
        arrays,
        preprocessing,
        item.recipe.training(device),
        seed=seed,
        on_epoch=lambda _: marks.append(time.process_time()),
        keep_interrupted=False,
    )
    _, test = evaluate(result.module, arrays.test, preprocessing)
    return {
        "val": round(result.val_accuracy, 6),
        "test": round(test, 6),
        "best_epoch": result.best.epoch,
        "val_curve": [round(epoch.val_accuracy, 6) for epoch in result.history],
        "epoch_seconds": [round(seconds, 4) for seconds in np.diff(marks).tolist()],
        "classes": len(arrays.classes),
        "train_images": len(arrays.train),
        "test_images": len(arrays.test),
    }

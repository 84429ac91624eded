"""A ground-truth matrix: what each candidate reached on each dataset, with all that methods may know of both."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nns.errors import UsageError
from nns.files import write_whole
from nns.priors import Facts
from nns.space import SpaceData
from nns.types import Json
from nns.untrusted import BENCH, open_file

FORMAT = 1
MAX_BYTES = 1 << 30
"""Decoded bytes at most: a matrix may come from a stranger."""

BROKEN = (
    OSError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
)
"""What reading a damaged or foreign file may raise."""

NUMBERS = ("val", "test", "head_val", "head_test", "curves", "epoch_seconds", "feature_seconds")
GROUPS = ("scores", "score_seconds")
"""Attributes of a matrix that hold measured numbers, and those that hold some by name of a probe."""

Numbers = NDArray[np.float32]


@dataclass(frozen=True)
class CandidateRow:
    """A candidate: a network of the zoo.

    Attributes:
        id: Its id in the zoo.
        architecture: Name.
        backend: Name.
        source: Name of the dataset it was trained on.
        source_set: Collection of that dataset; empty for ImageNet and the like.
        imagenet: Top-1 accuracy on ImageNet of the weights it comes with, 0..1; NaN if it was not trained there, or
            was trained on another dataset since.
        published: Published accuracies on ImageNet's relatives, 0..1: ``imagenet-sketch``, ``imagenet-r``, ...
    """

    id: str
    architecture: str
    backend: str
    source: str
    source_set: str
    imagenet: float
    published: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskRow:
    """A query dataset.

    Attributes:
        name: Its name.
        family: Kind of data, left out of fits as a whole.
        set: Collection it was drawn from.
        digest: Its content digest.
        classes: Number of classes.
        images: Images of its training split.
    """

    name: str
    family: str
    set: str
    digest: str
    classes: int
    images: int


@dataclass(frozen=True, eq=False)
class Matrix:
    """T datasets, C candidates, S repetitions; NaN where there is no cell.

    Attributes:
        about: ``zoo`` (content digest), ``recipe``, ``versions``, ``machine``.
        tasks: The T query datasets.
        candidates: The C candidates.
        params: (T, C) parameters, with the head that the dataset needs.
        val: (S, T, C) validation accuracy of full fine-tuning, 0..1.
        test: (S, T, C) test accuracy of full fine-tuning at the epoch chosen on validation, 0..1.
        head_val: (T, C) validation accuracy of a new head on frozen features.
        head_test: (T, C) test accuracy of that.
        curves: (S, T, C, E) validation accuracy after each epoch.
        epoch_seconds: (S, T, C, E) processor seconds of each epoch.
        feature_seconds: (T, C) processor seconds of computing the features of the training split.
        scores: Score name to (T, C): ``logme``, ``hscore``, ``ridge``, ``knn`` of those features.
        score_seconds: Score name to (T, C) processor seconds, without those of the features.
        zoo: All networks of the zoo, candidates first and in their order, its datasets first and the T query
            datasets after them, without any result on query datasets.
        zoo_families: Family of each dataset of the zoo, then of each query dataset.
    """

    about: Json
    tasks: tuple[TaskRow, ...]
    candidates: tuple[CandidateRow, ...]
    params: NDArray[np.int64]
    val: Numbers
    test: Numbers
    head_val: Numbers
    head_test: Numbers
    curves: Numbers
    epoch_seconds: Numbers
    feature_seconds: Numbers
    scores: Mapping[str, Numbers]
    score_seconds: Mapping[str, Numbers]
    zoo: SpaceData

    def accuracy(self, head_only: bool = False) -> NDArray[np.float64]:
        """Return the ground truth, (T, C): test accuracy, mean over the repetitions that are there."""
        if head_only:
            return self.head_test.astype(np.float64)
        return mean_of_known(self.test)

    def history(self, head_only: bool = False) -> NDArray[np.float64]:
        """Return what a user knows of earlier datasets, (T, C): validation and test accuracy averaged."""
        if head_only:
            return ((self.head_val + self.head_test) / 2).astype(np.float64)
        return (mean_of_known(self.val) + mean_of_known(self.test)) / 2

    @property
    def offset(self) -> int:
        """Position of the first query dataset among the datasets of ``zoo``."""
        return len(self.zoo.dataset_names) - len(self.tasks)

    def training_data(self, task: int, head_only: bool = False) -> SpaceData:
        """Return what may be known when a dataset of a family comes up for the first time.

        Query datasets of its family are gone, and so is what the zoo's datasets of its family have to say: their
        features and the accuracies on them. Networks trained on those stay, as networks of unknown origin, with what
        they reached on other families.
        """
        family, zoo = self.tasks[task].family, self.zoo
        kept = np.array([each != family for each in zoo.families])
        index = np.append(np.cumsum(kept) - 1, -1)
        owned = np.append(kept, False)[zoo.dataset_index]
        history = self.history(head_only)
        rows, columns = np.nonzero(np.isfinite(history) & kept[self.offset :, None])
        positions = np.flatnonzero(kept)
        return SpaceData(
            network_ids=zoo.network_ids,
            blocks=zoo.blocks,
            accuracy=np.where(owned, zoo.accuracy, np.nan),
            dataset_index=np.where(owned, index[zoo.dataset_index], -1).astype(np.int64),
            dataset_names=tuple(zoo.dataset_names[d] for d in positions),
            queries=tuple(zoo.queries[d] for d in positions),
            query_labels=tuple(zoo.query_labels[d] for d in positions),
            families=tuple(zoo.families[d] for d in positions),
            transfer_network=columns.astype(np.int64),
            transfer_dataset=index[self.offset + rows].astype(np.int64),
            transfer_accuracy=history[rows, columns],
            facts=zoo.facts,
        )

    def save(self, path: Path) -> None:
        """Write everything into one ``.npz`` file."""
        arrays: dict[str, NDArray[Any]] = {"params": self.params}
        arrays |= {name: getattr(self, name).astype(np.float32) for name in NUMBERS}
        for group in GROUPS:
            arrays |= {f"{group}.{name}": array.astype(np.float32) for name, array in getattr(self, group).items()}
        zoo = self.zoo
        for name, block in zoo.blocks.items():
            arrays[f"block.{name}"] = block.astype(np.float16 if name in {"kernel", "surprise"} else np.float32)
        arrays["zoo.accuracy"] = zoo.accuracy.astype(np.float32)
        arrays["zoo.dataset_index"] = zoo.dataset_index
        arrays["zoo.lengths"] = np.array([len(query) for query in zoo.queries], np.int64)
        arrays["zoo.labels"] = np.concatenate(zoo.query_labels)
        features = np.concatenate(zoo.queries)
        low, high = features.min(axis=0), features.max(axis=0)
        arrays["zoo.low"], arrays["zoo.step"] = low, (high - low) / np.float32(255)
        arrays["zoo.codes"] = encode(features, low, arrays["zoo.step"])
        document = {
            "format": FORMAT,
            "about": self.about,
            "tasks": [asdict(task) for task in self.tasks],
            "candidates": [asdict(candidate) for candidate in self.candidates],
            "network_ids": list(zoo.network_ids),
            "dataset_names": list(zoo.dataset_names),
            "families": list(zoo.families),
            "facts": [asdict(facts) for facts in zoo.facts],
        }
        arrays["document"] = np.frombuffer(json.dumps(document).encode(), np.uint8)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        write_whole(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> Matrix:
        """Read what :meth:`save` wrote.

        Raises:
            UsageError: If there is no such file, or it is no matrix.
        """
        try:
            with open_file(path, BENCH) as file, zipfile.ZipFile(file) as archive:
                if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
                    raise UsageError(f"{path} is larger than any matrix that nns makes")
            with open_file(path, BENCH) as file, np.load(file, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            document = json.loads(arrays.pop("document").tobytes())
            if document["format"] != FORMAT:
                raise UsageError(f"{path} has format {document['format']}, this version of nns reads {FORMAT}")
            return cls._from(arrays, document)
        except BROKEN as error:
            if isinstance(error, UsageError):
                raise
            raise UsageError(f"{path} is not a matrix of `nns bench make`: {error}") from error

    @classmethod
    def _from(cls, arrays: dict[str, NDArray[Any]], document: dict[str, Any]) -> Matrix:
        def group(name: str) -> dict[str, NDArray[Any]]:
            return {key.partition(".")[2]: each for key, each in arrays.items() if key.startswith(f"{name}.")}

        ends = np.cumsum(arrays["zoo.lengths"])[:-1]
        features = arrays["zoo.low"] + arrays["zoo.codes"].astype(np.float32) * arrays["zoo.step"]
        zoo = SpaceData(
            network_ids=tuple(document["network_ids"]),
            blocks={name: block.astype(np.float32) for name, block in group("block").items()},
            accuracy=arrays["zoo.accuracy"].astype(np.float64),
            dataset_index=arrays["zoo.dataset_index"],
            dataset_names=tuple(document["dataset_names"]),
            queries=tuple(np.split(features, ends)),
            query_labels=tuple(np.split(arrays["zoo.labels"], ends)),
            families=tuple(document["families"]),
            facts=tuple(Facts(**facts) for facts in document.get("facts", ())),  # a matrix of before has none
        )
        numbers: dict[str, Any] = {name: arrays[name] for name in ("params", *NUMBERS)}
        shape = (len(document["tasks"]), len(document["candidates"]))
        for name, array in numbers.items():
            if array.shape[array.ndim > 2 :][:2] != shape:
                raise ValueError(f"{name} has the shape {array.shape}, not that of {shape}")
        return cls(
            about=document["about"],
            tasks=tuple(TaskRow(**task) for task in document["tasks"]),
            candidates=tuple(CandidateRow(**candidate) for candidate in document["candidates"]),
            zoo=zoo,
            **numbers,
            scores=group("scores"),
            score_seconds=group("score_seconds"),
        )


def encode(features: Numbers, low: Numbers, step: Numbers) -> NDArray[np.uint8]:
    """Round features (n, D) to 256 levels a column; a column of one value is all zeros."""
    scale = np.divide(1.0, step, out=np.zeros_like(step), where=step > 0)
    codes: NDArray[np.uint8] = np.clip(np.rint((features - low) * scale), 0, 255).astype(np.uint8)
    return codes


def mean_of_known(values: Numbers) -> NDArray[np.float64]:
    """Average over the first axis what is known."""
    known = np.isfinite(values)
    counts = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0, dtype=np.float64)
    means: NDArray[np.float64] = np.divide(total, counts, out=np.full(counts.shape, np.nan), where=counts > 0)
    return means

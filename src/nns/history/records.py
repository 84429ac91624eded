"""One fine-tuning as a line of JSON: what it says, and the checks that a stranger's line has to pass."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from msgspec import Meta

from nns.documents import Count, convert, parse_json
from nns.places import FileWeights, HubWeights, PackagedWeights
from nns.types import DatasetRecord, NetworkEntry

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = "nns-history"
VERSION = 1

MAX_LINE = 64 * 2**10
"""Bytes of a line: twice what the widest features (:data:`MAX_WIDTH`) and the most results take."""
MAX_WIDTH = 4096
"""Features of a dataset, at most; those of the default extractor are 1280."""
MAX_RESULTS = 16
"""Networks of one fine-tuning that are kept, the best first."""
MAX_SETTINGS = 40
ID_DIGITS = 16
PSEUDO_IMAGES = 32
"""Rows that stand for the images of a dataset of which mean and spread are known: random halves are as wide."""

Text = Annotated[str, Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]*$")]
Hex = Annotated[str, Meta(max_length=128, pattern=r"^[0-9a-f]*$")]
NetworkId = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[!-~]+$")]
Accuracy = Annotated[float, Meta(ge=0, le=1)]
Date = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", max_length=20)]
Seconds = Annotated[float, Meta(ge=0, le=1e9)]
Setting = str | int | float | bool | None


@dataclass(frozen=True)
class KnownDataset:
    """A dataset that was fine-tuned on: its features in the mean, never its images.

    Attributes:
        name: Name of its folder or table.
        digest: Content digest.
        classes: Number of classes.
        images: Number of images.
        extractor: What made the features.
        mean: Mean of each feature over the sampled images, (D,) float16 in base64.
        spread: Their standard deviation, likewise.
    """

    name: Text
    digest: Hex
    classes: Annotated[int, Meta(ge=1, le=10**6)]
    images: Count
    extractor: Text
    mean: Annotated[str, Meta(max_length=4 * MAX_WIDTH)]
    spread: Annotated[str, Meta(max_length=4 * MAX_WIDTH)]

    @classmethod
    def of(cls, record: DatasetRecord) -> KnownDataset:
        """Describe a dataset by its query features; of its name, what may be a path stays out."""
        rows = np.nan_to_num(np.asarray(record.features, np.float64))
        name = "".join(letter for letter in record.name.replace("\\", "/").rpartition("/")[2] if letter.isprintable())
        return cls(
            name[:200], record.digest, max(len(record.classes), 1), record.images, record.extractor,
            _to_text(rows.mean(axis=0)), _to_text(rows.std(axis=0)),
        )  # fmt: skip

    @cached_property
    def means(self) -> NDArray[np.float32]:
        """Mean features, (D,)."""
        return _from_text(self.mean, "mean")

    @cached_property
    def spreads(self) -> NDArray[np.float32]:
        """Their standard deviation over images, (D,)."""
        return _from_text(self.spread, "spread")

    def record(self) -> DatasetRecord:
        """Return a record with features of the same mean and spread, for what reads records."""
        rows = (self.means + _signs(len(self.means)) * self.spreads).astype(np.float32)
        labels = np.linspace(0, self.classes - 1, PSEUDO_IMAGES).astype(np.int64)
        names = tuple(f"class {number}" for number in range(min(self.classes, PSEUDO_IMAGES)))
        return DatasetRecord(self.name, self.digest, names, rows, labels, self.images, self.extractor)


@dataclass(frozen=True)
class KnownResult:
    """What a network came to in a fine-tuning.

    Attributes:
        network: Its id in the zoo that it was taken from.
        backend: Its backend.
        architecture: Its architecture.
        source: Where its weights started from.
        source_dataset: Name of what it was pretrained on.
        weights: ``sha256:HEX`` or ``hub:REPO/FILE``, by which it is known in any zoo; empty if the id alone says it.
        params: Parameters without the head.
        accuracy: Best top-1 accuracy on the validation split, 0..1.
        epochs: Epochs after which.
        winner_accuracy: Best that the winner had within as many epochs; of the winner itself, its ``accuracy``.
        stopped: As in a report of ``nns finetune``: ``finished``, ``halved``, …
        test_accuracy: Top-1 accuracy on the test split, of the winner only.
        macro_f1: Mean F1 of the classes on it, each class counted alike, 0..1; of the winner only.
    """

    network: NetworkId
    backend: Text
    architecture: Text
    source: Text
    source_dataset: Text
    weights: Text
    params: Count
    accuracy: Accuracy
    epochs: Annotated[int, Meta(ge=0, le=10**6)]
    winner_accuracy: Accuracy
    stopped: Text = "finished"
    test_accuracy: Accuracy | None = None
    macro_f1: Accuracy | None = None


@dataclass(frozen=True)
class FineTuning:
    """A fine-tuning.

    Attributes:
        date: When it ended, UTC.
        nns: Version of nns.
        dataset: On what.
        recipe: How: settings that are numbers, texts, true or false.
        seconds: How long it took.
        device: Where it ran.
        validation: Images of the validation split.
        results: The networks, the winner first.
        own: Whether it was done here; false for what was merged from a file.
    """

    date: Date
    nns: Text
    dataset: KnownDataset
    recipe: Mapping[Text, Setting]
    seconds: Seconds
    device: Text
    validation: Annotated[int, Meta(ge=1, le=2**40)]
    results: Annotated[tuple[KnownResult, ...], Meta(min_length=1, max_length=MAX_RESULTS)]
    own: bool = field(default=True)

    @cached_property
    def id(self) -> str:
        """Hex digits of a hash of what it says; the same line in two files is one fine-tuning."""
        said = asdict(self)
        del said["own"]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:ID_DIGITS]

    def line(self) -> str:
        """Return the line that :func:`read_line` reads."""
        document = {"format": FORMAT, "version": VERSION, **asdict(self)}
        return json.dumps(document, ensure_ascii=True, allow_nan=False, separators=(",", ":"))

    def to_dict(self) -> dict[str, Any]:
        """Return what ``nns history ls --json`` prints: all but the features."""
        document = {"id": self.id, **asdict(self)}
        for name in ("mean", "spread"):
            del document["dataset"][name]
        return document


def read_line(line: bytes) -> FineTuning:
    """Read and check a line, which may be a stranger's.

    Raises:
        ValueError: If it is not the line of a fine-tuning; the message names the field.
    """
    if len(line) > MAX_LINE:
        raise ValueError(f"a line of {len(line)} bytes, more than {MAX_LINE}")
    try:
        document = parse_json(line)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f"not a line of {FORMAT}")
    if document.get("version") != VERSION:
        raise ValueError(f"version {document.get('version')!r:.20} of the format, not {VERSION}")
    found = convert(document, FineTuning)
    dataset = found.dataset
    if not 1 <= len(dataset.means) == len(dataset.spreads) <= MAX_WIDTH:
        raise ValueError(f"{len(dataset.means)} means and {len(dataset.spreads)} spreads of features")
    if (dataset.spreads < 0).any():
        raise ValueError("dataset.spread: a negative number")
    if len(found.recipe) > MAX_SETTINGS or any(isinstance(v, str) and len(v) > 200 for v in found.recipe.values()):
        raise ValueError("recipe: too long")
    try:
        datetime.strptime(found.date, "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        raise ValueError(f"date: {found.date!r} is none") from None
    return found


def now() -> str:
    """Return the date and time, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def weights_of(entry: NetworkEntry) -> str:
    """Name the weights of a network so that it is recognised in another zoo; an address is never written down."""
    match entry.weights:
        case PackagedWeights(sha256=sha256) | FileWeights(sha256=sha256):
            return f"sha256:{sha256}"
        case HubWeights(repo=repo, file=file):
            return f"hub:{repo}/{file}"
        case _:
            return ""


@lru_cache(maxsize=2)  # a search asks for it for each of a hundred datasets
def _signs(width: int) -> NDArray[np.int64]:
    """Return as many 1 as -1 in each column, in an order of its own, always the same, (PSEUDO_IMAGES, width)."""
    half = np.arange(PSEUDO_IMAGES) % 2 * 2 - 1
    return np.random.default_rng(0).permuted(np.tile(half[:, None], width), axis=0)


def _to_text(numbers: NDArray[np.float64]) -> str:
    limit = float(np.finfo(np.float16).max)
    return base64.b64encode(np.clip(numbers, -limit, limit).astype("<f2").tobytes()).decode()


def _from_text(text: str, name: str) -> NDArray[np.float32]:
    data = base64.b64decode(text, validate=True)  # a ValueError if it is none
    if len(data) % 2:
        raise ValueError(f"dataset.{name}: {len(data)} bytes are no float16")
    found = np.frombuffer(data, "<f2").astype(np.float32)
    if not np.isfinite(found).all():
        raise ValueError(f"dataset.{name}: a number that is not finite")
    return found

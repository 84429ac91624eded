"""From what a request brought to an answer: the same search, and the same document, as on the command line."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from nns.data import Dataset
from nns.data.items import UNLABELLED, ImageItem
from nns.data.names import clean_name
from nns.data.reading import ReceivedImage
from nns.errors import UsageError
from nns.jsonable import jsonable
from nns.quantities import counted
from nns.searching.ranking import search_record
from nns.searching.results import QueryDataset
from nns.serving.documents import LARGEST, MAX_CLASSES, Packed, Question
from nns.serving.guard import RefusedError
from nns.types import DatasetRecord, Limits

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from nns.searching.ready import ReadyZoo
    from nns.serving.served import ServedZoo


@dataclass(frozen=True)
class Wanted:
    """What is asked for beside the dataset.

    Attributes:
        limits: Hard limits.
        top: Candidates.
        tries: Networks to fine-tune together.
        classes: Classes of the head that limits count, where the dataset does not say.
    """

    limits: Limits
    top: int = 10
    tries: int = 3
    classes: int | None = None


@dataclass(frozen=True)
class Upload:
    """An image that was sent.

    Attributes:
        name: What the sender calls it.
        content: The file.
        label: Its class; None where unlabelled.
    """

    name: str
    content: bytes
    label: str | None = None


_KINDS = {"float32": "<f4", "float16": "<f2"}
_questions = msgspec.json.Decoder(Question)


def read_question(body: bytes) -> Question:
    """Decode a question.

    Raises:
        RefusedError: If it is none; the message names the field.
    """
    try:
        try:
            return _questions.decode(body)
        except msgspec.ValidationError:  # to JSON 11.0 is a whole number
            return msgspec.convert(_whole(msgspec.json.decode(body)), Question)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:  # ValueError: digits without end
        raise RefusedError(400, f"the request is not a question: {error}") from error


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _whole(each) for name, each in value.items()}
    return [_whole(each) for each in value] if isinstance(value, list) else value


def answer_question(question: Question, wanted: Wanted, ready: ReadyZoo) -> dict[str, Any]:
    """Search by features.

    Raises:
        UsageError: If they are not those of the zoo's extractor, or labels do not belong to them.
        NoNetworkError: If no network meets the limits.
    """
    if question.extractor != ready.extractor.name:
        raise UsageError(
            f"features of extractor {question.extractor!r} cannot be compared with those of this zoo, which are of "
            f"{ready.extractor.name!r}"
        )
    features = _features(question)
    labels = np.full(len(features), UNLABELLED, np.int64)
    classes = question.classes
    if question.labels is not None:
        if len(question.labels) != len(features):
            raise UsageError(f"{len(question.labels)} labels of {len(features)} images")
        labels = np.array(question.labels, np.int64)
        least = int(labels.max()) + 1
        classes = least if classes is None else classes
        if classes < least:
            raise UsageError(f"a label of {least - 1} among {classes} classes, which count from 0")
    labelled = question.labels is not None
    images = max(question.images or 0, len(features))
    names = tuple(map(str, range(classes))) if labelled and classes else ()
    record = DatasetRecord("", question.digest or "", names, features, labels, images, question.extractor)
    about = QueryDataset("features", classes if labelled else None, images, (), question.digest or "")
    return _answer(record, about, replace(wanted, classes=classes if classes is not None else wanted.classes), ready)


def answer_images(uploads: Sequence[Upload], wanted: Wanted, served: ServedZoo, seconds: float) -> dict[str, Any]:
    """Search by images that were sent; they pass what the images of a dataset pass.

    Raises:
        DatasetError: If none can be read.
        RefusedError: If it takes longer than so many seconds.
        UsageError: If some have a label and others none.
        NoNetworkError: If no network meets the limits.
    """
    until = time.monotonic() + seconds

    def check_time(*_: Any) -> None:
        if time.monotonic() > until:
            raise RefusedError(504, f"to look at these images takes longer than {seconds:g} s; send fewer, or smaller")

    dataset = _dataset(uploads, until)
    ready, extractor = served.ready, served.extractor
    began = time.perf_counter()
    try:
        record = dataset.features(extractor, workers=1, progress=check_time)
    finally:
        check_time()  # images that were not opened for that must not pass for damaged ones
    spent = time.perf_counter() - began
    unread = tuple((item.path, item.reason) for item in dataset.unreadable())
    # a sample need not show every class
    classes = max(len(dataset.classes), wanted.classes or 0) if dataset.labelled else None
    about = QueryDataset(dataset.path, classes, len(dataset), unread, dataset.digest, dataset.seen)
    document = _answer(record, about, wanted, ready)
    took = document["seconds"]
    return document | {
        "seconds": took | {"features": round(spent, 4), "total": round(took["total"] + spent, 4)},
    }


def _answer(record: DatasetRecord, about: QueryDataset, wanted: Wanted, ready: ReadyZoo) -> dict[str, Any]:
    found = search_record(
        record, about, ready, wanted.limits, top=wanted.top, classes=wanted.classes, tries=wanted.tries
    )
    # where the server keeps its files is nobody's business
    document: dict[str, Any] = jsonable(replace(found, zoo_path=Path(found.zoo_path).name).to_dict())
    return document


def _features(question: Question) -> NDArray[np.float32]:
    given = question.features
    if isinstance(given, Packed):
        kind, (rows, width) = np.dtype(_KINDS[given.dtype]), given.shape
        if len(given.data) != rows * width * kind.itemsize:
            raise UsageError(f"{len(given.data)} bytes are not {rows} rows of {width} numbers of {given.dtype}")
        features = np.frombuffer(given.data, kind).reshape(given.shape).astype(np.float32)
    else:
        if len({len(row) for row in given}) > 1:
            raise UsageError("rows of features differ in length")
        with np.errstate(over="ignore"):  # what is infinite then is refused
            features = np.array(given, np.float32)
    if not (np.abs(features) <= LARGEST).all():  # nor is NaN
        raise UsageError(f"features must be numbers between {-LARGEST:g} and {LARGEST:g}")
    return features


@dataclass(frozen=True, eq=False)
class _TimedImage(ReceivedImage):
    """An image that is not even opened when time is up: a hundred large ones are looked at before the first is done."""

    until: float

    def open(self) -> Image.Image:
        if time.monotonic() > self.until:
            raise TimeoutError("no time left")
        return super().open()


def _dataset(uploads: Sequence[Upload], until: float) -> Dataset:
    labels = [None if each.label is None else clean_name(each.label) for each in uploads]
    if any(each is None for each in labels) and any(labels):
        raise UsageError("some images have a label, others have none: send one for each, in their order, or none")
    if any(each == "" for each in labels):
        raise UsageError("a label is empty")
    classes = tuple(sorted({each for each in labels if each is not None}))
    if len(classes) > MAX_CLASSES:
        raise UsageError(f"{len(classes)} classes")
    place = {name: index for index, name in enumerate(classes)}
    items = tuple(
        ImageItem(
            _TimedImage(each.content, until),
            UNLABELLED if label is None else place[label],
            None,
            clean_name(each.name)[:200] or str(number),
        )
        for number, (each, label) in enumerate(zip(uploads, labels, strict=True))
    )
    return Dataset("upload", counted(len(items), "image"), classes, items)

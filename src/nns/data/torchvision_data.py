"""Datasets of torchvision by name: ``torchvision:MNIST``. torchvision is imported when one is opened."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from PIL import Image

from nns.data.dataset import ImageDataset, ImageItem
from nns.data.folders import clean_name
from nns.errors import DatasetError
from nns.types import SplitName

ROOT_VARIABLE = "NNS_TORCHVISION_ROOT"
"""Environment variable: where torchvision keeps its files; else ``~/.cache/nns/torchvision``."""

_SPLIT_WORDS: dict[SplitName, tuple[str, ...]] = {
    "train": ("train", "trainval", "train-standard"),
    "val": ("val", "valid"),
    "test": ("test",),
}
_EXTRA: dict[str, dict[str, Any]] = {"EMNIST": {"split": "balanced"}}
_LABEL_ATTRIBUTES = ("targets", "labels", "_labels", "y")
_TIMEOUT = 20.0  # seconds without an answer from a download server


@dataclass(frozen=True)
class CollectionImage:
    """Image number ``index`` of a torchvision dataset."""

    collection: Any
    index: int

    def open(self) -> Image.Image:
        """Return the image.

        Raises:
            TypeError: The collection holds something else.
        """
        image = self.collection[self.index][0]
        if not isinstance(image, Image.Image):
            raise TypeError("not an image")
        return image.copy()  # some collections hand out the same object again; the caller may close his


def default_root() -> Path:
    """Where torchvision's files are kept: $NNS_TORCHVISION_ROOT, else ``~/.cache/nns/torchvision``."""
    return Path(os.environ.get(ROOT_VARIABLE) or "~/.cache/nns/torchvision").expanduser()


def open_torchvision(name: str, data: str, root: Path | None = None) -> ImageDataset:
    """Open a classification dataset of torchvision, downloading it where it is not there yet.

    Args:
        name: Class in ``torchvision.datasets``.
        data: DATA as it was given.
        root: Where its files are, or go; see :func:`default_root`.

    Returns:
        The dataset, with the splits that torchvision gives it.

    Raises:
        DatasetError: No such dataset, none for classification, or neither on disk nor to be downloaded.
    """
    kind = _class_named(name)
    root = root or default_root()
    parts = list(_parts(kind, name, root))
    labelled = [(split, part, _labels(part, name)) for split, part in parts]
    found = sorted({label for _, _, labels in labelled for label in labels})
    names = _class_names(parts[0][1], found)
    classes = tuple(sorted(names.values()))
    position = {label: classes.index(class_name) for label, class_name in names.items()}
    items = tuple(
        ImageItem(CollectionImage(part, index), position[label], split, f"{split or 'all'}/{index}")
        for split, part, labels in labelled
        for index, label in enumerate(labels)
    )
    return ImageDataset(name, data, classes, items)


def _class_named(name: str) -> Callable[..., Any]:
    datasets = importlib.import_module("torchvision.datasets")  # seconds: only when one is opened
    known = [n for n in datasets.__all__ if n not in ("ImageFolder", "DatasetFolder", "VisionDataset")]
    if name not in known:
        by_lower = {n.lower(): n for n in known}
        close = [by_lower[n] for n in get_close_matches(name.lower(), by_lower, n=1)]
        hint = f"; did you mean torchvision:{close[0]}?" if close else "; see torchvision.datasets for the names"
        raise DatasetError(f"torchvision has no dataset {name!r}{hint}")
    kind: Callable[..., Any] = getattr(datasets, name)
    return kind


def _parts(kind: Callable[..., Any], name: str, root: Path) -> Iterator[tuple[SplitName | None, Any]]:
    """Construct the dataset once for each split that its constructor knows."""
    parameters = _parameters(kind)
    extra = _EXTRA.get(name, {})
    if "train" in parameters:
        for split, flag in (("train", True), ("test", False)):
            yield split, _construct(kind, name, root, {"train": flag, **extra})  # type: ignore[misc]
    elif "split" in parameters:
        for split, words in _SPLIT_WORDS.items():
            for word in words:
                with contextlib.suppress(_UnknownSplitError):
                    yield split, _construct(kind, name, root, {"split": word})
                    break
    else:
        yield None, _construct(kind, name, root, extra)


def _parameters(kind: Callable[..., Any]) -> frozenset[str]:
    """Names of constructor parameters, with those of the base class where ``**kwargs`` passes them on."""
    names: set[str] = set()
    for base in inspect.getmro(kind):  # type: ignore[arg-type]
        if "__init__" in vars(base):
            own = inspect.signature(base).parameters
            names |= set(own)
            if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in own.values()):
                break
    return frozenset(names)


class _UnknownSplitError(Exception):
    """The constructor does not know this split."""


def _construct(kind: Callable[..., Any], name: str, root: Path, arguments: Mapping[str, Any]) -> Any:
    """Construct from disk, else download. What torchvision prints goes to stderr."""
    parameters = _parameters(kind)
    places = {"root": str(root)} if "root" in parameters else {}
    attempts: list[dict[str, Any]] = [{"download": False}, {"download": True}] if "download" in parameters else [{}]
    problem: Exception | None = None
    timeout = socket.getdefaulttimeout()
    for attempt in attempts:
        try:
            if attempt.get("download"):
                root.mkdir(parents=True, exist_ok=True)
                socket.setdefaulttimeout(_TIMEOUT)
            with contextlib.redirect_stdout(sys.stderr):
                return kind(**places, **arguments, **attempt)
        except ValueError as error:
            if "split" in arguments and "Unknown value" in str(error):
                raise _UnknownSplitError from error
            problem = error
        except (OSError, RuntimeError, TypeError, ImportError) as error:
            problem = error
        finally:
            socket.setdefaulttimeout(timeout)
    reason = str(problem).strip().split("\n")[0] or type(problem).__name__
    raise DatasetError(
        f"torchvision:{name} is not in {str(root)!r} and could not be downloaded ({reason}); "
        f"put its files there, or set {ROOT_VARIABLE} to where they are"
    ) from problem


def _labels(part: Any, name: str) -> Sequence[int]:
    """Class index of every image, from an attribute where there is one, else by reading all images."""
    for attribute in _LABEL_ATTRIBUTES:
        values = getattr(part, attribute, None)
        if values is not None and len(values) == len(part):
            with contextlib.suppress(TypeError, ValueError, RuntimeError):  # QMNIST: eight numbers an image
                return [int(value) for value in values]
    try:
        return [int(part[index][1]) for index in range(len(part))]
    except (TypeError, ValueError, RuntimeError) as error:
        raise DatasetError(f"torchvision:{name} does not give one class an image; take another") from error


def _class_names(part: Any, found: Sequence[int]) -> dict[int, str]:
    """Name every label: by the dataset's own names, else by its number; a repeated name gets its number."""
    given = getattr(part, "classes", None) or getattr(part, "categories", None) or ()
    names: dict[int, str] = {}
    for label in found:
        own = given[label] if isinstance(given, Sequence) and 0 <= label < len(given) else str(label)
        text = clean_name(own if isinstance(own, str) else ", ".join(map(str, own)))
        names[label] = f"{text} ({label})" if text in names.values() else text
    return names

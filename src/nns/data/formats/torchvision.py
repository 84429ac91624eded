"""Datasets of torchvision by name: ``torchvision:MNIST``. torchvision is imported when one is opened."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from nns.data.dataset import Dataset
from nns.data.formats import Format
from nns.data.given import CollectionImage, class_names, labels_of, named_classes
from nns.data.items import ImageItem
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
_TIMEOUT = 20.0  # seconds without an answer from a download server


PREFIX = "torchvision:"


class TorchvisionFormat(Format):
    """``torchvision:NAME``."""

    example = "torchvision:NAME"
    is_path = False

    def can_open(self, data: str) -> bool:
        """Return whether that is what is asked for; whether there is such a dataset, opening tells."""
        return data.startswith(PREFIX)

    def connects(self, data: str) -> bool:
        """Return whether it would be downloaded."""
        name = data.removeprefix(PREFIX)
        try:
            _class_named(name)
        except DatasetError:  # there is none of that name: opening says so
            return False
        try:
            list(_parts(name, default_root(), download=False))
        except DatasetError:
            return True
        return False

    def open(self, data: str) -> Dataset:
        """Open it, see :func:`open_torchvision`."""
        return open_torchvision(data.removeprefix(PREFIX), data)


class _Part:
    """One split of a torchvision dataset; another process constructs it anew instead of being sent all its images."""

    def __init__(self, name: str, root: Path, arguments: Mapping[str, Any], download: bool = True) -> None:
        self.key = name, str(root), tuple(sorted(arguments.items()))
        self.collection = _construct(_class_named(name), name, root, arguments, download)

    def __getitem__(self, index: int) -> Any:
        return self.collection[index]

    def __reduce__(self) -> tuple[Any, ...]:
        return _part_again, self.key


@cache  # one a process and split: a worker is sent the same dataset with each of its items
def _part_again(name: str, root: str, arguments: tuple[tuple[str, Any], ...]) -> _Part:
    return _Part(name, Path(root), dict(arguments))


def default_root() -> Path:
    """Where torchvision's files are kept: $NNS_TORCHVISION_ROOT, else ``~/.cache/nns/torchvision``."""
    return Path(os.environ.get(ROOT_VARIABLE) or "~/.cache/nns/torchvision").expanduser()


def open_torchvision(name: str, data: str, root: Path | None = None) -> Dataset:
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
    parts = list(_parts(name, root or default_root()))
    labelled = [(split, part, labels_of(part.collection)) for split, part in parts]
    found = sorted({label for _, _, labels in labelled for label in labels})
    names = class_names(named_classes(parts[0][1].collection), found)
    classes = tuple(sorted(names.values()))
    position = {label: classes.index(class_name) for label, class_name in names.items()}
    items = tuple(
        ImageItem(CollectionImage(part, index), position[label], split, f"{split or 'all'}/{index}")
        for split, part, labels in labelled
        for index, label in enumerate(labels)
    )
    return Dataset(name, data, classes, items, layout="a dataset of torchvision")


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


def _parts(name: str, root: Path, download: bool = True) -> Iterator[tuple[SplitName | None, _Part]]:
    """Construct the dataset once for each split that its constructor knows."""
    parameters = _parameters(_class_named(name))
    extra = _EXTRA.get(name, {})
    flags: tuple[tuple[SplitName, bool], ...] = (("train", True), ("test", False))
    if "train" in parameters:
        for split, flag in flags:
            yield split, _Part(name, root, {"train": flag, **extra}, download)
    elif "split" in parameters:
        for split, words in _SPLIT_WORDS.items():
            for word in words:
                with contextlib.suppress(_UnknownSplitError):
                    yield split, _Part(name, root, {"split": word}, download)
                    break
    else:
        yield None, _Part(name, root, extra, download)


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


def _construct(
    kind: Callable[..., Any], name: str, root: Path, arguments: Mapping[str, Any], download: bool = True
) -> Any:
    """Construct from disk, else download, if that is allowed. What torchvision prints goes to stderr."""
    parameters = _parameters(kind)
    places = {"root": str(root)} if "root" in parameters else {}
    attempts: list[dict[str, Any]] = [{"download": False}, {"download": True}] if "download" in parameters else [{}]
    attempts = attempts if download else attempts[:1]
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

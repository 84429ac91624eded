"""The published layout, number by number: nothing leaves this module that was not checked.

``p_mod_zoo.pt`` is a dict of equally long lists, one row a network. ``meta_train.pt`` is a dict of datasets, by name.
Each ``meta_test_NAME.pt`` is one more dataset, which no network was trained on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.errors import ZooError
from nns.jsonable import shown
from nns.tans.architectures import FEATURES, check_topologies
from nns.tans.archives import open_archive

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOPOLOGY = 45
"""Integers of a topology: 20 kernel sizes, 20 expansion ratios, 5 stage depths."""

QUERY = 512
"""Width of the query features, of ResNet-18."""

TEST_FIELDS = ("x_train", "y_train", "x_test", "y_test", "query", "nclss", "clss", "task")
COLUMNS = ("dataset", "acc", "topol", "f_emb", "n_params")
MAX_ZOO, MAX_TRAIN, MAX_TEST = 1 << 30, 4 << 30, 64 << 30
"""Bytes of the three kinds of files. Published: 92 MB, 69 MB, about 1 GB each."""

MAX_PARAMS = 1 << 31
MAX_CLASSES = 10_000
MAX_NAME = 200


@dataclass(frozen=True, eq=False)
class PublishedNetworks:
    """What ``p_mod_zoo.pt`` holds, as columns of n networks.

    Attributes:
        datasets: Name of the dataset that each was trained on.
        accuracy: (n,) accuracy there, 0..1.
        topology: (n, TOPOLOGY) float32, whole numbers, as they are in the file.
        functional: (n, FEATURES) float32 features on one fixed noise image.
        params: (n,) int64.
    """

    datasets: tuple[str, ...]
    accuracy: NDArray[np.float64]
    topology: NDArray[np.float32]
    functional: NDArray[np.float32]
    params: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PublishedDataset:
    """A dataset of ``meta_train.pt`` or ``meta_test_*.pt``.

    Attributes:
        name: Its name.
        classes: Class names; numbers where the file does not name as many as it counts.
        features: (images, QUERY) float32 query features: those a space is fitted to.
        images: Images that the file has query features of, those for measuring counted.
    """

    name: str
    classes: tuple[str, ...]
    features: NDArray[np.float32]
    images: int


def read_networks(path: Path) -> PublishedNetworks:
    """Read ``p_mod_zoo.pt``.

    Raises:
        ZooError: If it is no such file; the message names the row, counted from 0.
    """
    archive = open_archive(path, MAX_ZOO)
    columns = _mapping(archive.load(), f"{path}", COLUMNS)
    rows = {name: _rows(columns[name], f"{path}: {name!r}") for name in COLUMNS}
    count = len(rows["dataset"])
    if any(len(column) != count for column in rows.values()):
        lengths = ", ".join(f"{name} {len(column)}" for name, column in rows.items())
        raise ZooError(f"{path}: the lists are not equally long ({lengths})")
    if not count:
        raise ZooError(f"{path} holds no network")
    names = tuple(_name(value, f"{path}: dataset of row {row}") for row, value in enumerate(rows["dataset"]))
    accuracy = np.array([_share(value, f"{path}: acc of row {row}") for row, value in enumerate(rows["acc"])])
    params = [_whole(value, f"{path}: n_params of row {row}", MAX_PARAMS) for row, value in enumerate(rows["n_params"])]
    topology = _topologies(rows["topol"], path)
    functional = _stack(rows["f_emb"], FEATURES, f"{path}: f_emb", archive.size)
    return PublishedNetworks(names, accuracy, topology, functional, np.array(params, np.int64))


def read_training_sets(path: Path) -> list[PublishedDataset]:
    """Read ``meta_train.pt``, sorted by name.

    Raises:
        ZooError: If it is no such file; the message names the dataset.
    """
    archive = open_archive(path, MAX_TRAIN)
    loaded = _mapping(archive.load(), f"{path}")
    found, left = [], archive.size
    for name, value in sorted((_name(key, f"{path}: name of a dataset"), value) for key, value in loaded.items()):
        what = f"{path}: {name!r}"
        fields = _mapping(value, what, ("x_query_train", "x_query_test", "clss", "nclss"))
        features = _stack(_rows(fields["x_query_train"], f"{what} x_query_train"), QUERY, f"{what} x_query_train", left)
        left -= features.nbytes
        rows = _rows(fields["x_query_test"], f"{what} x_query_test")
        left -= _stack(rows, QUERY, f"{what} x_query_test", left).nbytes
        if not len(features):
            raise ZooError(f"{what} has no query features")
        found.append(PublishedDataset(name, _classes(fields, what), features, len(features) + len(rows)))
    if not found:
        raise ZooError(f"{path} holds no dataset")
    return found


def read_test_set(path: Path) -> PublishedDataset:
    """Read a ``meta_test_NAME.pt``; of its images nothing is read but their number.

    Raises:
        ZooError: If it is no such file.
    """
    archive = open_archive(path, MAX_TEST)
    what = f"{path}"
    fields = _mapping(archive.load(), what, TEST_FIELDS)
    query = fields["query"]
    rows = query if isinstance(query, list) else [query]
    features = _stack(rows, QUERY, f"{what}: query", archive.size, rank=1 if isinstance(query, list) else 2)
    if not len(features):
        raise ZooError(f"{what} has no query features")
    for split in ("train", "test"):
        images, labels = fields[f"x_{split}"], fields[f"y_{split}"]
        if _length(images, f"{what}: x_{split}") != _length(labels, f"{what}: y_{split}"):
            raise ZooError(f"{what}: x_{split} and y_{split} are not equally long")
    return PublishedDataset(_name(fields["task"], f"{what}: task"), _classes(fields, what), features, len(features))


def _mapping(value: Any, what: str, keys: Sequence[str] = ()) -> Mapping[Any, Any]:
    if not isinstance(value, dict):
        raise ZooError(f"{what} holds a {type(value).__name__} where a dict is due")
    missing = [key for key in keys if key not in value]
    if missing:
        raise ZooError(f"{what} has no {missing[0]!r}")
    return value


def _rows(value: Any, what: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise ZooError(f"{what} is a {type(value).__name__} where a list is due")
    return value


def _length(value: Any, what: str) -> int:
    try:
        return len(value)
    except TypeError as error:
        raise ZooError(f"{what} is a {type(value).__name__} where a list or a tensor is due") from error


def _name(value: Any, what: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME or not value.isprintable():
        raise ZooError(f"{what} is {shown(value):.60}, no name of 1 to {MAX_NAME} printable characters")
    return value


def _share(value: Any, what: str) -> float:
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not 0 <= number <= 1:
        raise ZooError(f"{what} is {shown(value):.60}, no number from 0 to 1")
    return number


def _whole(value: Any, what: str, limit: int) -> int:
    whole = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not whole or value != int(value) or not 0 < value < limit:
        raise ZooError(f"{what} is {shown(value):.60}, no whole number from 1 to {limit - 1}")
    return int(value)


def _classes(fields: Mapping[Any, Any], what: str) -> tuple[str, ...]:
    count = _whole(fields["nclss"], f"{what}: nclss", MAX_CLASSES + 1)
    named = _rows(fields["clss"], f"{what}: clss")[: MAX_CLASSES + 1]
    if any(isinstance(value, bool) or not isinstance(value, str | int) for value in named):
        raise ZooError(f"{what}: clss holds something that is no name of a class")
    names = tuple(_name(str(value), f"{what}: name of a class") for value in named)
    return names if len(names) == count else tuple(map(str, range(count)))


def _topologies(rows: Sequence[Any], path: Path) -> NDArray[np.float32]:
    for number, row in enumerate(rows):
        if not isinstance(row, list | tuple) or len(row) != TOPOLOGY:
            raise ZooError(f"{path}: topol of row {number} is no list of {TOPOLOGY} numbers")
        if any(type(value) is not int or not 0 <= value < 256 for value in row):
            raise ZooError(f"{path}: topol of row {number} holds something that is no small whole number")
    topology = np.array(rows, np.int64)
    wrong = check_topologies(topology)
    if len(wrong):
        raise ZooError(f"{path}: topol of row {wrong[0]} is no subnet of OFA-MobileNetV3")
    return topology.astype(np.float32)


def _stack(rows: Sequence[Any], width: int, what: str, max_bytes: int, rank: int = 1) -> NDArray[np.float32]:
    """Join tensors of (width,), or of (n, width) where ``rank`` is 2, to one array of (n, width) float32.

    Raises:
        ZooError: If one is no such tensor, holds NaN, or they have more numbers than the file has bytes.
    """
    import torch

    count = 0
    for number, row in enumerate(rows):
        # a subclass may do anything; a sparse or quantised tensor is made into numbers by code that trusts it
        plain = type(row) is torch.Tensor and row.layout is torch.strided and row.device.type == "cpu"
        if not plain or row.dtype is not torch.float32 or row.dim() != rank or row.shape[-1] != width:
            found = f"{row.dtype} {tuple(row.shape)}" if isinstance(row, torch.Tensor) else type(row).__name__
            shape = (width,) if rank == 1 else ("n", width)
            raise ZooError(f"{what}: row {number} is a {found:.80} where float32 {shape} is due")
        count += 1 if rank == 1 else row.shape[0]
    if 4 * count * width > max_bytes:
        raise ZooError(f"{what} has more numbers than the file has bytes: it is no published file")
    stacked = np.empty((count, width), np.float32)
    if count:
        joined = torch.from_numpy(stacked)
        torch.stack(list(rows), out=joined) if rank == 1 else torch.cat(list(rows), out=joined)
    wrong = np.flatnonzero(~np.isfinite(stacked).all(axis=1))
    if len(wrong):
        raise ZooError(f"{what}: row {wrong[0]} holds NaN or infinity")
    return stacked

"""JSON to records and back, checked field by field, for bytes that may come from anywhere."""

from __future__ import annotations

import gc
import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np

from nns.errors import ZooError
from nns.places import WEIGHTS_KINDS, StoredWeights, Weights
from nns.types import (
    MAX_CHANNEL,
    MAX_SIDE,
    ArchitectureSpec,
    NetworkCost,
    NetworkEntry,
    Preprocessing,
    Provenance,
    TransferRecord,
)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
"""Ids of networks and names of spaces: 1 to 64 characters that are safe in a file name."""

DATASET = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)
"""Names under which accuracies are published, e.g. ``imagenet-sketch``."""

MAX_PUBLISHED = 64
"""Published accuracies of one network, at most."""

MAX_COUNT = 2**62
MAX_INTEGER = 2**64
MAX_PARAMS, MAX_MACS, MAX_BYTES, MAX_WIDTH = 10**12, 10**16, 10**13, 10**6
"""Largest counts of an architecture: a hundred times those of the largest that there are."""
MAX_TEXT = 1000
"""Characters of a name, at most."""
MAX_CLASSES = 100_000
MAX_NUMBER = 1e300
MAX_DEPTH = 64
"""Levels of lists and objects in JSON, at most."""


def parse_json(data: bytes, what: str) -> Any:
    """Parse JSON as :func:`nns.stores._digest.canonical_json` writes it.

    NaN and infinities are refused, halves of surrogate pairs, and more than :data:`MAX_DEPTH` levels.

    Raises:
        ZooError: If it is no such JSON.
    """
    try:
        with without_gc():  # parsing makes no cycles, and looking for them would take half the time
            value = json.loads(data, parse_constant=_refuse_constant)
        if _SUSPICIOUS.search(data) or _depth(data) > MAX_DEPTH:
            _refuse_unsafe(value)
        return value
    except (ValueError, RecursionError) as error:
        raise ZooError(f"{what}: not valid JSON ({type(error).__name__})") from error


_SUSPICIOUS = re.compile(rb"[0-9][eE]\+?[0-9]{3}|[0-9]{20}|\\u[dD][89a-fA-F]")
"""Numbers that may be infinite or no number to a C library, escapes that may be half a character: look closer."""


def _depth(data: bytes) -> int:
    """Bound the depth of nesting from above, for little: brackets in strings count as well."""
    codes = np.frombuffer(data.translate(None, _NO_BRACKETS), np.uint8)
    return int(np.where((codes == 0x5B) | (codes == 0x7B), 1, -1).cumsum().max(initial=0))


_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def _refuse_unsafe(value: Any) -> None:
    waiting = [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        if type(item) is str:
            item.encode()
        elif type(item) is float and not math.isfinite(item):
            raise ValueError("a number without bound")
        elif type(item) is int and abs(item) >= MAX_INTEGER:
            raise ValueError("a whole number of more than 64 bits")
        elif type(item) in (list, dict):
            if depth > MAX_DEPTH:
                raise ValueError("too many levels")
            parts = [*item.keys(), *item.values()] if type(item) is dict else item
            waiting += [(part, depth + 1) for part in parts]


@contextmanager
def without_gc() -> Iterator[None]:
    """Keep the garbage collector from looking for cycles where none are made."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def text(value: Any) -> str:
    """Check for a string; TypeError otherwise."""
    if type(value) is not str:
        raise TypeError(f"{type(value).__name__} in place of a string")
    return value


def name(value: Any) -> str:
    """Check for a string that is not long; TypeError otherwise, ValueError for a long one."""
    if len(text(value)) > MAX_TEXT:
        raise ValueError(f"{value[:20]!r}… is a name of {len(value)} characters")
    return str(value)


def count(value: Any, most: int = MAX_COUNT) -> int:
    """Check for a whole number that is not negative; TypeError otherwise."""
    if type(value) is not int or not 0 <= value <= most:
        raise TypeError(f"{value!r:.40} in place of a count")
    return value


def number(value: Any) -> float:
    """Check for a finite number; TypeError otherwise."""
    if type(value) not in (float, int) or not -MAX_NUMBER < value < MAX_NUMBER:
        raise TypeError(f"{value!r:.40} in place of a number")
    return float(value)


def share(value: Any) -> float:
    """Check for an accuracy; TypeError if it is no number, ValueError if it is none of 0..1."""
    if not 0 <= number(value) <= 1:
        raise ValueError(f"accuracy {value} is not between 0 and 1")
    return float(value)


def mapping(value: Any) -> Mapping[str, Any]:
    """Check for a JSON object; TypeError otherwise."""
    if type(value) is not dict:
        raise TypeError(f"{type(value).__name__} in place of an object")
    return value


def texts(value: Any) -> tuple[str, ...]:
    """Check for a list of strings; TypeError otherwise."""
    if type(value) is not list:
        raise TypeError(f"{type(value).__name__} in place of a list")
    for item in value:
        if type(item) is not str:
            raise TypeError(f"{type(item).__name__} in place of a string")
    return tuple(value)


def classes_of(value: Any) -> tuple[str, ...]:
    """Check for a list of class names; TypeError or ValueError otherwise."""
    found = texts(value)
    if len(found) > MAX_CLASSES or any(len(each) > MAX_TEXT for each in found):
        raise ValueError(f"{len(found)} classes, the longest name of {max(map(len, found))} characters")
    return found


@lru_cache(maxsize=256)
def _preprocessing(size: Any, mean: tuple[Any, ...], std: tuple[Any, ...]) -> Preprocessing:
    channels = tuple(number(item) for item in (*mean, *std))
    if len(mean) != 3 or len(std) != 3:
        raise ValueError("mean and std have three numbers each")
    if any(abs(item) > MAX_CHANNEL for item in channels) or any(item < 1 / MAX_CHANNEL for item in channels[3:]):
        raise ValueError(f"mean and std are {channels}")
    if not 1 <= count(size) <= MAX_SIDE:
        raise ValueError(f"an input of {size} pixels")
    return Preprocessing(size, channels[:3], channels[3:])  # type: ignore[arg-type]


def decode_entry(row: Any) -> NetworkEntry:
    """Build an entry from parsed JSON.

    Raises:
        KeyError: If a field is missing.
        TypeError: If a field has the wrong type.
        ValueError: If a field has the wrong length.
    """
    spec, cost, pre, accuracy = row["spec"], row["cost"], row["preprocessing"], row["accuracy"]
    return NetworkEntry(
        text(row["id"]),
        ArchitectureSpec(name(spec["backend"]), name(spec["name"]), mapping(spec["config"]), name(spec["source"])),
        NetworkCost(
            count(cost["body_params"], MAX_PARAMS),
            count(cost["body_macs"], MAX_MACS),
            count(cost["body_bytes"], MAX_BYTES),
            count(cost["feature_dim"], MAX_WIDTH),
        ),
        _preprocessing(pre["size"], tuple(pre["mean"]), tuple(pre["std"])),
        classes_of(row["classes"]),
        name(row["source_dataset"]),
        name(row["source_digest"]),
        math.nan if accuracy is None else share(accuracy),
        name(row["license"]),
        Provenance.of(mapping(row["provenance"])),
        decode_weights(row["weights_at"]) if "weights_at" in row else StoredWeights(),
        decode_published(row["published"]) if "published" in row else {},
    )


def decode_weights(row: Any) -> Weights:
    """Build the place of weights from parsed JSON.

    Raises:
        KeyError: If this nns knows no such place.
        TypeError: If a field is missing, unknown, or has the wrong type.
        ValueError: If a field holds what is not allowed.
    """
    fields = dict(mapping(row))
    weights: Weights = WEIGHTS_KINDS[text(fields.pop("kind"))](**fields)
    return weights


def decode_published(row: Any) -> Mapping[str, float]:
    """Check published accuracies.

    Raises:
        TypeError: If it is no object of numbers.
        ValueError: If a name or an accuracy is none, or there are too many.
    """
    found = {name: number(value) for name, value in mapping(row).items()}
    if len(found) > MAX_PUBLISHED or not all(DATASET.fullmatch(name) for name in found):
        raise ValueError(f"published accuracies {sorted(found)!r:.80} have names that are not allowed")
    if not all(0 <= value <= 1 for value in found.values()):
        raise ValueError(f"published accuracies of {min(found.values())} to {max(found.values())}")
    return found


def decode_transfer(row: Any) -> TransferRecord:
    """Build a transfer from parsed JSON.

    Raises:
        KeyError: If a field is missing.
        TypeError: If a field has the wrong type.
        ValueError: If the accuracy is none.
    """
    accuracy = share(row["accuracy"])
    if not NAME.fullmatch(network_id := text(row["network_id"])):
        raise ValueError("a network id that is not allowed")
    return TransferRecord(
        network_id,
        name(row["dataset"]),
        name(row["dataset_digest"]),
        accuracy,
        count(row["epochs"]),
        mapping(row["recipe"]),
    )

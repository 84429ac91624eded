"""Verifying a zoo: is everything in it still what was put in?"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock

import numpy as np

from nns.errors import UnknownNameError, ZooError
from nns.networks.checking import UnbuildableError, find_lie
from nns.networks.weights import find_problems
from nns.plugins import Registry, installed_plugins
from nns.stores import HDF5Store, network_content_digest, supernet_content_digest
from nns.stores._codec import count, mapping, parse_json, text
from nns.stores._numbers import are_bounded
from nns.types import FINGERPRINT_PARTS, NetworkEntry

_ITEM_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2}
_ITEM_BYTES |= {"U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8}

_MAX_HEADER = 100_000_000

_counting = Lock()
"""torch's counter and its choice of attention are of the whole process."""


@dataclass(frozen=True)
class Problem:
    """Something wrong in a zoo.

    Attributes:
        id: The network, ``supernet:ID``, ``space:NAME``, or ``""`` for the zoo as a whole.
        what: What is wrong, one line.
    """

    id: str
    what: str


def verify(
    store: HDF5Store,
    quick: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    registry: Registry | None = None,
) -> tuple[Problem, ...]:
    """Check descriptions, fingerprints, digests, datasets and spaces; unless ``quick`` every byte of every file.

    What is said of an architecture is checked where its backend is installed.

    Args:
        store: What to check.
        quick: Leave out the weights and the seals of the files.
        on_progress: Called with networks checked and networks in all.
        registry: Plugins in place of the installed ones.
    """
    return tuple(_problems(store, quick, on_progress, registry or installed_plugins()))


def verify_path(path: str | os.PathLike[str], quick: bool = False) -> tuple[Problem, ...]:
    """Verify a zoo file; that it cannot be opened is a problem as well.

    Raises:
        MissingZooError: If there is no such file.
    """
    try:
        with HDF5Store(path, must_exist=True) as store:
            return verify(store, quick)
    except ZooError as error:
        return (Problem("", str(error)),)


def _problems(
    store: HDF5Store, quick: bool, on_progress: Callable[[int, int], None] | None, registry: Registry
) -> Iterator[Problem]:
    try:
        ids = store.ids()
    except ZooError as error:
        yield Problem("", str(error))
        return
    if not quick:
        yield from (Problem("", what) for what in store.damage())

    def check(network_id: str) -> list[Problem]:
        try:
            return [Problem(network_id, what) for what in _network(store, network_id, quick, registry)]
        except UnknownNameError:  # removed by somebody since it was listed
            return []
        except ZooError as error:
            return [Problem(network_id, str(error))]

    with suppress(ZooError):  # told below
        # networks cut from one supernet one after another: then that is decoded once
        ids = [entry.id for entry in sorted(store.entries(), key=lambda e: e.provenance.base or e.id)]
    # decoding and hashing leave the interpreter to other threads
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for done, problems in enumerate(pool.map(check, ids), 1):
            yield from problems
            if on_progress:
                on_progress(done, len(ids))
    tables = (store.entries, store.graphs, store.kernels, store.surprises, store.datasets, store.devices)
    for read in (*tables, store.transfers, store.supernets, store.digest):
        try:
            read()
        except ZooError as error:
            yield Problem("", str(error))
    yield from _supernets(store, quick)
    for name in store.spaces():
        try:
            store.space(name)
        except ZooError as error:
            yield Problem(f"space:{name}", str(error))


def _supernets(store: HDF5Store, quick: bool) -> Iterator[Problem]:
    try:
        entries = store.supernets()
    except ZooError:  # told already
        return
    for entry in entries:
        try:
            if not quick:
                weights = store.supernet_weights(entry.id)
                digest = supernet_content_digest(entry, hashlib.sha256(weights).hexdigest())
                if digest != store.supernet_digest(entry.id):
                    yield Problem(f"supernet:{entry.id}", "description is not what was added (digest)")
                yield from (Problem(f"supernet:{entry.id}", what) for what in _weights(entry, weights))
        except UnknownNameError:
            continue
        except ZooError as error:
            yield Problem(f"supernet:{entry.id}", str(error))


def _network(store: HDF5Store, network_id: str, quick: bool, registry: Registry) -> Iterator[str]:
    entry, fingerprint = store.entry(network_id), store.fingerprint(network_id)
    for name in FINGERPRINT_PARTS if fingerprint else ():
        if not np.isfinite(getattr(fingerprint, name)).all():
            yield f"fingerprint: {name} holds NaN or infinity"
    if not (math.isnan(entry.accuracy) or 0 <= entry.accuracy <= 1):
        yield f"accuracy {entry.accuracy} is not between 0 and 1"
    digest = network_content_digest(entry, fingerprint, store.weights_sha256(network_id))
    if digest != store.network_digest(network_id):
        yield "description or fingerprint is not what was added (digest)"
    if not quick:
        yield from _weights(entry, store.weights(network_id))
        yield from find_problems(entry, store.path)
    try:
        with _counting:
            lie = find_lie(entry, registry, store.weights_length(network_id))
        if lie:
            yield lie
    except UnbuildableError as error:
        yield str(error)


def _weights(entry: NetworkEntry, data: bytes) -> Iterator[str]:
    if not data:  # a network that is only described, as in a zoo of embeddings
        return
    length = int.from_bytes(data[:8], "little")
    if length > min(len(data) - 8, _MAX_HEADER):
        yield "weights are not in safetensors format (no header)"
        return
    try:
        header = mapping(parse_json(data[8 : 8 + length], f"weights of {entry.id}"))
        tensors = {name: mapping(value) for name, value in header.items() if name != "__metadata__"}
        ranges = [_tensor(name, value) for name, value in tensors.items()]
    except (ZooError, KeyError, TypeError, ValueError) as error:
        yield f"weights are not in safetensors format ({error})"
        return
    end = 0
    for start, stop in sorted(ranges):
        if start != end:
            yield f"weights have a gap or an overlap at byte {end}"
            return
        end = stop
    if end != len(data) - 8 - length:
        yield f"weights have {len(data) - 8 - length} bytes of tensors, the header describes {end}"
        return
    for (name, value), (start, stop) in zip(tensors.items(), ranges, strict=True):
        if value["dtype"] in _FLOATS and not _are_numbers(data[8 + length + start : 8 + length + stop], value["dtype"]):
            yield f"weights hold NaN or infinity in {name!r:.80}"


_FLOATS = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2"}


def _are_numbers(data: bytes, dtype: str) -> bool:
    values = np.frombuffer(data, _FLOATS[dtype])
    if dtype == "BF16":  # the upper half of fp32
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return are_bounded(values)


def _tensor(name: str, value: object) -> tuple[int, int]:
    fields = mapping(value)
    start, stop = map(count, fields["data_offsets"])
    dtype = text(fields["dtype"])
    if dtype not in _ITEM_BYTES:
        raise ValueError(f"tensor {name!r:.80} has the unknown type {dtype!r:.20}")
    if stop - start != math.prod(map(count, fields["shape"])) * _ITEM_BYTES[dtype]:
        raise ValueError(f"tensor {name!r:.80} does not fit its shape")
    return start, stop

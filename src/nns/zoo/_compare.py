"""Comparing two zoos: columns say what is equal, and only descriptions of what is not are parsed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nns.errors import ZooError
from nns.stores import HDF5Store
from nns.stores._digest import canonical_json, entry_json, transfer_content_digest
from nns.stores.hdf5.networks import WeightsTable
from nns.stores.hdf5.tables import read_space
from nns.stores.hdf5.view import Loader, View
from nns.types import NetworkColumns, NetworkEntry
from nns.zoo._changes import LONG, MOST_FIELDS, dataset_changes, entry_changes, space_changes
from nns.zoo._diff import KINDS, Difference, Moved, Side, ZooDiff

if TYPE_CHECKING:
    from nns.stores.hdf5.joined import Joined

T = TypeVar("T", bound=WeightsTable)

ATTEMPTS = 100
"""How often zoos that are themselves merged meanwhile are looked at anew."""

CHUNK = 1 << 16
"""Rows whose digests are compared at one time: 4 MiB, however large the zoos are."""

NUMBERS = ("accuracy", "params", "macs", "bytes")


def diff_zoos(a: str | Path, b: str | Path, limit: int = 1000) -> ZooDiff:
    """Compare two zoos by content, each with its journal.

    A network that is in one alone is ``retrained`` if the other has just one of the same architecture and the same
    name of a dataset that is not in the first, else added or removed.

    Args:
        a: The first zoo file.
        b: The second.
        limit: Networks and supernets of each kind that are listed; all are counted.

    Raises:
        MissingZooError: If one is not there.
        ZooError: If one is damaged.
    """
    paths = Path(a), Path(b)
    for path in paths:
        HDF5Store(path, must_exist=True).close()
    for _ in range(ATTEMPTS):
        with suppress(FileNotFoundError):  # somebody merges the journal of one of them at this moment
            return _diff(paths, Loader(paths[0]).load(), Loader(paths[1]).load(), limit)
    raise ZooError(f"{a} or {b} is merged again and again; try again later")


def _diff(paths: tuple[Path, Path], a: View, b: View, limit: int) -> ZooDiff:
    fields: Counter[str] = Counter()
    networks, supernets = _Rows(a.networks, b.networks), _Rows(a.supernets, b.supernets)
    one, two = a.columns, b.columns
    networks.pair()
    numbers = _numbers(one, two, networks.in_a, networks.in_b)
    networks.unequal |= _moved(one, two, networks.in_a, networks.in_b)  # a digest alone is what the file says of itself
    counts, listed = networks.differences("network", limit, fields)
    supernet_counts, more = supernets.differences("supernet", limit, Counter())
    stores = HDF5Store(paths[0]), HDF5Store(paths[1])
    digests = [store.digest() for store in stores]
    for store in stores:
        store.close()
    return ZooDiff(
        Side(paths[0], digests[0], len(one)),
        Side(paths[1], digests[1], len(two)),
        int((~networks.unequal).sum()),
        counts,
        supernet_counts,
        numbers,
        dict(fields.most_common(MOST_FIELDS)),
        [*listed, *more],
        _datasets(a, b),
        _spaces(a, b),
        _transfers(a, b),
    )


class _Rows:
    """Rows of networks, or of supernets, of two zoos, side by side.

    Attributes:
        in_a: Rows in the first zoo of what is in both.
        in_b: Their rows in the second.
        unequal: Which of them differ.
        only_a: Rows of what is in the first alone.
        only_b: Rows of what is in the second alone.
    """

    def __init__(self, a: Joined[T], b: Joined[T]) -> None:
        self.a: Joined[Any] = a
        self.b: Joined[Any] = b
        at = np.searchsorted(b.keys, a.keys)
        hit = at < len(b)
        hit[hit] = b.keys[at[hit]] == a.keys[hit]
        self.in_a, self.in_b = np.flatnonzero(hit), at[hit]
        self.only_a = np.flatnonzero(~hit)
        self.only_b = np.setdiff1d(np.arange(len(b)), self.in_b, assume_unique=True)
        self.unequal = self._differ("digests")

    def _differ(self, column: str) -> NDArray[np.bool_]:
        """Tell which rows have another digest."""
        found = np.zeros(len(self.in_a), np.bool_)
        if not len(found):
            return found
        one, two = (each.stack(lambda table: getattr(table, column)) for each in (self.a, self.b))
        for start in range(0, len(found), CHUNK):
            rows = slice(start, start + CHUNK)
            found[rows] = (one[self.in_a[rows]] != two[self.in_b[rows]]).any(axis=1)
        return found

    def pair(self) -> None:
        """Put together what has the same architecture and dataset, one on each side, and other ids."""
        if not len(self.only_a) or not len(self.only_b):
            return
        one, two = _singles(_made_of(self.a, self.only_a)), _singles(_made_of(self.b, self.only_b))
        _, at, other = np.intersect1d(one[0], two[0], assume_unique=True, return_indices=True)
        rows_a, rows_b = self.only_a[one[1][at]], self.only_b[two[1][other]]
        self.in_a, self.in_b = np.append(self.in_a, rows_a), np.append(self.in_b, rows_b)
        self.unequal = np.append(self.unequal, np.ones(len(rows_a), np.bool_))
        self.only_a, self.only_b = np.setdiff1d(self.only_a, rows_a), np.setdiff1d(self.only_b, rows_b)

    def differences(self, what: str, limit: int, fields: Counter[str]) -> tuple[dict[str, int], list[Difference]]:
        """Count what differs, and list some of each kind; only those are parsed, and those in both."""
        counts = dict.fromkeys(KINDS, 0)
        counts["added"], counts["removed"] = len(self.only_b), len(self.only_a)
        found: dict[str, list[Difference]] = {kind: [] for kind in KINDS}
        for kind, joined, rows in (("added", self.b, self.only_b), ("removed", self.a, self.only_a)):
            for row in rows[:limit].tolist():
                entry = _entry(joined, row)
                accuracy = (None, _number(entry)) if kind == "added" else (_number(entry), None)
                found[kind].append(_difference(what, kind, entry, "", {"accuracy": accuracy}))
        retrained = self._differ("sha256")
        for at in np.flatnonzero(self.unequal).tolist():
            old, new = _entry(self.a, int(self.in_a[at])), _entry(self.b, int(self.in_b[at]))
            kind = "retrained" if retrained[at] or old.id != new.id else "changed"
            changes = entry_changes(old, new)
            if kind == "changed" and not changes:  # of what a digest covers only that is left
                changes = {"fingerprint": ("", "")}
            counts[kind] += 1
            for name in changes:
                if name in fields or len(fields) < 10 * MOST_FIELDS:
                    fields[name] += 1
            if len(found[kind]) < limit:
                found[kind].append(_difference(what, kind, new, old.id if old.id != new.id else "", changes))
        return counts, [each for kind in KINDS for each in found[kind]]


def _entry(joined: Joined[Any], row: int) -> NetworkEntry:
    table, at = joined.at(row)
    entry: NetworkEntry = table.entry(at)
    return entry


def _made_of(joined: Joined[Any], rows: NDArray[np.intp]) -> NDArray[np.bytes_]:
    """Digest architecture and dataset of some rows: 32 bytes each, so that millions can be put side by side."""

    def digest(entry: NetworkEntry) -> bytes:
        spec = entry.spec
        made = [spec.backend, spec.name, entry_json(entry)["spec"]["config"], spec.source, entry.source_dataset]
        return hashlib.sha256(canonical_json(made)).hexdigest()[:32].encode()

    return np.frombuffer(b"".join(digest(_entry(joined, row)) for row in rows.tolist()), "S32")


def _singles(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Return the values that occur once, sorted, and where."""
    found, at, times = np.unique(values, return_index=True, return_counts=True)
    return found[times == 1], at[times == 1]


def _difference(
    what: str, kind: str, entry: NetworkEntry, was: str, changes: Mapping[str, tuple[Any, Any]]
) -> Difference:
    about = f"{entry.spec.backend}:{entry.spec.name}"
    return Difference(what, kind, entry.id, was, about[:LONG], entry.source_dataset[:LONG], changes)


def _number(entry: NetworkEntry) -> float | None:
    return None if np.isnan(entry.accuracy) else entry.accuracy


def _moved(a: NetworkColumns, b: NetworkColumns, in_a: NDArray[np.intp], in_b: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Tell for which rows a column differs, whatever the digests say."""
    found = np.zeros(len(in_a), np.bool_)
    for name in ("body_params", "body_macs", "body_bytes", "feature_dim", "classes", "accuracy", "fingerprinted"):
        one, two = getattr(a, name)[in_a], getattr(b, name)[in_b]
        found |= (one != two) & ~((one != one) & (two != two))  # NaN is not equal to itself
    return found


def _numbers(a: NetworkColumns, b: NetworkColumns, in_a: NDArray[np.intp], in_b: NDArray[np.intp]) -> dict[str, Moved]:
    """Say by how much the numbers of networks moved that are in both zoos, each with its own head."""
    found = {}
    for name in NUMBERS:
        one, two = _counted(a, name, in_a), _counted(b, name, in_b)
        moved = (one != two) & ~((one != one) & (two != two))
        if not moved.any():
            continue
        by = (two[moved] - one[moved]).astype(np.float64)
        by = by[np.isfinite(by)]
        extent = (float(by.min()), float(by.mean()), float(by.max())) if len(by) else (None, None, None)
        found[name] = Moved(int(moved.sum()), *extent)
    return found


def _counted(columns: NetworkColumns, name: str, rows: NDArray[np.intp]) -> NDArray[Any]:
    """Return a number of some networks with their own heads, as ``NetworkCost`` counts."""
    if name == "accuracy":
        return columns.accuracy[rows]
    head = columns.feature_dim[rows] * columns.classes[rows]
    bias = columns.classes[rows]
    if name == "params":
        return columns.body_params[rows] + head + bias
    return columns.body_macs[rows] + head if name == "macs" else columns.body_bytes[rows] + 4 * (head + bias)


def _datasets(a: View, b: View) -> list[Difference]:
    if sorted(a.dataset_digests()) == sorted(b.dataset_digests()):
        return []
    one, two = ({digest: record for record, digest in view.datasets} for view in (a, b))
    gone = [record for digest, record in one.items() if digest not in two]
    new = [record for digest, record in two.items() if digest not in one]
    names = Counter(record.name for record in gone), Counter(record.name for record in new)
    both = {name for name, times in names[0].items() if times == names[1][name] == 1}
    before = {record.name: record for record in gone if record.name in both}
    found = [
        Difference("dataset", "changed", record.name[:LONG], fields=dataset_changes(before[record.name], record))
        for record in new
        if record.name in both
    ]
    for kind, records in (("added", new), ("removed", gone)):
        found += [Difference("dataset", kind, record.name[:LONG]) for record in records if record.name not in both]
    return sorted(found, key=lambda each: (each.name, each.kind))


def _spaces(a: View, b: View) -> list[Difference]:
    found = []
    for name in sorted({*a.spaces, *b.spaces}):
        if name not in a.spaces or name not in b.spaces:
            found.append(Difference("space", "added" if name in b.spaces else "removed", name))
        elif fields := space_changes(*(read_space(view.spaces[name].file, name) for view in (a, b))):
            found.append(Difference("space", "changed", name, fields=fields))
    return found


def _transfers(a: View, b: View) -> dict[str, int]:
    counts = {"added": 0, "removed": 0, "changed": 0}
    if _lines(a) == _lines(b):
        return counts
    one, two = a.transfers, b.transfers
    counts["added"], counts["removed"] = len(two.keys() - one.keys()), len(one.keys() - two.keys())
    counts["changed"] = sum(
        transfer_content_digest(one[key]) != transfer_content_digest(two[key]) for key in one.keys() & two.keys()
    )
    return counts


def _lines(view: View) -> list[bytes]:
    """Read the lines of all transfers, unparsed."""
    files = [part.file for part in view.parts if part.file.header.rows["transfers"]]
    return [hashlib.sha256(file.whole("transfers/meta")).digest() for file in files]

"""``nns zoo import-tans``: a folder of published files becomes a zoo."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from nns.data.extractors import RESNET18_EXTRACTOR
from nns.errors import UsageError, ZooError
from nns.networks import serialise
from nns.tans.architectures import BACKEND
from nns.tans.archives import ForeignPickleError, rehearsed
from nns.tans.layout import read_networks, read_test_set, read_training_sets
from nns.tans.records import dataset_record, network_records, supernet_entry, with_weights
from nns.tans.supernets import Supernet, build_supernet, cut_subnets, find_supernets, read_tensors
from nns.types import DatasetRecord, NetworkEntry, NetworkRecord, SupernetRecord

if TYPE_CHECKING:
    from nns.zoo import Zoo

NETWORKS, TRAINING, TESTING = "p_mod_zoo.pt", "meta_train.pt", "meta_test_*.pt"
MAX_TEST_SETS = 1000

Progress = Callable[[str, int, int], None]
"""``progress(what, done, total)``."""


@dataclass(frozen=True)
class TansImport:
    """What an import came to.

    Attributes:
        networks: Networks in the published file, each counted once.
        added: Those that were not in the zoo before.
        unmatched: Those whose dataset has no query features: they can be found, but nothing is fitted to them.
        datasets: Datasets that networks were trained on.
        test_sets: Datasets for tests, which no network was trained on.
        supernets: Datasets whose supernet is in the zoo now.
        with_weights: Networks that were cut out of these.
        refused: Files of supernets that were left alone, as they are whole pickled modules and nobody trusts them.
    """

    networks: int
    added: int
    unmatched: int
    datasets: int
    test_sets: int
    supernets: tuple[str, ...]
    with_weights: int
    refused: tuple[Path, ...]


def import_tans(folder: Path, zoo: Zoo, *, trusted: bool = False, progress: Progress | None = None) -> TansImport:
    """Import the published files of TANS into a zoo.

    All of it enters the zoo in one step, after the last file was read and checked; what fails leaves it as it was.

    Args:
        folder: Folder that holds ``p_mod_zoo.pt`` and ``meta_train.pt``, and may hold ``meta_test_*.pt`` and, also in
            folders below it, supernets as ``NAME.pt``.
        zoo: The zoo, which is written to and merged.
        trusted: Unpickle supernets that are whole modules, in a process of its own, which can run any code in them.
        progress: Called as things go on.

    Raises:
        UsageError: If the folder lacks a file.
        ZooError: If a file is damaged, or holds something else than the published layout.
    """
    told = progress or (lambda what, done, total: None)
    published = _required(folder)
    _check_target(zoo)
    told("reading datasets", 0, 1)
    training = rehearsed(lambda: read_training_sets(published[1]), published[1])
    datasets = [dataset_record(dataset) for dataset in training]
    tests = [dataset_record(rehearsed(partial(read_test_set, path), path)) for path in _test_sets(folder)]
    names = Counter(dataset.name for dataset in (*datasets, *tests))
    if twice := [name for name, count in names.items() if count > 1]:
        raise ZooError(f"two datasets are called {twice[0]!r}; take one of the files out of the folder")
    told("reading networks", 0, 1)
    networks = rehearsed(lambda: read_networks(published[0]), published[0])
    records = network_records(networks, datasets)
    known = set(zoo.store.ids())
    kept = {record.entry.id for record in records}
    unmatched = sum(not record.entry.source_digest for record in records)
    source = _Source(zoo, folder, datasets, trusted)
    zoo.store.add_all(chain(datasets, tests, source.complete(records, told)))
    return TansImport(
        networks=len(kept),
        added=len(kept - known),
        unmatched=unmatched,
        datasets=len(datasets),
        test_sets=len(tests),
        supernets=tuple(source.used),
        with_weights=source.cut,
        refused=tuple(source.refused),
    )


def _required(folder: Path) -> tuple[Path, Path]:
    if not folder.is_dir():
        raise UsageError(f"no folder at {str(folder)!r}: name the one that holds {NETWORKS} and {TRAINING}")
    paths = folder / NETWORKS, folder / TRAINING
    for path in paths:
        if not path.exists() and not path.is_symlink():
            raise UsageError(f"no {path.name} in {str(folder)!r}: put the published {NETWORKS} and {TRAINING} there")
    return paths


def _check_target(zoo: Zoo) -> None:
    """Refuse a zoo whose networks or datasets cannot be compared with what will be imported."""
    foreign = {dataset.extractor for dataset in zoo.datasets()} - {RESNET18_EXTRACTOR}
    if foreign or (len(zoo) and zoo.store.graphs().size):
        raise UsageError(f"{zoo.path} holds networks or datasets that are not of TANS; import into a zoo of its own")


def _test_sets(folder: Path) -> list[Path]:
    paths = sorted(folder.glob(TESTING))
    if len(paths) > MAX_TEST_SETS:
        raise ZooError(f"{folder} holds {len(paths)} files {TESTING}, more than the {MAX_TEST_SETS} there may be")
    return paths


class _Source:
    """Gives networks the weights that supernets have for them, one supernet at a time."""

    def __init__(self, zoo: Zoo, folder: Path, datasets: Sequence[DatasetRecord], trusted: bool) -> None:
        self.zoo, self.trusted = zoo, trusted
        self.datasets = {dataset.name: dataset for dataset in datasets}
        self.files = find_supernets(folder, self.datasets)
        self.used: list[str] = []
        self.refused: list[Path] = []
        self.cut = 0

    def complete(
        self, records: Sequence[NetworkRecord], progress: Progress
    ) -> Iterator[NetworkRecord | SupernetRecord]:
        """Return all networks, those of one dataset after one another, with weights and supernet where there is one."""
        by_dataset: dict[str, list[NetworkRecord]] = defaultdict(list)
        for record in records:
            by_dataset[record.entry.source_dataset].append(record)
        done = 0
        for name, own in by_dataset.items():
            supernet = self._supernet(name) if name in self.files else None
            if supernet:
                yield supernet[1]
            for record in self._cut(own, supernet[0], supernet[1].entry) if supernet else own:
                yield record
                done += 1
                progress("adding networks", done, len(records))

    def _supernet(self, name: str) -> tuple[Supernet, SupernetRecord] | None:
        path, dataset = self.files[name], self.datasets[name]
        try:
            state = read_tensors(path, True) if self.trusted else rehearsed(lambda: read_tensors(path, False), path)
        except ForeignPickleError as error:
            if not error.name or self.trusted:
                raise
            self.refused.append(path)
            logging.getLogger("nns").info("%s was left alone: it calls for %s", path, error.name)
            return None
        backend = self.zoo.registry.backend(BACKEND)
        supernet = build_supernet(backend, state, len(dataset.classes), path)
        weights = serialise(supernet.module)
        entry = supernet_entry(dataset, weights, supernet.own_head)
        self.used.append(name)
        return supernet, SupernetRecord(entry, weights)

    def _cut(self, records: Sequence[NetworkRecord], supernet: Supernet, base: NetworkEntry) -> Iterator[NetworkRecord]:
        specs = [record.entry.spec for record in records]
        for record, module in zip(records, cut_subnets(supernet, specs), strict=True):
            self.cut += 1
            yield with_weights(record, serialise(module), base)

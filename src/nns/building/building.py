"""Running a build: workers take items, every finished network is safe at once, a rerun goes on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nns.building.events import BuildEvent, BuildReport, EventKind
from nns.building.executors import Executor, make_executor
from nns.building.folder import BuildFolder
from nns.building.machines import check_machines
from nns.building.pairs import PairPlan, check_spread
from nns.building.plan import BuildItem, plan_architectures
from nns.building.preparing import describe_datasets, describe_pretrained, named_datasets
from nns.building.settings import BuildSettings
from nns.building.transfers import TransferItem, TransferResult, plan_transfers, run_transfer, transfer_recipe
from nns.building.worker import ItemResult, Place, run_item
from nns.errors import DatasetError, ZooError
from nns.networks.fingerprints import GRAPH_DIM, REFERENCE_COUNT, SURPRISE_ROWS
from nns.plugins import installed_plugins
from nns.stores import HDF5Store, canonical_json, without_timing
from nns.threads import limited_threads

if TYPE_CHECKING:
    from nns.data import Dataset
    from nns.plugins import Registry
    from nns.types import NetworkRecord

POLL = 1.0
"""Seconds after which a build looks again whether another has finished what it has claimed."""

MERGE_FROM = 300
"""Shards from which the journal is merged while a build runs: each costs a reader 2 ms."""

Item = BuildItem | TransferItem
Result = ItemResult | TransferResult


def build_zoo(
    zoo: str | os.PathLike[str],
    settings: BuildSettings,
    *,
    data: Sequence[Any] | None = None,
    workers: int | None = 1,
    threads: int = 1,
    executor: str = "local",
    address: str | None = None,
    device: str = "cpu",
    on_event: Callable[[BuildEvent], None] | None = None,
    registry: Registry | None = None,
) -> BuildReport:
    """Build a zoo, or go on with one that holds part of the work already.

    Ids and seeds come from what an item is, not from its turn, and pairs are chosen from whole rounds of results, so
    that any executor, any number of workers and any interruption give the same zoo. Ctrl-C ends the running items
    unfinished and keeps the finished ones.

    Args:
        zoo: The file to write; a journal folder and one of decoded images lie beside it while the build runs. All
            workers write there, so with several machines it must be on a disk that they share.
        settings: What to build.
        data: Datasets in place of those that the settings name, as :meth:`nns.data.Dataset.of` takes them.
        workers: Items that are trained at the same time, each in a process; None: as many as there are processors
            for; 0: everything in this process, for small zoos and for debugging.
        threads: Threads of each.
        executor: ``"local"`` or ``"ray"``.
        address: Of a ray cluster, ``"auto"`` for one that runs here; None starts one. It is connected to before
            anything is read or written.
        device: What to train on: ``"cpu"``, ``"cuda"``, or ``"auto"``. Only CPUs give the same zoo again bit for bit.
        on_event: Called in this process as things happen.
        registry: Plugins in place of the installed ones, which the workers of other machines have.

    Raises:
        DatasetError: If a dataset cannot be used, or two hold the same images.
        UsageError: If the settings make no sense, ray is not installed, or no cluster lets this process in.
        ZooError: If the file is there and is no zoo, or cannot be written any more; what was finished stays.
    """
    run = _Build(
        zoo, settings, registry or installed_plugins(), settings.data if data is None else data, device, on_event
    )
    interrupted = False
    try:
        with (
            limited_threads(threads),  # what this process computes depends on them as well, in the last digits
            # first, as it may be refused; processes are started with the first item
            make_executor(executor, workers, threads, address, gpus=device != "cpu") as started,
        ):
            run.prepare(started)
            run.train(started)
    except KeyboardInterrupt:
        interrupted = True
    except BaseException:
        run.folder.leave(remove=run.pairs is None)  # what was refused leaves nothing
        raise
    return run.finish(interrupted)


class _Build:
    def __init__(
        self,
        zoo: str | os.PathLike[str],
        settings: BuildSettings,
        registry: Registry,
        data: Sequence[Any],
        device: str,
        on_event: Callable[[BuildEvent], None] | None,
    ) -> None:
        self.zoo, self.settings, self.registry, self.on_event = Path(zoo), settings, registry, on_event
        self.data = data
        self.started = time.perf_counter()
        self.store = HDF5Store(zoo)
        self.folder = BuildFolder(Path(os.path.abspath(self.zoo)))
        self.place = Place(os.path.abspath(self.zoo), str(self.folder.path), device)
        self.datasets: list[tuple[str, Dataset]] = []
        self.waiting: list[Item] = []
        self.running: dict[Future[Any], Item] = {}
        self.pretrained: list[str] = []
        self.failed: list[tuple[str, str, str]] = []
        self.images = self.transfers = self.unmerged = 0
        self.transfers_total = 0
        self.transfers_planned = False
        self.before = len(self.store.ids())
        self.pairs: PairPlan | None = None

    def emit(self, kind: EventKind, **more: Any) -> None:
        if self.on_event:
            event = BuildEvent(
                kind,
                done=self.pairs.done if self.pairs else 0,
                total=self.pairs.total if self.pairs else self.settings.networks,
                transfers=self.transfers,
                transfers_total=self.transfers_total,
                running=len(self.running) + (kind == "start"),
                images=self.images,
                seconds=time.perf_counter() - self.started,
                **more,
            )
            self.on_event(event)

    def prepare(self, executor: Executor) -> None:
        """Open the datasets, add what needs no training, and choose the first pairs."""
        self.datasets = named_datasets(self.data, self.registry)
        architectures = plan_architectures(self.settings, self.registry)
        check_spread(self.settings, len(self.datasets))
        self._enter()
        check_machines(executor, self.folder.path)
        prepared, seed = self.folder.prepared, self.settings.seed

        def on_described(name: str) -> None:
            self.emit("dataset", message=name)

        datasets = describe_datasets(self.datasets, self.store, prepared, self.registry, seed, on_described)
        self._refuse_other_networks()
        pretrained: list[NetworkRecord] = []
        if self.settings.pretrained:
            self.pretrained, pretrained = describe_pretrained(self.settings, self.store, prepared, self.registry)
        # only now: the images of each dataset could be read, all weights too, and networks can be added
        for dataset in datasets:
            self.store.add_dataset(dataset)
        for network in pretrained:
            self.store.add_network(network)

        def on_counted(name: str, counted: int, to_count: int) -> None:
            self.emit("architecture", message=name, counted=counted, to_count=to_count)

        self.pairs = PairPlan(
            self.settings, self.registry, self.datasets, architectures, self.store, on_counted, self.folder
        )
        self.transfers_total = self.settings.transfers_of(self.pairs.total, len(self.pretrained), len(self.datasets))
        self.transfers_planned = not self.transfers_total
        for backend, reason in self.pairs.broken:
            self.failed.append(("all datasets", backend, reason))
            self.emit("failed", message=reason)
        self._plan(self.pairs)
        self.emit("plan")

    def _enter(self) -> None:
        try:
            self.folder.enter()
        except OSError as error:
            raise ZooError(f"{self.folder.path} cannot be written: {error.strerror}") from error

    def _refuse_other_networks(self) -> None:
        shapes = self.store.fingerprint_shapes()
        ours = ((GRAPH_DIM,), (REFERENCE_COUNT, REFERENCE_COUNT), (SURPRISE_ROWS, REFERENCE_COUNT))
        if shapes not in (None, ours):
            raise ZooError(f"{self.zoo} holds networks with other fingerprints than those built here; build a new zoo")

    def _plan(self, pairs: PairPlan) -> None:
        """Queue what can be chosen now; transfers once all networks are there."""
        self.store.refresh()
        self.waiting += pairs.next_items()
        if self.transfers_planned or self.waiting or self.running:
            return
        self.transfers_planned = True
        wanted = {*pairs.ids.values(), *self.pretrained}
        entries = [entry for entry in self.store.entries() if entry.id in wanted]
        planned = plan_transfers(self.settings, self.datasets, entries)
        ids, digests = {entry.id for entry in entries}, {dataset.digest for _, dataset in self.datasets}
        done = {(network, digest) for network, digest in self._transferred() if network in ids and digest in digests}
        # those of an earlier plan, made when the zoo had fewer networks or datasets, count too
        left = [item for item in planned if item.key not in done][: max(0, len(planned) - len(done))]
        self.transfers, self.transfers_total = len(done), len(done) + len(left)
        self.waiting += left

    def train(self, executor: Executor) -> None:
        """Hand out items until none is left."""
        assert self.pairs is not None
        while self.waiting or self.running:
            while len(self.running) < executor.slots and (item := self._next(self.pairs)) is not None:
                self._start(executor, item)
            free = self.waiting and len(self.running) < executor.slots  # another build has what is waiting
            if self.running:
                finished, _ = wait(self.running, timeout=POLL if free else None, return_when=FIRST_COMPLETED)
            else:
                finished = set()
                time.sleep(POLL if free else 0)
            for future in finished:
                item = self.running.pop(future)
                self.folder.release(item.claim, self._account(self.pairs, item, future.result))
            if self.unmerged >= MERGE_FROM:
                self.store.merge()
                self.unmerged = 0
            self._plan(self.pairs)

    def _next(self, pairs: PairPlan) -> Item | None:
        """Take the first item that is not being done, by this build or another; what others have finished counts."""
        busy = {item.claim for item in self.running.values()}
        for item in list(self.waiting):
            if item.claim in busy:  # as one supernet is trained for another item just now
                continue
            claimed = self.folder.claim(item.claim)
            if claimed is None and self._is_finished(pairs, item):
                self.waiting.remove(item)
            elif claimed or (claimed is None and self.folder.claim(item.claim, again=True)):
                self.waiting.remove(item)
                return item
        return None

    def _is_finished(self, pairs: PairPlan, item: Item) -> bool:
        """Look whether another build has put into the zoo what comes of an item; if so, it counts."""
        self.store.refresh()
        if isinstance(item, BuildItem):
            if not set(item.ids) <= set(self.store.ids()):
                return False
            found = tuple(self.store.entry(identity).accuracy for identity in item.ids)
            for identity, accuracy in zip(item.ids, found, strict=True):
                pairs.record(identity, accuracy)
            result = ItemResult(item.dataset_name, item.backend, item.ids, found, added=0, images=0, seconds=0.0)
            self.emit("network", item=item, result=result)
            return True
        reached = self._transferred().get(item.key)
        if reached is None:
            return False
        self.transfers += 1
        self.emit("transfer", item=item, result=TransferResult((reached,), images=0, seconds=0.0))
        return True

    def _transferred(self) -> dict[tuple[str, str], float]:
        """Return network and dataset of each transfer of this kind in the zoo, and its accuracy."""
        recipe = canonical_json(transfer_recipe(self.settings))
        return {
            (record.network_id, record.dataset_digest): record.accuracy
            for record in self.store.transfers()
            if canonical_json(without_timing(record.recipe)) == recipe
        }

    def _start(self, executor: Executor, item: Item) -> None:
        function = run_item if isinstance(item, BuildItem) else run_transfer
        registry = None if executor.slots_are_processes else self.registry
        if executor.elsewhere:  # decoded beside the zoo, so that another machine need not have the images
            with suppress(DatasetError):  # the item says so
                item.decode(self.place)
        self.emit("start", item=item)
        self.running[executor.submit(function, self.place, item, registry)] = item

    def _account(self, pairs: PairPlan, item: Item, result_of: Callable[[], Result]) -> bool:
        """Count an item that came to an end; return whether the zoo has what comes of it."""
        try:
            result = result_of()
        except ZooError:  # the zoo itself: nothing that is trained from now on could be kept
            raise
        except Exception as error:  # noqa: BLE001 - one failed item does not stop the build
            self._fail(pairs, item, f"{type(error).__name__}: {error}")
            return False
        self.images += result.images
        if isinstance(result, ItemResult):
            self.unmerged += result.added
            for identity, accuracy in zip(result.ids, result.accuracies, strict=True):
                pairs.record(identity, accuracy)
            self.emit("network", item=item, result=result)
        else:
            self.unmerged += 1
            self.transfers += 1
            self.emit("transfer", item=item, result=result)
        return True

    def _fail(self, pairs: PairPlan, item: Item, reason: str) -> None:
        if isinstance(item, BuildItem):
            self.store.refresh()
            present = set(self.store.ids())
            for identity in item.ids:
                pairs.record(identity, self.store.entry(identity).accuracy if identity in present else None)
        self.failed.append((item.dataset_name, item.backend, reason))
        self.emit("failed", item=item, message=reason)

    def finish(self, interrupted: bool) -> BuildReport:
        """Bring the journal into the file and report."""
        self.store.refresh()
        self.emit("merge")
        try:
            self.store.merge()
        except ZooError as error:
            raise ZooError(f"{error}. What was trained is safe in the journal beside it, and counts") from error
        self.folder.leave(remove=not interrupted)
        networks = len(self.store.ids())
        return BuildReport(
            zoo=str(self.zoo),
            digest=self.store.digest(),
            networks=networks,
            added=networks - self.before,
            datasets=len(self.store.datasets()),
            transfers=len(self.store.transfers()),
            failed=tuple(sorted(self.failed)),
            seconds=time.perf_counter() - self.started,
            images=self.images,
            interrupted=interrupted,
            untrained=() if interrupted or self.pairs is None else self.pairs.untrained(self.settings.backends),
        )

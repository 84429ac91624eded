"""Running a build: worker processes take items, every finished network is safe at once, a rerun goes on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nns.errors import DatasetError, NnsError
from nns.images import load_sample, open_dataset
from nns.pipeline.build.plan import BuildItem, plan_build
from nns.pipeline.build.settings import BuildSettings
from nns.pipeline.build.worker import ItemResult, Origin, describe, run_item, start_worker
from nns.queries import EfficientNetLite0Extractor
from nns.stores import HDF5Store
from nns.types import DatasetRecord
from nns.zoo import network_id

if TYPE_CHECKING:
    from nns.images import ImageDataset
    from nns.plugins import Registry


@dataclass(frozen=True)
class BuildEvent:
    """Progress of a build.

    Attributes:
        kind: ``"plan"`` once, ``"dataset"`` for each dataset whose query features are there, ``"network"``
            for each finished item, ``"failed"`` for each that raised, ``"merge"`` before the file is written.
        done: Networks in the zoo so far, of this build.
        total: Networks that the build is to have.
        images: Training images seen so far, epochs counted.
        seconds: Since the build began.
        item: The item that ended, if any.
        result: What became of it, if it did not fail.
        message: Reason of a failure, else a name.
    """

    kind: Literal["plan", "dataset", "network", "failed", "merge"]
    done: int
    total: int
    images: int
    seconds: float
    item: BuildItem | None = None
    result: ItemResult | None = None
    message: str = ""


@dataclass(frozen=True)
class BuildReport:
    """What a build came to.

    Attributes:
        zoo: Path of the zoo file.
        digest: Content digest of the zoo.
        networks: Networks in the zoo.
        added: Networks that this run added.
        datasets: Datasets in the zoo.
        failed: ``(dataset, backend, reason)`` of each item that raised; the next run tries them again.
        seconds: Wall-clock time of this run.
        interrupted: Whether Ctrl-C ended it.
    """

    zoo: str
    digest: str
    networks: int
    added: int
    datasets: int
    failed: tuple[tuple[str, str, str], ...]
    seconds: float
    interrupted: bool


def build_zoo(
    zoo: str | os.PathLike[str],
    settings: BuildSettings,
    registry: Registry,
    *,
    workers: int = 1,
    threads: int = 1,
    on_event: Callable[[BuildEvent], None] | None = None,
) -> BuildReport:
    """Build a zoo, or go on with one that holds part of the work already.

    Ids and seeds come from what an item is, not from its turn, so that any number of workers and any
    interruption give the same zoo. Ctrl-C ends the running items unfinished and keeps the finished ones.

    Args:
        zoo: The file to write; a journal folder lies beside it while the build runs.
        settings: What to build.
        registry: Where the backends are.
        workers: Processes that train at the same time; 0: everything in this process, for small zoos and
            for debugging.
        threads: Threads of each.
        on_event: Called in this process as things happen.

    Raises:
        DatasetError: If a dataset cannot be used, or two hold the same images.
        UsageError: If the settings make no sense.
        NnsError: If a worker process dies.
        ZooError: If the file is there and is no zoo.
    """
    run = _Build(zoo, settings, registry, on_event)
    interrupted = False
    try:
        with _torch_threads(threads):  # what this process computes depends on them as well, in the last digits
            run.prepare()
            run.train(workers, threads)
    except KeyboardInterrupt:
        interrupted = True
    return run.finish(interrupted)


def default_workers(threads: int = 1) -> int:
    """Choose the number of worker processes: the cores this process may use, shared out by ``threads``."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // threads)


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Build:
    def __init__(
        self,
        zoo: str | os.PathLike[str],
        settings: BuildSettings,
        registry: Registry,
        on_event: Callable[[BuildEvent], None] | None,
    ) -> None:
        self.zoo, self.settings, self.registry, self.on_event = Path(zoo), settings, registry, on_event
        self.started = time.perf_counter()
        self.store = HDF5Store(zoo)
        self.items: tuple[BuildItem, ...] = ()
        self.failed: list[tuple[str, str, str]] = []
        self.done = self.total = self.images = 0
        self.before = len(self.store.ids())

    def emit(self, kind: Literal["plan", "dataset", "network", "failed", "merge"], **more: object) -> None:
        if self.on_event:
            seconds = time.perf_counter() - self.started
            self.on_event(BuildEvent(kind, self.done, self.total, self.images, seconds, **more))  # type: ignore[arg-type]

    def prepare(self) -> None:
        """Open the datasets, plan, and add what needs no training."""
        datasets = named_datasets(self.settings.data)
        self.items = plan_build(self.settings, self.registry, datasets)
        present = set(self.store.ids())
        wanted = [network for item in self.items for network in item.ids]
        self.total = len(wanted)
        self.done = sum(network in present for network in wanted)
        self.emit("plan")
        self._add_datasets(datasets)
        if self.settings.pretrained:
            self._add_pretrained(present)

    def _add_datasets(self, datasets: Sequence[tuple[str, ImageDataset]]) -> None:
        known = {record.digest for record in self.store.datasets()}
        extractor = EfficientNetLite0Extractor()
        for name, dataset in datasets:
            if dataset.digest not in known:
                images, kept, _ = load_sample(dataset, extractor.image_size, seed=self.settings.seed, workers=1)
                labels = dataset.labels[kept]
                features = extractor.extract(images)
                self.store.add_dataset(
                    DatasetRecord(name, dataset.digest, dataset.classes, features, labels, len(dataset), extractor.name)
                )
            self.emit("dataset", message=name)

    def _add_pretrained(self, present: set[str]) -> None:
        for name in {backend.partition(":")[0] for backend in self.settings.backends}:
            backend = self.registry.backend(name)
            for offer in backend.pretrained():
                recipe: dict[str, Any] = {"image_size": self.settings.image_size, "pretrained": True}
                if half := self.settings.weights == "fp16":
                    recipe["weights"] = "fp16"
                identity = network_id(offer.spec, offer.dataset, 0, recipe)
                if identity in present:
                    continue
                module = backend.load_pretrained(offer)
                what = Origin(identity, offer.classes, offer.dataset, "")
                preprocessing = backend.preprocessing(offer.spec, self.settings.image_size)
                self.store.add_network(
                    describe(backend, offer.spec, module, preprocessing, what, offer.accuracy, recipe, half)
                )

    def train(self, workers: int, threads: int) -> None:
        """Run the items that are not in the zoo yet."""
        present = set(self.store.ids())
        waiting = [item for item in self.items if not set(item.ids) <= present]
        if not waiting:
            return
        if not workers:
            for item in waiting:
                self._account(item, partial(self._run_here, item))
            return
        # spawn: a fork of a process that has run torch's thread pool can hang
        pool = ProcessPoolExecutor(workers, get_context("spawn"), start_worker, (threads,))
        try:
            self._drain(pool, waiting)
        except KeyboardInterrupt:
            for process in list((pool._processes or {}).values()):
                process.terminate()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _run_here(self, item: BuildItem) -> ItemResult:
        return run_item(str(self.zoo), item, self.settings.seed, self.settings.max_images, self.registry)

    def _drain(self, pool: ProcessPoolExecutor, waiting: Sequence[BuildItem]) -> None:
        running: dict[Future[ItemResult], BuildItem] = {
            pool.submit(run_item, str(self.zoo), item, self.settings.seed, self.settings.max_images): item
            for item in waiting
        }
        while running:
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                self._account(running.pop(future), future.result)

    def _account(self, item: BuildItem, result_of: Callable[[], ItemResult]) -> None:
        try:
            result = result_of()
        except BrokenProcessPool as error:
            raise NnsError(f"a worker process died ({error}); run the same command again to go on") from error
        except Exception as error:  # noqa: BLE001 - one failed item does not stop the build
            reason = f"{type(error).__name__}: {error}"
            self.failed.append((item.dataset_name, item.work.backend, reason))
            self.emit("failed", item=item, message=reason)
            return
        self.done += result.added
        self.images += result.images
        self.emit("network", item=item, result=result)

    def finish(self, interrupted: bool) -> BuildReport:
        """Bring the journal into the file and report."""
        self.store.refresh()
        self.emit("merge")
        self.store.merge()
        networks = len(self.store.ids())
        return BuildReport(
            zoo=str(self.zoo),
            digest=self.store.digest(),
            networks=networks,
            added=networks - self.before,
            datasets=len(self.store.datasets()),
            failed=tuple(sorted(self.failed)),
            seconds=time.perf_counter() - self.started,
            interrupted=interrupted,
        )


def named_datasets(data: Sequence[str]) -> list[tuple[str, ImageDataset]]:
    """Open datasets and name each: its folder's name, made unique by a number.

    Raises:
        DatasetError: If one cannot be used for training, or two have the same content.
    """
    if not data:
        raise DatasetError("no dataset named: give --data FOLDER at least once")
    named: list[tuple[str, ImageDataset]] = []
    by_digest: dict[str, str] = {}
    taken: dict[str, int] = {}
    for path in data:
        dataset = open_dataset(path)
        if dataset.digest in by_digest:
            raise DatasetError(f"{path!r} holds the same images as {by_digest[dataset.digest]!r}; give it once")
        by_digest[dataset.digest] = path
        taken[dataset.name] = taken.get(dataset.name, 0) + 1
        count = taken[dataset.name]
        named.append((dataset.name if count == 1 else f"{dataset.name}-{count}", dataset))
    return named

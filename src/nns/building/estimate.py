"""What a build would train, how long that would take and how large the file would become, without building it."""

from __future__ import annotations

import math
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from nns.building.pairs import CLASSES, check_spread
from nns.building.plan import is_of, plan_architectures
from nns.building.preparing import at_hand, named_datasets
from nns.building.worker import CurveTrainer, Place, train_supernet
from nns.data.splits import VAL_SHARE
from nns.errors import DatasetError, UsageError
from nns.networks import Origin, count_cost, describe_network
from nns.plugins import installed_plugins
from nns.threads import limited_threads
from nns.types import LabelledArrays, SplitArrays, Training

if TYPE_CHECKING:
    from torch import nn

    from nns.backends import Backend, PretrainedOffer, WorkItem
    from nns.building.settings import BuildSettings
    from nns.data import Dataset
    from nns.plugins import Registry
    from nns.types import ArchitectureSpec, NetworkCost, Preprocessing

MEASURED = 6
"""Architectures of one backend and source of weights that are timed; the others lie between them by MACs."""

IMAGES = 128
"""Training images of a short training at most; one of a quarter tells fixed time and time an image apart."""

DOUBT = 0.05
"""Chance that a backend gets no network from which this is said."""

REPEATS = 2
"""How often each is timed; the fastest counts, since what else runs on the machine only ever slows it."""

EVALUATED = 1 / 3
"""What a validation image costs, in training images: no backward pass."""

START = 5.0
"""Seconds until a worker process has loaded its libraries, roughly."""

COMPRESSED = 0.9
"""What weights shrink to in the file, roughly."""

FIXED_BYTES = 24_000
"""Bytes of a network's description and fingerprint in the file, roughly."""


@dataclass(frozen=True)
class DatasetSize:
    """One dataset.

    Attributes:
        name: Its name in the zoo.
        classes: Number of classes.
        images: Training images that are used of it.
        validation: Validation images.
    """

    name: str
    classes: int
    images: int
    validation: int


@dataclass(frozen=True)
class ArchitectureEstimate:
    """One architecture that competes.

    Attributes:
        backend: Its backend.
        name: Its name.
        source: Where its weights start from.
        params: Parameters with a head for 10 classes.
        macs: Multiply-accumulates of one image.
        image_size: Side of the images it trains on.
        epochs: Epochs of a training; of its supernet's if it has one.
        seconds: Of training it on a dataset of the mean size in one process; without its supernet if it has one.
    """

    backend: str
    name: str
    source: str
    params: int
    macs: int
    image_size: int
    epochs: int
    seconds: float


@dataclass(frozen=True)
class BuildEstimate:
    """What a build would do.

    Attributes:
        datasets: Each dataset.
        architectures: What competes.
        broken: Name and reason of each architecture that cannot be built or trained.
        networks: Networks that would be trained.
        supernets: Supernets that would be trained for them, about.
        supernet_seconds: Of training one of those in one process, on a dataset of the mean size.
        transfers: Further fine-tunings.
        workers: Items at the same time.
        seconds: Wall-clock time, about.
        bytes: Size of the file, about.
        doubtful: Those of the backends that were asked for of which perhaps no network would be trained.
    """

    datasets: tuple[DatasetSize, ...]
    architectures: tuple[ArchitectureEstimate, ...]
    broken: tuple[tuple[str, str], ...]
    networks: int
    supernets: int
    supernet_seconds: float
    transfers: int
    workers: int
    seconds: float
    bytes: int
    doubtful: tuple[str, ...] = ()


def estimate_build(
    settings: BuildSettings,
    *,
    workers: int = 1,
    threads: int = 1,
    device: str = "cpu",
    on_progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    registry: Registry | None = None,
) -> BuildEstimate:
    """Plan a build and time short trainings of some architectures on one of the datasets.

    Each pair of dataset and architecture counts as likely as any other; what a strategy prefers shows only while it
    builds. What a zoo holds already does not count.

    Args:
        settings: What would be built.
        workers: Items that would be trained at the same time; 0: in this process.
        threads: Threads of each.
        device: What to train on, on this machine.
        on_progress: Called with what is being done, how much of it is done, and how much there is.
        registry: Plugins in place of the installed ones.

    Raises:
        DatasetError: If a dataset cannot be used.
        UsageError: If the settings make no sense, or no architecture can be trained.
    """
    registry = registry or installed_plugins()
    on_progress("reading datasets", 0, len(settings.data))
    datasets = named_datasets(settings.data, registry)
    works = plan_architectures(settings, registry)
    check_spread(settings, len(datasets))
    sizes = tuple(_size(name, dataset, settings.max_images) for name, dataset in datasets)
    images = float(np.mean([size.images + EVALUATED * size.validation for size in sizes]))
    with limited_threads(threads), tempfile.TemporaryDirectory() as folder:
        timing = _Timing(settings, registry, Place("", folder, device), _sample(datasets, sizes))
        timed = timing.measure(works, on_progress)
        on_progress("timing transfers", 0, 1)
        pairs = len(datasets) * len(timed)
        networks = pairs if settings.strategy == "all" else min(settings.networks, pairs)
        pretrained = len(timing.pretrained())
        transfers = settings.transfers_of(networks, pretrained, len(datasets))
        of_pretrained = transfers * pretrained / max(1, networks + pretrained)
        seconds = timing.decoding * sum(len(dataset) for _, dataset in datasets)
        if of_pretrained:
            seconds += of_pretrained * timing.pretrained_transfer().seconds(images, settings.transfer_epochs)
    found = tuple(one.estimate(images) for one in timed)
    supernets = [(one, len(datasets) * _chance(one, timed, networks / len(datasets))) for one in timing.supernets]
    expected = sum(count for _, count in supernets)
    of_supernets = sum(count * one.pace.seconds(images, one.epochs) for one, count in supernets)
    seconds += networks * float(np.mean([one.seconds for one in found])) + of_supernets
    short = [each.transfer.seconds(images, settings.transfer_epochs) for each in timed]
    seconds += (transfers - of_pretrained) * float(np.mean(short))
    weights = networks * float(np.mean([each.bytes for each in timed])) + timing.pretrained_bytes()
    weights += sum(count * one.bytes for one, count in supernets)
    return BuildEstimate(
        datasets=sizes,
        architectures=found,
        broken=tuple(timing.broken),
        networks=networks,
        supernets=round(expected),
        supernet_seconds=round(of_supernets / expected, 2) if expected else 0.0,
        transfers=transfers,
        workers=workers,
        seconds=round(timing.preparing + (START if workers else 0.0) + seconds / max(1, workers), 1),
        doubtful=tuple(name for name in settings.backends if _missing(name, timed, networks, len(datasets)) > DOUBT),
        bytes=round(networks * FIXED_BYTES + COMPRESSED * weights / (2 if settings.weights == "fp16" else 1)),
    )


@dataclass(frozen=True)
class _Pace:
    """Seconds of a training: ``fixed + image * images * epochs``."""

    fixed: float = 0.0
    image: float = 0.0

    def seconds(self, images: float, epochs: int = 1) -> float:
        return self.fixed + self.image * images * epochs


@dataclass(frozen=True)
class _Timed:
    """What an architecture costs, without the supernet that it is cut from."""

    work: WorkItem
    params: int
    macs: int
    bytes: int
    training: _Pace = _Pace()
    transfer: _Pace = _Pace()

    def estimate(self, images: float) -> ArchitectureEstimate:
        spec, work, epochs = self.work.specs[0], self.work, self.work.training.epochs or 1
        seconds = round(self.training.seconds(images, 1 if work.supernet else epochs), 2)
        about = (spec.backend, spec.name, spec.source, self.params, self.macs)
        return ArchitectureEstimate(*about, work.image_size, epochs, seconds)


@dataclass(frozen=True)
class _Supernet:
    """What a supernet costs, and one that was trained for a moment."""

    spec: ArchitectureSpec
    epochs: int
    bytes: int
    pace: _Pace
    module: nn.Module


class _Timing:
    """Costs of architectures, and short trainings of some of them on one dataset.

    Attributes:
        broken: As in the estimate.
        supernets: Those that the architectures are cut from.
        decoding: Seconds that an image takes to decode, at all sizes together.
        preparing: Seconds that counting the architectures took, as it does before a build.
    """

    def __init__(self, settings: BuildSettings, registry: Registry, place: Place, sample: Dataset) -> None:
        self.settings, self.registry, self.place, self.sample = settings, registry, place, sample
        self.broken: list[tuple[str, str]] = []
        self.supernets: list[_Supernet] = []
        self.decoding = self.preparing = 0.0
        self._arrays: dict[int, SplitArrays] = {}
        self._train = CurveTrainer(device=place.device)

    def measure(self, works: Sequence[WorkItem], on_progress: Callable[[str, int, int], None]) -> list[_Timed]:
        """Time some architectures of each kind; how long the others take, their MACs say.

        Raises:
            UsageError: If none can be trained.
        """
        kinds: dict[tuple[str, str, bool], list[_Timed]] = {}
        began = time.perf_counter()
        for number, work in enumerate(works):
            on_progress("counting architectures", number, len(works))
            with self._noting_failure(work):
                spec, cost = work.specs[0], self._cost(work.specs[0], work.image_size)
                size = 0 if work.supernet else cost.bytes(CLASSES)  # a subnet is a slice of its supernet
                one = _Timed(work, cost.params(CLASSES), cost.macs(CLASSES), size)
                kinds.setdefault((work.backend, spec.source, work.supernet is None), []).append(one)
        self.preparing = time.perf_counter() - began
        chosen = [_spread(sorted(members, key=lambda one: one.macs)) for members in kinds.values()]
        done, found = 0, list[_Timed]()
        on_progress("timing architectures", done, sum(map(len, chosen)))
        for members, some in zip(kinds.values(), chosen, strict=True):
            timed = []
            for one in some:
                with self._noting_failure(one.work):
                    timed.append(self._time(one))
                done += 1
                on_progress("timing architectures", done, sum(map(len, chosen)))
            if timed:
                found += timed + [_between(one, timed) for one in members if one not in some]
        if not found:
            raise UsageError(f"no architecture can be trained; {': '.join(self.broken[0])}")
        return found

    @contextmanager
    def _noting_failure(self, work: WorkItem) -> Iterator[None]:
        try:
            yield
        except DatasetError:
            raise
        except Exception as error:  # noqa: BLE001 - a build goes on without such an architecture
            self.broken.append((f"{work.backend}:{work.specs[0].name}", f"{type(error).__name__}: {error}"))

    def _cost(self, spec: ArchitectureSpec, image_size: int) -> NetworkCost:
        backend = self.registry.backend(spec.backend)
        module = backend.build(replace(spec, source="random"), CLASSES).eval()
        return count_cost(backend, module, backend.preprocessing(spec, image_size), CLASSES)

    def _time(self, one: _Timed) -> _Timed:
        work = replace(one.work, training=replace(one.work.training, epochs=1))
        spec, backend, data = work.specs[0], self.registry.backend(work.backend), self._decoded(work.image_size)
        preprocessing = backend.preprocessing(spec, work.image_size)
        module = backend.build(replace(spec, source="random"), len(data.classes)).eval()
        began = time.perf_counter()
        describe_network(backend, spec, module, preprocessing, Origin("", data.classes, "", ""), 0.0)
        described = time.perf_counter() - began
        if work.supernet is None:
            training = transfer = _pace(lambda part: list(backend.produce(work, part, self._train, 0)), data)
        else:
            supernet = self._supernet(backend, work, data, one.work.training.epochs or 1)
            training = transfer = _pace(lambda part: list(backend.cut(work, supernet, part)), data)
            if self.settings.transfers != 0:
                transfer = self._transfer(module, preprocessing, data)
        return replace(one, training=replace(training, fixed=training.fixed + described), transfer=transfer)

    def _transfer(self, module: nn.Module, preprocessing: Preprocessing, data: SplitArrays) -> _Pace:
        return _pace(lambda part: self._train(module, part, preprocessing, Training(epochs=1), 0), data)

    def _supernet(self, backend: Backend, work: WorkItem, data: SplitArrays, epochs: int) -> nn.Module:
        assert work.supernet is not None
        for known in self.supernets:
            if known.spec == work.supernet:
                return known.module
        device = self.place.device
        pace = _pace(lambda part: train_supernet(backend, work, part, 0, device), data)
        module = train_supernet(backend, work, _part(data, IMAGES // 4), 0, device).module
        size = sum(tensor.nbytes for tensor in module.state_dict().values())
        self.supernets.append(_Supernet(work.supernet, epochs, size, pace, module))
        return module

    def _decoded(self, size: int) -> SplitArrays:
        if size not in self._arrays:
            began = time.perf_counter()
            self._arrays[size] = self.place.arrays(self.sample, size, self.settings.seed, self.settings.max_images)
            self.decoding += (time.perf_counter() - began) / len(self.sample)
        return self._arrays[size]

    def pretrained(self) -> list[PretrainedOffer]:
        """List the networks that come trained."""
        names = {name.partition(":")[0] for name in self.settings.backends if self.settings.pretrained}
        return [offer for name in sorted(names) for offer in at_hand(self.registry.backend(name))]

    def pretrained_bytes(self) -> int:
        """Count the bytes of the networks that come trained."""
        return sum(self._cost(offer.spec, 32).bytes(len(offer.classes)) for offer in self.pretrained())

    def pretrained_transfer(self) -> _Pace:
        """Time the fine-tuning of the first network that comes trained."""
        offer = self.pretrained()[0]
        backend = self.registry.backend(offer.spec.backend)
        preprocessing = backend.preprocessing(offer.spec, self.settings.image_size)
        data = self._decoded(preprocessing.size)
        module = backend.replace_head(backend.load_pretrained(offer), len(data.classes), 0)
        return self._transfer(module, preprocessing, data)


def _size(name: str, dataset: Dataset, limit: int | None) -> DatasetSize:
    given = Counter(item.split for item in dataset.items)
    labelled = len(dataset) - given["test"]
    validation = given["val"] or round(VAL_SHARE * labelled)
    return DatasetSize(name, len(dataset.classes), min(labelled - validation, limit or labelled), validation)


def _sample(datasets: Sequence[tuple[str, Dataset]], sizes: Sequence[DatasetSize]) -> Dataset:
    """Choose the smallest dataset that has enough images, else the largest: all of it is decoded."""
    ranked = sorted(zip(sizes, datasets, strict=True), key=lambda each: len(each[1][1]))
    return next((dataset for size, (_, dataset) in ranked if size.images >= IMAGES), ranked[-1][1][1])


def _pace(job: Callable[[SplitArrays], object], data: SplitArrays) -> _Pace:
    """Time a job of one epoch on few images and on more."""
    most = min(IMAGES, len(data.train))
    parts = [_part(data, max(2, most // 4)), _part(data, most)]
    fastest = [math.inf, math.inf]
    for turn, part in [*enumerate(parts)] * REPEATS:
        began = time.perf_counter()
        job(part)
        fastest[turn] = min(fastest[turn], time.perf_counter() - began)
    few, more = (len(part.train) + EVALUATED * len(part.val) for part in parts)
    image = max(0.0, fastest[1] - fastest[0]) / (more - few) if more > few else fastest[1] / more
    return _Pace(max(0.0, fastest[0] - image * few), image)


def _part(data: SplitArrays, count: int) -> SplitArrays:
    train, val = (LabelledArrays(each.images[:count], each.labels[:count]) for each in (data.train, data.val))
    return SplitArrays(data.name, data.classes, train, val, None)


def _spread(ordered: Sequence[_Timed]) -> list[_Timed]:
    """Choose some from the first to the last."""
    return [ordered[i] for i in sorted({round(n * (len(ordered) - 1) / (MEASURED - 1)) for n in range(MEASURED)})]


def _between(one: _Timed, timed: Sequence[_Timed]) -> _Timed:
    """Take the paces of what was timed, between those of as many MACs."""
    macs = [float(each.macs) for each in timed]
    paces = np.array([(*astuple(each.training), *astuple(each.transfer)) for each in timed])
    fixed, image, *transfer = (float(np.interp(one.macs, macs, column)) for column in paces.T)
    return replace(one, training=_Pace(fixed, image), transfer=_Pace(*transfer))


def _missing(named: str, timed: Sequence[_Timed], networks: int, datasets: int) -> float:
    """Return how likely it is that of so many networks none is of a ``BACKEND`` or ``BACKEND:PATTERN``."""
    others = sum(not is_of(each.work, named) for each in timed) * datasets
    pairs = len(timed) * datasets
    return math.comb(others, min(networks, pairs)) / math.comb(pairs, min(networks, pairs))


def _chance(supernet: _Supernet, timed: Sequence[_Timed], networks: float) -> float:
    """Say how likely a dataset that gets so many of the architectures gets one that is cut from the supernet."""
    others = sum(each.work.supernet != supernet.spec for each in timed)
    drawn = min(round(networks), len(timed))
    return 1.0 - math.comb(others, drawn) / math.comb(len(timed), drawn)

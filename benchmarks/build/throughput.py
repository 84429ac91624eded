"""How many images a second a build trains on, beside a plain PyTorch loop over the same work on the same machine.

    python benchmarks/build/throughput.py BANK [--tasks 4] [--rounds 3] [--patience SECONDS] [--output OUT.json]

BANK is a folder of image folders. The work: each architecture below on each task, on up to 200 training images,
validated after every epoch. An image counts once an epoch, whatever is done with it.

- *plain*: one process, as many threads as torch takes by itself, torchvision's ImageFolder and a DataLoader without
  workers that decodes, resizes and augments each image each epoch; AdamW with a cosine rate. Of the supernet it
  trains the same three subnets a step.
- *plain, 2 processes*: the same in two processes of one thread each, on half of the tasks: what the layout alone does.
- *nns*: two worker processes of one thread each, the cache of decoded images (empty at the start of each round), and
  the training that ``nns zoo build`` does.
- *nns, huge pages*: the same with ``GLIBC_TUNABLES`` in the environment in which the workers start.

All take turns, architecture by architecture and round by round, in processes that stay: importing torch is not in it.
Numbers are medians of the rounds, ratios medians of the ratios within each round, by the clock. *Others* is the share
of the cores that other programs used meanwhile. With ``--patience`` each measurement waits, at most so long, until the
cores are idle, and is done again, up to three times, if they did not stay so: threads that wait for each other, as
those of the plain loop do, suffer most from what else runs.

The section *at once* compares ways to train four small networks: two processes of one thread each with one process
of two threads; and, for four networks of one architecture, ``torch.func.vmap`` with one after the other (a training
step, one thread).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nns.data import Dataset

from nns.types import Training

MAX_IMAGES = 200
BATCH = 32
TUNABLES = ":".join(
    [
        "glibc.malloc.hugetlb=1",  # madvise(MADV_HUGEPAGE)
        f"glibc.malloc.mmap_threshold={1 << 30}",
        f"glibc.malloc.trim_threshold={1 << 32}",
        f"glibc.malloc.top_pad={1 << 26}",
    ]
)
"""Freed memory stays with the process, in pages of 2 MB: a step then touches no page for the first time."""


@dataclass(frozen=True)
class Item:
    """One architecture on one task."""

    data: str
    architecture: str
    size: int
    epochs: int
    lr: float
    source: str = "random"


@dataclass(frozen=True)
class Done:
    """What an item took."""

    images: int
    seconds: float
    processor: float


@dataclass(frozen=True)
class Run:
    """What some items took: by the clock, by the processor time of all threads, and the share that others used."""

    images: int
    seconds: float
    processor: float
    others: float


UNDISTURBED = 0.05
"""Share of the cores that others may use during a measurement that is not done again."""

HALF = "plain, 2 processes"
OFA = "ofa supernet, width 0.5"
SMALL = ("mobilenetv3_small_050", "resnet10t")
ARCHITECTURES = (
    ("tf_efficientnet_lite0", 64, 1, 1e-3, "imagenet"),
    (OFA, 32, 1, 0.05, "random"),
    ("resnet10t", 48, 1, 3e-3, "random"),
    ("mobilenetv3_small_050", 48, 2, 3e-3, "random"),
)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", type=Path)
    parser.add_argument("--tasks", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--patience", type=float, default=0.0)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    tasks = choose_tasks(arguments.bank, arguments.tasks)
    items = [Item(str(task), *architecture) for architecture in ARCHITECTURES for task in tasks]
    small = [item for item in items if item.architecture in SMALL and item.data in {str(task) for task in tasks[:2]}]
    bench = Bench(items, arguments.rounds, arguments.patience)
    document: dict[str, Any] = {
        "machine": machine(),
        "rounds": arguments.rounds,
        "tasks": [task.name for task in tasks],
        "max_images": MAX_IMAGES,
        "architectures": [dict(zip(("name", "size", "epochs", "lr", "source"), a, strict=True)) for a in ARCHITECTURES],
        "throughput": bench.throughput(),
        "at_once": {"processes": bench.processes(small), "vmap": in_worker(measure_vmap)},
    }
    document["load_after"] = round(os.getloadavg()[0], 2)
    arguments.output.write_text(json.dumps(document, indent=1) + "\n")
    report(document)


def choose_tasks(bank: Path, count: int) -> list[Path]:
    """Take tasks that are large enough, spread over the bank."""
    found = [task for task in sorted(bank.iterdir()) if sum(1 for _ in task.glob("*/*.png")) > MAX_IMAGES / 0.85]
    if len(found) < count:
        sys.exit(f"{str(bank)!r} has {len(found)} task(s) of {MAX_IMAGES} training images; {count} are needed")
    return [found[(2 * i + 1) * len(found) // (2 * count)] for i in range(count)]


def machine() -> dict[str, Any]:
    """Describe where this runs."""
    import torch

    model = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), model)
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load_before": round(os.getloadavg()[0], 2),
    }


# -- the work, as nns does it and as a plain loop ----------------------------------------------------------------------


def nns_item(item: Item, cache: str, dataset: Dataset) -> Done:
    """Do an item as a worker of a build does."""
    from nns.backends import WorkItem
    from nns.building.worker import CurveTrainer
    from nns.data import cached_arrays
    from nns.types import ArchitectureSpec, Preprocessing

    started, processor = time.perf_counter(), time.process_time()
    arrays = cached_arrays(Path(cache), dataset, item.size, 0, MAX_IMAGES)
    if item.architecture == OFA:
        from nns.backends.ofa.supernet import build_supernet
        from nns.backends.ofa.training import SupernetRecipe, train_supernet

        supernet = build_supernet(0.5, len(arrays.classes), 0)
        recipe = SupernetRecipe(epochs=item.epochs, batch_size=BATCH, lr=item.lr)
        train_supernet(supernet, arrays, Preprocessing(item.size), recipe, 0)
    else:
        spec = ArchitectureSpec("timm", item.architecture, {}, item.source)
        training = Training(epochs=item.epochs, lr=item.lr, batch_size=BATCH)
        work = WorkItem("timm", (spec,), item.size, training)
        list(timm_backend().produce(work, arrays, CurveTrainer(), 0))
    return done(item, len(arrays.train), started, processor)


def timm_backend() -> Any:
    """Load it as a build does."""
    from nns.plugins import load_plugins

    return load_plugins().backend("timm")


def done(item: Item, images: int, started: float, processor: float) -> Done:
    """Stop the clock."""
    return Done(images * item.epochs, time.perf_counter() - started, time.process_time() - processor)


def plain_item(item: Item, train_images: int, val_images: int) -> Done:
    """Do an item as a tutorial does; the split is drawn at random, with as many images as that of nns."""
    import torch
    from torch.utils.data import DataLoader, Subset
    from torchvision.datasets import ImageFolder

    started, processor = time.perf_counter(), time.process_time()
    torch.manual_seed(0)
    augmented, resized = transforms(item.size)
    folder = ImageFolder(item.data, augmented)
    order = torch.randperm(len(folder)).tolist()
    train = DataLoader(Subset(folder, order[:train_images]), BATCH, shuffle=True)
    held_out = Subset(ImageFolder(item.data, resized), order[train_images : train_images + val_images])
    if item.architecture == OFA:
        plain_supernet(item, train, len(folder.classes))
    else:
        plain_network(item, train, DataLoader(held_out, 128), len(folder.classes))
    return done(item, train_images, started, processor)


def transforms(size: int) -> tuple[Any, Any]:
    """Make the transforms of training and of validation images."""
    from torchvision import transforms

    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    square = [transforms.Resize(size), transforms.CenterCrop(size)]
    crop = transforms.RandomResizedCrop(size, scale=(0.6, 1.0), ratio=(0.8, 1.25))
    ending = [transforms.ToTensor(), transforms.Normalize(mean, std)]
    return transforms.Compose([*square, crop, *ending]), transforms.Compose([*square, *ending])


def plain_network(item: Item, train: Any, held_out: Any, classes: int) -> None:
    """Train and validate one network."""
    import timm
    import torch
    from torch.nn import functional as F

    if item.source == "imagenet":  # no hub is reached from everywhere: the weights come from nns, untimed elsewhere
        from nns.types import ArchitectureSpec

        model = timm_backend().build(ArchitectureSpec("timm", item.architecture, {}, item.source), classes)
    else:
        model = timm.create_model(item.architecture, num_classes=classes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=item.lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, item.epochs * len(train))
    for _ in range(item.epochs):
        model.train()
        for images, labels in train:
            if len(labels) < 2:  # batch norm cannot train on it
                continue
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels, label_smoothing=0.1).backward()
            optimizer.step()
            schedule.step()
        model.eval()
        hits = 0
        with torch.no_grad():
            for images, labels in held_out:
                hits += (model(images).argmax(1) == labels).sum().item()


def plain_supernet(item: Item, train: Any, classes: int) -> None:
    """Train a supernet by the sandwich rule."""
    import numpy as np
    import torch
    from torch.nn import functional as F

    from nns.backends.ofa.supernet import build_supernet
    from nns.backends.ofa.training import _students

    supernet = build_supernet(0.5, classes, 0)
    optimizer = torch.optim.SGD(supernet.parameters(), lr=item.lr, momentum=0.9, nesterov=True, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, item.epochs * len(train))
    rng = np.random.default_rng(0)
    for _ in range(item.epochs):
        supernet.train()
        for images, labels in train:
            if len(labels) < 2:
                continue
            optimizer.zero_grad()
            supernet.set_max_net()
            logits = supernet(images)
            F.cross_entropy(logits, labels).backward()
            for settings in _students(rng, 1):
                supernet.set_active_subnet(**settings)
                F.cross_entropy(supernet(images), logits.detach().softmax(1)).backward()
            torch.nn.utils.clip_grad_norm_(supernet.parameters(), 5.0)
            optimizer.step()
            schedule.step()


# -- measuring ---------------------------------------------------------------------------------------------------------


def warm(seconds: float) -> int:
    """Import what the work needs, and leave time for the other worker to start."""
    import torch

    import nns.building.worker  # noqa: F401

    timm_backend()
    time.sleep(seconds)
    return torch.get_num_threads()


def limit_threads(threads: int) -> None:
    """Do to a process what a build does to its workers."""
    from nns.building.worker import start_worker

    start_worker(threads)


@contextmanager
def pool(workers: int, threads: int | None, **environment: str) -> Iterator[ProcessPoolExecutor]:
    """Start processes, and wait until they are ready; without ``threads`` torch decides."""
    before = dict(os.environ)
    os.environ.pop("OMP_NUM_THREADS", None)
    os.environ.update(environment)
    more: dict[str, Any] = {"initializer": limit_threads, "initargs": (threads,)} if threads else {}
    with ProcessPoolExecutor(workers, get_context("spawn"), **more) as started:
        list(started.map(warm, [1.0] * workers))
        os.environ.clear()
        os.environ.update(before)
        yield started


def in_worker(function: Any) -> Any:
    """Run something in a process of one thread."""
    with pool(1, 1) as one:
        return one.submit(function).result()


def busy_seconds() -> float:
    """Sum what all cores have done since the machine started; 0 where the system does not tell."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    user, nice, system, _, _, *more = map(int, stat.read_text().splitlines()[0].split()[1:8])
    return (user + nice + system + sum(more)) / os.sysconf("SC_CLK_TCK")


class Bench:
    """Runs the work in turns."""

    def __init__(self, items: Sequence[Item], rounds: int, patience: float) -> None:
        self.items, self.rounds, self.patience = items, rounds, patience
        self.sizes: dict[str, tuple[int, int]] = {}
        self.datasets: dict[str, Dataset] = {}
        self.cores = len(os.sched_getaffinity(0))

    def throughput(self) -> dict[str, Any]:
        """Compare the plain loop with nns."""
        self._prepare()
        kinds: dict[str, tuple[int, int | None]] = {"plain": (1, None), HALF: (2, 1), "nns": (2, 1)}
        with ExitStack() as stack:
            pools = {name: stack.enter_context(pool(*how)) for name, how in kinds.items()}
            pools["nns, huge pages"] = stack.enter_context(pool(2, 1, GLIBC_TUNABLES=TUNABLES))
            return self._compare(pools, self.items)

    def processes(self, items: Sequence[Item]) -> dict[str, Any]:
        """Compare two processes of one thread with one process of two."""
        with pool(1, 2) as one, pool(2, 1) as two:
            return self._compare({"1 process, 2 threads": one, "2 processes, 1 thread": two}, items)

    def _prepare(self) -> None:
        from nns.data import Dataset, cached_arrays

        with tempfile.TemporaryDirectory() as folder:
            for data in {item.data for item in self.items}:
                self.datasets[data] = Dataset.open(data)
                arrays = cached_arrays(Path(folder), self.datasets[data], 8, 0, MAX_IMAGES)
                self.sizes[data] = (len(arrays.train), len(arrays.val))

    def _compare(self, pools: dict[str, ProcessPoolExecutor], items: Sequence[Item]) -> dict[str, Any]:
        runs: dict[tuple[str, str], list[Run]] = defaultdict(list)
        architectures = list(dict.fromkeys(item.architecture for item in items))
        for number in range(self.rounds):
            for what in architectures:
                chosen = [item for item in items if item.architecture == what]
                for name, workers in pools.items():
                    runs[name, what].append(self._measure(name, workers, chosen))
                    print(f"round {number + 1}, {what}, {name}: {runs[name, what][-1]}", file=sys.stderr)
        for name in pools:
            runs[name, "all"] = [
                add(parts) for parts in zip(*(runs[name, what] for what in architectures), strict=True)
            ]
        base = next(iter(pools))
        rows: dict[str, Any] = {name: {} for name in pools}
        for (name, what), mine in runs.items():
            rows[name][what] = row(mine) | {"ratio": ratio(mine, runs[base, what])}
            if name.startswith("nns"):
                rows[name][what]["ratio_to_processes"] = ratio(mine, runs[HALF, what])
        return rows

    def _measure(self, name: str, workers: ProcessPoolExecutor, items: Sequence[Item]) -> Run:
        """Run items on all workers; of several attempts the least disturbed one counts."""
        runs: list[Run] = []
        while not runs or (self.patience and len(runs) < 4 and min(run.others for run in runs) > UNDISTURBED):
            self._wait()
            runs.append(self._run(name, workers, items))
        return min(runs, key=lambda run: run.others)

    def _run(self, name: str, workers: ProcessPoolExecutor, items: Sequence[Item]) -> Run:
        """Run items on all workers, nns with an empty cache."""
        cache = tempfile.mkdtemp(prefix="nns-images-")
        busy, started = busy_seconds(), time.perf_counter()
        try:
            if name.startswith("plain"):
                few = items[: max(2, len(items) // 2)] if name == HALF else items
                waiting = [workers.submit(plain_item, item, *self.sizes[item.data]) for item in few]
            else:
                waiting = [workers.submit(nns_item, item, cache, self.datasets[item.data]) for item in items]
            results = [each.result() for each in waiting]
        finally:
            shutil.rmtree(cache)
        seconds, busy = time.perf_counter() - started, busy_seconds() - busy
        processor = sum(each.processor for each in results)
        others = max(0.0, busy - processor) / (seconds * self.cores)
        return Run(sum(each.images for each in results), round(seconds, 2), round(processor, 2), round(others, 2))

    def _wait(self) -> None:
        """Wait until the cores are idle, or patience ends."""
        give_up = time.monotonic() + self.patience
        while time.monotonic() < give_up:
            busy = busy_seconds()
            time.sleep(0.5)
            if busy_seconds() - busy < 0.5 * UNDISTURBED * self.cores:
                return


def add(parts: Sequence[Run]) -> Run:
    """Add up runs that followed each other."""
    seconds = sum(part.seconds for part in parts)
    others = sum(part.others * part.seconds for part in parts) / seconds
    return Run(sum(part.images for part in parts), seconds, sum(part.processor for part in parts), round(others, 2))


def row(runs: Sequence[Run]) -> dict[str, Any]:
    """Take medians over the rounds."""
    return {
        "images_per_second": round(median(run.images / run.seconds for run in runs), 1),
        "images_per_processor_second": round(median(run.images / run.processor for run in runs), 1),
        "others": [run.others for run in runs],
    }


def ratio(mine: Sequence[Run], theirs: Sequence[Run]) -> float:
    """Compare images a second, round by round."""
    speeds = [[run.images / run.seconds for run in runs] for runs in (mine, theirs)]
    return round(float(median(ours / other for ours, other in zip(*speeds, strict=True))), 2)


def measure_vmap() -> dict[str, Any]:
    """Time a training step of four networks of one architecture, one after the other and by vmap."""
    import copy
    import warnings

    import timm
    import torch
    from torch.func import functional_call, grad_and_value, stack_module_state, vmap
    from torch.nn import functional as F

    from nns.backends.convolutions import quick_convolutions

    warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
    found = {}
    for name in SMALL:
        nets = [timm.create_model(name, num_classes=10).to(memory_format=torch.channels_last).train() for _ in "1234"]
        images, labels = torch.randn(4, BATCH, 3, 48, 48), torch.randint(0, 10, (4, BATCH))
        skeleton = copy.deepcopy(nets[0]).to("meta")
        stacked = stack_module_state(nets)

        def loss(
            parameters: Any, buffers: Any, batch: torch.Tensor, target: torch.Tensor, net: Any = skeleton
        ) -> torch.Tensor:
            return F.cross_entropy(functional_call(net, (parameters, buffers), (batch,)), target)

        at_once = vmap(grad_and_value(loss), randomness="different")
        times: dict[str, list[float]] = defaultdict(list)
        for _ in range(6):
            started = time.thread_time()
            for net, batch, target in zip(nets, images, labels, strict=True):
                net.zero_grad()
                F.cross_entropy(net(batch.to(memory_format=torch.channels_last)), target).backward()
            times["plain"].append(time.thread_time() - started)
            started = time.thread_time()
            for net, batch, target in zip(nets, images, labels, strict=True):
                net.zero_grad()
                with quick_convolutions(net):
                    F.cross_entropy(net(batch.to(memory_format=torch.channels_last)), target).backward()
            times["nns"].append(time.thread_time() - started)
            started = time.thread_time()
            at_once(*stacked, images, labels)
            times["vmap"].append(time.thread_time() - started)
        ms = {kind: median(each[1:]) * 1e3 for kind, each in times.items()}
        found[name] = {
            "ms": {kind: round(each, 1) for kind, each in ms.items()},
            "vmap_to_plain": round(ms["plain"] / ms["vmap"], 2),
            "vmap_to_nns": round(ms["nns"] / ms["vmap"], 2),
        }
    return found


def report(document: dict[str, Any]) -> None:
    """Print what was found."""
    for title, section in (("throughput", document["throughput"]), ("at once", document["at_once"]["processes"])):
        print(f"{title:50}{'images/s':>10}{'ratio':>8}{'to 2 pr.':>10}{'others':>8}")
        for name, rows in section.items():
            for what, found in rows.items():
                least = found.get("ratio_to_processes", "")
                others = median(found["others"])
                print(
                    f"{name:24}{what:26}{found['images_per_second']:10.1f}{found['ratio']:8.2f}{least:>10}{others:8.0%}"
                )
    for name, found in document["at_once"]["vmap"].items():
        print(f"vmap over 4 of {name}: {found['vmap_to_plain']} times as fast as plain, {found['vmap_to_nns']} as nns")


if __name__ == "__main__":
    main()

"""How fast a zoo file is: adding, opening, scanning, verifying, loading, beside the least that the machine needs.

    OMP_NUM_THREADS=1 python benchmarks/store/speed.py [SECTION ...] [--folder DIR] [--zoo ZOO.h5] [--output OUT.json]

Sections are add, open, scan, verify and load; all, if none is given. What is compared is measured in one run, in
turn, round by round; a row gives the median of the rounds, the lowest and the highest, and, where there is something
to compare with, the median of the ratios within each round. *Processor* is the same by processor time of all threads
and processes in place of the clock: what waits for the disk is not in it, and neither is most of what other processes
on the machine do. ``--patience`` waits before each measurement, at most so many seconds, until the cores are idle.
Results go into OUT.json, a section at a time; ``--markdown`` prints what is there without measuring anything.

Weights are float32 tensors with the shapes of convolutions, drawn from normal distributions of several widths, so
they can be compressed about as well as trained ones. Fingerprints and descriptions are as large as real ones. DIR must
be on a disk, not in memory. Files are in the page cache, unless a row says otherwise.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import math
import mmap
import multiprocessing
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save
from threadpoolctl import threadpool_limits

from nns.networks.fingerprints.graph import GRAPH_DIM
from nns.networks.fingerprints.reference import REFERENCE_COUNT
from nns.networks.fingerprints.surprise import SURPRISE_ROWS
from nns.stores import HDF5Store
from nns.stores._digest import canonical_json, entry_json
from nns.types import (
    FINGERPRINT_PARTS,
    ArchitectureSpec,
    Fingerprint,
    NetworkCost,
    NetworkEntry,
    NetworkRecord,
    Preprocessing,
    Provenance,
    SpaceRecord,
)
from nns.zoo import verify_path

SIZES = {"64 KB": (64 << 10, 160), "1 MB": (1 << 20, 48), "16 MB": (16 << 20, 8)}
"""Bytes of the weights of one network, and how many each worker adds."""

NETWORKS = 14_000
SHARDS = 1_000
EMBEDDING = 128


@dataclass(frozen=True)
class Row:
    """One line of a table: the median, the range, the median by processor time, the median ratio to another line."""

    what: str
    value: float
    unit: str
    low: float
    high: float
    runs: int
    processor: float | None = None
    ratio: float | None = None
    to: str = ""

    def line(self) -> str:
        """Lay it out as Markdown."""
        between = f"{_figure(self.low)}-{_figure(self.high)}" if self.runs > 1 else ""
        processor = "" if self.processor is None else _figure(self.processor)
        ratio = f"{self.ratio:.2f} × {self.to}" if self.ratio is not None else ""
        return f"| {self.what} | {_figure(self.value)} | {self.unit} | {between} | {processor} | {ratio} |"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


@dataclass(frozen=True)
class Spent:
    """Seconds by the clock and of processors."""

    clock: float
    processor: float


SCALE = {"ms": 1e3, "s": 1.0}


class Table:
    """Collects measurements by name, one in each round."""

    def __init__(self) -> None:
        self._values: dict[str, list[tuple[float, float | None]]] = {}
        self._units: dict[str, str] = {}

    def put(self, what: str, spent: Spent, unit: str, amount: float | None = None) -> float:
        """Add a time in ``unit``, or a speed: the amount in a second. Gives the value."""
        times = (spent.clock, max(spent.processor, 1e-9))
        values = [amount / seconds if amount is not None else SCALE[unit] * seconds for seconds in times]
        self._values.setdefault(what, []).append((values[0], values[1]))
        self._units[what] = unit
        return values[0]

    def note(self, what: str, value: float, unit: str) -> None:
        """Add a value that is no time."""
        self._values.setdefault(what, []).append((value, None))
        self._units[what] = unit

    def rows(self, ratios: Sequence[tuple[str, str]] = ()) -> list[Row]:
        """Return the rows; ``ratios`` are names and what each is compared with."""
        to = dict(ratios)
        return [self._row(what, to.get(what)) for what in self._values]

    def _row(self, what: str, other: str | None) -> Row:
        values = [value for value, _ in self._values[what]]
        processor = [value for _, value in self._values[what] if value is not None]
        row = Row(what, median(values), self._units[what], min(values), max(values), len(values))
        if processor:
            row = replace(row, processor=median(processor))
        if other is None:
            return row
        pairs = zip(values, (value for value, _ in self._values[other]), strict=True)
        return replace(row, ratio=median(a / b for a, b in pairs), to=other)


PATIENCE = [0.0]


def calm() -> None:
    """Wait until other processes leave the cores alone, or patience ends."""
    end = time.monotonic() + PATIENCE[0]
    while time.monotonic() < end:
        before = _ticks()
        time.sleep(0.25)
        total, idle = (b - a for a, b in zip(before, _ticks(), strict=True))
        if idle > 0.9 * total:
            return


def _ticks() -> tuple[int, int]:
    """Ticks of all cores so far, and those in which they were idle or waited for a disk."""
    numbers = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(numbers), numbers[3] + numbers[4]


def timed(function: Callable[[], Any]) -> Spent:
    """Time a call in this process."""
    clock, processor = time.perf_counter(), time.process_time()
    function()
    return Spent(time.perf_counter() - clock, time.process_time() - processor)


def main() -> None:
    """Measure the sections asked for, print them and keep them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], metavar="SECTION")
    parser.add_argument("--folder", type=Path, default=Path("."), help="where zoos are made, and removed again")
    parser.add_argument("--zoo", type=Path, help="a real zoo, which is verified too")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--patience", type=float, default=0.0, metavar="SECONDS", help="wait for idle cores, at most")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--markdown", action="store_true", help="print what --output holds")
    args = parser.parse_args()
    PATIENCE[0] = args.patience
    known: dict[str, Any] = {}
    if args.output and args.output.exists():
        known = json.loads(args.output.read_text(encoding="utf-8"))
    if args.markdown:
        for section in known:
            print(f"\n### {section}: {known[section]['machine']}, load {known[section]['load']:.1f}\n")
            print_table([Row(**row) for row in known[section]["rows"]])
        return
    for section in args.sections or SECTIONS:
        started = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="nns-speed-", dir=args.folder) as folder:
            rows = SECTIONS[section](Path(folder), args.rounds, args.zoo)
        load = os.getloadavg()[1]
        print(f"\n### {section} ({time.perf_counter() - started:.0f} s, load {load:.1f})\n")
        print_table(rows)
        known[section] = {"machine": machine(), "load": load, "rows": [asdict(row) for row in rows]}
        if args.output:
            args.output.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def print_table(rows: Sequence[Row]) -> None:
    """Print rows as Markdown."""
    print("| what | median | | range | processor | ratio |", "| --- | --: | --- | --: | --: | --- |", sep="\n")
    for row in rows:
        print(row.line(), flush=True)


def machine() -> str:
    """Name the processor and the versions that matter."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    name = names[0].partition(":")[2].strip() if names else platform.processor()
    return f"{name}, {os.cpu_count()} cores, Python {platform.python_version()}, h5py {h5py.__version__}"


# --------------------------------------------------------------------------------------------------- records


def network(number: int, weights: bytes, kind: str = "ofa", **changes: Any) -> NetworkRecord:
    """Make a network whose description and fingerprint are as large as real ones."""
    random = np.random.default_rng(number)
    config = {
        "width": 0.5,
        "d": random.integers(2, 5, 5).tolist(),
        "e": random.choice([3, 4, 6], 20).tolist(),
        "ks": random.choice([3, 5, 7], 20).tolist(),
    }
    entry = NetworkEntry(
        id=hashlib.sha256(str(number).encode()).hexdigest()[:16],
        spec=ArchitectureSpec("ofa", f"mbv3-w0.5-{number:08x}", config, "random"),
        cost=NetworkCost(1_237_152, 2_781_040, 5_006_304, 640),
        preprocessing=Preprocessing(32),
        classes=tuple(f"class {k}" for k in range(14)),
        source_dataset=f"dataset-{number % 140}",
        source_digest=hashlib.sha256(str(number % 140).encode()).hexdigest(),
        accuracy=float(random.uniform()),
        license="Apache-2.0",
        provenance=Provenance.of(
            {
                "batch_size": 32,
                "epochs": 10,
                "image_size": 32,
                "images": 300,
                "lr": 0.05,
                "random_subnets": 1,
                "recipe": "sandwich",
                "seconds": 23.66,
                "seed": number,
                "weight_decay": 0.0001,
            }
        ),
    )
    fingerprint = Fingerprint(
        topology=random.standard_normal(45, np.float32),
        functional=random.standard_normal(640, np.float32),
        graph=random.standard_normal(GRAPH_DIM, np.float32),
        kernel=random.standard_normal((REFERENCE_COUNT, REFERENCE_COUNT), np.float32),
        surprise=random.standard_normal((SURPRISE_ROWS, REFERENCE_COUNT), np.float32),
    )
    return NetworkRecord(replace(entry, **changes), fingerprint, weights)


def tensors(size: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """Make about ``size`` bytes of weights in the shapes of inverted residuals: 1x1 up, 3x3 deep, 1x1 down, norms."""
    random = np.random.default_rng([seed, size])
    found: dict[str, NDArray[np.float32]] = {}
    left, block = size // 4, 0
    while left > 0:
        narrow = max(4, min(192, math.isqrt(left // 40), 16 << min(block // 3, 4)))
        wide = 6 * narrow
        shapes = {"pw": (wide, narrow, 1, 1), "dw": (wide, 1, 3, 3), "pwl": (narrow, wide, 1, 1)}
        for name, shape in shapes.items():
            scale = np.float32(math.sqrt(2 / math.prod(shape[1:])))
            found[f"blocks.{block}.{name}.weight"] = scale * random.standard_normal(shape, np.float32)
        for norm in ("weight", "bias", "running_mean", "running_var"):
            found[f"blocks.{block}.bn.{norm}"] = 1 + random.standard_normal(wide, np.float32) / 10
        left -= 12 * narrow * narrow + 78 * narrow
        block += 1
    return found


def weights_of(size: int, seed: int) -> bytes:
    """Make weights in safetensors format."""
    return save(tensors(size, seed))


# ---------------------------------------------------------------------------------------------------- adding


def add(folder: Path, rounds: int, zoo: Path | None) -> list[Row]:
    """Networks a second that are safe on the disk, by one and two workers; beside HDF5 alone and plain files."""
    table, ratios = Table(), []
    with workers() as crew:
        for name, (about, number) in SIZES.items():
            size = len(weights_of(about, 0))
            modes = {
                "h5py append, flush (not safe)": ("flush", 1),
                "h5py append, flush and fsync": ("fsync", 1),
                "plain file, fsync, rename, fsync": ("plain", 1),
                "add_network, 1 worker": ("add", 1),
                "add_network, 2 workers": ("add", 2),
                "add_networks, packed": ("bulk", 1),
            }
            base = f"{name}: h5py append, flush (not safe)"
            for turn in range(rounds):
                keys = list(modes)
                for what in keys[turn % len(keys) :] + keys[: turn % len(keys)]:
                    mode, count = modes[what]
                    place = Path(tempfile.mkdtemp(dir=folder))
                    os.sync()
                    spent = race(crew[:count], mode, about, number, place)
                    table.put(f"{name}: {what}", spent, "networks/s", number * count)
                    table.put(f"{name}: {what}, weights", spent, "MB/s", number * count * size / 1e6)
                    if (mode, count) == ("add", 2):
                        calm()
                        spent = timed(HDF5Store(place / "zoo.h5").merge)
                        table.put(f"{name}: merge of those", spent, "MB/s", number * count * size / 1e6)
                    shutil.rmtree(place)
            ratios += [(f"{name}: {what}", base) for what in modes if f"{name}: {what}" != base]
    return table.rows(ratios)


@contextmanager
def workers() -> Iterator[list[Any]]:
    """Start two processes that add networks when told to."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for _ in range(2):
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs,), daemon=True)
        process.start()
        pipes.append(ours)
        processes.append(process)
    try:
        yield pipes
    finally:
        for pipe in pipes:
            pipe.send(None)
        for process in processes:
            process.join()


def race(crew: Sequence[Any], mode: str, size: int, number: int, place: Path) -> Spent:
    """Let workers add at the same time; timed from the first start to the last end."""
    for at, pipe in enumerate(crew):
        pipe.send((mode, size, number, at * number, place))
    for pipe in crew:
        pipe.recv()
    calm()
    for pipe in crew:
        pipe.send("go")
    spans = [pipe.recv() for pipe in crew]
    clock = max(stop for _, stop, _ in spans) - min(start for start, _, _ in spans)
    return Spent(clock, sum(processor for _, _, processor in spans))


def work(pipe: Any) -> None:
    """Make networks, say so, wait, add them, and tell when that began and ended."""
    pools: dict[int, NDArray[np.uint8]] = {}
    while order := pipe.recv():
        mode, size, number, first, place = order
        if size not in pools:
            pools[size] = np.frombuffer(weights_of(size, 0), np.uint8)
        records = [network(at, _altered(pools[size], at)) for at in range(first, first + number)]
        pipe.send("ready")
        pipe.recv()
        started = time.perf_counter()
        spent = timed(lambda: ADDING[mode](place, records))  # noqa: B023
        pipe.send((started, started + spent.clock, spent.processor))


def _altered(weights: NDArray[np.uint8], number: int) -> bytes:
    """Other weights in the same format: every 64th byte after the header is another."""
    changed = weights.copy()
    start = 8 + int.from_bytes(weights[:8].tobytes(), "little")
    changed[start::64] ^= np.uint8(1 + number % 255)
    changed[start + 1 :: 4096] ^= np.uint8(number >> 8)
    return changed.tobytes()


def _add(place: Path, records: Sequence[NetworkRecord]) -> None:
    store = HDF5Store(place / "zoo.h5")
    for record in records:
        store.add_network(record)


def _bulk(place: Path, records: Sequence[NetworkRecord]) -> None:
    HDF5Store(place / "zoo.h5").add_all(records)


def _append(place: Path, records: Sequence[NetworkRecord], fsync: bool = False) -> None:
    path = place / "plain.h5"
    with h5py.File(path, "a") as file:
        descriptor = os.open(path, os.O_RDWR)
        for record in records:
            group = file.create_group(record.entry.id)
            group["meta"] = np.frombuffer(canonical_json(entry_json(record.entry)), np.uint8)
            for name in FINGERPRINT_PARTS:
                group[name] = getattr(record.fingerprint, name)
            group["weights"] = np.frombuffer(record.weights, np.uint8)
            file.flush()
            if fsync:
                os.fsync(descriptor)
        os.close(descriptor)


def _plain(place: Path, records: Sequence[NetworkRecord]) -> None:
    """Write one file a network, as safely as can be: the least that a journal needs."""
    for record in records:
        parts = [canonical_json(entry_json(record.entry))]
        parts += [getattr(record.fingerprint, name).tobytes() for name in FINGERPRINT_PARTS]
        with (place / f"tmp-{record.entry.id}").open("xb") as file:
            file.write(b"".join(parts))
            file.write(record.weights)
            file.flush()
            os.fsync(file.fileno())
        os.rename(place / f"tmp-{record.entry.id}", place / record.entry.id)
        flush_folder(place)


def flush_folder(place: Path) -> None:
    """Flush the names in a folder to the disk."""
    descriptor = os.open(place, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


ADDING: dict[str, Callable[[Path, Sequence[NetworkRecord]], None]] = {
    "add": _add,
    "bulk": _bulk,
    "flush": _append,
    "fsync": lambda place, records: _append(place, records, fsync=True),
    "plain": _plain,
}


# --------------------------------------------------------------------------------------------------- opening

STEPS = """
import json, sys, time
from pathlib import Path
marks = [(time.perf_counter(), time.process_time())]
mark = lambda: marks.append((time.perf_counter(), time.process_time()))
from nns.stores import HDF5Store
import h5py
mark()
{body}
print(json.dumps(marks))
"""

BODIES = {
    "open, ids and first row": "s = HDF5Store(sys.argv[1], must_exist=True); ids = s.ids(); s.entry(ids[0]); mark()",
    "open, ids": "s = HDF5Store(sys.argv[1], must_exist=True); s.ids(); mark()",
    "open and all rows": "s = HDF5Store(sys.argv[1], must_exist=True); s.entries(); mark()",
    "open and sum of all embeddings": (
        "s = HDF5Store(sys.argv[1], must_exist=True); float(s.space('tans').embeddings.sum()); mark()"
    ),
    "open and sum of all kernels": "s = HDF5Store(sys.argv[1], must_exist=True); float(s.kernels().sum()); mark()",
}
"""What is timed once nns.stores and h5py are imported."""


def opening(folder: Path, rounds: int, zoo: Path | None) -> list[Row]:
    """A zoo of 14,000 networks without weights: first row, all rows, embeddings; then with 1,000 shards."""
    table, path = Table(), folder / "zoo.h5"
    table.put(f"add_networks of {NETWORKS:,}, put_space and merge", timed(lambda: many(path)), "s")
    table.note("the zoo file", path.stat().st_size / 1e6, "MB")
    timings(table, path, f"{NETWORKS:,} networks", rounds)
    with HDF5Store(path) as store:
        records = [network(number, b"") for number in range(NETWORKS, NETWORKS + SHARDS)]
        table.put(f"add_network, {SHARDS:,} times", timed(lambda: [store.add_network(each) for each in records]), "s")
    timings(table, path, f"and {SHARDS:,} shards", rounds)
    table.put(f"merge of the {SHARDS:,} shards", timed(HDF5Store(path).merge), "s")
    return table.rows()


def many(path: Path) -> None:
    """Build the zoo with its space."""
    with HDF5Store(path) as store:
        store.add_all(network(number, b"") for number in range(NETWORKS))
        store.put_space(embeddings("tans", NETWORKS, store.ids()))
        store.merge()


def embeddings(name: str, count: int, ids: Sequence[str]) -> SpaceRecord:
    """Make a space as a fit makes it: 2 MB of tensors and an embedding for each network."""
    random = np.random.default_rng(1)
    values = random.standard_normal((count, EMBEDDING), np.float32)
    return SpaceRecord(name, "tans", {"dim": EMBEDDING}, random.bytes(2 << 20), tuple(ids), values, {"recall": [0.5]})


def timings(table: Table, path: Path, what: str, rounds: int) -> None:
    """Time all bodies: in processes of their own, in one that has done it before, and with nothing cached."""
    first = "open, ids and first row"
    for _ in range(rounds):
        for name, body in BODIES.items():
            imports, spent, whole = fresh(body, path)
            table.put(f"{what}: {name}", spent, "ms")
            if name == first:
                table.put(f"{what}: imports before that (nns.stores, h5py)", imports, "ms")
                table.put(f"{what}: the whole process", whole, "ms")
    for name in (first, "open and all rows"):
        code = compile(BODIES[name], name, "exec")
        for _ in range(4 * rounds):
            names = {"HDF5Store": HDF5Store, "sys": SimpleNamespace(argv=["", str(path)]), "mark": lambda: None}
            calm()
            table.put(f"{what}: {name}, again in one process", timed(partial(exec, code, names)), "ms")
    for _ in range(rounds):
        for item in (path, *path.with_name(path.name + ".journal").glob("*.h5")):
            evict(item)
        table.put(f"{what}: {first}, from disk", fresh(BODIES[first], path)[1], "ms")


def fresh(body: str, path: Path) -> tuple[Spent, Spent, Spent]:
    """Run a body in a process of its own; gives the time of the imports, of the body and of the whole process."""
    command = [sys.executable, "-c", STEPS.format(body=body), str(path)]
    calm()
    before, started = os.times(), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    clock, after = time.perf_counter() - started, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    marks = json.loads(done.stdout)
    imports, read = (Spent(*(b - a for a, b in zip(*pair, strict=True))) for pair in pairwise(marks))
    return imports, read, Spent(clock, used)


def evict(path: Path) -> None:
    """Take a file out of the page cache."""
    descriptor = os.open(path, os.O_RDWR)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


# -------------------------------------------------------------------------------------------------- scanning


def scan(folder: Path, rounds: int, zoo: Path | None) -> list[Row]:
    """One thread goes through all embeddings of a space; the bandwidth is what it gets from an array in memory."""
    table, ratios = Table(), []
    with threadpool_limits(1):
        for count in (NETWORKS, 1_000_000):
            path = folder / f"{count}.h5"
            with HDF5Store(path) as store:
                store.put_space(embeddings("tans", count, [f"{number:016x}" for number in range(count)]))
                store.merge()
            ratios += scans(table, path, f"{count:,} x {EMBEDDING}", rounds)
            path.unlink()
    return table.rows(ratios)


def scans(table: Table, path: Path, what: str, rounds: int) -> list[tuple[str, str]]:
    """Time scans of one space, and the same on a copy in memory, in turn."""
    with HDF5Store(path) as store:
        mapped = store.space("tans").embeddings
        copy = np.array(mapped)
    query, target = np.ones(EMBEDDING, np.float32), np.empty_like(copy)
    repeats = max(1, (256 << 20) // copy.nbytes)

    def speed(name: str, function: Callable[[], Any], nbytes: int = copy.nbytes) -> float:
        spent = timed(lambda: [function() for _ in range(repeats)])
        return table.put(f"{what}: {name}", spent, "GB/s", repeats * nbytes / 1e9)

    flat = copy.reshape(-1)
    for _ in range(3 * rounds):
        calm()
        reads = [
            speed("product, in memory", lambda: copy @ query),
            speed("sum, in memory", lambda: copy.sum()),
            speed("dot with itself, in memory", lambda: np.dot(flat, flat)),
        ]
        table.note(f"{what}: bandwidth (best of the three)", max(reads), "GB/s")
        speed("copy in memory, read and written", lambda: np.copyto(target, copy), 2 * copy.nbytes)
        speed("product, the zoo's embeddings", lambda: mapped @ query)
        speed("sum, the zoo's embeddings", lambda: mapped.sum())
    for _ in range(rounds):
        store = HDF5Store(path)
        again = partial(_product, store, query)
        calm()
        table.put(f"{what}: open, check all sha256 and scan once", timed(again), "ms")
        table.put(f"{what}: sha256 of as much, one thread", timed(lambda: hashlib.sha256(copy.data)), "ms")
        table.put(f"{what}: space() again and scan", timed(again), "ms")
        store.close()
    bandwidth = f"{what}: bandwidth (best of the three)"
    return [(f"{what}: {name}, the zoo's embeddings", bandwidth) for name in ("product", "sum")] + [
        (f"{what}: open, check all sha256 and scan once", f"{what}: sha256 of as much, one thread")
    ]


def _product(store: HDF5Store, query: NDArray[np.float32]) -> NDArray[np.float32]:
    return store.space("tans").embeddings @ query


# ------------------------------------------------------------------------------------------------- verifying


def verifying(folder: Path, rounds: int, zoo: Path | None) -> list[Row]:
    """Check every byte of 1.2 GB of weights, and of a real zoo."""
    table, path = Table(), folder / "zoo.h5"
    with HDF5Store(path) as store:
        spent = timed(lambda: store.add_all(network(k, weights_of(20 << 20, k)) for k in range(60)))
        table.put("add_networks of 60 networks of 20 MB (making them included)", spent, "s")
    names = {"60 networks of 20 MB": path, **({"a real zoo": zoo} if zoo else {})}
    block = np.random.default_rng(0).bytes(64 << 20)
    for turn in range(rounds):
        table.put("sha256, one thread", timed(lambda: hashlib.sha256(block)), "GB/s", len(block) / 1e9)
        for name, file in names.items():
            with HDF5Store(file) as store:
                decoded, networks = store.packing().decoded, len(store.ids())
            if not turn:
                table.note(f"{name}: networks", networks, "")
                table.note(f"{name}: decoded weights", decoded / 1e6, "MB")
                table.note(f"{name}: file", file.stat().st_size / 1e6, "MB")
            calm()
            spent = timed(partial(clean, file))
            table.put(f"{name}: verify, of decoded weights", spent, "GB/s", decoded / 1e9)
            table.put(f"{name}: verify, of the file", spent, "GB/s", file.stat().st_size / 1e9)
            table.put(f"{name}: verify", spent, "s")
            calm()
            table.put(f"{name}: verify, quick", timed(partial(clean, file, quick=True)), "ms")
            spent = timed(HDF5Store(file).damage)
            table.put(f"{name}: seal alone, of the file", spent, "GB/s", file.stat().st_size / 1e9)
            calm()
            table.put(f"{name}: weights() of each in turn", timed(partial(_each, file)), "GB/s", decoded / 1e9)
    return table.rows()


def _each(path: Path) -> None:
    with HDF5Store(path) as store:
        for network_id in store.ids():
            store.weights(network_id)


def clean(path: Path, quick: bool = False) -> None:
    """Verify a zoo in which nothing is wrong."""
    if problems := verify_path(path, quick):
        raise AssertionError(problems)


# --------------------------------------------------------------------------------------------------- loading


def load(folder: Path, rounds: int, zoo: Path | None) -> list[Row]:
    """Read one network of 20 MB in every way it may be kept, beside reading as many bytes; and what is not read."""
    table, size = Table(), 20 << 20
    base = tensors(size, 1)
    random = np.random.default_rng(2)
    tuned = {
        name: value + np.float32(1e-3) * random.standard_normal(value.shape, np.float32) for name, value in base.items()
    }
    noise = {name: random.bytes(value.nbytes) for name, value in base.items()}
    incompressible = save({name: np.frombuffer(data, np.uint8) for name, data in noise.items()})
    raw, merged, journal = folder / "raw", folder / "merged.h5", folder / "journal.h5"
    whole = save(base)
    size = len(whole)
    raw.write_bytes(whole)
    records = {
        "zstd": network(1, whole),
        "difference": network(2, save(tuned), provenance=Provenance(base=network(1, b"").entry.id)),
        "raw": network(3, incompressible),
    }
    with HDF5Store(journal) as store:
        store.add_network(records["zstd"])
    store = HDF5Store(merged)
    store.add_all(records.values())
    store.put_space(embeddings("tans", 3, store.ids()))
    store.merge()
    print(f"codecs: {dict(store.packing().codecs)}", file=sys.stderr)
    descriptor = os.open(raw, os.O_RDONLY)
    ways: dict[str, Callable[[], bytes]] = {
        "pread of 20 MB": lambda: os.pread(descriptor, size, 0),
        "pread and sha256": lambda: _hashed(os.pread(descriptor, size, 0)),
        "weights(), in the journal": lambda: waiting.weights(records["zstd"].entry.id),
    }
    for kind, record in records.items():
        ways[f"weights(), merged, {kind}"] = lambda record=record: store.weights(record.entry.id)
    ways["open, and weights(), merged, zstd"] = lambda: HDF5Store(merged).weights(records["zstd"].entry.id)
    waiting = HDF5Store(journal)
    for way in ways.values():
        way()
    for _ in range(4 * rounds):
        calm()
        for name, way in ways.items():
            table.put(name, timed(way), "ms")
    os.close(descriptor)
    rows = table.rows([(name, "pread and sha256") for name in ways if name != "pread and sha256"])
    return rows + touched(folder)


def _hashed(data: bytes) -> bytes:
    hashlib.sha256(data).digest()
    return data


# readahead off, so that a page is in the cache only if a byte of it was asked for
CAREFUL = """
import mmap, os, sys
opened, mapped = os.open, mmap.mmap
def careful_open(path, flags, *rest, **more):
    descriptor = opened(path, flags, *rest, **more)
    if str(path) == sys.argv[1]:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
    return descriptor
def careful_map(*given, **more):
    found = mapped(*given, **more)
    found.madvise(mmap.MADV_RANDOM)
    return found
os.open, mmap.mmap = careful_open, careful_map
from nns.stores import HDF5Store
s = HDF5Store(sys.argv[1], must_exist=True)
ids = s.ids()
{body}
"""

LISTING = """
s.entries(), [s.fingerprint(i) for i in ids], s.datasets(), s.spaces(), s.supernets(), s.transfers(), s.devices()
[a.sum() for a in (s.graphs(), s.kernels(), s.surprises(), s.space('tans').embeddings)]
s.digest(), s.sizes()
"""


def touched(folder: Path) -> list[Row]:
    """Count the bytes of weights that come into the page cache while a zoo of 60 networks of 1 MB is read."""
    path = folder / "touched.h5"
    with HDF5Store(path) as store:
        store.add_all(network(k, weights_of(1 << 20, k)) for k in range(60))
        store.put_space(embeddings("tans", 60, store.ids()))
        store.merge()
    with h5py.File(path) as file:
        data = file["frames/data"]
        first, nbytes = data.id.get_offset(), data.nbytes
        bounds, edges, rows = (
            file[name][:] for name in ("frames/data_offset", "networks/frames_offset", "networks/frames")
        )
    stored = sum(int(bounds[row + 1] - bounds[row]) for row in rows[edges[0] : edges[1]])
    found = [("of weights in the zoo", nbytes), ("of the first network's weights", stored)]
    bodies = {"listing and searching": LISTING, "weights() of the first network": "s.weights(ids[0])"}
    for name, body in bodies.items():
        evict(path)
        if left := resident(path, 0, path.stat().st_size):
            raise OSError(f"{left} bytes of {path} stay in the page cache")
        subprocess.run([sys.executable, "-c", CAREFUL.format(body=body), str(path)], check=True)
        found.append((f"of weights touched by {name}", resident(path, first, nbytes)))
        found.append((f"of all else touched by {name}", resident(path, 0, path.stat().st_size) - found[-1][1]))
    return [Row(f"bytes {what}", count / 1e3, "KB", count / 1e3, count / 1e3, 1) for what, count in found]


def resident(path: Path, first: int, nbytes: int) -> int:
    """Count the bytes of whole pages inside a range of a file that are in the page cache."""
    libc, page = ctypes.CDLL(None, use_errno=True), mmap.PAGESIZE
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_WRITE) as view:
        flags = (ctypes.c_ubyte * -(-len(view) // page))()
        anchor = (ctypes.c_char * len(view)).from_buffer(view)
        failed = libc.mincore(ctypes.c_void_p(ctypes.addressof(anchor)), ctypes.c_size_t(len(view)), flags)
        del anchor
    if failed:
        raise OSError(ctypes.get_errno(), "mincore")
    start, stop = -(-first // page), (first + nbytes) // page if first else len(flags)
    return page * sum(flag & 1 for flag in flags[start:stop])


SECTIONS: dict[str, Callable[[Path, int, Path | None], list[Row]]] = {
    "add": add,
    "open": opening,
    "scan": scan,
    "verify": verifying,
    "load": load,
}

if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()

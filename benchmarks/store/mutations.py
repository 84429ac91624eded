"""Change a small zoo at random, ten thousand times, and see what nns makes of it.

    python benchmarks/store/mutations.py [--files 10000] [--flips 1000] [--seed 0] [--jobs 2]
    python benchmarks/store/mutations.py --show 1234 OUT.h5       write one of the files again

A file is the zoo itself or a shard of its journal. Most mutations leave the checksums as they were; the sealed ones
put them right again, as somebody would who means harm. Each file is read as a whole in a forked child:

- refused: a ZooError
- same: everything in it is as in the zoo that it was made from
- found: it can be read, is another zoo, and `nns zoo verify` says what is wrong with it
- another: it can be read, is another zoo, sealed as such, and nothing is wrong with it
- wrong: it can be read and is not what it was, or what its content digest says, and nothing tells
- raised, crash, hang: another exception, a signal, no answer in time

With ``--flips`` single bits are flipped anywhere in a file: `nns zoo verify` must find each. Prints one JSON
document; exits with 1 if anything was wrong, raised, crashed, hung, or was missed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import random
import resource
import select
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

if __package__ in {None, ""}:  # run as a script: make this folder the package `store`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from nns.errors import ZooError
from nns.stores import HDF5Store, canonical_json
from nns.stores._digest import without_timing
from nns.stores.hdf5 import schema
from nns.testing._store import sample_network
from nns.types import NetworkEntry, Provenance
from nns.zoo import verify, verify_path
from store import making

MEMORY = "/dev/shm"
SECONDS = 20.0
"""How long one file may take."""
ADDRESS_SPACE = 1 << 30
"""Bytes of address space that a child may take beyond what it begins with."""
BATCH = 200
"""Files of one child."""
SHARD_SHARE = 0.15
BLIND = 2000
"""Files of which some must pass as another zoo, being resealed."""
BAD = ("wrong", "raised", "crash", "hang", "missed")

# -- the file that is changed ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """A file as bytes, and where its columns are."""

    whole: bytes
    places: Mapping[str, tuple[int, int]]
    """First and last byte of each column."""

    @classmethod
    def of(cls, path: Path) -> Layout:
        """Read a file."""
        places: dict[str, tuple[int, int]] = {}

        def visit(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset) and item.nbytes:
                start = item.id.get_offset()
                places[name] = start, start + item.nbytes

        with h5py.File(path, "r") as file:
            file.visititems(visit)
        return cls(path.read_bytes(), places)

    @cached_property
    def structure(self) -> Sequence[int]:
        """Positions that belong to no column: what HDF5 itself has written."""
        taken = bytearray(len(self.whole))
        for start, stop in self.places.values():
            taken[start:stop] = b"\1" * (stop - start)
        return [at for at, is_taken in enumerate(taken) if not is_taken]

    @cached_property
    def columns(self) -> Sequence[str]:
        """Names of the columns that hold content."""
        return [name for name in self.places if name not in (schema.HEADER, schema.SEAL)]

    @cached_property
    def digested(self) -> Sequence[str]:
        """Names of those whose checksum is in the header."""
        return [name for name in self.columns if name != schema.UNCHECKED]

    def reseal(self, data: bytearray, columns: bool = True) -> None:
        """Put the checksums right where they are: of the columns if ``columns``, of the header, and the seal."""
        start, stop = self.places[schema.HEADER]
        if columns:
            header = json.loads(self.whole[start:stop])
            del header["sha256"]
            for name in self.digested:
                first, last = self.places[name]
                header["columns"][name] = making.checksum(bytes(data[first:last])).hex()
            whole = canonical_json({**header, "sha256": hashlib.sha256(canonical_json(header)).hexdigest()})
            if len(whole) == stop - start:
                data[start:stop] = whole
        first, last = self.places[schema.SEAL]
        if len(data) < last:
            return
        data[first:last] = bytes(32)
        blocks = range(0, len(data), schema.SEAL_BLOCK)
        digests = [making.checksum(bytes(data[at : at + schema.SEAL_BLOCK])) for at in blocks]
        data[first:last] = hashlib.sha256(b"".join(digests)).digest()


# -- mutations -------------------------------------------------------------------------------------------------------

NUMBERS = (0, 1, 2, 7, 8, 255, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-300, 1e300, float("inf"), float("-inf"), float("nan"))
TOKENS = (
    b"null",
    b"NaN",
    b"1e999",
    b"-1",
    b"[[[[",
    b"{}",
    b'"',
    b"\\ud800",
    b"\n",
    b"\0",
    b"\xff",
    b"99999999999999999999",
)


def _bytes(layout: Layout, data: bytearray, choose: random.Random) -> None:
    for _ in range(choose.choice([1, 1, 2, 4, 16])):
        at, size = choose.randrange(len(data)), choose.choice([1, 1, 2, 4, 8])
        data[at : at + size] = choose.randbytes(min(size, len(data) - at))


def _structure(layout: Layout, data: bytearray, choose: random.Random) -> None:
    for _ in range(choose.choice([1, 1, 2, 4])):
        at = choose.choice(layout.structure)
        data[at] = choose.choice([choose.randrange(256), data[at] ^ 1 << choose.randrange(8), 0, 255])


def _addresses(layout: Layout, data: bytearray, choose: random.Random) -> None:
    """A number of 2, 4 or 8 bytes in the structure becomes another, or the place of a column."""
    for _ in range(choose.choice([1, 1, 2])):
        at, size = choose.choice(layout.structure), choose.choice([2, 4, 8, 8])
        place = choose.choice(list(layout.places.values()))
        value = choose.choice([*NUMBERS, len(data), len(data) - 1, at, *place, choose.randrange(len(data))])
        data[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, "little")
    del data[len(layout.whole) :]


def _range(data: bytearray, choose: random.Random) -> tuple[int, int]:
    at = choose.randrange(len(data))
    return at, min(len(data), at + choose.choice([1, 8, 64, 512, 4096]))


def _splice(layout: Layout, data: bytearray, choose: random.Random) -> None:
    start, stop = _range(data, choose)
    at = choose.randrange(len(data))
    data[at : at + stop - start] = data[start:stop]
    del data[len(layout.whole) :]


def _swap(layout: Layout, data: bytearray, choose: random.Random) -> None:
    size = choose.choice([8, 64, 512])
    one, other = sorted(choose.randrange(len(data) - size) for _ in range(2))
    if other - one >= size:
        data[one : one + size], data[other : other + size] = data[other : other + size], data[one : one + size]


def _columns_swapped(layout: Layout, data: bytearray, choose: random.Random) -> None:
    """What one column holds goes to another and back, as far as there is room."""
    (a, b), (c, d) = (layout.places[choose.choice(layout.columns)] for _ in range(2))
    size = min(b - a, d - c)
    data[a : a + size], data[c : c + size] = data[c : c + size], data[a : a + size]


def _truncate(layout: Layout, data: bytearray, choose: random.Random) -> None:
    del data[choose.randrange(len(data)) :]


def _cut(layout: Layout, data: bytearray, choose: random.Random) -> None:
    start, stop = _range(data, choose)
    del data[start:stop]


def _insert(layout: Layout, data: bytearray, choose: random.Random) -> None:
    at = choose.randrange(len(data))
    data[at:at] = choose.randbytes(choose.choice([1, 8, 512]))


def _append(layout: Layout, data: bytearray, choose: random.Random) -> None:
    data += choose.choice([choose.randbytes(choose.choice([1, 512])), bytes(512), layout.whole])


def _fill(layout: Layout, data: bytearray, choose: random.Random) -> None:
    start, stop = _range(data, choose)
    data[start:stop] = bytes([choose.choice([0, 255, 32])]) * (stop - start)


def _column_bytes(layout: Layout, data: bytearray, choose: random.Random) -> None:
    start, stop = layout.places[choose.choice(layout.columns)]
    for _ in range(choose.choice([1, 1, 2, 8])):
        at = choose.randrange(start, stop)
        data[at] ^= 1 << choose.randrange(8)


def _column_numbers(layout: Layout, data: bytearray, choose: random.Random) -> None:
    """Numbers in a column become others that are apt to make trouble."""
    names = [name for name in layout.columns if not name.endswith(("meta", "devices", "data", "tensors"))]
    start, stop = layout.places[choose.choice(names)]
    size = choose.choice([1, 4, 8, 8])
    for _ in range(choose.choice([1, 1, 3])):
        at = start + choose.randrange(max(1, (stop - start) // size)) * size
        made = choose.choice(NUMBERS) % (1 << 8 * size)
        value = made.to_bytes(size, "little")
        if size > 1 and choose.random() < 0.3:
            value = struct.pack(
                "<f" if size == 4 else "<d", choose.choice(FLOATS) if size == 8 else choose.choice(SMALL)
            )
        data[at : min(stop, at + size)] = value[: stop - at]


SMALL = (0.0, 1.0, -1.0, float("inf"), float("nan"))


def _column_text(layout: Layout, data: bytearray, choose: random.Random) -> None:
    """A piece of JSON becomes another, of the same length."""
    names = [name for name in layout.columns if name.endswith(("meta", "devices"))]
    start, stop = layout.places[choose.choice(names)]
    for _ in range(choose.choice([1, 1, 2])):
        token = choose.choice([*TOKENS, choose.randbytes(2), b" " * choose.choice([1, 4, 16])])
        at = choose.randrange(start, stop)
        data[at : min(stop, at + len(token))] = token[: stop - at]


def _column_shifted(layout: Layout, data: bytearray, choose: random.Random) -> None:
    """Rows of a column change places."""
    start, stop = layout.places[choose.choice(layout.columns)]
    size = choose.choice([1, 4, 8, 32, 64])
    whole = data[start:stop]
    data[start:stop] = whole[size:] + whole[:size]


Mutation = Callable[[Layout, bytearray, random.Random], None]
OPEN: Sequence[Mutation] = (
    *(_bytes, _structure, _structure, _addresses, _addresses, _splice, _swap, _columns_swapped),
    *(_truncate, _cut, _insert, _append, _fill, _column_bytes),
)
"""Mutations that leave the checksums as they were."""
SEALED: Sequence[Mutation] = (
    *(_structure, _addresses, _append, _column_bytes, _column_bytes, _column_numbers, _column_numbers, _column_text),
    *(_column_text, _column_shifted, _columns_swapped),
)
"""Mutations after which the checksums are put right."""


def mutate(layout: Layout, choose: random.Random) -> tuple[str, bool, bytes]:
    """Make a mutation: its name, whether the checksums are right, and the file."""
    sealed = choose.random() < 0.4
    mutation = choose.choice(SEALED if sealed else OPEN)
    data = bytearray(layout.whole)
    mutation(layout, data, choose)
    if sealed:
        layout.reseal(data, columns=mutation not in (_structure, _addresses))
    return mutation.__name__.strip("_") + (" sealed" if sealed else ""), sealed, bytes(data)


def flip(layout: Layout, choose: random.Random) -> tuple[str, bool, bytes]:
    """Flip one bit anywhere."""
    data = bytearray(layout.whole)
    data[choose.randrange(len(data))] ^= 1 << choose.randrange(8)
    return "flip", False, bytes(data)


# -- what is read ----------------------------------------------------------------------------------------------------


def answers(store: HDF5Store) -> dict[str, str]:
    """Read everything in a store: part to a digest of what was read."""
    return {name: _digest(read(store)) for name, read in PARTS.items()}


PARTS: dict[str, Callable[[HDF5Store], Any]] = {
    "networks": lambda store: [
        (_content(store.entry(name)), store.fingerprint(name), store.weights(name), store.network_digest(name))
        for name in store.ids()
    ],
    "bulk": lambda store: [[_content(entry) for entry in store.entries()], store.graphs(), store.kernels()],
    "surprises": lambda store: store.surprises(),
    "supernets": lambda store: [(_content(entry), store.supernet_weights(entry.id)) for entry in store.supernets()],
    "datasets": lambda store: store.datasets(),
    "transfers": lambda store: [replace(item, recipe=without_timing(item.recipe)) for item in store.transfers()],
    "timing": lambda store: [store.entries(), store.supernets(), store.transfers()],
    "digest": lambda store: store.digest(),
    "spaces": lambda store: [store.space(name) for name in store.spaces()],
    "latencies": lambda store: [(name, store.latencies(name)) for name in store.devices()],
    "sizes": lambda store: [store.sizes(), store.packing()],
}
CONTENT = ("networks", "bulk", "surprises", "supernets", "datasets", "transfers")
"""Parts that the content digest covers."""


def _content(entry: NetworkEntry) -> NetworkEntry:
    """Leave out what a content digest leaves out."""
    return replace(entry, provenance=Provenance.of(without_timing(entry.provenance.to_json())))


def _digest(value: Any) -> str:
    total = hashlib.sha256()
    for piece in _pieces(value):
        total.update(len(piece).to_bytes(8, "little"))
        total.update(piece)
    return total.hexdigest()


def _pieces(value: Any) -> Iterator[bytes]:
    yield type(value).__name__.encode()
    if isinstance(value, np.ndarray):
        yield repr((value.dtype.str, value.shape)).encode()
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, bytes):
        yield value
    elif is_dataclass(value):
        for item in fields(value):
            yield from _pieces(getattr(value, item.name))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _pieces(key)
            yield from _pieces(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _pieces(item)
    else:
        yield ascii(value).encode()


def judge(path: Path, sealed: bool, good: Mapping[str, str]) -> tuple[str, str]:
    """Read a file and say what became of it; a second word says why."""
    try:
        with HDF5Store(path, must_exist=True) as store:
            found = answers(store)
            if found == good:
                return "same", ""
            parts = ", ".join(name for name in PARTS if found[name] != good[name])
            if not sealed:
                return "wrong", parts
            problems = verify(store)
            if problems:
                return "found", problems[0].what
    except ZooError as error:
        return ("refused", "") if "\n" not in str(error) else ("wrong", "an error of several lines")
    if (found["digest"] == good["digest"]) != all(found[name] == good[name] for name in CONTENT):
        return "wrong", f"the content digest does not tell: {parts}"
    return "another", parts


# -- children --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What became of one file."""

    number: int
    mutation: str
    what: str
    why: str


class Maker:
    """The zoo, a shard beside it, and the mutations of both by number."""

    def __init__(self, folder: Path, seed: int, flips: bool) -> None:
        """Write the zoo into ``folder``."""
        self.folder, self.seed, self.flips = folder, seed, flips
        good = making.good_zoo(folder / "good.h5")
        self.main = Layout.of(good.path)
        beside = folder / "beside" / "zoo.h5"
        beside.parent.mkdir()
        shutil.copyfile(good.path, beside)
        with HDF5Store(beside) as store:
            store.add_network(sample_network(40))
            self.answers = {False: self._answers(good.path), True: answers(store)}
        (shard,) = Path(f"{beside}.journal").glob("*.h5")
        self.name, self.shard = shard.name, Layout.of(shard)

    def _answers(self, path: Path) -> dict[str, str]:
        with HDF5Store(path) as store:
            return answers(store)

    def make(self, number: int) -> tuple[str, bool, bool, bytes]:
        """Make one mutation: name, whether sealed, whether of the shard, the file."""
        choose = random.Random(f"{self.seed} {self.flips} {number}")
        of_shard = choose.random() < SHARD_SHARE
        name, sealed, data = (flip if self.flips else mutate)(self.shard if of_shard else self.main, choose)
        return name + (" of a shard" if of_shard else ""), sealed, of_shard, data

    def try_one(self, number: int, folder: Path) -> tuple[str, str, str]:
        """Make one mutation and read it: its name, and what became of it."""
        name, sealed, of_shard, data = self.make(number)
        path = folder / "zoo.h5"
        journal = Path(f"{path}.journal")
        target = journal / self.name if of_shard else path
        if of_shard:
            journal.mkdir(exist_ok=True)
            path.write_bytes(self.main.whole)
        else:
            shutil.rmtree(journal, ignore_errors=True)
        target.write_bytes(data)
        try:
            if self.flips:
                problems = verify_path(path)
                return name, "found" if problems else "missed", ""
            return name, *judge(path, sealed, self.answers[of_shard])
        except Exception as error:  # noqa: BLE001 - what is looked for
            frames = traceback.extract_tb(error.__traceback__)
            return (
                name,
                "raised",
                f"{type(error).__name__}: {str(error)[:160]} ({frames[-1].name}, {frames[-1].lineno})",
            )


class Child:
    """A forked process that tries files one after another, and tells before and after each."""

    def __init__(self, maker: Maker, numbers: Sequence[int], folder: Path) -> None:
        """Fork it."""
        self.left = list(numbers)
        self.since = time.perf_counter()
        self.read, write = os.pipe()
        self.folder = folder
        self.text = b""
        self.pid = os.fork()
        if not self.pid:
            os.close(self.read)
            _work(maker, numbers, folder, write)
        os.close(write)

    def receive(self) -> list[Outcome] | None:
        """Take in what the child has said; None at its end."""
        data = os.read(self.read, 1 << 16)
        self.text += data
        *lines, self.text = self.text.split(b"\n")
        found = [Outcome(*json.loads(line)) for line in lines]
        if found:
            self.since = time.perf_counter()
            self.left = self.left[len(found) :]
        return found or (None if not data else [])

    def end(self) -> str:
        """Wait for the child to end: "" or why it did."""
        os.close(self.read)
        _, status = os.waitpid(self.pid, 0)
        shutil.rmtree(self.folder, ignore_errors=True)
        code = os.waitstatus_to_exitcode(status)
        return "" if not code else signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _work(maker: Maker, numbers: Sequence[int], folder: Path, out: int) -> None:
    try:
        folder.mkdir()
        size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (size + ADDRESS_SPACE,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for number in numbers:
            name, what, why = maker.try_one(number, folder)
            os.write(out, json.dumps([number, name, what, why]).encode() + b"\n")
    except BaseException:  # noqa: BLE001 - the parent sees the exit code
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def run(maker: Maker, count: int, jobs: int) -> Iterator[Outcome]:
    """Try ``count`` mutations in ``jobs`` children at a time."""
    waiting = [range(start, min(start + BATCH, count)) for start in range(0, count, BATCH)]
    queue: list[Sequence[int]] = list(reversed(waiting))
    children: dict[int, Child] = {}
    made = 0
    while queue or children:
        while queue and len(children) < jobs:
            child = Child(maker, queue.pop(), maker.folder / f"child-{made}")
            children[child.read] = child
            made += 1
        ready, _, _ = select.select(list(children), [], [], 0.5)
        for child in [children[descriptor] for descriptor in ready]:
            found = child.receive()
            if found is not None:
                yield from found
                continue
            del children[child.read]
            why = child.end()
            if child.left:
                yield Outcome(child.left[0], maker.make(child.left[0])[0], "crash", why)
                queue.append(child.left[1:])
        for descriptor, child in list(children.items()):
            if time.perf_counter() - child.since > SECONDS and child.left:
                os.kill(child.pid, signal.SIGKILL)
                del children[descriptor]
                child.end()
                yield Outcome(child.left[0], maker.make(child.left[0])[0], "hang", f"{SECONDS:.0f} s")
                queue.append(child.left[1:])


def summary(outcomes: Sequence[Outcome], seconds: float) -> dict[str, Any]:
    """Count outcomes, in all and by mutation, and list the bad ones."""
    mutations = sorted({outcome.mutation for outcome in outcomes})
    bad = [outcome for outcome in outcomes if outcome.what in BAD]
    return {
        "files": len(outcomes),
        "seconds": round(seconds, 1),
        "outcomes": dict(sorted(Counter(outcome.what for outcome in outcomes).items())),
        "by_mutation": {
            name: dict(sorted(Counter(o.what for o in outcomes if o.mutation == name).items())) for name in mutations
        },
        "reasons": dict(Counter(f"{outcome.what}: {outcome.why}" for outcome in bad).most_common(40)),
        "bad": [asdict(outcome) for outcome in bad[:100]],
    }


def main() -> None:
    """Mutate, read, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--show", nargs=2, metavar=("NUMBER", "OUT"), help="write one mutated file and end")
    args = parser.parse_args()
    where = MEMORY if os.access(MEMORY, os.W_OK) else None
    document: dict[str, Any] = {
        "seed": args.seed,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, HDF5 {h5py.version.hdf5_version}",
    }
    with tempfile.TemporaryDirectory(dir=where) as folder:
        for name, flips, count in (("mutations", False, args.files), ("flips", True, args.flips)):
            path = Path(folder, name)
            path.mkdir()
            maker = Maker(path, args.seed, flips)
            if args.show:
                name, _, _, data = maker.make(int(args.show[0]))
                Path(args.show[1]).write_bytes(data)
                print(name)
                return
            started = time.perf_counter()
            outcomes = list(run(maker, count, args.jobs))
            document[name] = summary(outcomes, time.perf_counter() - started)
    print(json.dumps(document, indent=2))
    if args.files >= BLIND and not document["mutations"]["outcomes"].get("another"):
        sys.exit(
            "no mutation was accepted as another zoo: files are not resealed as nns seals them, so nothing was tested"
        )
    sys.exit(any(document[name]["bad"] for name in ("mutations", "flips")))


if __name__ == "__main__":
    main()

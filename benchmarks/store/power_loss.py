"""Cut the power at every step of a run of writes, and see whether anything acknowledged is lost.

    python benchmarks/store/power_loss.py [--states 6] [--seed 0] [--output power.json]

Nothing is cut really. A run of adding, merging, removing and collecting garbage is recorded: before each
call that changes a file system, what is on the disk for certain and what is only in memory. From that, disks
are made as they may be after a power loss, and each is opened. The disk keeps no promise but these:

- What is in a file is safe once ``fsync`` of the file has returned.
- Names in a folder are safe once ``fsync`` of the folder has returned.

All else may or may not be there: each name the old or the new one by itself, whatever the order of the
calls; a file that was not flushed empty, cut off, with pages of zeros or of rubbish. That is harsher than
any file system in use. Exits with 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

if __package__ in {None, ""}:  # run as a script: make this folder the package `store`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from nns.errors import ZooError
from nns.stores import HDF5Store
from nns.zoo import verify
from store import records
from store.history import History, Operation

CHANGES = ("fsync", "fdatasync", "link", "unlink", "remove", "rename", "replace", "mkdir", "rmdir", "utime", "chmod")
"""Calls to look before. Not those that write data: whatever was not flushed is spoiled in all ways anyway."""

REMOVALS = ("unlink", "remove", "rename", "replace", "rmdir")
PAGE = 4096

Disk = Mapping[str, bytes | None]
"""Paths to contents; None: a folder."""


@dataclass(frozen=True)
class File:
    """A file: what is safe on the disk, and what a process would read. None: never flushed."""

    safe: bytes | None
    now: bytes


@dataclass(frozen=True)
class Folder:
    """A folder: names that are safe on the disk, and those that a process would see."""

    safe: Mapping[str, int]
    now: Mapping[str, int]


@dataclass(frozen=True)
class Moment:
    """What was where right before a call; ``nodes`` are files and folders by number, 0 is the root.

    Attributes:
        call: The call that was about to be made.
        nodes: Files and folders by number.
        time: When.
    """

    call: str
    nodes: Mapping[int, File | Folder]
    time: float


class Recorder:
    """Follows a folder through the calls of this process, by looking at it before each.

    Args:
        root: The folder. It counts as safe as it is at the beginning.
        deaf: ``"file"`` or ``"folder"``: the disk does not do as told by fsync of such.
    """

    def __init__(self, root: Path, deaf: str = "") -> None:
        self.root = root
        self.moments: list[Moment] = []
        self._deaf = deaf
        self._inodes: dict[tuple[int, int], int] = {}
        self._nodes: list[bool] = []  # all nodes ever seen: whether each is a file
        self._safe: dict[int, Any] = {}
        self._last: dict[int, bytes] = {}  # contents of files when they were last looked at
        self._busy = False

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record the calls that are made within."""
        for number, node in self._look().items():
            self._safe[number] = node.now
        real = {name: getattr(os, name) for name in CHANGES if hasattr(os, name)}
        try:
            for name, call in real.items():
                setattr(os, name, self._watched(name, call))
            yield
            self._moment("the end")
        finally:
            for name, call in real.items():
                setattr(os, name, call)

    def _watched(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **named: Any) -> Any:
            if self._busy:
                return call(*arguments, **named)
            self._moment(name)
            result = call(*arguments, **named)
            if name in {"fsync", "fdatasync"}:
                self._flushed(arguments[0])
            elif name in REMOVALS:
                self._look()
            return result

        return watched

    def _moment(self, call: str) -> None:
        self._busy = True
        try:
            self.moments.append(Moment(call, self._look(), time.monotonic()))
        finally:
            self._busy = False

    def _flushed(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        number = self._inodes.get((status.st_dev, status.st_ino))
        kind = "folder" if stat.S_ISDIR(status.st_mode) else "file"
        if number is not None and kind != self._deaf:
            self._safe[number] = self._look()[number].now

    def _look(self) -> dict[int, File | Folder]:
        """Read the folder; of what has no name any more, the last contents: a name on the disk may lead there yet."""
        folders: dict[int, dict[str, int]] = {}
        seen: dict[tuple[int, int], int] = {}

        def visit(path: Path) -> int | None:
            try:
                status = path.lstat()
                inner = sorted(os.listdir(path)) if stat.S_ISDIR(status.st_mode) else None
                data = path.read_bytes() if inner is None else b""
            except FileNotFoundError:
                return None
            inode = status.st_dev, status.st_ino
            number = seen[inode] = self._inodes.get(inode, seen.get(inode, len(self._nodes)))
            if number == len(self._nodes):
                self._nodes.append(inner is None)
            if inner is None:
                if self._last.get(number) != data:
                    self._last[number] = data
            else:
                names = {name: visit(path / name) for name in inner}
                folders[number] = {name: child for name, child in names.items() if child is not None}
            return number

        visit(self.root)
        self._inodes = seen  # the number of an inode without a name may come again for another file
        return {
            number: File(self._safe.get(number), self._last[number])
            if is_file
            else Folder(self._safe.get(number, {}), folders.get(number, {}))
            for number, is_file in enumerate(self._nodes)
        }


Choose = Callable[[str], int]
"""Gives 0 for what is safe and 1 for what was last, for each thing that may be either."""


def disks(moment: Moment, dice: random.Random, count: int) -> Iterator[tuple[str, Disk]]:
    """Make disks as they may be after a power loss, and say how each came about.

    First the one with only what is safe, then the one with everything, then ``count`` others: all but one
    change, only one change, or a throw of the dice for each; files that are not safe spoiled each time.
    """
    open_names: list[str] = []

    def notes(what: str) -> int:
        open_names.append(what)
        return 1

    for what, choice in (("only what is safe", 0), ("everything", 1)):
        yield what, _disk(moment, lambda _, choice=choice: choice, dice, spoil=not choice)
    _disk(moment, notes, dice, spoil=False)
    changes = sorted(set(open_names))
    if not changes:
        return
    for number in range(count):
        one = dice.choice(changes)
        if number % 3 == 0:
            yield f"all but {one}", _disk(moment, lambda name, one=one: int(name != one), dice, spoil=True)
        elif number % 3 == 1:
            yield f"only {one}", _disk(moment, lambda name, one=one: int(name == one), dice, spoil=True)
        else:
            picked = {name for name in changes if dice.random() < 0.5}
            yield f"some: {sorted(picked)}", _disk(moment, lambda name, p=picked: int(name in p), dice, spoil=True)


def _disk(moment: Moment, choose: Choose, dice: random.Random, spoil: bool) -> dict[str, bytes | None]:
    found: dict[str, bytes | None] = {}
    contents: dict[int, bytes] = {}

    def visit(number: int, path: str) -> None:
        node = moment.nodes[number]
        if isinstance(node, File):
            if number not in contents:
                contents[number] = node.now if node.now == node.safe or not spoil else _spoiled(node, dice)
            found[path] = contents[number]
            return
        if path:
            found[path] = None
        for name in sorted({*node.safe, *node.now}):
            old, new, inner = node.safe.get(name), node.now.get(name), f"{path}/{name}" if path else name
            chosen = new if old == new or choose(inner) else old
            if chosen is not None:
                visit(chosen, inner)

    visit(0, "")
    return found


def _spoiled(node: File, dice: random.Random) -> bytes:
    """Make what may be left of a file that was not flushed."""
    how = dice.randrange(5)
    if how == 0:
        return node.safe or b""
    if how == 1:
        return node.now
    if how == 2:
        return node.now[: dice.randrange(len(node.now) + 1)]
    data, safe = bytearray(node.now), (node.safe or b"").ljust(len(node.now), b"\0")
    for start in range(0, len(data), PAGE):
        if dice.random() < 0.5:
            page = len(data[start : start + PAGE])
            data[start : start + PAGE] = safe[start : start + PAGE] if how == 3 else dice.randbytes(page)
    return bytes(data)


def lay_out(disk: Disk, folder: Path) -> None:
    """Write a disk into a new folder."""
    folder.mkdir()
    for path, data in disk.items():
        if data is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(data)


@dataclass
class Script:
    """A run of writes, each told to the history."""

    store: HDF5Store
    history: History = field(default_factory=History)
    steps: int = 0

    def step(self, values: Mapping[str, int | None], work: Callable[[], object]) -> None:
        """Do one operation."""
        started = self.history.begin(values, time.monotonic())
        work()
        self.history.acknowledge(started, time.monotonic())
        self.steps += 1

    def collect(self) -> None:
        """Collect garbage."""
        started = self.history.collect(time.monotonic())
        self.store.collect_garbage()
        self.history.abandon(started, time.monotonic())
        self.steps += 1

    def add(self, number: int, seed: int = 0) -> None:
        """Add a network."""
        self.step({f"network {number}": seed}, lambda: self.store.add_network(records.network(number, seed)))

    def add_many(self, numbers: Sequence[int]) -> None:
        """Add networks at once."""
        values = {f"network {number}": 0 for number in numbers}
        self.step(values, lambda: self.store.add_all(records.network(number, 0) for number in numbers))

    def supernet(self, number: int) -> None:
        """Add a supernet."""
        self.step({f"supernet {number}": 1}, lambda: self.store.add_supernet(records.supernet(number)))

    def dataset(self, number: int) -> None:
        """Add a dataset."""
        self.step({f"dataset {number}": 1}, lambda: self.store.add_dataset(records.dataset(number)))

    def space(self, seed: int) -> None:
        """Write the space."""
        self.step({"space main": seed}, lambda: self.store.put_space(records.space("main", seed)))

    def measure(self, number: int, seed: int) -> None:
        """Write a transfer and a latency of a network."""
        self.step({f"transfer {number}": seed}, lambda: self.store.put_transfers([records.transfer(number, seed)]))
        self.step({f"latency {number}": seed}, lambda: self.store.put_latencies([records.latency(number, seed)]))

    def remove(self, *numbers: int) -> None:
        """Remove networks."""
        values = {f"network {number}": None for number in numbers}
        self.step(values, lambda: self.store.remove([records.network_id(number) for number in numbers]))

    def merge(self) -> None:
        """Merge."""
        self.step({}, self.store.merge)

    def merge_and_add(self, number: int) -> None:
        """Merge, while another process adds a network as soon as the new file is in its place."""
        other, replace = Script(HDF5Store(self.store.path), self.history), os.replace

        def replace_and_add(*paths: Any) -> None:
            os.replace = replace
            replace(*paths)
            other.add(number)

        os.replace = replace_and_add
        try:
            self.merge()
        finally:
            os.replace = replace


def play(script: Script) -> None:
    """Do everything that can be done to a zoo, in an order that leaves as much as possible to go wrong."""
    script.add(1)
    script.dataset(1)
    script.space(1)
    script.supernet(0)
    script.add(0)
    script.measure(1, 1)
    script.merge_and_add(13)
    script.add(2)
    script.space(2)
    script.space(3)
    script.remove(1)
    script.add(1)
    script.merge()
    script.remove(2, 1)
    script.add(1, seed=1)
    script.measure(0, 2)
    script.add_many([4, 5, 7])
    script.supernet(11)
    script.collect()
    script.add(8)
    script.remove(8)
    script.add(8)
    script.space(4)
    script.collect()
    script.remove(0, 4, 5, 7)
    script.add(10)
    script.merge()
    script.collect()


def play_briefly(script: Script) -> None:
    """Do a few things."""
    script.add(1)
    script.space(1)
    script.add(2)
    script.merge_and_add(3)
    script.space(2)
    script.remove(1)
    script.add(1, seed=1)
    script.merge()


@dataclass
class Report:
    """What came of it."""

    steps: int = 0
    moments: int = 0
    disks: int = 0
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0


def history_until(history: History, moment: float) -> History:
    """Return the history as it was at some moment: what was under way then may have taken place."""
    before = History()
    for key, operations in history.operations.items():
        for item in operations:
            if item.begin < moment:
                before.operations[key].append(_until(item, moment))
    before.collections = [_until(item, moment) for item in history.collections if item.begin < moment]
    return before


def _until(item: Operation, moment: float) -> Operation:
    if item.end <= moment:
        return item
    return Operation(item.value, item.begin, moment)


def check(path: Path, history: History, open_store: Callable[[Path], HDF5Store]) -> list[str]:
    """Open a zoo after a power loss, and compare it with what was acknowledged; then merge it and do so again."""
    wrong: list[str] = []
    digests = []
    try:
        for merged in (False, True):
            begin = time.monotonic()
            with open_store(path) as store:
                if merged:
                    store.merge()
                seen, half = records.look(store)
                wrong += [*half, *store.damage(), *(f"{item.id}: {item.what}" for item in verify(store))]
                digests.append(store.digest())
            wrong += history.check(seen, begin, time.monotonic(), last=True)
    except ZooError as error:
        wrong.append(str(error))
    if len(set(digests)) > 1:
        wrong.append("a merge changes the content digest")
    return wrong


def run(
    folder: Path,
    script: Callable[[Script], None] = play,
    states: int = 6,
    seed: int = 0,
    share: float = 1.0,
    deaf: str = "",
    open_store: Callable[[Path], HDF5Store] = HDF5Store,
    say: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Record a script below ``folder`` and check ``states`` + 2 disks for a share of its moments."""
    root = folder / "recorded"
    root.mkdir(parents=True)
    recorder, written = Recorder(root, deaf), Script(open_store(root / "zoo.h5"))
    with recorder.recording():
        script(written)
    report, tried = Report(written.steps, len(recorder.moments)), set()

    def check_disk(disk: Disk, moment: Moment, place: Path) -> list[str] | None:
        begun = history_until(written.history, moment.time)
        done = sum(item.acknowledged for items in begun.operations.values() for item in items)
        if (key := hash((done, *sorted(disk.items(), key=lambda item: item[0])))) in tried:
            return None
        tried.add(key)
        lay_out(disk, place)
        return check(place / "zoo.h5", begun, open_store)

    _try_all(report, recorder, folder, random.Random(seed), states, share, check_disk, say)
    return report


def _try_all(
    report: Report,
    recorder: Recorder,
    folder: Path,
    dice: random.Random,
    states: int,
    share: float,
    check_disk: Callable[[Disk, Moment, Path], list[str] | None],
    say: Callable[[Report], None],
) -> None:
    started = time.monotonic()
    for number, moment in enumerate(recorder.moments):
        if dice.random() >= share:
            continue
        for how, disk in disks(moment, dice, states):
            place = folder / f"disk-{report.disks}"
            found = check_disk(disk, moment, place)
            if found is not None:
                report.disks += 1
                report.wrong += [f"step {number}, before {moment.call}, {how}: {line}" for line in found]
                shutil.rmtree(place)
        report.seconds = time.monotonic() - started
        say(report)


def main() -> int:
    """Parse, play, tell; 0 if nothing was lost, 1 if something was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", type=int, default=6, help="disks for each step, besides two (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the zoos are made (a temporary folder)")
    parser.add_argument("--output", type=Path, metavar="JSON", help="write the counts")
    options = parser.parse_args()

    def say(report: Report) -> None:
        print(f"\r{report.seconds:5.0f} s: {report.disks} disks, {len(report.wrong)} wrong", end="", file=sys.stderr)

    reports = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        reports["writes"] = run(Path(folder), states=options.states, seed=options.seed, say=say)
    print(file=sys.stderr)
    if options.output:
        document = {name: asdict(report) for name, report in reports.items()}
        options.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    for name, report in reports.items():
        counts = f"{report.steps} operations, {report.moments} moments, {report.disks} disks"
        print(f"{name}: {counts} in {report.seconds:.0f} s, {len(report.wrong)} wrong")
        for line in report.wrong[:50]:
            print(f"  {line}")
    return 1 if any(report.wrong for report in reports.values()) else 0


if __name__ == "__main__":
    sys.exit(main())

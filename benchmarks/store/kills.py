"""Kill writers, merges, removals and readers of a zoo over and over, and see whether anything is lost.

    python benchmarks/store/kills.py [--kills 240] [--seconds 600] [--seed 0] [--output kills.json]

Two writers, a merger, a remover and two readers work on one zoo. One after another they are killed with
SIGKILL: half of them at random moments, half, where strace can be used, right before the n-th call of a
given system call. After each kill the zoo is opened anew and compared with all that was acknowledged.
Exits with 1 if anything was lost, came back after its removal, was half written or could not be read.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import platform
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

if __package__ in {None, ""}:  # run as a script: make this folder the package `store`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from nns.errors import NnsError, ZooError
from nns.stores import HDF5Store
from nns.zoo import verify
from store import actors, records
from store.history import History, Operation

ROLES = ("writer 0", "writer 1", "merger", "remover", "reader 0", "reader 1")
TARGETS = (
    "writer 0",
    "writer 1",
    "writer 0",
    "writer 1",
    "merger",
    "merger",
    "merger",
    "remover",
    "remover",
    "reader 0",
)
"""Whom to kill, the more often the more there is to break."""

CALLS: dict[str, tuple[int, str]] = {
    "pwrite64": (60, "writer merger remover"),
    "write": (12, "writer remover"),
    "fsync": (12, "writer merger remover"),
    "link,linkat": (6, "writer remover"),
    "unlink,unlinkat": (12, "writer merger remover"),
    "rename,renameat,renameat2": (4, "merger remover"),
    "openat": (60, "writer merger remover reader"),
    "mkdir,mkdirat": (2, "writer remover"),
    "rmdir": (2, "merger remover"),
    "ftruncate": (6, "writer merger remover"),
    "copy_file_range": (6, "merger remover"),
}
"""System calls to die at: the highest n, and who makes them."""

ROUND = 25
"""Kills after which a new zoo is begun."""

PATIENCE = 0.8
"""Seconds to wait for the n-th system call."""


@dataclass
class Report:
    """What came of it."""

    kills: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    looks: int = 0
    looks_of_readers: int = 0
    records_compared: int = 0
    lost: list[str] = field(default_factory=list)
    half: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    seconds: float = 0.0
    strace: bool = False

    @property
    def killed(self) -> int:
        """Count the kills."""
        return self.kills.total()

    @property
    def wrong(self) -> list[str]:
        """List all that should not be."""
        return [*self.lost, *self.half, *self.errors, *self.damage]


class Process:
    """A process forked from this one, which has everything imported already; it tells on a pipe."""

    def __init__(self, role: str, work: Callable[[actors.Teller], None], others: list[Process], held: bool) -> None:
        self.role = role
        self.step = ""
        self.started: list[tuple[str, Operation]] = []
        self._rest = b""
        self.pipe, told = os.pipe()
        gate, self._gate = os.pipe()
        fcntl.fcntl(told, fcntl.F_SETPIPE_SZ, 1 << 20)
        self.pid = os.fork()
        if not self.pid:
            try:
                for descriptor in (self.pipe, self._gate, *(other.pipe for other in others)):
                    os.close(descriptor)
                if held:
                    os.read(gate, 1)
                _work(work, actors.Teller(told))
            finally:
                os._exit(1)
        os.close(told)
        os.close(gate)
        os.set_blocking(self.pipe, False)

    def release(self) -> None:
        """Let a process that was held begin."""
        os.write(self._gate, b"x")

    def lines(self) -> tuple[list[list[Any]], bool]:
        """Read the lines that are there, and whether the process has ended."""
        ended = False
        while True:
            try:
                data = os.read(self.pipe, 1 << 20)
            except BlockingIOError:
                break
            if not data:
                ended = True
                break
            self._rest += data
        *whole, self._rest = self._rest.split(b"\n")
        return [json.loads(line) for line in whole], ended

    def kill(self) -> None:
        """Kill it."""
        os.kill(self.pid, signal.SIGKILL)

    def reap(self) -> bool:
        """Wait for its end; gives whether it was killed."""
        status = os.waitpid(self.pid, 0)[1]
        os.close(self.pipe)
        os.close(self._gate)
        return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def _work(work: Callable[[actors.Teller], None], tell: actors.Teller) -> None:
    try:
        work(tell)
    except BrokenPipeError:  # the harness is gone
        return
    except BaseException as error:  # noqa: BLE001
        tell.line("failed", f"{type(error).__name__}: {error}")


@cache
def strace_works() -> bool:
    """Find out whether strace can kill a process at a system call."""
    if not shutil.which("strace"):
        return False
    process = Process("test", lambda tell: os.mkdir("/dev/null/none"), [], held=True)
    tracer = trace(process, "mkdir,mkdirat", 1)
    process.release()
    works = tracer is not None and os.WTERMSIG(os.waitpid(process.pid, 0)[1]) == signal.SIGKILL
    if tracer is not None:
        tracer.wait()
    return works


def trace(process: Process, calls: str, number: int) -> subprocess.Popen[bytes] | None:
    """Have strace kill a held process right before the n-th of some system calls; None if that cannot be done."""
    names = ",".join("?" + name for name in calls.split(","))
    which = ["-e", f"trace={names}", "-e", f"inject={names}:signal=SIGKILL:when={number}"]
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(process.pid), *which]
    tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while tracer.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        if "TracerPid:\t0\n" not in status:
            return tracer
        time.sleep(0.001)
    return None


class Round:
    """One zoo and the processes that work on it."""

    def __init__(self, path: Path, open_store: actors.OpenStore, report: Report, dice: random.Random) -> None:
        self.path, self.report, self.dice = path, report, dice
        self.journal = path.with_name(path.name + ".journal")
        self._open = open_store
        self._history = History()
        self._next = {"writer 0": 0, "writer 1": 0}
        self._looks: list[tuple[str, dict[str, int], float, float]] = []
        self._refused: list[tuple[str, list[tuple[str, Operation]], float]] = []
        self.processes: dict[str, Process] = {}

    def start(self, role: str, held: bool = False) -> Process:
        """Start a process; a writer goes on with the step in which its predecessor died."""
        kind, _, which = role.partition(" ")
        dice = random.Random(self.dice.random())
        common = (self.path, self._open)
        others = list(self.processes.values())
        if kind == "writer":
            number = self._next[role]
            work = lambda tell: actors.write(*common, tell, dice, int(which), number)  # noqa: E731
        else:
            loop = {"merger": actors.merge, "remover": actors.remove, "reader": actors.read}[kind]
            work = lambda tell: loop(*common, tell, dice)  # noqa: E731
        self.processes[role] = Process(role, work, others, held)
        return self.processes[role]

    def drain(self, wait: float = 0.0) -> None:
        """Take in what the processes tell, for some time; one that ended by itself is an error."""
        until = time.monotonic() + wait
        while True:
            waiting = {process.pipe: process for process in self.processes.values()}
            ready, _, _ = select.select(list(waiting), [], [], max(0.0, until - time.monotonic()))
            for pipe in ready:
                if self._take(waiting[pipe]):
                    self.end(waiting[pipe])
            if not ready and time.monotonic() >= until:
                break
        for what, started, at in self._refused:
            if not self._history.refuse(started, at):
                self.report.errors.append(f"refused without a reason: {what}"[:500])
        self._refused.clear()
        for who, seen, begin, end in self._looks:
            self.report.lost += [f"{who}: {line}" for line in self._history.check(seen, begin, end)]
        self._looks.clear()

    def _take(self, process: Process) -> bool:
        lines, ended = process.lines()
        for kind, at, *rest in lines:
            self._one(process, kind, at, rest)
        return ended

    def _one(self, process: Process, kind: str, at: float, rest: list[Any]) -> None:
        report, history = self.report, self._history
        if kind == "begin":
            process.step, values, number = rest
            if process.role in self._next:
                self._next[process.role] = number
            process.started = history.collect(at) if process.step == "collect" else history.begin(values, at)
        elif kind == "end":
            report.steps[process.step] += 1
            history.acknowledge(process.started, at)
            if process.step == "hold":
                history.hold(process.started)
            process.started = []
        elif kind == "refused":
            report.steps["refused"] += 1
            self._refused.append((f"{process.role}: {rest[0]}", process.started, at))
            process.started = []
        elif kind == "failed":
            report.errors.append(f"{process.role}: {rest[0]}"[:500])
            history.abandon(process.started, at)
            process.started = []
        elif kind == "seen":
            begin, seen, wrong = rest
            report.looks_of_readers += 1
            report.records_compared += len(seen)
            report.half += [f"{process.role}: {line}" for line in wrong]
            self._looks.append((process.role, seen, begin, at))

    def end(self, process: Process) -> None:
        """Take in the last words of a process that is dead or dying."""
        while not self._take(process):
            select.select([process.pipe], [], [], 1.0)
        if not process.reap():
            self.report.errors.append(f"{process.role} ended by itself at {process.step or 'its beginning'!r}")
        self._history.abandon(process.started, time.monotonic())
        del self.processes[process.role]
        for rest in self.journal.glob(f"tmp-{process.pid}-*"):  # as if an hour had gone by, so that it is swept
            with suppress(FileNotFoundError):
                os.utime(rest, (time.time() - 7200,) * 2)

    def look(self, what: str) -> None:
        """Open the zoo anew and compare it with what was acknowledged."""
        self.report.looks += 1
        try:
            begin = time.monotonic()
            with self._open(self.path) as store:
                seen, half = records.look(store)
            end = time.monotonic()
            with self._open(self.path) as store:
                damage = list(store.damage())
            with self._open(self.path) as store:
                damage += [f"{problem.id}: {problem.what}" for problem in verify(store)]
        except NnsError as error:
            self.report.errors.append(f"{what}: {error}"[:500])
            return
        self.drain()
        self.report.records_compared += len(seen)
        self.report.half += [f"{what}: {line}" for line in half]
        self.report.damage += [f"{what}: {line}" for line in damage]
        self.report.lost += [f"{what}: {line}" for line in self._history.check(seen, begin, end, last=True)]

    def kill_at_random(self, role: str) -> None:
        """Kill a process at a random moment."""
        self.drain(self.dice.uniform(0.0, 0.06))
        process = self.processes.get(role)
        if process is None:  # it has ended by itself, which drain has noted
            return
        process.kill()
        self.end(process)
        self.report.kills[f"{role.split()[0]} at random"] += 1

    def kill_at_call(self, role: str, calls: str, number: int) -> None:
        """Start a process that dies right before its n-th system call of that name."""
        process = self.start(role, held=True)
        tracer = trace(process, calls, number)
        process.release()
        paused = [other for other in self.processes.values() if other.role not in (role, "merger")]
        if not calls.startswith(("mkdir", "rmdir")):  # these take a journal that is empty for once
            paused.clear()
        for other in paused:
            os.kill(other.pid, signal.SIGSTOP)
        until = time.monotonic() + PATIENCE
        while self.processes.get(role) is process and time.monotonic() < until:
            self.drain(0.005)
        for other in paused:
            os.kill(other.pid, signal.SIGCONT)
        name = calls.split(",")[0]
        if self.processes.get(role) is process:  # it does not make that call so often
            process.kill()
            self.end(process)
            name = "random"
        if tracer is not None:
            tracer.wait()
        self.report.kills[f"{role.split()[0]} at {name}"] += 1

    def kill_one(self, traced: bool) -> None:
        """Kill a process one way or the other, see what is left, and start it again."""
        role = self.dice.choice(TARGETS)
        self.kill_at_random(role)
        self.look(f"kill {self.report.killed} ({role} at random)")
        if traced:
            kind = role.split()[0]
            calls = self.dice.choice([calls for calls, (_, who) in CALLS.items() if kind in who])
            number = int(CALLS[calls][0] ** self.dice.random())
            self.kill_at_call(role, calls, number)
            self.look(f"kill {self.report.killed} ({role} at {calls} {number})")
        for missing in set(ROLES) - set(self.processes):
            self.start(missing)

    def finish(self) -> None:
        """Kill all at once; then the zoo must be whole, and stay so when it is merged and cleaned."""
        for process in self.processes.values():
            process.kill()
            self.report.kills[f"{process.role.split()[0]} with all others"] += 1
        for process in list(self.processes.values()):
            self.end(process)
        if self.report.wrong:
            return
        self.look("all killed")
        try:
            for what in ("merge", "collect_garbage"):
                started = self._history.collect(time.monotonic())
                with self._open(self.path) as store:
                    getattr(store, what)()
                self._history.abandon(started, time.monotonic())
                self.look(what)
        except ZooError as error:
            self.report.errors.append(f"at the end: {error}"[:500])
        self.report.lost += self._history.doubly("network")
        left = [item.name for item in self.journal.glob("*.h5") if not item.name.startswith("tmp-")]
        self.report.errors += [f"{name} is left in the journal after a merge" for name in left]


def run(
    folder: Path,
    kills: int,
    seed: int = 0,
    seconds: float = 3600.0,
    open_store: actors.OpenStore = HDF5Store,
    say: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Kill so many processes, in zoos below ``folder``; stops after some seconds, or as soon as anything is wrong."""
    report, dice, started, rounds = Report(strace=strace_works()), random.Random(seed), time.monotonic(), 0
    while report.killed < kills and time.monotonic() - started < seconds and not report.wrong:
        path = folder / f"round-{rounds}" / "zoo.h5"
        path.parent.mkdir(parents=True)
        this, before = Round(path, open_store, report, dice), report.killed
        for role in ROLES:
            this.start(role)
        while report.killed - before < min(ROUND, kills) and time.monotonic() - started < seconds and not report.wrong:
            this.kill_one(report.strace)
            report.seconds = time.monotonic() - started
            say(report)
        this.finish()
        rounds += 1
    report.seconds = time.monotonic() - started
    say(report)
    return report


def main() -> int:
    """Parse, kill, tell; 0 if nothing was lost, 1 if something was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=240)
    parser.add_argument("--seconds", type=float, default=600.0, help="stop after that many (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the zoos are made (a temporary folder)")
    parser.add_argument("--output", type=Path, metavar="JSON", help="write the counts")
    options = parser.parse_args()

    def say(report: Report) -> None:
        counts = f"{report.killed} kills, {report.looks} looks, {report.steps.total()} steps acknowledged"
        print(f"\r{report.seconds:5.0f} s: {counts}, {len(report.wrong)} wrong", end="", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        report = run(Path(folder), options.kills, options.seed, options.seconds, say=say)
        print(file=sys.stderr)
        if not _verified(Path(folder)):
            report.damage.append("`nns zoo verify` is not clean")
    document = vars(report) | {"killed": report.killed, "machine": _machine(), "seed": options.seed}
    if options.output:
        options.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    for name, count in sorted(report.kills.items()):
        print(f"{count:5} {name}")
    print(f"{report.killed} kills in {report.seconds:.0f} s; acknowledged: {_counts(report.steps)}")
    print(
        f"{report.records_compared} records compared in {report.looks} looks and {report.looks_of_readers} of readers"
    )
    print(f"lost {len(report.lost)}, half {len(report.half)}, errors {len(report.errors)}, damage {len(report.damage)}")
    for line in report.wrong[:50]:
        print(f"  {line}")
    return 1 if report.wrong else 0


def _verified(folder: Path) -> bool:
    """Run ``nns zoo verify`` on every zoo that was left."""
    nns = [sys.executable, "-c", "from nns.cli import main; main()", "zoo", "verify"]
    return all(subprocess.run([*nns, path]).returncode == 0 for path in sorted(folder.glob("*/zoo.h5")))


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counter.items()))


def _machine() -> str:
    return f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())

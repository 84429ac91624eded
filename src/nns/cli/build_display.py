"""Watching ``nns zoo build``: a live table on a terminal, and JSON lines in a file."""

from __future__ import annotations

import errno
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Self, TextIO

from nns.cli.output import note
from nns.cli.text import counted, one_line, printable_json
from nns.errors import MissingZooError, UsageError
from nns.pipeline.build import BuildEvent, BuildItem, BuildReport, TransferItem
from nns.quantities import format_seconds

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
    from rich.table import Table

ROWS = 12
"""Datasets shown at most: those that something runs on, then those that something happened on last."""

AROUND = 5
"""Lines that are not rows: bar, status, heading, datasets left out, and one to spare."""

NAME_WIDTH = 0.3
"""Share of the width that the name of a dataset may take."""

MARGIN = 5
"""Columns left free, so that the ^C which a terminal shows does not begin another line."""

END = "\0\n"
"""Line after which no strays come."""


Running = tuple[BuildItem | TransferItem, float]
"""An item that a worker has, and since when by the clock."""


@dataclass
class DatasetProgress:
    """What was seen of one dataset.

    Attributes:
        networks: Networks of it in the zoo.
        transfers: Transfers to it in this run.
        failed: Items that failed in this run.
        best: Best validation accuracy of its networks, None before the first.
        running: Items that workers have.
    """

    networks: int = 0
    transfers: int = 0
    failed: int = 0
    best: float | None = None
    running: list[Running] = field(default_factory=list)

    def improve(self, accuracy: float) -> None:
        """Note the accuracy of a network."""
        if not math.isnan(accuracy):
            self.best = max(accuracy, self.best or 0.0)


@dataclass(frozen=True)
class _Finished:
    is_transfer: bool
    seconds: float
    count: int
    images: int


class BuildProgress:
    """The state of a build, from its events.

    Args:
        clock: Gives seconds; time goes on between the events as well.

    Attributes:
        datasets: By name; what something happened on last comes last.
        last: The last event.
        clock: As given.
        prepared: Datasets whose query features are there.
        failed: Items that failed, and architectures that cannot be built.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin before the first event."""
        self.datasets: dict[str, DatasetProgress] = {}
        self.last: BuildEvent | None = None
        self.prepared = self.failed = 0
        self.clock, self._began = clock, clock()
        self._known: dict[str, list[float]] = {}
        self._finished: list[_Finished] = []
        self._slots = 1
        self._lost = {False: 0, True: 0}

    def know(self, dataset_digest: str, accuracy: float) -> None:
        """Note a network that was in the zoo before."""
        self._known.setdefault(dataset_digest, []).append(accuracy)

    def take(self, event: BuildEvent) -> None:
        """Note an event."""
        before, self.last = self.last, event
        self.prepared += event.kind == "dataset"
        self.failed += event.kind == "failed"
        item, result = event.item, event.result
        if item is None:
            return
        row = self.datasets.pop(item.dataset_name, None) or DatasetProgress()
        self.datasets[item.dataset_name] = row
        for accuracy in self._known.pop(item.dataset_digest, ()):
            row.networks += 1
            row.improve(accuracy)
        is_transfer = isinstance(item, TransferItem)
        if event.kind == "start":
            row.running.append((item, self.clock()))
            self._slots = max(self._slots, self.running)
            return
        row.running = [each for each in row.running if each[0] is not item]
        if result is None:
            row.failed += 1
            kept = event.done - before.done if before else 0  # of several networks some may have been finished
            row.networks += kept
            self._lost[is_transfer] += len(item.architectures) - kept
            return
        self._finished.append(_Finished(is_transfer, result.seconds, len(result.accuracies), result.images))
        if isinstance(item, TransferItem):
            row.transfers += 1
        else:
            row.networks += getattr(result, "added", 0)
            row.improve(max(result.accuracies))

    @property
    def lost(self) -> int:
        """Networks and transfers that this run will not have."""
        return sum(self._lost.values())

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return self.clock() - self._began

    @property
    def running(self) -> int:
        """Items that workers have."""
        return len(self._running())

    def _running(self) -> list[Running]:
        return [each for row in self.datasets.values() for each in row.running]

    @property
    def rate(self) -> float:
        """Images a second, at the pace of the finished items and with as many workers as are busy now."""
        seconds = sum(each.seconds for each in self._finished)
        return self.running * sum(each.images for each in self._finished) / seconds if seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Seconds that the rest will take at the pace of the finished items; None as long as there is none."""
        if self.last is None or not self._finished:
            return None
        left = {False: self.last.total - self.last.done, True: self.last.transfers_total - self.last.transfers}
        work = 0.0
        for is_transfer, count in left.items():
            running = [each for each in self._running() if isinstance(each[0], TransferItem) is is_transfer]
            work += self._seconds_left(max(0, count - self._lost[is_transfer]), is_transfer, running)
        return work / max(1, min(self._slots, sum(left.values()) - self.lost))

    def _seconds_left(self, count: int, is_transfer: bool, running: Sequence[Running]) -> float:
        """Say how long one worker would take for networks, or for transfers."""
        finished = [each for each in self._finished if each.is_transfer is is_transfer] or self._finished
        seconds, number = sum(each.seconds for each in finished), sum(each.count for each in finished)
        begun = [(self.clock() - since, len(item.architectures)) for item, since in running]
        # what takes longer than the mean raises it before it is finished
        late = [(elapsed, networks) for elapsed, networks in begun if elapsed * number > seconds * networks]
        mean = (seconds + sum(each for each, _ in late)) / (number + sum(networks for _, networks in late))
        return max(0.0, count * mean - sum(min(elapsed, mean * networks) for elapsed, networks in begun))


def report_document(report: BuildReport) -> dict[str, Any]:
    """Give the report as a JSON document."""
    failed = [{"dataset": name, "backend": backend, "reason": reason} for name, backend, reason in report.failed]
    return {**asdict(report), "failed": failed, "seconds": round(report.seconds, 2)}


def log_line(event: BuildEvent | BuildReport, at: datetime) -> str:
    """Write an event, or the report at the end, as one line of JSON with the time ``at``."""
    line: dict[str, Any] = {"time": _time_stamp(at)}
    if isinstance(event, BuildReport):
        return _json({**line, "event": "end", **report_document(event)})
    line |= {
        "event": event.kind,
        "seconds": round(event.seconds, 3),
        "done": event.done,
        "total": event.total,
        "transfers": event.transfers,
        "transfers_total": event.transfers_total,
        "running": event.running,
        "images": event.images,
    }
    if (item := event.item) is not None:
        ids = [item.network_id] if isinstance(item, TransferItem) else list(item.ids)
        line |= {"dataset": item.dataset_name, "backend": item.backend}
        line |= {"architectures": list(item.architectures), "networks": ids}
    if (result := event.result) is not None:
        line["accuracies"] = [None if math.isnan(each) else round(each, 6) for each in result.accuracies]
        line |= {"item_seconds": round(result.seconds, 3), "item_images": result.images}
    if event.message:
        line["message"] = event.message
    return _json(line)


def _time_stamp(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")


def _json(line: dict[str, Any]) -> str:
    return printable_json(json.dumps(line, ensure_ascii=False, allow_nan=False))


@contextmanager
def build_display(zoo: Path, log: Path | None = None) -> Iterator[Callable[[BuildEvent | BuildReport], None]]:
    """Show a build on stderr, live if that is a terminal, and write its events to a file.

    A failure is told as a line, wherever stderr goes; one of the same reason on the same dataset only once. What
    backends and worker processes print goes to stderr as well, above the live table: stdout is for the result.

    Args:
        zoo: The zoo that is built; the networks that are there count, too.
        log: File to append JSON lines to. If it cannot be written any more, that is said and the build goes on.

    Yields:
        What takes the events, and the report at the end.

    Raises:
        UsageError: If the file cannot be opened.
        ZooError: If the zoo is there and is no zoo.
    """
    progress = BuildProgress()
    told: set[tuple[str, str]] = set()
    with ExitStack() as stack:
        lines = stack.enter_context(_Log(log)) if log is not None else None
        if sys.stderr.isatty():
            _know(progress, zoo)
            screen: _Lines | _Live = stack.enter_context(_Live(progress))
        else:
            screen = stack.enter_context(_Lines())

        def take(event: BuildEvent | BuildReport) -> None:
            if lines is not None and (wrong := lines.write(log_line(event, datetime.now(UTC)))):
                screen.say(wrong)
            if isinstance(event, BuildReport):
                return
            with screen.lock:
                progress.take(event)
            if event.kind == "failed":
                item, where = event.item, event.item.dataset_name if event.item is not None else ""
                if (where, event.message) not in told:
                    told.add((where, event.message))
                    what = f"{item.backend}:{_label(item)} on {where}: " if item is not None else ""
                    screen.say(f"failed: {what}{event.message}")
            screen.refresh()

        try:
            yield take
        except Exception as error:
            if lines is not None:
                lines.write(_json({"time": _time_stamp(datetime.now(UTC)), "event": "error", "message": str(error)}))
            raise


def _know(progress: BuildProgress, zoo: Path) -> None:
    from nns.zoo import Zoo

    with suppress(MissingZooError), Zoo.open(zoo) as opened:
        for entry in opened.entries():
            progress.know(entry.source_digest, entry.accuracy)


class _Lines:
    """Lines on stderr, where that is no terminal."""

    def __init__(self) -> None:
        self.lock = Lock()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(redirect_stdout(sys.stderr))
        self._stack.enter_context(_descriptors(2, 2))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def say(self, line: str) -> None:
        note(line)

    def refresh(self) -> None:
        pass


class _Live(_Lines):
    """The live table, and lines above it."""

    def __init__(self, progress: BuildProgress) -> None:
        super().__init__()
        self.progress = progress

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True)
        if strays := _is_descriptor(sys.stderr, 2):
            terminal = self._stack.enter_context(os.fdopen(os.dup(2), "w", encoding=sys.stderr.encoding))
            # which Rich would ask stdin for, as stdout and stderr will be pipes
            width, height = (0, 0) if sys.stdin and sys.stdin.isatty() else os.get_terminal_size(terminal.fileno())
            console = Console(file=terminal, width=width or None, height=height or None)
        self._live = Live(self, console=console, transient=True)
        self._stack.enter_context(self._live)
        if strays:
            self._stack.enter_context(self._strays())
        return self

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(1, options.max_width - MARGIN)
        with self.lock:  # it is drawn by another thread
            drawn = render(self.progress, width, options.max_height)
        yield from console.render(drawn, options.update(width=width))

    def say(self, line: str) -> None:
        self._live.console.print(one_line(line), markup=False, highlight=False, soft_wrap=True)

    def refresh(self) -> None:
        self._live.refresh()

    @contextmanager
    def _strays(self) -> Iterator[None]:
        """Show what others print past this process's own streams: else it would land in the middle of the table."""
        reading, writing = os.pipe()

        def pass_on() -> None:
            with os.fdopen(reading, errors="backslashreplace") as lines:
                for line in lines:
                    if line == END:
                        return
                    if line.isspace():
                        continue
                    with suppress(OSError):  # whoever prints must not wait for this
                        self.say(line.rstrip())

        thread = Thread(target=pass_on, daemon=True)
        thread.start()
        try:
            with _descriptors(writing, writing):
                yield
        finally:
            os.write(writing, f"\n{END}".encode())
            os.close(writing)
            thread.join()


class _Log:
    """Whole lines at the end of a file, on disk at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.file = path.open("ab", buffering=0)
            self.cut = path.is_file() and not _ends_with_newline(path)  # the last run was killed
        except OSError as error:
            raise UsageError(f"cannot write the log {str(path)!r}: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def write(self, line: str) -> str:
        """Write a line, and say what is wrong if that fails; after that nothing is written."""
        if self.file.closed:
            return ""
        whole = ("\n" if self.cut else "") + line + "\n"
        self.cut = False
        try:
            content = whole.encode()
            if self.file.write(content) < len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self.file.close()
            return f"cannot write the log {str(self.path)!r} any more: {error.strerror}; the build goes on without"
        return ""


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        return file.read(1) in (b"", b"\n")


@contextmanager
def _descriptors(out: int, err: int) -> Iterator[None]:
    """Let what is printed to the descriptors 1 and 2, by processes that are started as well, go elsewhere."""
    print(end="", flush=True)
    kept = []
    try:
        for number, target in ((1, out), (2, err)):
            with suppress(OSError):  # one that is closed stays so
                kept.append((number, os.dup(number)))
                os.dup2(target, number)
        yield
    finally:
        for number, before in kept:
            os.dup2(before, number)
            os.close(before)


def _is_descriptor(stream: TextIO, number: int) -> bool:
    try:
        return stream.fileno() == number
    except (OSError, ValueError):
        return False


def render(progress: BuildProgress, width: int = 80, height: int = 24) -> Group:
    """Draw the state of a build: a bar, numbers, and a table of datasets as far as the height goes."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    event, clock = progress.last, _time(progress.seconds)
    if event is None:
        return Group(Text(f"opening the datasets · {clock}"))
    if event.kind == "dataset":
        read = f"{counted(progress.prepared, 'dataset')} read, {event.message} last"
        return Group(Text(one_line(f"preparing · {read} · {clock}"), no_wrap=True, overflow="ellipsis"))
    if event.kind == "merge":
        return Group(Text(f"writing the file · {clock}"))
    done, total = event.done + event.transfers + progress.lost, event.total + event.transfers_total
    parts = [f"{event.done}/{event.total} networks"]
    parts += [f"{event.transfers}/{event.transfers_total} transfers"] if event.transfers_total else []
    parts += [f"{progress.running} running"] + ([f"{progress.failed} failed"] if progress.failed else [])
    parts += ([f"{progress.rate:.0f} images/s"] if progress.rate else []) + [clock]
    left = progress.seconds_left
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        ProgressBar(total=max(1, total), completed=done, width=40),
        f"{done / max(1, total):.0%}",
        "" if left is None or done == total else f"about {_time(left)} left",
    )
    shown = _shown(progress, min(ROWS, height - AROUND))
    lines: list[RenderableType] = [bar, Text(" · ".join(parts), no_wrap=True, overflow="ellipsis")]
    if shown:
        lines.append(_table(shown, progress, bool(event.transfers_total), round(NAME_WIDTH * width)))
    if 0 < len(shown) < len(progress.datasets):
        lines.append(Text(f"and {counted(len(progress.datasets) - len(shown), 'more dataset')}", style="dim"))
    return Group(*lines)


def _shown(progress: BuildProgress, count: int) -> list[tuple[str, DatasetProgress]]:
    rank = {name: (not row.running, -turn) for turn, (name, row) in enumerate(progress.datasets.items())}
    return [(name, progress.datasets[name]) for name in sorted(sorted(rank, key=rank.__getitem__)[: max(0, count)])]


def _table(
    shown: list[tuple[str, DatasetProgress]], progress: BuildProgress, transfers: bool, name_width: int
) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, expand=True)
    table.add_column("dataset", no_wrap=True, max_width=name_width)
    numbers = ["networks", *(["transfers"] if transfers else []), *(["failed"] if progress.failed else []), "best"]
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("running", no_wrap=True, ratio=1)
    now = progress.clock()
    for name, row in shown:
        cells = {
            "networks": str(row.networks),
            "transfers": str(row.transfers or ""),
            "failed": str(row.failed or ""),
            "best": "–" if row.best is None else f"{row.best:.1%}",
        }
        running = ", ".join(f"{_label(item)} {_time(now - since)}" for item, since in row.running)
        table.add_row(Text(one_line(name)), *[cells[heading] for heading in numbers], Text(one_line(running)))
    return table


def _label(item: BuildItem | TransferItem) -> str:
    names = item.architectures
    label = names[0] if len(names) == 1 else f"{len(names)} of {names[0].rpartition('-')[0] or names[0]}"
    return f"{label} transfer" if isinstance(item, TransferItem) else label


def _time(seconds: float) -> str:
    return format_seconds(max(1, round(seconds)))

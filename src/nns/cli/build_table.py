"""The picture of a build on a terminal: a bar, numbers, a table of datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nns.building import BuildItem, TransferItem
from nns.cli.build_progress import BuildProgress, DatasetProgress
from nns.cli.text import counted, one_line
from nns.quantities import format_seconds

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table

ROWS = 12
"""Datasets shown at most: those that something runs on, then those that something happened on last."""

AROUND = 5
"""Lines that are not rows: bar, status, heading, datasets left out, and one to spare."""

NAME_WIDTH = 0.3
"""Share of the width that the name of a dataset may take."""


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
    if event.kind == "architecture":
        read = f"{event.counted}/{event.to_count} architectures counted, {event.message} last"
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
        running = ", ".join(f"{label(item)} {_time(now - since)}" for item, since in row.running)
        table.add_row(Text(one_line(name)), *[cells[heading] for heading in numbers], Text(one_line(running)))
    return table


def label(item: BuildItem | TransferItem) -> str:
    """Name what an item trains, in a few words."""
    names = item.architectures
    label = names[0] if len(names) == 1 else f"{len(names)} of {names[0].rpartition('-')[0] or names[0]}"
    return f"{label} transfer" if isinstance(item, TransferItem) else label


def _time(seconds: float) -> str:
    return format_seconds(max(1, round(seconds)))

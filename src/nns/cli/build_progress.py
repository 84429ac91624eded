"""What a terminal shows of a build: a bar of its networks, one of its transfers, and what finished last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nns.building import BuildEvent, BuildItem, TransferItem
from nns.cli.text import one_line
from nns.quantities import counted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

REFRESHES = 2
"""Drawings a second: each takes 3 ms from the training."""

PACE = 3600.0
"""Seconds of the past from which the time that is left is estimated; items take seconds to minutes each."""


class BuildProgress:
    """Shows the events of a build as tasks of rich.

    Args:
        console: Where to draw.

    Attributes:
        bars: What rich draws.
    """

    def __init__(self, console: Console) -> None:
        """Begin before the first event."""
        from rich.progress import Progress, Task

        from nns.cli.bars import Fitted, Part, described

        def parts(task: Task) -> tuple[str, list[Part]]:
            share = Part(f"{task.percentage:.0f}%" if task.total else "", 1)
            times = [Part(line.elapsed(task), 9), Part(line.left(task), 2)]
            return "", [share, *times, *described(task.description, 0, 3)]

        line = Fitted(console, parts, bar=20)
        self.bars: Progress = Progress(
            line, console=console, transient=True, refresh_per_second=REFRESHES, speed_estimate_period=PACE
        )
        self.networks = self.bars.add_task("opening the datasets", total=None)
        self.transfers = self.bars.add_task("", total=None, visible=False)
        self.datasets = self.failed = 0
        self.lost = {self.networks: 0, self.transfers: 0}
        self.before, self.last = 0, ""

    def show(self, event: BuildEvent) -> None:
        """Bring the bars up to an event."""
        self.datasets += event.kind == "dataset"
        if event.kind == "failed":
            self._count_failure(event)
        self.before = event.done
        if event.item is not None and event.result is not None:
            self.last = f"{label(event.item)} on {event.item.dataset_name} {max(event.result.accuracies):.1%}"
        words = {
            "dataset": f"{counted(self.datasets, 'dataset')} read, {event.message} last",
            "architecture": f"{event.counted}/{event.to_count} architectures counted, {event.message} last",
            "merge": "writing the file",
        }
        training = event.kind not in words
        self._update(self.networks, event.done, event.total, words.get(event.kind) or self._status(event), training)
        what = f"{event.transfers}/{event.transfers_total} transfers"
        self._update(self.transfers, event.transfers, event.transfers_total, what, training)
        self.bars.update(self.transfers, visible=training and event.transfers_total > 0)

    def _update(self, task: TaskID, done: int, total: int, what: str, training: bool) -> None:
        found = {"completed": done + self.lost[task], "total": total} if training else {}
        self.bars.update(task, description=one_line(what), **found)  # type: ignore[arg-type]

    def _count_failure(self, event: BuildEvent) -> None:
        self.failed += 1
        if isinstance(event.item, TransferItem):
            self.lost[self.transfers] += 1
        elif event.item is not None:  # of several networks some may have been finished
            self.lost[self.networks] += len(event.item.architectures) - (event.done - self.before)

    def _status(self, event: BuildEvent) -> str:
        parts = [f"{event.done}/{event.total} networks", f"{event.running} running"]
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{event.images / event.seconds:.0f} images/s"] if event.images and event.seconds else []
        return " · ".join([*parts, *([self.last] if self.last else [])])


def label(item: BuildItem | TransferItem) -> str:
    """Name what an item trains, in a few words."""
    names = item.architectures
    label = names[0] if len(names) == 1 else f"{len(names)} of {names[0].rpartition('-')[0] or names[0]}"
    return f"{label} transfer" if isinstance(item, TransferItem) else label

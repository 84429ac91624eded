"""The state of a build, as its events tell it: what runs, how fast, how long it will take."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from nns.building import BuildEvent, BuildItem, TransferItem

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

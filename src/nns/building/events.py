"""What a build tells while it runs, and at its end."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal

from nns.building.plan import BuildItem
from nns.building.transfers import TransferItem, TransferResult
from nns.building.worker import ItemResult
from nns.quantities import counted, format_seconds
from nns.tables import Table

EventKind = Literal["dataset", "architecture", "plan", "start", "network", "transfer", "failed", "merge"]


@dataclass(frozen=True)
class BuildEvent:
    """Progress of a build.

    Attributes:
        kind: ``"dataset"`` for each dataset whose query features are there, ``"architecture"`` for each architecture
            that was counted before pairs are chosen by cost, ``"plan"`` once, ``"start"`` as an item goes to a
            worker, ``"network"`` and ``"transfer"`` for each finished item, ``"failed"`` for each that raised,
            ``"merge"`` before the file is written at the end.
        done: Networks in the zoo so far, of this build.
        total: Networks that the build is to have.
        transfers: Transfers in the zoo so far, of this build.
        transfers_total: Transfers that the build is to have.
        running: Items that workers have, after this event.
        images: Training images that this run has seen so far, epochs counted.
        seconds: Since the run began.
        item: The item, if it is about one.
        result: What became of it, if it finished; in no seconds if another build of the same zoo has finished it.
        message: Reason of a failure, else a name.
        counted: Architectures counted so far, if it is about one.
        to_count: Architectures that will be counted in all, if it is about one.
    """

    kind: EventKind
    done: int
    total: int
    transfers: int
    transfers_total: int
    running: int
    images: int
    seconds: float
    item: BuildItem | TransferItem | None = None
    result: ItemResult | TransferResult | None = None
    message: str = ""
    counted: int = 0
    to_count: int = 0


@dataclass(frozen=True, repr=False)
class BuildReport:
    """What a build came to.

    Attributes:
        zoo: Path of the zoo file.
        digest: Content digest of the zoo.
        networks: Networks in the zoo.
        added: Networks that this run added.
        datasets: Datasets in the zoo.
        transfers: Transfers in the zoo.
        failed: ``(dataset, backend, reason)`` of each item that raised; the next run tries them again.
        seconds: Wall-clock time of this run.
        images: Training images that this run has seen, epochs counted.
        interrupted: Whether Ctrl-C ended it.
        untrained: Those of the backends that were asked for of which the zoo has no trained network.
    """

    zoo: str
    digest: str
    networks: int
    added: int
    datasets: int
    transfers: int
    failed: tuple[tuple[str, str, str], ...]
    seconds: float
    images: int
    interrupted: bool
    untrained: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return what is there now, in one line."""
        return f"<BuildReport: {counted(self.networks, 'network')} ({self.added} new) in {self.zoo}>"

    def _repr_html_(self) -> str:
        return self.table().html()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document of ``nns zoo build``."""
        failed = [{"dataset": name, "backend": backend, "reason": reason} for name, backend, reason in self.failed]
        return {**asdict(self), "failed": failed, "seconds": round(self.seconds, 2)}

    def table(self) -> Table:
        """Return what is there now, and what failed, as a table."""
        rows = [
            ["networks", f"{self.networks} ({self.added} new)"],
            ["datasets", str(self.datasets)],
            *([["transfers", str(self.transfers)]] if self.transfers else []),
            ["time", f"{format_seconds(self.seconds)} ({self.images / max(self.seconds, 1e-9):.0f} images/s)"],
            ["digest", self.digest],
        ]
        for (name, backend, why), times in Counter(self.failed).items():
            rows.append(["failed", f"{backend} on {name}{f', {times} times' if times > 1 else ''}: {why}"])
        return Table(self.zoo, [("", "left"), ("", "left")], rows)

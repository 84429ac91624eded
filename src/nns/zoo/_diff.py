"""What differs between two zoos: the result, as a document and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nns.quantities import counted, format_count
from nns.tables import Table

KINDS = ("added", "removed", "retrained", "changed")
"""What may have happened to a network or a supernet: ``changed`` ones have the weights that they had."""

ID_SHOWN = 10
"""Digits of an id in the table, or as many more as it takes to tell those that are listed apart."""

NAMED = 6
"""Fields of a network that the table names at most."""


@dataclass(frozen=True)
class Moved:
    """A number of networks that are in both zoos, where it differs.

    Attributes:
        networks: How many networks have another one.
        lowest: The smallest difference, second zoo less first; None if no two can be subtracted (NaN is unknown).
        mean: The mean difference.
        highest: The largest difference.
    """

    networks: int
    lowest: float | None
    mean: float | None
    highest: float | None


@dataclass(frozen=True)
class Difference:
    """One thing that differs.

    Attributes:
        what: ``"network"``, ``"supernet"``, ``"dataset"`` or ``"space"``.
        kind: One of :data:`KINDS`.
        name: Its id or name, in the second zoo if it is there.
        was: Its id in the first zoo, where that is another: trained anew with another seed or recipe.
        about: Of a network its architecture, else empty.
        dataset: Of a network what it was trained on, else empty.
        fields: What differs, each as it was and as it is; long values are cut.
    """

    what: str
    kind: str
    name: str
    was: str = ""
    about: str = ""
    dataset: str = ""
    fields: Mapping[str, tuple[Any, Any]] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        found: dict[str, Any] = {"id" if self.about else "name": self.name, "kind": self.kind}
        if self.about:
            found |= {"was": self.was or None, "architecture": self.about, "source_dataset": self.dataset}
        return found | {"fields": {name: list(both) for name, both in (self.fields or {}).items()}}


@dataclass(frozen=True)
class Side:
    """One of the two zoos, counted."""

    path: Path
    digest: str
    networks: int


@dataclass(frozen=True)
class ZooDiff:
    """What differs between two zoos. Latencies, compression and the order of writing do not count.

    Attributes:
        a: The first zoo.
        b: The second.
        equal: Networks of equal content.
        counts: Networks by :data:`KINDS`; all, however many are listed.
        supernet_counts: Supernets likewise.
        numbers: Numbers that moved, by name.
        fields: Networks of which a field of the description differs, by field, the most frequent first.
        listed: Networks and supernets that differ, up to a limit of each kind.
        datasets: Datasets that differ.
        spaces: Spaces that differ.
        transfers: Transfers ``added``, ``removed`` and ``changed``.
    """

    a: Side
    b: Side
    equal: int
    counts: Mapping[str, int]
    supernet_counts: Mapping[str, int]
    numbers: Mapping[str, Moved]
    fields: Mapping[str, int]
    listed: Sequence[Difference]
    datasets: Sequence[Difference]
    spaces: Sequence[Difference]
    transfers: Mapping[str, int]

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        counts = (*self.counts.values(), *self.supernet_counts.values(), *self.transfers.values())
        return not (any(counts) or self.datasets or self.spaces)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document of ``nns zoo diff``."""

        def listed(what: str) -> list[dict[str, Any]]:
            return [each.to_dict() for each in self.listed if each.what == what]

        sides = {
            name: {"path": str(side.path), "digest": side.digest, "networks": side.networks}
            for name, side in (("a", self.a), ("b", self.b))
        }
        return {
            **sides,
            "same": self.same,
            "networks": {"equal": self.equal, **self.counts, "listed": listed("network")},
            "numbers": {name: vars(moved) for name, moved in self.numbers.items()},
            "fields": dict(self.fields),
            "supernets": {**self.supernet_counts, "listed": listed("supernet")},
            "datasets": [each.to_dict() for each in self.datasets],
            "spaces": [each.to_dict() for each in self.spaces],
            "transfers": dict(self.transfers),
        }

    @property
    def table(self) -> Table:
        """What differs, a row each; the caption has the numbers that moved, and what is not listed."""
        columns = [("what", "left"), ("", "left"), ("name", "left"), ("architecture", "left")]
        columns += [("trained on", "left"), ("accuracy", "right"), ("differs", "left")]
        ids = {each.name for each in self.listed} | {each.was for each in self.listed}
        digits = ID_SHOWN
        while len({name[:digits] for name in ids}) < len(ids):
            digits += 1
        rows = [self._row(each, digits) for each in (*self.listed, *self.datasets, *self.spaces)]
        counts = [f"{count} {kind}" for kind, count in self.counts.items() if count]
        title = f"{self.a.path} → {self.b.path}: " + ", ".join([*counts, f"{self.equal} equal"])
        return Table(title, columns, rows, "\n".join(self._captions()), ("trained on", "architecture", "differs"))

    def _row(self, each: Difference, digits: int) -> list[str]:
        fields = dict(each.fields or {})
        accuracy = fields.pop("accuracy", None)
        names = list(fields)
        more = f", {len(names) - NAMED} more" if len(names) > NAMED else ""
        name = each.name[:digits] if each.about else each.name
        name = f"{each.was[:digits]} → {name}" if each.was else name
        shown = " → ".join(map(_percent, accuracy)) if accuracy else ""
        return [each.what, each.kind, name, each.about, each.dataset, shown, ", ".join(names[:NAMED]) + more]

    def _captions(self) -> list[str]:
        lines = []
        for name, moved in self.numbers.items():
            show = _points if name == "accuracy" else _signed
            text = f"{name} moved in {counted(moved.networks, 'network')}"
            if moved.mean is not None and moved.lowest is not None and moved.highest is not None:
                text += f": by {show(moved.mean)} in the mean, {show(moved.lowest)} to {show(moved.highest)}"
            lines.append(text)
        if changes := [f"{count} {kind}" for kind, count in self.transfers.items() if count]:
            lines.append(f"transfers: {', '.join(changes)}")
        for what, counts in (("network", self.counts), ("supernet", self.supernet_counts)):
            left = sum(counts.values()) - sum(each.what == what for each in self.listed)
            lines += [f"{counted(left, what)} more: `limit` lists them"] if left else []
        return lines


def _percent(share: Any) -> str:
    return f"{share:.1%}" if isinstance(share, float | int) else "-"


def _points(share: float) -> str:
    return f"{100 * share:+.1f} points"


def _signed(number: float) -> str:
    return ("-" if number < 0 else "+") + format_count(round(abs(number)))

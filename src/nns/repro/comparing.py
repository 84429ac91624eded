"""Comparing what a stage gave with what was recorded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nns.errors import NnsError
from nns.quantities import counted
from nns.repro.describing import StageRecord
from nns.repro.images import image_differences

FACTORS = {
    "features": 0.01, "mean accuracy": 1.0, "predicted accuracy": 1.0, "fine-tuned accuracy": 1.0,
    "exported accuracy": 1.0, "similarity": 4.0, "score": 4.0,
}  # fmt: skip
"""Tolerance of each kind of number as a multiple of the one that is given, see docs/reproducibility.md.

Features come from one forward pass of fixed weights and barely move; cosines and scores come from a training
on a few networks. The accuracy of one network is missing: after a few steps from random weights, other
roundings end at another accuracy altogether, so it is compared in the same environment only, elsewhere its
mean over networks is.
"""

STEADY = 0.02
"""Factor on the tolerance of a search where nothing was trained before it: other roundings move it by a millionth."""

RANK = re.compile(r"(?P<query>.*: )?rank (?P<rank>[0-9]+)")

_SHOWN = 24  # characters of a digest or a description in a message


@dataclass(frozen=True)
class StageResult:
    """What the comparison of one stage came to.

    Attributes:
        stage: Name of the stage.
        ok: Whether nothing differs.
        differences: One line each, the most telling first.
        moved: By how much ranks and numbers moved, a sentence each.
        seconds: Wall-clock time of the stage.
        error: Why it could not be run; what was not run is not compared.
    """

    stage: str
    ok: bool
    differences: tuple[str, ...]
    moved: tuple[str, ...] = ()
    seconds: float = 0.0
    error: NnsError | None = None


def compare(recorded: StageRecord, now: StageRecord, *, tolerance: float | None, steady: bool = False) -> StageResult:
    """Compare one stage.

    Args:
        recorded: What the lock says.
        now: What this run gave.
        tolerance: How far a mean or predicted accuracy may be off, other numbers in proportion; None demands
            equality of everything, digests and the order of the ranking included.
        steady: Whether nothing was trained before a search, so that its numbers may hardly be off.
    """
    found: list[str] = []
    for dataset in dict.fromkeys([*recorded.images, *now.images]):
        if recorded.facts.get(dataset) != now.facts.get(dataset):
            found += image_differences(dataset, recorded.images.get(dataset, {}), now.images.get(dataset, {}))
    found += _texts(recorded.facts, now.facts)
    for kind in dict.fromkeys([*recorded.numbers, *now.numbers]):
        if tolerance is not None and kind not in FACTORS:
            continue
        allowed = 0.0 if tolerance is None else tolerance * FACTORS[kind]
        allowed *= STEADY if steady and recorded.stage == "search" else 1
        found += _numbers(kind, recorded.numbers.get(kind, {}), now.numbers.get(kind, {}), allowed)
    if tolerance is None:
        found += _texts(recorded.exact, now.exact)
    moved = tuple(_moves(recorded, now)) if found else ()
    return StageResult(recorded.stage, not found, tuple(found), moved)


def _moves(recorded: StageRecord, now: StageRecord) -> Iterator[str]:
    """Say by how much ranks and numbers moved, those that are in both."""
    for query, was in _ranks(recorded.exact).items():
        here = _ranks(now.exact).get(query, {})
        steps = {network: here[network] - rank for network, rank in was.items() if network in here}
        if any(steps.values()):
            first = {rank: network for network, rank in was.items()}.get(1), {r: n for n, r in here.items()}.get(1)
            best = f"the first was {first[0]} and is {first[1]}" if first[0] != first[1] else "the first is the same"
            count, most = sum(map(bool, steps.values())), max(map(abs, steps.values()))
            yield f"{query}ranks: {count} of {counted(len(was), 'network')} moved, by up to {most}; {best}"
    for kind, numbers in recorded.numbers.items():
        others = now.numbers.get(kind, {})
        apart = [others[key] - value for key, value in numbers.items() if key in others and others[key] != value]
        if apart:
            far = f"by {sum(map(abs, apart)) / len(apart):.2g} in the mean, {max(map(abs, apart)):.2g} at most"
            yield f"{kind}: {len(apart)} of {counted(len(numbers), 'value')} moved, {far}"


def _ranks(exact: Mapping[str, str]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for key, network in exact.items():
        if named := RANK.fullmatch(key):
            found.setdefault(named["query"] or "", {})[network] = int(named["rank"])
    return found


def _texts(recorded: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for key, value in recorded.items():
        if key not in now:
            yield f"{key} ({_short(value)}) is gone"
        elif now[key] != value:
            yield _changed(key, value, now[key])
    for key, value in now.items():
        if key not in recorded:
            yield f"{key} ({_short(value)}) is new"


def _numbers(kind: str, recorded: Mapping[str, float], now: Mapping[str, float], allowed: float) -> Iterator[str]:
    for key, value in recorded.items():
        # a key that is gone or new is told by the facts; NaN equals NaN
        if key in now and not abs(now[key] - value) <= allowed and not (value != value and now[key] != now[key]):
            limit = f" (more than {allowed:g} off)" if allowed else ""
            yield f"{kind}: {key}: {value:g} is now {now[key]:g}{limit}"


def _changed(key: str, value: str, now: str) -> str:
    """Show both values, from a little before where they part."""
    if len(value) <= 2 * _SHOWN and len(now) <= 2 * _SHOWN:
        return f"{key}: {value} is now {now}"
    parts = next((i for i, (a, b) in enumerate(zip(value, now, strict=False)) if a != b), min(len(value), len(now)))
    start = max(0, parts - _SHOWN // 2)
    return f"{key}: {_short(value[start:], start)} is now {_short(now[start:], start)}"


def _short(text: str, start: int = 0) -> str:
    shown = text if len(text) <= 2 * _SHOWN else text[: 2 * _SHOWN] + "…"
    return f"…{shown}" if start else shown

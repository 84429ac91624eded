"""Comparing what a stage gave with what was recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nns.repro.stages import StageRecord

FACTORS = {"features": 0.01, "mean accuracy": 1.0, "predicted accuracy": 1.0, "similarity": 4.0, "score": 4.0}
"""Tolerance of each kind of number as a multiple of the one that is given, see docs/reproducibility.md.

Features come from one forward pass of fixed weights and barely move; cosines and scores come from a training
on a few networks. The accuracy of one network is missing: after a few steps from random weights, other
roundings end at another accuracy altogether, so it is compared in the same environment only, elsewhere its
mean over networks is.
"""

_SHOWN = 24  # characters of a digest or a description in a message


@dataclass(frozen=True)
class StageResult:
    """What the comparison of one stage came to.

    Attributes:
        stage: Name of the stage.
        ok: Whether nothing differs.
        differences: One line each, the most telling first.
    """

    stage: str
    ok: bool
    differences: tuple[str, ...]


def compare(recorded: StageRecord, now: StageRecord, *, tolerance: float | None) -> StageResult:
    """Compare one stage.

    Args:
        recorded: What the lock says.
        now: What this run gave.
        tolerance: How far a mean or predicted accuracy may be off, other numbers in proportion; None demands
            equality of everything, digests and the order of the ranking included.
    """
    found = list(_texts(recorded.facts, now.facts))
    for kind in dict.fromkeys([*recorded.numbers, *now.numbers]):
        if tolerance is not None and kind not in FACTORS:
            continue
        allowed = 0.0 if tolerance is None else tolerance * FACTORS[kind]
        found += _numbers(kind, recorded.numbers.get(kind, {}), now.numbers.get(kind, {}), allowed)
    if tolerance is None:
        found += _texts(recorded.exact, now.exact)
    return StageResult(recorded.stage, not found, tuple(found))


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

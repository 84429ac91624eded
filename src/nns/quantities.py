"""Numbers as people write them: ``5M`` parameters, ``20MB``, ``10ms``, ``10m`` of budget."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence

from nns.errors import UsageError
from nns.types import Limits

Quantity = float | str | None
"""A number, or one as people write it, e.g. ``"5M"``; None: not given."""

_COUNTS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "m": 10**6, "G": 10**9, "g": 10**9}
_BYTES = {"": 1, "B": 1, "KB": 10**3, "kB": 10**3, "kb": 10**3, "MB": 10**6, "mb": 10**6, "GB": 10**9, "gb": 10**9}
_LATENCIES = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
_DURATIONS = {"h": 3600.0, "hr": 3600.0, "m": 60.0, "min": 60.0, "s": 1.0, "sec": 1.0, "ms": 1e-3}
_DIGITS = r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+"
_NUMBER = re.compile(rf"\s*((?:{_DIGITS})(?:[eE]\+?[0-9]{{1,2}})?)\s*([A-Za-zµ]*)\s*")
_PART = re.compile(rf"\s*({_DIGITS})\s*(h|hr|min|m|sec|s|ms)(?![A-Za-z])\s*")


def counted(number: int, one: str, many: str = "") -> str:
    """Write a number of things: ``1 network``, ``2 networks``, ``2 classes``."""
    if not many:
        many = one + ("es" if one.endswith("s") else "s")
    return f"{number} {one if number == 1 else many}"


def _parse(text: str, units: dict[str, float] | dict[str, int], what: str, example: str) -> float:
    match = _NUMBER.fullmatch(text)
    if match is None or match[2] not in units:
        suffixes = ", ".join(unit for unit in units if unit)
        raise UsageError(f"{text!r} is not {what}: write a number with one of {suffixes}, e.g. {example}")
    return _positive(float(match[1].replace(",", "")) * units[match[2]], text, what)


def _positive(value: float, text: str, what: str) -> float:
    if not math.isfinite(value) or value <= 0:
        raise UsageError(f"{text!r} is not {what}: it must be more than 0")
    return value


def parse_count(text: str) -> int:
    """Parse a count: ``5M``, ``5m``, ``300k``, ``1.5G``, ``12345``, ``5e6``, ``5,000,000``.

    Raises:
        UsageError: If it is none, or not positive.
    """
    return round(_parse(text, _COUNTS, "a count", "5M"))


def parse_bytes(text: str) -> int:
    """Parse a size in bytes: ``20MB``, ``512KB``; units are powers of 1000.

    Raises:
        UsageError: If it is none, or not positive.
    """
    return round(_parse(text, _BYTES, "a size", "20MB"))


def parse_latency(text: str) -> float:
    """Parse a latency into seconds: ``10ms``, ``800us``, ``0.01s``; a unit is required.

    Raises:
        UsageError: If it is none, or not positive.
    """
    return _parse(text, _LATENCIES, "a latency", "10ms")


def parse_duration(text: str) -> float:
    """Parse a budget of time into seconds: ``10m``, ``90s``, ``1h30m``, ``2min``; a unit is required.

    Raises:
        UsageError: If it is none, or not positive.
    """
    total, end, units = 0.0, 0, []
    while found := _PART.match(text, end):
        total, end = total + float(found[1].replace(",", "")) * _DURATIONS[found[2]], found.end()
        units.append(_DURATIONS[found[2]])
    if end != len(text) or not units or any(later >= unit for unit, later in itertools.pairwise(units)):
        unit = f": {text.strip()}m are minutes, {text.strip()}s seconds" if _NUMBER.fullmatch(text + "s") else ""
        raise UsageError(f"{text!r} is not a duration: write a number with one of h, m, s, e.g. 10m or 1h30m{unit}")
    return _positive(total, text, "a duration")


def limits_of(
    max_params: Quantity = None,
    max_macs: Quantity = None,
    max_size: Quantity = None,
    max_latency: Quantity = None,
    backend: str | None = None,
    license: str | None = None,
) -> Limits:
    """Return limits, each given as a number (bytes, seconds) or as text.

    Raises:
        UsageError: If one is no number, has an unknown suffix, or is not positive or is empty.
    """
    for name, text in (("backend", backend), ("license", license)):
        if text is not None and not text.strip():
            raise UsageError(f"`{name}` is empty; None is no limit")
    latency = _quantity("max_latency", max_latency, parse_latency)
    return Limits(
        max_params=_whole("max_params", max_params, parse_count),
        max_macs=_whole("max_macs", max_macs, parse_count),
        max_size=_whole("max_size", max_size, parse_bytes),
        max_latency=latency,
        backend=backend,
        license=license,
    )


def duration_of(budget: float | str) -> float:
    """Return a budget of time in seconds, given as seconds or as text: ``"10m"``.

    Raises:
        UsageError: If it is none, or not positive.
    """
    seconds = _quantity("budget", budget, parse_duration)
    assert seconds is not None
    return seconds


def _whole(name: str, value: Quantity, parse: Callable[[str], float]) -> int | None:
    number = _quantity(name, value, parse)
    return None if number is None else round(number)


def _quantity(name: str, value: Quantity, parse: Callable[[str], float]) -> float | None:
    if value is None or isinstance(value, str):
        return None if value is None else parse(value)
    if isinstance(value, bool) or not math.isfinite(value) or value <= 0:
        raise UsageError(f"`{name}` must be a number above 0, not {value!r}")
    return value


def format_count(value: float) -> str:
    """Write a count in three digits: ``4.65 M``."""
    return _three_digits(value, ((1e9, " G"), (1e6, " M"), (1e3, " k"))) or f"{value:.0f}"


def format_bytes(value: float) -> str:
    """Write a size: ``18.6 MB``."""
    return _three_digits(value, ((1e9, " GB"), (1e6, " MB"), (1e3, " KB"))) or f"{value:.0f} B"


def format_seconds(value: float) -> str:
    """Write a time: ``850 us``, ``12.3 ms``, ``4.2 s``, ``3 m 20 s``, ``1 h 12 m``."""
    if value < 60:
        return _three_digits(value, ((1.0, " s"), (1e-3, " ms"))) or f"{value * 1e6:.3g} us"
    minutes, seconds = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} m {seconds} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} m"


def _three_digits(value: float, units: Sequence[tuple[float, str]]) -> str:
    """Write a number in the largest unit of which it has one or more, once rounded; empty if it has none."""
    for scale, unit in units:
        rounded = float(f"{value / scale:.3g}")
        if rounded >= 1:
            return f"{rounded:.0f}{unit}" if rounded >= 100 else f"{rounded:g}{unit}"
    return ""


def limit_for(value: float, kind: str) -> str:
    """Write the smallest round limit that admits ``value``, as an option would take it: ``4.7M``, ``19MB``.

    Args:
        value: Parameters, MACs, bytes, or seconds.
        kind: ``"count"``, ``"bytes"`` or ``"latency"``.
    """
    units = {
        "count": [(1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")],
        "bytes": [(1e9, "GB"), (1e6, "MB"), (1e3, "KB"), (1.0, "B")],
        "latency": [(1.0, "s"), (1e-3, "ms"), (1e-6, "us")],
    }[kind]
    scale, unit = next(((s, u) for s, u in units if value >= s), units[-1])
    tenths = math.ceil(value / scale * 10)
    if tenths / 10 * scale < value:  # the division rounded down
        tenths += 1
    return f"{tenths / 10:.12g}{unit}"

"""What is about to be JSON: numbers that JSON does not know become null."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real
from pathlib import PurePath
from typing import Any


def jsonable(value: Any, digits: int | None = None, leave_out: str | None = None) -> Any:
    """Return a value as JSON can hold it: NaN and infinity null, NumPy's numbers Python's, paths and keys strings.

    Args:
        value: Mappings, lists, tuples, numbers, paths and what JSON knows, nested.
        digits: Decimals to round to; then -0.0 becomes 0.0.
        leave_out: Drop keys that contain this.
    """
    if isinstance(value, Mapping):
        kept = {str(key): item for key, item in value.items() if leave_out is None or leave_out not in str(key)}
        return {key: jsonable(item, digits, leave_out) for key, item in kept.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item, digits, leave_out) for item in value]
    if isinstance(value, bool):  # which is a number to Python
        return value
    if isinstance(value, Integral):  # NumPy's are registered as such, so NumPy need not be loaded
        return int(value)
    if isinstance(value, Real):
        if not math.isfinite(value):
            return None
        return float(value) if digits is None else round(float(value), digits) + 0.0
    return str(value) if isinstance(value, PurePath) else value


def shown(value: Any) -> str:
    """Write a value as ``repr`` does, but not all of it: a few lists, each holding the next twice, have no end."""
    import reprlib

    short = reprlib.Repr()
    short.maxlevel, short.maxstring, short.maxother, short.maxlong = 2, 60, 60, 60
    short.maxlist = short.maxtuple = short.maxdict = short.maxset = 3
    return short.repr(value)

"""Scalars of numpy, as pickles hold them, made without numpy: its own constructors are not meant for strangers' bytes.

A pickled ``numpy.float64(0.5)`` calls ``numpy.dtype("f8", False, True)``, sets the state of what comes of it, and
calls ``numpy.core.multiarray.scalar`` with that and eight bytes. Both names are bound here to what follows, in place of
the real ones, for as long as a file is read.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

FORMATS = {"f2": "e", "f4": "f", "f8": "d", "i1": "b", "i2": "h", "i4": "i", "i8": "q"}
FORMATS |= {"u1": "B", "u2": "H", "u4": "I", "u8": "Q", "b1": "?"}
"""Names of numpy's plain types to the codes of :mod:`struct`."""


class PlainType:
    """Stands for a ``numpy.dtype`` of one plain number.

    Args:
        name: ``"f8"`` and the like.
        options: Whatever else the pickle gives; it says nothing about plain types.
    """

    def __init__(self, name: Any, *options: Any) -> None:
        """Look up the type; ValueError if it is none of :data:`FORMATS`."""
        if not isinstance(name, str) or name not in FORMATS:
            raise ValueError(f"a numpy type {name!r:.40} where a plain number is due")
        self.format, self.order = FORMATS[name], "<"

    def __setstate__(self, state: Any) -> None:
        """Take the byte order out of numpy's eight values; ValueError if it is none."""
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise ValueError("a numpy type with a state that is none")
        self.order = ">" if state[1] == ">" else "<"


def plain_scalar(kind: Any, data: Any = None) -> float | int | bool:
    """Stand for ``numpy.core.multiarray.scalar``: a plain number of Python; ValueError if the bytes do not fit."""
    if type(kind) is not PlainType or not isinstance(data, bytes):
        raise ValueError("a numpy scalar that is no plain number")
    try:
        (value,) = struct.unpack(kind.order + kind.format, data)
    except struct.error as error:
        raise ValueError(f"a numpy scalar of {len(data)} bytes where its type has another size") from error
    number: float | int | bool = value
    return number


def stand_ins() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """List what ``torch.serialization.safe_globals`` is to allow, under the names that old and new numpy write."""
    return [
        (PlainType, "numpy.dtype"),
        (plain_scalar, "numpy.core.multiarray.scalar"),
        (plain_scalar, "numpy._core.multiarray.scalar"),
    ]

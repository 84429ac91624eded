"""What was found out about networks on this machine, in the user's cache: a zoo from a stranger cannot write there."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nns.files import write_whole
from nns.untrusted import Kind, read_file

_FACT = Kind("what is remembered", 1000)


def remember(kind: str, about: Any, values: Sequence[float]) -> None:
    """Keep some numbers; where the cache cannot be written they are found out again."""
    with suppress(OSError):
        write_whole(_path(kind, about), json.dumps(list(values)))


def recall(kind: str, about: Any) -> list[Any] | None:
    """Return the numbers that were kept, None if there are none.

    Args:
        kind: What they are.
        about: What they are of, JSON-able.
    """
    try:
        values = json.loads(read_file(_path(kind, about), _FACT))
    except (OSError, ValueError, RecursionError):
        return None
    fits = isinstance(values, list) and all(type(each) in (int, float) and math.isfinite(each) for each in values)
    return values if fits else None


def _path(kind: str, about: Any) -> Path:
    from platformdirs import user_cache_path

    # a file each: processes that count at one moment lose nothing of each other's, and nobody waits for a lock
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    return user_cache_path("nns", appauthor=False) / kind / key[:2] / key[2:]

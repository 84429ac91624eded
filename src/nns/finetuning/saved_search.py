"""What ``nns search --json`` printed, as a fine-tuning goes on from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nns.documents import parse_json
from nns.errors import UsageError
from nns.untrusted import SEARCH, read_file

if TYPE_CHECKING:
    from nns.searching import SearchResult

MAX_ID = 64


@dataclass(frozen=True)
class SavedSearch:
    """Networks that a search found.

    Attributes:
        ids: Of networks to try: those that it says are best tried together, then the other candidates, best first.
        expected: The accuracies that it expects, by id.
        own_size: Whether it limited MACs or latency, which hold for the input that each network was counted at.
    """

    ids: tuple[str, ...]
    expected: Mapping[str, float]
    own_size: bool

    @classmethod
    def of(cls, result: SearchResult) -> SavedSearch:
        """Note of a search's answer the networks that are best tried together."""
        expected = {found.entry.id: found.predicted_accuracy for found in result.together}
        return cls(tuple(expected), expected, result.limits.hold_for_one_size)


def read_search(path: Path, top: int) -> SavedSearch:
    """Read the first ``top`` networks of a search from its JSON.

    Raises:
        UsageError: If the file cannot be read or is no search result.
    """
    try:
        document = parse_json(read_file(path, SEARCH))
        candidates = {str(found["id"]): found.get("predicted_accuracy") for found in document["candidates"]}
        together = document.get("together", [])
        if not isinstance(together, list):
            raise TypeError("together")
        ids = list(dict.fromkeys([*map(str, together), *candidates]))[:top]
        if any(len(each) > MAX_ID for each in ids):
            raise ValueError("an id that is none")
        limits = document.get("limits") or {}
        own_size = any(limits.get(name) is not None for name in ("max_macs", "max_latency_ms"))
    except OSError as error:
        raise UsageError(f"cannot read search result {str(path)!r}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"{str(path)!r} is not the JSON of a search") from error
    if not ids:
        raise UsageError(f"{str(path)!r} holds no candidates")
    expected = {each: float(candidates[each]) for each in ids if _is_share(candidates.get(each))}
    return SavedSearch(tuple(ids), expected, own_size)


def _is_share(value: Any) -> bool:
    return isinstance(value, float | int) and math.isfinite(value) and 0 <= value <= 1

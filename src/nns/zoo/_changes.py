"""Which fields of two descriptions differ, bounded whatever a stranger's zoo holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from nns.stores._digest import TIMING_KEYS, entry_json, without_timing
from nns.types import DatasetRecord, NetworkEntry, SpaceRecord

Fields = dict[str, tuple[Any, Any]]
"""What differs, each as it was and as it is."""

# what a stranger's zoo says may take 1 MiB a network, most of it in one value or in many keys
LONG = 200
"""Characters of a value that are kept of it."""

MOST_FIELDS = 50
"""Fields of one network that are kept, and ten times as many names of all."""

DEEP = 3
"""Levels of objects whose keys are fields of their own."""


def _flat(value: Mapping[str, Any], before: str = "", depth: int = 1) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        # versions are no content, but say what made another network of it
        if before.startswith("provenance.") and key != "versions" and (key in TIMING_KEYS or key.endswith("_seconds")):
            continue
        name = f"{before}{key}"[:LONG]
        if isinstance(item, Mapping) and depth < DEEP:
            yield from _flat(item, f"{name}.", depth + 1)
        else:
            yield name, item


def entry_changes(old: NetworkEntry, new: NetworkEntry) -> Fields:
    """Say which fields of two descriptions differ."""
    one, two = dict(_flat(entry_json(old))), dict(_flat(entry_json(new)))
    return _different(one | {"id": None}, two | {"id": None})


def _different(one: Mapping[str, Any], two: Mapping[str, Any]) -> Fields:
    found: Fields = {}
    for name in [*one, *(name for name in two if name not in one)]:
        if one.get(name) != two.get(name):
            found[name] = _short(one.get(name)), _short(two.get(name))
            if len(found) == MOST_FIELDS:
                break
    return found


def _short(value: Any) -> Any:
    """Return a value as it is if it is a short one, else the beginning of its JSON."""
    if isinstance(value, str):
        return value if len(value) <= LONG else f"{value[: LONG - 1]}…"
    if value is None or isinstance(value, bool | int | float):
        return value
    text = json.dumps(value, ensure_ascii=False)
    return value if len(text) <= LONG else f"{text[: LONG - 1]}…"


def dataset_changes(old: DatasetRecord, new: DatasetRecord) -> Fields:
    """Say what of two datasets of one name differs."""
    names = ("digest", "images", "classes", "extractor", "extractor_from")
    pairs = {name: (getattr(old, name), getattr(new, name)) for name in names}
    found = {name: (_short(one), _short(two)) for name, (one, two) in pairs.items() if one != two}
    return found or {"features": ("", "")}


def space_changes(old: SpaceRecord, new: SpaceRecord) -> Fields:
    """Say what of two spaces differs; nothing if it is only when and how fast they were fitted."""
    one, two = (
        dict(_flat({"method": each.method, "settings": each.settings, "report": without_timing(each.report)}))
        for each in (old, new)
    )
    found = _different(one, two)
    if old.network_ids != new.network_ids:
        found["networks"] = len(old.network_ids), len(new.network_ids)
    if old.tensors != new.tensors:
        found["weights"] = _sha256(old.tensors), _sha256(new.tensors)
    if old.embeddings.tobytes() != new.embeddings.tobytes():
        found["embeddings"] = list(old.embeddings.shape), list(new.embeddings.shape)
    return found


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

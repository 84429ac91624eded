"""The lock file: what a run gave, as JSON that is the same bytes for the same run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nns.documents import check_keys, convert, parse_json
from nns.errors import UsageError
from nns.files import write_whole
from nns.jsonable import jsonable, shown
from nns.repro.describing import StageRecord
from nns.repro.settings import ReproSettings, refuse_downloads
from nns.repro.wording import plain
from nns.types import Json
from nns.untrusted import LOCK, read_file

FORMAT = "nns-repro-lock"
VERSION = 2

MOST_TOLERANCE = 1.0
"""All accuracies are within it; a lock that lets more pass would check nothing."""


MOST_CHARACTERS = 1000
"""Of a path or a name among the settings."""


@dataclass(frozen=True)
class Lock:
    """A recorded run.

    Attributes:
        settings: What was run; paths are relative to the lock's folder.
        tolerance: How far a mean or predicted accuracy may be off in another environment.
        stages: What came out of each stage, in order.
        environment: Where it ran.
    """

    settings: ReproSettings
    tolerance: float
    stages: tuple[StageRecord, ...]
    environment: Mapping[str, str]


def write_lock(path: Path, lock: Lock) -> None:
    """Write a lock whole, then put it in its place.

    Raises:
        UsageError: If a path has characters that no log should print.
    """
    document = {
        "format": FORMAT,
        "version": VERSION,
        "settings": lock.settings.to_json(),
        "tolerance": lock.tolerance,
        "stages": {
            record.stage: {"facts": dict(record.facts), "numbers": record.numbers, "exact": dict(record.exact)}
            | ({"images": record.images} if record.images else {})
            for record in lock.stages
        },
        "environment": dict(lock.environment),
    }
    try:
        _refuse_unprintable(jsonable(document))
    except ValueError as error:  # of names all is escaped, but not of paths
        raise UsageError(f"the lock cannot be written: {error}; rename what is called so") from error
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(path, text)


def read_lock(path: Path) -> Lock:
    """Read a lock.

    Raises:
        UsageError: If it cannot be read, is no lock, or was written by a newer version of nns.
    """
    try:
        document = parse_json(read_file(path, LOCK))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UsageError(f"cannot read lock {str(path)!r}: {reason}; make one with `nns repro record`") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{str(path)!r} is no lock: it is not JSON ({error})") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UsageError(f"{str(path)!r} is no lock of `nns repro record`")
    if document.get("version") != VERSION:
        raise UsageError(
            f"{str(path)!r} is a lock of version {shown(document.get('version'))}, this nns reads version {VERSION}; "
            "record it anew with `nns repro record`, or update nns if the lock is newer"
        )
    try:
        lock = _lock(document)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"lock {str(path)!r} is damaged ({plain(str(error)):.300}); record it anew with `nns repro record`"
        ) from error
    build = lock.settings.build
    refuse_downloads([*lock.settings.queries, *(build.data if build else ())], f"lock {str(path)!r}")
    return lock


@dataclass(frozen=True)
class _Stage:
    facts: Mapping[str, str]
    numbers: Mapping[str, Mapping[str, float]]
    exact: Mapping[str, str]
    images: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Document:
    format: str
    version: int
    settings: Json
    tolerance: float
    stages: Mapping[str, _Stage]
    environment: Mapping[str, str]


def _lock(document: Json) -> Lock:
    check_keys(document, _Document)
    _refuse_unprintable(document)
    _refuse_long(document["settings"])
    found = convert(document, _Document)
    if not 0 < found.tolerance <= MOST_TOLERANCE:
        raise ValueError(f"a tolerance of {found.tolerance:g}")
    settings = ReproSettings.from_json(found.settings)
    if missing := [name for name in settings.covered if name not in found.stages]:
        raise ValueError(f"{missing[0]!r} is missing")
    if more := found.stages.keys() - set(settings.covered):
        raise ValueError(f"there is a stage {min(more)!r:.60} that its settings do not have")
    for stage in document["stages"].values():
        check_keys({"images": {}} | stage, _Stage)
    return Lock(
        settings=settings,
        tolerance=found.tolerance,
        stages=tuple(StageRecord(name, **vars(found.stages[name])) for name in settings.covered),
        environment=found.environment,
    )


def _refuse_long(value: Any) -> None:
    if isinstance(value, str) and len(value) > MOST_CHARACTERS:
        raise ValueError(f"a setting of {len(value)} characters")
    for item in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        _refuse_long(item)


def _refuse_unprintable(value: Any) -> None:
    """Refuse texts that act on a terminal or on a runner, as what was recorded has none; keys of mappings, too."""
    if isinstance(value, str) and plain(value) != value:
        raise ValueError(f"it holds characters that no lock has: {plain(value)!r:.60}")
    if isinstance(value, Mapping):
        for key, item in value.items():
            _refuse_unprintable(key)
            _refuse_unprintable(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_unprintable(item)

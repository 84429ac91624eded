"""The lock file: what a run gave, as JSON that is the same bytes for the same run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nns.data.formats import refuse_connections
from nns.documents import convert, parse_json
from nns.errors import UsageError
from nns.files import write_whole
from nns.repro.settings import STAGES, ReproSettings
from nns.repro.stages import StageRecord
from nns.types import Json
from nns.untrusted import LOCK, read_file

FORMAT = "nns-repro-lock"
VERSION = 1


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
    """Write a lock whole, then put it in its place."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "settings": lock.settings.to_json(),
        "tolerance": lock.tolerance,
        "stages": {
            record.stage: {"facts": dict(record.facts), "numbers": record.numbers, "exact": dict(record.exact)}
            for record in lock.stages
        },
        "environment": dict(lock.environment),
    }
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
            f"{str(path)!r} is a lock of version {document.get('version')!r}, this nns reads version {VERSION}; "
            "update nns, or record it anew with `nns repro record`"
        )
    try:
        lock = _lock(document)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"lock {str(path)!r} is damaged ({error}); record it anew with `nns repro record`") from error
    refuse_connections([*lock.settings.data, lock.settings.query], f"lock {str(path)!r}")
    return lock


@dataclass(frozen=True)
class _Stage:
    facts: Mapping[str, str]
    numbers: Mapping[str, Mapping[str, float]]
    exact: Mapping[str, str]


@dataclass(frozen=True)
class _Document:
    settings: Json
    tolerance: float
    stages: Mapping[str, _Stage]
    environment: Mapping[str, str]


def _lock(document: Json) -> Lock:
    found = convert(document, _Document)
    if missing := [name for name in STAGES if name not in found.stages]:
        raise ValueError(f"{missing[0]!r} is missing")
    stages = ((name, found.stages[name]) for name in STAGES)
    return Lock(
        settings=ReproSettings.from_json(found.settings),
        tolerance=found.tolerance,
        stages=tuple(StageRecord(name, stage.facts, stage.numbers, stage.exact) for name, stage in stages),
        environment=found.environment,
    )

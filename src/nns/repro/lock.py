"""The lock file: what a run gave, as JSON that is the same bytes for the same run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nns.errors import UsageError
from nns.repro.settings import STAGES, ReproSettings
from nns.repro.stages import StageRecord

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
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_lock(path: Path) -> Lock:
    """Read a lock.

    Raises:
        UsageError: If it cannot be read, is no lock, or was written by a newer version of nns.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
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
        return _lock(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise UsageError(f"lock {str(path)!r} is damaged ({what}); record it anew with `nns repro record`") from error


def _lock(document: Mapping[str, Any]) -> Lock:
    stages = document["stages"]
    return Lock(
        settings=ReproSettings.from_json(document["settings"]),
        tolerance=float(document["tolerance"]),
        stages=tuple(_stage(name, stages[name]) for name in STAGES),
        environment=_texts(document["environment"]),
    )


def _stage(name: str, value: Mapping[str, Any]) -> StageRecord:
    numbers = {kind: {key: float(n) for key, n in named.items()} for kind, named in value["numbers"].items()}
    return StageRecord(name, _texts(value["facts"]), numbers, _texts(value["exact"]))


def _texts(value: Mapping[str, Any]) -> dict[str, str]:
    if not all(isinstance(item, str) for item in value.values()):
        raise TypeError("a value that must be text is none")
    return dict(value)

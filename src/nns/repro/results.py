"""What recording and checking come to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nns.errors import ReproError
from nns.files import real_path
from nns.repro.comparing import StageResult
from nns.repro.lock import Lock
from nns.repro.settings import leading_outside

ENVIRONMENT = "environment"
"""What comes before all stages in a strict check: whether what is installed is what was."""


@dataclass(frozen=True)
class RecordReport:
    """What was recorded.

    Attributes:
        path: The lock file.
        lock: Its content.
        seconds: Wall-clock time.
        stages: How it differs from the lock that was there before; of a new one nothing.
        environment: ``(recorded, here)`` of whatever differs in the environment.
    """

    path: Path
    lock: Lock
    seconds: float
    stages: tuple[StageResult, ...] = ()
    environment: Mapping[str, tuple[str, str]] | None = None

    @property
    def outside(self) -> list[str]:
        """Paths for which a check, run in the current folder, has to be let out of it and of the lock's."""
        folder = real_path(self.path).parent
        return leading_outside(self.lock.settings.resolved(folder).paths(), [str(folder), os.getcwd()])


@dataclass(frozen=True)
class CheckReport:
    """What a check came to.

    Attributes:
        ok: Whether every stage gave what was recorded.
        exact: Whether equality was demanded; else numbers were compared within ``tolerance``.
        tolerance: How far a mean or predicted accuracy was allowed to be off; 0 where equality was demanded.
        stages: The comparison of each stage that was run, in order.
        environment: ``(recorded, here)`` of whatever differs in the environment.
        seconds: Wall-clock time.
        not_run: Stages after the first that differs.
    """

    ok: bool
    exact: bool
    tolerance: float
    stages: tuple[StageResult, ...]
    environment: Mapping[str, tuple[str, str]]
    seconds: float
    not_run: tuple[str, ...] = ()

    def raise_if_differs(self) -> None:
        """Raise if a stage differs.

        Raises:
            ReproError: It names the first such stage, its first difference, and what differs around it.
            NnsError: Why the first such stage could not be run.
        """
        failed = next((stage for stage in self.stages if not stage.ok), None)
        if failed is None:
            return
        if failed.error is not None:
            raise failed.error
        more = f" (and {len(failed.differences) - 1} more)" if len(failed.differences) > 1 else ""
        more += "".join(f"; {each}" for each in failed.moved)
        around = "; ".join(f"{key} {was or '-'} → {here or '-'}" for key, (was, here) in self.environment.items())
        cause = f"; the environment differs: {around}" if around and failed.stage != ENVIRONMENT else ""
        raise ReproError(f"stage {failed.stage} differs from the lock: {failed.differences[0]}{more}{cause}")
